"""The DNS provider's allowances: calls of the token, zones that wait, and answers gone bad."""

from __future__ import annotations

import json
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.cloudflare_client import CloudflareClient
from app.integrations.namecheap_limits import RateLimit
from app.integrations.ports import DNSRecord
from tests.contracts.tools import Sandbox, Scripted

TOKEN = "sandbox-token"
RECORD = DNSRecord("TXT", "acme-mail.com", "v=spf1 -all", purpose="spf")


def client_at(url: str, http: httpx.Client, **more: object) -> CloudflareClient:
    given = {"token": TOKEN, "account_id": "sandbox-account", **more}
    return CloudflareClient(http=http, url=url, **given)  # type: ignore[arg-type]  # Few of many.


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    sandbox.control("cloudflare/settings", requests="real", pending_zones=None)
    return f"{sandbox.url}/cloudflare/client/v4"


def fresh() -> str:
    return f"x{uuid4().hex[:16]}.com"


def pending(sandbox: Sandbox) -> int:
    """As the API counts it, which looks at the delegations first."""
    answer = httpx.get(
        f"{sandbox.url}/cloudflare/client/v4/zones",
        params={"status": "pending"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    return int(answer.json()["result_info"]["total_count"])


# Calls ------------------------------------------------------------------------------------------


def test_all_who_use_the_token_share_its_calls(url: str, http: httpx.Client, valkey: Redis) -> None:
    key = uuid4().hex
    limits = [RateLimit(valkey, key, ((300, 5),), provider="Cloudflare") for _ in range(2)]
    first, second = (client_at(url, http, limit=limit) for limit in limits)
    zone = first.ensure_zone(fresh())  # A look and a write.
    second.get_zone(zone.id)
    second.get_zone(zone.id)
    first.get_zone(zone.id)
    for client in (first, second):
        with pytest.raises(ProviderUnavailable) as caught:
            client.get_zone(zone.id)
        assert caught.value.details["provider"] == "Cloudflare"
        assert caught.value.details["reason"] == "our own rate limit"
        assert 290 <= caught.value.details["retry_after"] <= 301


def test_what_we_hold_back_is_not_sent(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    limit = RateLimit(valkey, uuid4().hex, ((300, 1),), provider="Cloudflare")
    dns = client_at(scripted.url, http, limit=limit)
    scripted.say(200, json.dumps({"success": True, "result": []}))
    with pytest.raises(ProviderUnavailable):
        dns.apply("z", [RECORD])  # The look takes the only call; the write is not begun.
    assert [method for method, *_ in scripted.asked] == ["GET"]


# Zones that wait --------------------------------------------------------------------------------


def test_no_zone_is_made_while_too_many_wait(
    sandbox: Sandbox, url: str, http: httpx.Client
) -> None:
    before = pending(sandbox)
    dns = client_at(url, http, pending_zones=before + 2)
    zones = [dns.ensure_zone(fresh()) for _ in range(2)]
    name = fresh()
    with pytest.raises(ProviderUnavailable) as caught:
        dns.ensure_zone(name)
    assert f"{before + 2} zones wait" in caught.value.details["reason"]
    assert caught.value.details["retry_after"] > 0
    assert pending(sandbox) == before + 2
    # One that exists needs no room, and one that became active gives its room back.
    assert dns.ensure_zone(zones[0].name) == zones[0]
    servers = list(zones[1].name_servers)
    sandbox.control("namecheap/elsewhere", domain=zones[1].name, name_servers=servers)
    assert dns.get_zone(zones[1].id).status == "active"
    assert dns.ensure_zone(name).name == name


def test_their_own_cap_is_waited_for_as_well(
    sandbox: Sandbox, url: str, http: httpx.Client
) -> None:
    """Theirs is lower than we think: the refusal is no failure of the name."""
    sandbox.control("cloudflare/settings", pending_zones=pending(sandbox))
    with pytest.raises(ProviderUnavailable) as caught:
        client_at(url, http).ensure_zone(fresh())
    assert caught.value.details["retry_after"] > 0
    assert "1118" in caught.value.details["reason"]


# Bad answers ------------------------------------------------------------------------------------

LOOKED = json.dumps({"success": True, "result": []})
NO = json.dumps({"success": False, "errors": [{"code": 9999, "message": "no"}], "result": None})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "<html><title>Just a moment...</title></html>", OutcomeUnknown),
        (200, '{"success": true, "resu', OutcomeUnknown),
        (200, "", OutcomeUnknown),
        (200, "[]", OutcomeUnknown),
        (502, "<html>Bad gateway</html>", OutcomeUnknown),
        (200, NO, ProviderFailed),
        (400, NO, ProviderFailed),
        (200, '{"success": "true", "result": {}}', ProviderFailed),
    ],
)
def test_a_write_is_sent_once_whatever_comes_back(
    scripted: Scripted, http: httpx.Client, status: int, body: str, kind: type[Exception]
) -> None:
    scripted.say(200, LOOKED)
    scripted.say(status, body)
    with pytest.raises(kind):
        client_at(scripted.url, http).apply("z", [RECORD])
    assert [method for method, *_ in scripted.asked] == ["GET", "POST"]


@pytest.mark.parametrize("code", [81057, 81058])
def test_a_record_that_is_there_already_is_compared(
    scripted: Scripted, http: httpx.Client, code: int
) -> None:
    refused = {"success": False, "errors": [{"code": code, "message": "exists"}], "result": None}
    row = {"id": "r", "type": "TXT", "name": RECORD.name, "content": '"v=spf1 -all"'}
    scripted.say(200, LOOKED)
    scripted.say(400, json.dumps(refused))
    scripted.say(200, json.dumps({"success": True, "result": [row]}))
    assert client_at(scripted.url, http).apply("z", [RECORD]) == 0
    # It exists with other content: that is no success.
    scripted.say(200, LOOKED)
    scripted.say(400, json.dumps(refused))
    scripted.say(200, LOOKED)
    with pytest.raises(ProviderFailed):
        client_at(scripted.url, http).apply("z", [RECORD])


def test_a_list_without_its_length_is_no_answer(scripted: Scripted, http: httpx.Client) -> None:
    for _ in range(4):
        scripted.say(200, LOOKED)
    with pytest.raises(ProviderUnavailable) as caught:
        client_at(scripted.url, http, pending_zones=3).ensure_zone("acme-mail.com")
    assert type(caught.value) is ProviderUnavailable
    assert {method for method, *_ in scripted.asked} == {"GET"}
