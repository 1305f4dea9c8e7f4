"""Registrar against Namecheap: money is spent once or not at all, and we always find out."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from app.config import RegistrantSettings
from app.errors import Invalid, OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_client import NamecheapClient
from tests.contracts.tools import HAPPENED, MISHAPS, Line, Sandbox, Scripted, eventually

SECRET = "sandbox-key"
CREATE = "Command=namecheap.domains.create"
INFO = "Command=namecheap.domains.getInfo"
PRICE_COM = 1148
"""11.28 and the ICANN fee of 0.20."""


def client_at(url: str, http: httpx.Client, redis: Redis, **more: Any) -> NamecheapClient:
    given = {"api_user": "sandbox", "api_key": SECRET, "username": "sandbox", **more}
    return NamecheapClient(
        http=http,
        redis=redis,
        url=url,
        client_ip="127.0.0.1",
        registrant=RegistrantSettings().model_dump(),
        **given,
    )


@pytest.fixture
def registrar(sandbox: Sandbox, line: Line, http: httpx.Client, valkey: Redis) -> NamecheapClient:
    settings = {"balance": "5000.00", "limits": "generous", "later_seconds": 600}
    sandbox.control("namecheap/settings", **settings, prices={"com": {"register": "11.28"}})
    httpx.delete(f"{sandbox.url}/control/namecheap/calls").raise_for_status()
    return client_at(f"{line.url}/namecheap/xml.response", http, valkey)


@pytest.fixture
def fresh() -> str:
    """A name nobody has."""
    return f"x{uuid4().hex[:16]}.com"


def calls(sandbox: Sandbox) -> list[str]:
    found = sandbox.control("namecheap/calls")["calls"]
    assert {call["method"] for call in found} <= {"POST"}, "keys must not stand in URLs"
    return [call["command"].removeprefix("namecheap.") for call in found]


def orders(sandbox: Sandbox, name: str) -> int:
    return sum(order["domain"] == name for order in sandbox.control("namecheap/orders")["orders"])


def kept(sandbox: Sandbox, name: str) -> dict[str, Any]:
    domains = sandbox.control("namecheap/domains")["domains"]
    found: dict[str, Any] = next(doc for doc in domains if doc["name"] == name)
    return found


# Searching --------------------------------------------------------------------------------------


def test_offers_stand_in_the_order_asked(registrar: NamecheapClient, fresh: str) -> None:
    names = ["google.com", fresh.upper(), f"a.{fresh[:-4]}.zzz", f"premium-{fresh}", "a-b.us.com"]
    offers = registrar.offers(names)
    assert [offer.domain_name for offer in offers] == names
    taken, free, unknown, premium, below = offers
    assert (taken.available, taken.price_cents, taken.reason) == (False, None, "taken")
    assert (free.available, free.premium, free.price_cents) == (True, False, PRICE_COM)
    assert (free.renewal_cents, free.currency) == (1518, "usd")
    assert not unknown.available
    assert unknown.reason
    assert (premium.premium, premium.price_cents) == (True, 65_020)
    # The longest ending counts: us.com, not com.
    assert (below.available, below.price_cents) == (True, 998)


def test_a_price_is_for_all_years(registrar: NamecheapClient, fresh: str) -> None:
    (offer,) = registrar.offers([fresh], 3)
    assert offer.price_cents == 1128 + 2 * 1498 + 3 * 20
    assert offer.renewal_cents == 1518


def test_an_ending_that_is_not_sold_for_so_long_spoils_no_other(
    registrar: NamecheapClient, fresh: str
) -> None:
    dear, cheap = registrar.offers([fresh.replace(".com", ".ai"), fresh], 1)
    assert not dear.available
    assert "not sold for 1 year" in str(dear.reason)
    assert cheap.available


@pytest.mark.parametrize("ending", ["museum", "ca"])
def test_endings_that_cannot_be_had_at_once_are_not_offered(
    registrar: NamecheapClient, fresh: str, ending: str
) -> None:
    (offer,) = registrar.offers([fresh.replace("com", ending)])
    assert (offer.available, offer.price_cents) == (False, None)


def test_fifty_names_are_one_call_and_more_are_refused(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    names = [f"n{i}-{fresh}" for i in range(51)]
    with pytest.raises(Invalid):
        registrar.offers(names)
    assert calls(sandbox) == []
    assert all(offer.available for offer in registrar.offers(names[:50]))
    assert calls(sandbox).count("domains.check") == 1
    assert registrar.offers([]) == []


def test_price_lists_are_kept(sandbox: Sandbox, registrar: NamecheapClient, fresh: str) -> None:
    for _ in range(3):
        registrar.offers([fresh, f"b{fresh}"])
    assert sorted(calls(sandbox)) == [
        *["domains.check"] * 3,
        "domains.getTldList",
        *["users.getPricing"] * 2,
    ]


def test_without_redis_it_is_slower_and_no_less_true(
    sandbox: Sandbox, http: httpx.Client, no_redis: Redis, registrar: NamecheapClient, fresh: str
) -> None:
    alone = client_at(f"{sandbox.url}/namecheap/xml.response", http, no_redis)
    assert alone.offers([fresh]) == registrar.offers([fresh])


def test_a_damaged_cache_is_read_anew(
    registrar: NamecheapClient, valkey: Redis, fresh: str
) -> None:
    registrar.offers([fresh])
    for key in valkey.scan_iter("ig:namecheap:sandbox:prices*"):
        valkey.set(key, "{broken")
    assert registrar.offers([fresh])[0].price_cents == PRICE_COM


# Buying -----------------------------------------------------------------------------------------


def test_a_name_is_bought(sandbox: Sandbox, registrar: NamecheapClient, fresh: str) -> None:
    assert registrar.find(fresh) is None
    before = registrar.balance_cents()
    bought = registrar.register(fresh, 1, cost_ceiling_cents=PRICE_COM)
    assert (bought.domain_name, bought.charged_cents) == (fresh, PRICE_COM)
    assert bought.order_id
    assert bought.created_at is not None
    assert bought.expires_at is not None
    assert 364 <= (bought.expires_at - bought.created_at).days <= 366
    assert registrar.balance_cents() == before - PRICE_COM
    found = registrar.find(fresh)
    assert found is not None
    assert (found.registrar_id, found.expires_at) == (bought.registrar_id, bought.expires_at)
    doc = kept(sandbox, fresh)
    assert doc["privacy"]["enabled"] is True
    assert set(doc["contacts"]) == {"Registrant", "Tech", "Admin", "AuxBilling"}
    assert all(len(block) >= 9 for block in doc["contacts"].values())


def test_years_are_always_said(registrar: NamecheapClient, fresh: str) -> None:
    # Namecheap's own default is two.
    bought = registrar.register(fresh, 3, cost_ceiling_cents=10_000)
    assert bought.expires_at is not None
    assert bought.created_at is not None
    assert bought.expires_at.year - bought.created_at.year == 3


def test_a_name_is_not_bought_twice(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    registrar.register(fresh, 1, cost_ceiling_cents=2000)
    with pytest.raises(ProviderFailed, match="taken"):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert orders(sandbox, fresh) == 1


def test_a_price_that_rose_after_the_quote_buys_nothing(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    (quoted,) = registrar.offers([fresh])
    assert quoted.price_cents is not None
    sandbox.control("namecheap/settings", prices={"com": {"register": "29.00"}})
    with pytest.raises(ProviderFailed, match="costs more"):
        registrar.register(fresh, 1, cost_ceiling_cents=quoted.price_cents)
    assert "domains.create" not in calls(sandbox)


@pytest.mark.parametrize("prefix", ["premium-", "taken-", "gone-"])
def test_what_cannot_be_had_is_a_clear_no(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str, prefix: str
) -> None:
    # `gone-` names look free until the order itself.
    with pytest.raises(ProviderFailed):
        registrar.register(prefix + fresh, 1, cost_ceiling_cents=100_000)
    assert orders(sandbox, prefix + fresh) == 0


def test_an_empty_account_is_a_clear_no(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    sandbox.control("namecheap/settings", balance="1.00")
    assert registrar.balance_cents() == 100
    # Its number, 2528166, is otherwise an ambiguous one.
    with pytest.raises(ProviderFailed, match="insufficient"):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)


def test_a_slow_registry_leaves_it_open_and_is_found_later(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    name = f"later-{fresh}"
    with pytest.raises(OutcomeUnknown):
        registrar.register(name, 1, cost_ceiling_cents=2000)
    assert registrar.find(name) is None
    sandbox.control("namecheap/settings", later_seconds=0)
    found = eventually(lambda: registrar.find(name))
    assert found.domain_name == name
    assert orders(sandbox, name) == 1


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_lost_answer_to_an_order_is_never_repeated(
    sandbox: Sandbox, line: Line, registrar: NamecheapClient, fresh: str, mode: str
) -> None:
    line.mishap("namecheap", CREATE, mode)
    with pytest.raises(OutcomeUnknown):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert orders(sandbox, fresh) == (1 if mode in HAPPENED else 0)
    assert (registrar.find(fresh) is not None) is (mode in HAPPENED)


def test_an_order_answered_too_late_is_found_as_ours(
    sandbox: Sandbox, http: httpx.Client, valkey: Redis, registrar: NamecheapClient, fresh: str
) -> None:
    url = f"{sandbox.url}/namecheap/xml.response"
    hasty = client_at(url, http, valkey, buying=httpx.Timeout(0.5))
    sandbox.fault("namecheap", CREATE, "timeout_after", seconds=3)
    with pytest.raises(OutcomeUnknown):
        hasty.register(fresh, 1, cost_ceiling_cents=2000)
    assert registrar.find(fresh) is not None
    assert orders(sandbox, fresh) == 1


def test_the_limiter_s_no_proves_that_nothing_was_bought(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    sandbox.fault("namecheap", CREATE, "rate_limit", times=3)
    with pytest.raises(ProviderUnavailable) as caught:
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert type(caught.value) is ProviderUnavailable
    assert orders(sandbox, fresh) == 0
    # Turned away once, it is the one thing that may be sent again blindly.
    sandbox.fault("namecheap", CREATE, "rate_limit")
    assert registrar.register(fresh, 1, cost_ceiling_cents=2000).order_id
    assert orders(sandbox, fresh) == 1


def test_a_mishap_after_the_purchase_does_not_undo_it(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    sandbox.fault("namecheap", INFO, "fail_before", times=2)
    bought = registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert (bought.charged_cents, bought.expires_at) == (PRICE_COM, None)


def answer(inner: str, status: str = "OK", errors: str = "") -> str:
    return (
        f'<?xml version="1.0"?><ApiResponse Status="{status}" '
        f'xmlns="http://api.namecheap.com/xml.response"><Errors>{errors}</Errors>'
        f"<CommandResponse>{inner}</CommandResponse></ApiResponse>"
    )


def script_until_order(scripted: Scripted) -> None:
    """All that is asked before the order itself, answered well."""
    scripted.say(200, answer('<DomainCheckResult Domain="a.com" Available="true"/>'))
    scripted.say(200, answer('<Tld Name="com" IsApiRegisterable="true" NonRealTime="false"/>'))
    price = '<Product Name="com"><Price Duration="1" Price="9.00" YourPrice="8.0000"/></Product>'
    scripted.say(200, answer(price))
    scripted.say(200, answer(price))


@pytest.mark.parametrize(
    "body",
    [
        "",
        answer(""),
        answer('<DomainCreateResult Registered="true" ChargedAmount="free"/>'),
        answer('<DomainCreateResult Registered="true" ChargedAmount="NaN"/>'),
        answer('<DomainCreateResult Registered="false"/>'),
        "<html>Bad gateway</html>",
        answer('<DomainCreateResult Registered="true"/>')[:-20],
        *(
            answer("", "ERROR", f'<Error Number="{number}">Order failed</Error>')
            for number in (2528166, 3028166, 3031166, 3050900, 4023166, 5050900, 5019169, 4026312)
        ),
        # One clear error does not make an ambiguous one clear.
        answer("", "ERROR", '<Error Number="2015182"/><Error Number="5050900"/>'),
    ],
)
def test_whatever_is_unclear_about_an_order_is_unknown(
    scripted: Scripted, http: httpx.Client, valkey: Redis, body: str
) -> None:
    script_until_order(scripted)
    scripted.say(200, body)
    with pytest.raises(OutcomeUnknown):
        client_at(scripted.url, http, valkey).register("a.com", 1, cost_ceiling_cents=900)
    assert sum(b"domains.create" in body for _, _, _, body in scripted.asked) == 1


@pytest.mark.parametrize(
    "number", [1011102, 1011150, 2011280, 2015167, 2030280, 2033407, 2515610, 2515623, 3019166, 0]
)
def test_a_numbered_refusal_of_an_order_is_a_clear_no(
    scripted: Scripted, http: httpx.Client, valkey: Redis, number: int
) -> None:
    script_until_order(scripted)
    scripted.say(200, answer("", "ERROR", f'<Error Number="{number}">No</Error>'))
    with pytest.raises(ProviderFailed) as caught:
        client_at(scripted.url, http, valkey).register("a.com", 1, cost_ceiling_cents=900)
    assert caught.value.details["numbers"] == [str(number)]


def test_an_order_that_was_never_sent_is_not_unknown(
    http: httpx.Client, valkey: Redis, nowhere: str
) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        client_at(f"http://{nowhere}/", http, valkey).register("a.com", 1, cost_ceiling_cents=900)
    assert type(caught.value) is ProviderUnavailable


# Looking and pointing ---------------------------------------------------------------------------


def test_other_people_s_names_are_not_ours(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    sandbox.control("namecheap/elsewhere", domain=fresh, name_servers=["ns1.other.test"])
    assert registrar.find(fresh) is None
    assert registrar.find("google.com") is None
    with pytest.raises(ProviderFailed):
        registrar.set_nameservers(fresh, ["a.test", "b.test"])


def test_name_servers_are_set_below_the_longest_ending(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    name = fresh.replace(".com", ".us.com")
    registrar.register(name, 1, cost_ceiling_cents=2000)
    for _ in range(2):
        registrar.set_nameservers(name, ["amy.ns.test", "ken.ns.test"])
        assert kept(sandbox, name)["name_servers"] == ["amy.ns.test", "ken.ns.test"]
    with pytest.raises(ProviderFailed):
        registrar.set_nameservers("a.nosuchending", ["amy.ns.test", "ken.ns.test"])


@pytest.mark.parametrize("mode", ["fail_before", "cut_before", "cut_after"])
def test_a_broken_line_is_the_caller_s_to_try_again(
    line: Line, registrar: NamecheapClient, mode: str
) -> None:
    line.mishap("namecheap", "getBalances", mode)
    with pytest.raises(ProviderUnavailable) as caught:
        registrar.balance_cents()
    assert type(caught.value) is ProviderUnavailable
    assert registrar.balance_cents() > 0


def test_the_limiter_s_no_is_asked_again(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    sandbox.fault("namecheap", "getBalances", "rate_limit", times=2)
    assert registrar.balance_cents() > 0


def test_a_name_is_registered_for_somebody_and_for_somebody_else(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    ann = {**RegistrantSettings().model_dump(), "last_name": "Lee", "phone": "+49.3012345678"}
    registrar.register(fresh, 1, cost_ceiling_cents=2000, registrant=ann)
    people = kept(sandbox, fresh)["contacts"]
    assert people["Registrant"]["LastName"] == "Lee"
    # Technical and billing matters stay ours.
    assert {people[role]["LastName"] for role in ("Tech", "Admin", "AuxBilling")} == {
        RegistrantSettings().last_name
    }
    registrar.set_registrant(fresh, {**ann, "last_name": "Moon"})
    assert kept(sandbox, fresh)["contacts"]["Registrant"]["LastName"] == "Moon"
    with pytest.raises(ProviderFailed):
        registrar.set_registrant(fresh, {**ann, "phone": "12345"})


def test_a_name_is_locked_and_its_registrant_hidden(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    registrar.register(fresh, 1, cost_ceiling_cents=2000)
    doc = kept(sandbox, fresh)
    assert (doc["locked"], doc["privacy"]["enabled"]) == (False, True)
    registrar.protect(fresh)
    assert kept(sandbox, fresh)["locked"] is True
    # Privacy that an order lost comes back.
    registrar._wire.ask(
        "namecheap.whoisguard.disable", lambda root: root, WhoisguardID=str(doc["privacy_id"])
    )
    assert kept(sandbox, fresh)["privacy"]["enabled"] is False
    for _ in range(2):
        registrar.protect(fresh)
        assert kept(sandbox, fresh)["privacy"]["enabled"] is True
    with pytest.raises(ProviderFailed):
        registrar.protect("nobody-has-this.com")


def test_a_slow_answer_is_not_asked_for_again(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    scripted.stay_silent()
    hasty = client_at(scripted.url, http, valkey, reading=httpx.Timeout(0.3))
    with pytest.raises(ProviderUnavailable):
        hasty.balance_cents()
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        answer(""),
        answer('<UserGetBalancesResult AvailableBalance="lots"/>'),
        (
            '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
            "<ApiResponse>&b;</ApiResponse>"
        ),
        (
            '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            "<ApiResponse>&a;</ApiResponse>"
        ),
        answer("", "ERROR", '<Error Number="5050900">Unknown exception</Error>'),
        "<ApiResponse>" + " " * (17 * 1024 * 1024) + "</ApiResponse>",
    ],
)
def test_an_answer_that_cannot_be_read_is_no_answer(
    scripted: Scripted, http: httpx.Client, valkey: Redis, body: str
) -> None:
    scripted.say(200, body)
    with pytest.raises(ProviderUnavailable) as caught:
        client_at(scripted.url, http, valkey).balance_cents()
    assert type(caught.value) is ProviderUnavailable
    assert len(scripted.asked) == 1
    assert len(repr(caught.value.details)) < 500


@pytest.mark.parametrize(
    ("inner", "cents"),
    [
        ('<usergetbalancesresult AVAILABLEBALANCE="12.3400"/>', 1234),
        ('<x:UserGetBalancesResult xmlns:x="urn:y" availableBalance="0.0"/>', 0),
        ('<UserGetBalancesResult AvailableBalance=""/>', 0),
        ('<UserGetBalancesResult AvailableBalance="0.2999"/>', 30),
    ],
)
def test_case_namespaces_and_decimals_drift(
    scripted: Scripted, http: httpx.Client, valkey: Redis, inner: str, cents: int
) -> None:
    scripted.say(200, answer(inner))
    assert client_at(scripted.url, http, valkey).balance_cents() == cents


def test_a_name_that_is_over_is_had_back(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    bought = registrar.register(fresh, 1, cost_ceiling_cents=1148)
    assert bought.expires_at is not None
    with pytest.raises(ProviderFailed):
        # It is not over yet.
        registrar.renew(fresh, cost_ceiling_cents=9000, lapsed=True)
    sandbox.control("clock/advance", days=366)
    with pytest.raises(ProviderFailed):
        registrar.renew(fresh, cost_ceiling_cents=9000)
    price = registrar.renewal_cents(fresh, lapsed=True)
    assert price is not None
    with pytest.raises(ProviderFailed, match="costs more"):
        registrar.renew(fresh, cost_ceiling_cents=price - 1, lapsed=True)
    back = registrar.renew(fresh, cost_ceiling_cents=price, lapsed=True)
    assert (back.charged_cents, bool(back.order_id)) == (price, True)
    assert back.expires_at is not None
    assert 364 <= (back.expires_at - bought.expires_at).days <= 366
    found = registrar.find(fresh)
    assert found is not None
    assert found.expires_at == back.expires_at
