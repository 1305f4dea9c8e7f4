"""Money at the registrar: who is charged what, when, and how often."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from sandbox.config import SandboxConfig
from sandbox.namecheap import build, delegations
from sandbox.namecheap.catalog import parse
from sandbox.world import World


async def test_a_registration_is_charged_once_and_owned_afterwards(registrar):
    bought = await registrar.create("acme-mail.com", AddFreeWhoisguard="yes", WGEnabled="yes")
    result = bought.first("DomainCreateResult")
    assert bought.status == "OK"
    assert result["Registered"] == "true"
    assert result["NonRealTimeDomain"] == "false"
    assert Decimal(result["ChargedAmount"]) == Decimal("11.48")  # 11.28 and the ICANN fee.
    assert await registrar.balance() == "4988.52"

    info = await registrar.call("domains.getInfo", DomainName="acme-mail.com")
    today = registrar.world.clock.now()
    assert info.first("DomainGetInfoResult")["IsOwner"] == "true"
    assert info.text("CreatedDate") == today.strftime("%m/%d/%Y")
    assert info.text("ExpiredDate") == today.strftime("%m/%d/") + str(today.year + 1)
    assert info.first("Whoisguard")["Enabled"] == "True"

    again = await registrar.create("acme-mail.com")
    assert again.errors == [3019166]
    assert await registrar.balance() == "4988.52"


async def test_years_cost_the_first_price_once(registrar):
    bought = await registrar.create("three-years.com", 3)
    charged = Decimal(bought.first("DomainCreateResult")["ChargedAmount"])
    assert charged == Decimal("11.28") + 2 * Decimal("14.98") + 3 * Decimal("0.20")


@pytest.mark.parametrize(
    ("name", "more", "number"),
    [
        ("google.com", {}, 3019166),
        ("taken-by-them.net", {}, 3019166),
        ("gone-already.com", {}, 3019166),
        ("acme.zzz", {}, 2030280),
        ("acme.museum", {}, 2030280),
        ("-acme.com", {}, 2030166),
        ("acme.us", {}, 2011322),
        ("acme.com", {"Years": "11"}, 2015167),
        ("acme.com", {"Years": "0"}, 2015167),
        ("acme.ai", {"Years": "1"}, 2015167),
        ("acme.com", {"TechPhone": "0166 13102107"}, 2015182),
        ("acme.com", {"AdminCity": ""}, 2010323),
        ("acme.com", {"AdminCity": "x" * 51}, 2010323),
        ("acme.com", {"RegistrantCountry": "XX"}, 2005),
        ("acme.com", {"AuxBillingEmailAddress": "nobody"}, 2010323),
        ("acme.com", {"Nameservers": "ns1.acme.test,not a host"}, 2011168),
        ("acme.com", {"AddFreeWhoisguard": "no", "WGEnabled": "yes"}, 2033407),
        ("acme.com", {"IsPremiumDomain": "true", "PremiumPrice": "650"}, 2515623),
        ("acme.com", {"PremiumPrice": "11.28"}, 2515610),
        ("premium-acme.com", {}, 2515623),
        ("premium-acme.com", {"IsPremiumDomain": "true"}, 2515610),
        ("premium-acme.com", {"IsPremiumDomain": "true", "PremiumPrice": "600"}, 2515610),
    ],
)
async def test_a_refused_order_costs_nothing(registrar, name, more, number):
    refused = await registrar.create(name, **more)
    assert refused.status == "ERROR"
    assert number in refused.errors
    assert await registrar.balance() == "5000.00"
    assert not delegations(registrar.world)


async def test_every_missing_contact_field_is_told(registrar):
    refused = await registrar.call("domains.create", DomainName="acme.com", Years="1")
    assert len(refused.errors) == 4 * 9


async def test_a_premium_name_at_its_price(registrar):
    checked = await registrar.call("domains.check", DomainList="premium-acme.com")
    price = checked.first("DomainCheckResult")["PremiumRegistrationPrice"]
    bought = await registrar.create("premium-acme.com", IsPremiumDomain="true", PremiumPrice=price)
    assert Decimal(bought.first("DomainCreateResult")["ChargedAmount"]) == Decimal("650.20")


async def test_no_funds_no_domain(registrar):
    await registrar.settings(balance="11.47")
    refused = await registrar.create("acme.com")
    assert refused.errors == [2528166]
    assert "insufficient funds" in refused.text("Error")
    assert await registrar.balance() == "11.47"
    await registrar.settings(balance="11.48")
    assert (await registrar.create("acme.com")).status == "OK"
    assert await registrar.balance() == "0.00"


async def test_a_price_can_rise(registrar):
    await registrar.settings(prices={"com": {"register": "99.00"}})
    sheet = await registrar.call(
        "users.getPricing", ProductType="DOMAIN", ActionName="REGISTER", ProductName="COM"
    )
    assert sheet.first("Price")["YourPrice"] == "99.00"
    bought = await registrar.create("acme.com")
    assert Decimal(bought.first("DomainCreateResult")["ChargedAmount"]) == Decimal("99.20")


async def test_renewing_adds_years_and_stops_at_ten(registrar):
    await registrar.create("acme.com")
    renewed = await registrar.call("domains.renew", DomainName="acme.com", Years="2")
    assert renewed.first("DomainRenewResult")["Renew"] == "true"
    assert renewed.text("ExpiredDate").endswith(str(registrar.world.clock.now().year + 3))
    assert await registrar.balance() == "4958.16"  # 11.48 and twice 15.18.
    refused = await registrar.call("domains.renew", DomainName="acme.com", Years="9")
    assert refused.errors == [2015167]
    assert (await registrar.call("domains.renew", DomainName="acme.com")).errors == [2015167]


async def test_an_expired_name_points_nowhere_until_reactivated_and_is_released_in_the_end(
    registrar,
):
    await registrar.create("acme.com", Nameservers="ns1.dns.test,ns2.dns.test")
    assert delegations(registrar.world) == {"acme.com": ("ns1.dns.test", "ns2.dns.test")}
    await registrar.advance(days=366)
    assert delegations(registrar.world) == {}
    info = await registrar.call("domains.getInfo", DomainName="acme.com")
    assert info.first("DomainGetInfoResult")["Status"] == "Expired"
    assert (await registrar.call("domains.renew", DomainName="acme.com", Years="1")).errors == [
        2020166
    ]
    back = await registrar.call("domains.reactivate", DomainName="acme.com")
    assert back.first("DomainReactivateResult")["IsSuccess"] == "true"
    assert "acme.com" in delegations(registrar.world)
    await registrar.advance(days=365 + 31)
    checked = await registrar.call("domains.check", DomainList="acme.com")
    assert checked.first("DomainCheckResult")["Available"] == "true"


async def test_a_later_name_is_finished_by_time(registrar):
    bought = await registrar.create("later-acme.com")
    result = bought.first("DomainCreateResult")
    assert (result["Registered"], result["NonRealTimeDomain"]) == ("false", "true")
    waiting = await registrar.call("domains.getInfo", DomainName="later-acme.com")
    assert waiting.errors == [2030166]
    await registrar.advance(seconds=601)
    assert (await registrar.call("domains.getInfo", DomainName="later-acme.com")).status == "OK"


async def test_a_slow_answer_comes_after_the_effect(registrar):
    await registrar.settings(slow_seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        await asyncio.wait_for(_impatient(registrar, "slow-acme.com"), 5)
    assert "slow-acme.com" in registrar.world.parts["namecheap"].registry.domains
    await registrar.settings(slow_seconds=0.2)
    started = time.perf_counter()
    await registrar.call("domains.getInfo", DomainName="slow-acme.com")
    assert time.perf_counter() - started >= 0.2


async def _impatient(registrar, name):
    registrar.http.timeout = httpx.Timeout(0.3)
    try:
        await registrar.create(name)
    finally:
        registrar.http.timeout = httpx.Timeout(10)


async def test_failing_after_the_effect_leaves_one_registration(registrar):
    rule = {"part": "namecheap", "match": "domains.create", "mode": "fail_after"}
    await registrar.http.post("/control/faults", json=rule)
    lost = await registrar.raw("domains.create", **registrar.order("acme.com"))
    assert lost.status_code == 500
    assert (await registrar.call("domains.getInfo", DomainName="acme.com")).status == "OK"
    assert (await registrar.create("acme.com")).errors == [3019166]
    orders = (await registrar.http.get("/control/namecheap/orders")).json()["orders"]
    assert [order["domain"] for order in orders] == ["acme.com"]


async def test_failing_before_the_effect_leaves_nothing(registrar):
    rule = {"part": "namecheap", "match": "domains.create", "mode": "fail_before"}
    await registrar.http.post("/control/faults", json=rule)
    lost = await registrar.raw("domains.create", **registrar.order("acme.com"))
    assert lost.status_code == 500
    assert (await registrar.call("domains.getInfo", DomainName="acme.com")).errors == [2030166]
    assert await registrar.balance() == "5000.00"


async def test_the_books_outlive_a_restart(tmp_path: Path):
    config = SandboxConfig(data_dir=tmp_path)
    world = World.create(config)
    part = world.parts["namecheap"] = build(world)
    part.registry.charge("register", "acme.com", Decimal("11.48"))
    part.registry.add(parse("acme.com"), 1, ("a.ns.test", "b.ns.test"), privacy=None, contacts={})
    world.store.close()

    later = World.create(config)
    again = later.parts["namecheap"] = build(later)
    assert delegations(later) == {"acme.com": ("a.ns.test", "b.ns.test")}
    assert again.registry.settings.balance == Decimal("4988.52")
    assert again.registry.charge("renew", "acme.com", Decimal(1))["order_id"] == 900002
    later.store.close()
