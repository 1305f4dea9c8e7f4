"""Porkbun where it is not like others: keys of orders, whole cents, one check in ten seconds."""

from __future__ import annotations

import json

import httpx
import pytest
from redis import Redis

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.porkbun_client import PorkbunClient
from tests.contracts.test_registrars import fresh
from tests.contracts.tools import Sandbox, Scripted

__all__ = ["fresh"]  # A fixture.

CHECK = {
    "status": "SUCCESS",
    "response": {"avail": "yes", "price": "1,011.485", "premium": "no", "additional": {}},
}


def client_at(url: str, http: httpx.Client, redis: Redis, checks: int = 1000) -> PorkbunClient:
    return PorkbunClient(
        http=http,
        redis=redis,
        url=url,
        api_key="pk1_sandbox",
        secret_key="sk1_sandbox",
        checks=((10, checks),),
    )


def test_an_order_repeats_the_price_and_carries_a_key(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    client = client_at(scripted.url, http, valkey)
    keys = set()
    for order in (1, 2):
        scripted.say(200, json.dumps(CHECK))
        scripted.say(200, json.dumps({"status": "SUCCESS", "cost": 101_149, "orderId": order}))
        scripted.say(404, json.dumps({"status": "ERROR", "code": "NOT_FOUND"}))
        bought = client.register("acme.com", 1, cost_ceiling_cents=101_149)
        assert (bought.order_id, bought.charged_cents) == (str(order), 101_149)
        _, path, headers, body = scripted.asked[-2]
        assert path == "/domain/create/acme.com"
        assert json.loads(body) == {"cost": 101_149, "agreeToTerms": "yes"}
        keys.add(headers["idempotency-key"])
    assert len(keys) == 2


def test_a_key_used_again_orders_nothing_more(sandbox: Sandbox, fresh: str) -> None:
    headers = {"X-API-Key": "pk1_sandbox", "X-Secret-API-Key": "sk1_sandbox"}
    url = f"{sandbox.url}/porkbun/api/json/v3/domain/create/{fresh}"
    sandbox.control("porkbun/settings", prices={}, balance=100_000)
    order = {"cost": 1148, "agreeToTerms": "yes"}
    answers = [
        httpx.post(url, json=order, headers={**headers, "Idempotency-Key": fresh}).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["status"] == "SUCCESS"


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"orderId": 1},
        {"orderId": 1, "cost": "free"},
        {"orderId": 1, "cost": True},
        {"orderId": 1, "cost": 11.48},
        {"cost": 1148},
    ],
)
def test_whatever_is_unclear_about_an_order_is_unknown(
    scripted: Scripted, http: httpx.Client, valkey: Redis, told: dict[str, object]
) -> None:
    scripted.say(200, json.dumps(CHECK))
    scripted.say(200, json.dumps({"status": "SUCCESS", **told}))
    with pytest.raises(OutcomeUnknown):
        client_at(scripted.url, http, valkey).register("a.com", 1, cost_ceiling_cents=200_000)


@pytest.mark.parametrize(
    "response",
    [{}, {"avail": "yes"}, {"avail": "yes", "price": "cheap"}, {"avail": "yes", "price": "-1"}],
)
def test_a_check_that_cannot_be_read_is_no_answer(
    scripted: Scripted, http: httpx.Client, valkey: Redis, response: dict[str, str]
) -> None:
    scripted.say(200, json.dumps({"status": "SUCCESS", "response": response}))
    with pytest.raises(ProviderUnavailable):
        client_at(scripted.url, http, valkey).offers(["a.com"])


def test_a_name_is_sold_for_one_year_and_nobody_is_asked_for_more(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    (offer,) = client_at(scripted.url, http, valkey).offers(["a.com"], 3)
    assert (offer.available, scripted.asked) == (False, [])
    assert "one year" in str(offer.reason)


def test_we_stop_before_its_limiter_does(
    sandbox: Sandbox, http: httpx.Client, valkey: Redis, fresh: str
) -> None:
    sandbox.control("porkbun/settings", checks=1)
    client = client_at(f"{sandbox.url}/porkbun/api/json/v3", http, valkey, checks=1)
    try:
        assert client.offers([fresh])[0].available
        with pytest.raises(ProviderUnavailable) as caught:
            client.offers([fresh])
        assert caught.value.details["reason"] == "our own rate limit"
        # What is no check is not held up.
        assert client.find(fresh) is None
    finally:
        sandbox.control("porkbun/settings", checks=None)


def test_a_name_that_lost_its_lock_is_a_person_s_matter(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    bare = {"domain": "a.com", "securityLock": "0", "whoisPrivacy": "1"}
    scripted.say(200, json.dumps({"status": "SUCCESS", "domain": bare}))
    with pytest.raises(ProviderFailed, match="securityLock must be switched on"):
        client_at(scripted.url, http, valkey).protect("a.com")
