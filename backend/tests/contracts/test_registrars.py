"""What every registrar behind the port must hold to, run for each of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from app.config import RegistrantSettings
from app.errors import Invalid, OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_client import NamecheapClient
from app.integrations.porkbun_client import PorkbunClient
from app.integrations.ports import Registrar
from tests.contracts.tools import HAPPENED, MISHAPS, Line, Sandbox, Scripted

SECRET = "very-secret-key"


@dataclass
class Case:
    """One registrar, and how its sandbox is spoken of."""

    part: str
    path: str
    order: str
    """Matches the order at the wire."""
    make: Callable[..., Registrar]
    balance: Callable[[int], Any]
    price: dict[str, Any]
    renewal: str = ""
    """Matches the renewal at the wire."""


def namecheap(url: str, http: httpx.Client, redis: Redis, key: str = "sandbox-key") -> Registrar:
    return NamecheapClient(
        http=http,
        redis=redis,
        url=url,
        api_user="sandbox",
        api_key=key,
        username="sandbox",
        client_ip="127.0.0.1",
        registrant=RegistrantSettings().model_dump(),
        windows=((60, 1000), (3600, 10_000)),
    )


def porkbun(url: str, http: httpx.Client, redis: Redis, key: str = "sk1_sandbox") -> Registrar:
    return PorkbunClient(
        http=http,
        redis=redis,
        url=url,
        api_key="pk1_sandbox",
        secret_key=key,
        checks=((10, 1000),),
    )


CASES = {
    "namecheap": Case(
        "namecheap",
        "/namecheap/xml.response",
        "Command=namecheap.domains.create",
        namecheap,
        lambda cents: f"{cents / 100:.2f}",
        {"com": {"register": "29.00", "renew": "39.00"}},
        "Command=namecheap.domains.renew",
    ),
    "porkbun": Case(
        "porkbun",
        "/porkbun/api/json/v3",
        "POST .*/domain/create/",
        porkbun,
        lambda cents: cents,
        {"com": {"register": "29.00", "renew": "39.00"}},
        "POST .*/domain/renew/",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def registrar(
    case: Case, sandbox: Sandbox, line: Line, http: httpx.Client, valkey: Redis
) -> Registrar:
    ordinary = {"com": {"register": "11.28", "renew": "14.98"}}
    sandbox.control(f"{case.part}/settings", balance=case.balance(500_000), prices=ordinary)
    return case.make(f"{line.url}{case.path}", http, valkey)


@pytest.fixture
def fresh() -> str:
    return f"y{uuid4().hex[:16]}.com"


def orders(sandbox: Sandbox, case: Case, name: str) -> int:
    found = sandbox.control(f"{case.part}/orders")["orders"]
    return sum(order["domain"] == name for order in found)


def test_offers_stand_in_the_order_asked(registrar: Registrar, fresh: str) -> None:
    names = ["google.com", fresh, f"premium-{fresh}", "a.nosuchending"]
    offers = registrar.offers(names)
    assert [offer.domain_name for offer in offers] == names
    taken, free, premium, unknown = offers
    assert (taken.available, taken.price_cents) == (False, None)
    assert (free.available, free.premium) == (True, False)
    assert (free.price_cents, free.renewal_cents, free.currency) == (1148, 1518, "usd")
    assert (premium.premium, bool(premium.price_cents)) == (True, True)
    assert not unknown.available
    assert all(offer.reason for offer in offers if not offer.available)
    assert registrar.offers([]) == []
    with pytest.raises(Invalid):
        registrar.offers([fresh] * 51)


def test_a_name_is_bought_found_and_kept_safe(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str
) -> None:
    assert registrar.find(fresh) is None
    assert registrar.find("google.com") is None
    before = registrar.balance_cents()
    bought = registrar.register(fresh, 1, cost_ceiling_cents=1148)
    assert (bought.domain_name, bought.charged_cents) == (fresh, 1148)
    assert bought.order_id
    assert bought.expires_at is not None
    assert bought.created_at is not None
    assert 364 <= (bought.expires_at - bought.created_at).days <= 366
    assert registrar.balance_cents() == before - 1148
    found = registrar.find(fresh)
    assert found is not None
    assert found.expires_at == bought.expires_at
    for _ in range(2):
        registrar.protect(fresh)
        registrar.set_nameservers(fresh, ["amy.ns.test", "ken.ns.test"])
    assert not registrar.offers([fresh])[0].available
    with pytest.raises(ProviderFailed):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert orders(sandbox, case, fresh) == 1


def test_a_name_is_renewed_for_a_year(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str
) -> None:
    bought = registrar.register(fresh, 1, cost_ceiling_cents=1148)
    assert bought.expires_at is not None
    assert registrar.renewal_cents(fresh) == 1518
    renewed = registrar.renew(fresh, cost_ceiling_cents=1518)
    assert (renewed.charged_cents, bool(renewed.order_id)) == (1518, True)
    assert renewed.expires_at is not None
    assert 364 <= (renewed.expires_at - bought.expires_at).days <= 366
    found = registrar.find(fresh)
    assert found is not None
    assert found.expires_at == renewed.expires_at
    sandbox.control(f"{case.part}/settings", prices=case.price)
    with pytest.raises(ProviderFailed, match="costs more"):
        registrar.renew(fresh, cost_ceiling_cents=1518)
    with pytest.raises(ProviderFailed):
        registrar.renew(f"not-{fresh}", cost_ceiling_cents=9000)
    assert orders(sandbox, case, fresh) == 2


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_lost_answer_to_a_renewal_is_never_repeated(
    sandbox: Sandbox, case: Case, line: Line, registrar: Registrar, fresh: str, mode: str
) -> None:
    before = registrar.register(fresh, 1, cost_ceiling_cents=1148).expires_at
    line.mishap(case.part, case.renewal, mode)
    with pytest.raises(OutcomeUnknown):
        registrar.renew(fresh, cost_ceiling_cents=1518)
    found = registrar.find(fresh)
    assert found is not None
    assert (found.expires_at != before) is (mode in HAPPENED)
    assert orders(sandbox, case, fresh) == (2 if mode in HAPPENED else 1)


def test_what_is_not_ours_cannot_be_changed(registrar: Registrar, fresh: str) -> None:
    with pytest.raises(ProviderFailed):
        registrar.set_nameservers(fresh, ["a.test", "b.test"])
    with pytest.raises(ProviderFailed):
        registrar.protect(fresh)


def test_a_price_above_the_ceiling_buys_nothing(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str
) -> None:
    assert registrar.offers([fresh])[0].price_cents == 1148
    sandbox.control(f"{case.part}/settings", prices=case.price)
    with pytest.raises(ProviderFailed, match="costs more"):
        registrar.register(fresh, 1, cost_ceiling_cents=1148)
    assert orders(sandbox, case, fresh) == 0


@pytest.mark.parametrize("prefix", ["premium-", "taken-", "gone-"])
def test_what_cannot_be_had_is_a_clear_no(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str, prefix: str
) -> None:
    with pytest.raises(ProviderFailed):
        registrar.register(prefix + fresh, 1, cost_ceiling_cents=100_000)
    assert orders(sandbox, case, prefix + fresh) == 0


def test_an_empty_account_is_a_clear_no(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str
) -> None:
    sandbox.control(f"{case.part}/settings", balance=case.balance(100))
    assert registrar.balance_cents() == 100
    with pytest.raises(ProviderFailed, match="insufficient"):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert orders(sandbox, case, fresh) == 0


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_lost_answer_to_an_order_is_never_repeated(
    sandbox: Sandbox, case: Case, line: Line, registrar: Registrar, fresh: str, mode: str
) -> None:
    line.mishap(case.part, case.order, mode)
    with pytest.raises(OutcomeUnknown):
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert orders(sandbox, case, fresh) == (1 if mode in HAPPENED else 0)
    assert (registrar.find(fresh) is not None) is (mode in HAPPENED)


def test_the_limiter_s_no_buys_nothing(
    sandbox: Sandbox, case: Case, registrar: Registrar, fresh: str
) -> None:
    sandbox.fault(case.part, case.order, "rate_limit", times=3)
    with pytest.raises(ProviderUnavailable) as caught:
        registrar.register(fresh, 1, cost_ceiling_cents=2000)
    assert type(caught.value) is ProviderUnavailable
    assert orders(sandbox, case, fresh) == 0


@pytest.mark.parametrize("body", ["", "<html>", "{}", "[]", "null", '{"status": 1}', "[" * 5000])
def test_an_answer_that_cannot_be_read_is_no_answer(
    case: Case, scripted: Scripted, http: httpx.Client, valkey: Redis, body: str
) -> None:
    scripted.say(200, body)
    with pytest.raises(ProviderUnavailable) as caught:
        case.make(scripted.url, http, valkey).balance_cents()
    assert type(caught.value) is ProviderUnavailable
    assert len(scripted.asked) == 1


def test_nobody_there_is_told_as_such(
    case: Case, nowhere: str, http: httpx.Client, valkey: Redis, fresh: str
) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        case.make(f"http://{nowhere}", http, valkey).find(fresh)
    assert type(caught.value) is ProviderUnavailable


def test_the_key_is_told_to_nobody_and_stands_in_no_address(
    case: Case, sandbox: Sandbox, scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    scripted.say(400, f'{{"status": "ERROR", "code": "X", "message": "{SECRET} is bad"}}')
    scripted.say(502, SECRET)
    scripted.say(307, Location=f"{scripted.url}/elsewhere")
    for url in (f"{sandbox.url}{case.path}", *[scripted.url] * 3):
        with pytest.raises((ProviderFailed, ProviderUnavailable)) as caught:
            case.make(url, http, valkey, SECRET).balance_cents()
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
        assert SECRET not in told
    assert len(scripted.asked) == 3
    assert not any(SECRET in path or "elsewhere" in path for _, path, _, _ in scripted.asked)


def test_a_price_list_with_all_actions_gives_the_one_that_was_asked() -> None:
    """As the provider answers some accounts: the same endings in a category for each action."""
    from xml.etree.ElementTree import fromstring

    from app.integrations.namecheap_catalog import _prices

    def category(name: str, price: str) -> str:
        return (
            f'<ProductCategory Name="{name}"><Product Name="com"><Price Duration="1"'
            f' Price="{price}" YourPrice="{price}" Currency="USD"/></Product></ProductCategory>'
        )

    prices = {"register": "8.88", "renew": "14.98", "reactivate": "94.98", "transfer": "9.58"}
    root = fromstring(
        "<R><ProductType>" + "".join(map(category, prices, prices.values())) + "</ProductType></R>"
    )
    assert _prices(root, "RENEW") == {"com": {"1": 1498}}
    assert _prices(root, "REACTIVATE") == {"com": {"1": 9498}}
    # Without a category of that name, as with a promotion, there is only one list.
    single = fromstring("<R>" + category("special", "5.00") + "</R>")
    assert _prices(single, "REGISTER") == {"com": {"1": 500}}
