"""MailPlatform: the directory in Redis, and orders that every node must have taken."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from app.errors import ProviderUnavailable
from app.integrations.kumo_client import BLOCK, KumoClient
from app.integrations.ports import InboxEntry
from tests.contracts.tools import MISHAPS, Line, Sandbox, Scripted

TOKEN = "token-of-the-control-plane"


@pytest.fixture(scope="session")
def _node() -> Iterator[Sandbox]:
    node = Sandbox(
        ("dns", "namecheap", "cloudflare", "kumomta"),
        IG_ADMIN_TOKEN=TOKEN,
        IG_MTA_TOKEN="token-of-the-node",
        IG_AUTH_PEPPER="pepper",
        IG_TRACE_KEY="trace-key",
        IG_REDIS_URL=os.environ["REDIS_URL"],
        # The control plane plays no part here.
        IG_CONTROL_URL="http://127.0.0.1:9",
    )
    yield node
    node.close()


@pytest.fixture
def node(_node: Sandbox) -> Iterator[Sandbox]:
    _node.heal()
    yield _node
    _node.heal()


@pytest.fixture
def mail(node: Sandbox, http: httpx.Client, valkey: Redis) -> KumoClient:
    return client_for([f"{node.url}/kumomta"], http, valkey)


def client_for(nodes: list[str], http: httpx.Client, redis: Redis, **more: Any) -> KumoClient:
    return KumoClient(http=http, redis=redis, nodes=lambda: nodes, **{"admin_token": TOKEN, **more})


@pytest.fixture
def tenant() -> str:
    return str(uuid4())


def entry(number: int, **fields: Any) -> InboxEntry:
    email = f"u{number}@acme.test"
    made = InboxEntry(
        username=email,
        inbox_id=f"inbox-{number}",
        tenant_id="tenant-1",
        domain="acme.test",
        email=email,
        password_hmac="ab" * 32,
        status="active",
        daily_limit=50,
        monthly_limit=1500,
        hourly_limit=25,
        recipient_domain_limit=30,
    )
    return replace(made, **fields)


def held(node: Sandbox) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{node.url}/kumomta/api/admin/suspend/v1", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    found: list[dict[str, Any]] = answer.json()
    return found


def suspensions(node: Sandbox, tenant: str) -> list[dict[str, Any]]:
    return [suspension for suspension in held(node) if suspension.get("tenant") == tenant]


# The directory ----------------------------------------------------------------------------------


def test_an_inbox_is_written_as_the_relay_reads_it(mail: KumoClient, valkey: Redis) -> None:
    mail.publish_inboxes([entry(1)])
    assert valkey.hgetall("ig:inbox:u1@acme.test") == {
        "inbox": "inbox-1",
        "tenant": "tenant-1",
        "domain": "acme.test",
        "email": "u1@acme.test",
        "h": "ab" * 32,
        "status": "active",
        "day_limit": "50",
        "month_limit": "1500",
        "hour_limit": "25",
        "domain_limit": "30",
    }


def test_any_number_is_published_and_compared(mail: KumoClient, valkey: Redis) -> None:
    entries = [entry(i) for i in range(2 * BLOCK + 7)]
    assert mail.drifted(entries) == entries
    mail.publish_inboxes(entries)
    assert mail.drifted(entries) == []
    assert mail.drifted([*entries, entry(-1)]) == [entry(-1)]
    assert set(next(mail.usernames())) <= {e.username for e in entries}
    assert {name for block in mail.usernames() for name in block} == {e.username for e in entries}
    mail.remove_inboxes([e.username for e in entries[1:]])
    assert mail.drifted(entries) == entries[1:]
    changed = replace(entries[0], status="paused", daily_limit=5)
    assert mail.drifted([changed]) == [changed]
    mail.publish_inboxes([changed])
    assert mail.drifted([changed]) == []
    mail.publish_inboxes([])
    mail.remove_inboxes([])
    assert mail.drifted([]) == []


@pytest.mark.parametrize(
    "field", ["inbox", "tenant", "domain", "email", "h", "status", "day_limit", "month_limit"]
)
@pytest.mark.parametrize("value", [None, "otherwise"])
def test_a_damaged_row_is_found(
    mail: KumoClient, valkey: Redis, field: str, value: str | None
) -> None:
    mail.publish_inboxes([entry(1), entry(2)])
    if value is None:
        valkey.hdel("ig:inbox:u1@acme.test", field)
    else:
        valkey.hset("ig:inbox:u1@acme.test", field, value)
    assert mail.drifted([entry(1), entry(2)]) == [entry(1)]


def test_relays_and_suppressions(mail: KumoClient, valkey: Redis) -> None:
    mail.add_relay("acme.test", tenant_id="t1", selector="ig1")
    assert valkey.hgetall("ig:domain:acme.test") == {
        "tenant": "t1",
        "selector": "ig1",
        "status": "active",
    }
    mail.remove_relay("acme.test")
    assert not valkey.exists("ig:domain:acme.test")
    mail.suppress("t1", ["a@b.test", "@c.test"])
    mail.suppress("t1", ["a@b.test"])
    mail.suppress("t1", [])
    assert valkey.smembers("ig:suppressed:t1") == {"a@b.test", "@c.test"}
    mail.unsuppress("t1", ["a@b.test", "never@there.test"])
    mail.unsuppress("t1", [])
    assert valkey.smembers("ig:suppressed:t1") == {"@c.test"}


# Orders to the nodes ----------------------------------------------------------------------------


def test_a_tenant_is_killed_and_revived(
    mail: KumoClient, node: Sandbox, valkey: Redis, tenant: str
) -> None:
    for _ in range(2):
        mail.kill_tenant(tenant, reason="abuse")
        (suspension,) = suspensions(node, tenant)
        assert suspension["reason"].startswith(f"ig:kill:{tenant}")
    assert valkey.smembers("ig:killed") == {f"t:{tenant}"}
    valkey.sadd("ig:killed", "i:some-inbox")
    assert mail.killed_tenants() == {tenant}
    for _ in range(2):
        mail.revive_tenant(tenant)
        assert suspensions(node, tenant) == []
        assert mail.killed_tenants() == set()
    assert valkey.smembers("ig:killed") == {"i:some-inbox"}


def test_only_our_own_suspension_is_lifted(mail: KumoClient, node: Sandbox, tenant: str) -> None:
    other = str(uuid4())
    mail.kill_tenant(other, reason="abuse")
    by_hand = {"campaign": "c1", "tenant": tenant, "reason": "an operator's own"}
    httpx.post(
        f"{node.url}/kumomta/api/admin/suspend/v1",
        json=by_hand,
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).raise_for_status()
    mail.kill_tenant(tenant, reason="abuse")
    mail.revive_tenant(tenant)
    assert [s["reason"] for s in suspensions(node, tenant)] == ["an operator's own"]
    assert len(suspensions(node, other)) == 1


def test_a_suspension_outlasts_every_queued_message(
    mail: KumoClient, node: Sandbox, tenant: str
) -> None:
    # kumod's own default is five minutes.
    mail.kill_tenant(tenant, reason="abuse")
    node.control("clock/advance", days=8)
    assert len(suspensions(node, tenant)) == 1


def test_a_node_that_is_away_is_named_and_the_others_are_told(
    node: Sandbox, http: httpx.Client, valkey: Redis, tenant: str, nowhere: str
) -> None:
    good, away = f"{node.url}/kumomta", f"http://{nowhere}"
    mail = client_for([away, good], http, valkey)
    with pytest.raises(ProviderUnavailable) as caught:
        mail.kill_tenant(tenant, reason="abuse")
    assert away in caught.value.message
    assert good not in caught.value.message
    assert mail.killed_tenants() == {tenant}
    assert len(suspensions(node, tenant)) == 1
    with pytest.raises(ProviderUnavailable, match=nowhere):
        mail.revive_tenant(tenant)
    assert suspensions(node, tenant) == []
    with pytest.raises(ProviderUnavailable, match=nowhere):
        mail.reload()


def test_slow_nodes_are_waited_for_at_once_and_not_for_long(
    http: httpx.Client, valkey: Redis, tenant: str
) -> None:
    slow = [Scripted() for _ in range(4)]
    try:
        for node in slow:
            node.stay_silent()
        mail = client_for([node.url for node in slow], http, valkey)
        begun = time.monotonic()
        with pytest.raises(ProviderUnavailable) as caught:
            mail.kill_tenant(tenant, reason="abuse")
        assert 1.5 < time.monotonic() - begun < 4.0
        assert all(node.url in caught.value.message for node in slow)
    finally:
        for node in slow:
            node.close()


@pytest.mark.parametrize("mode", [mode for mode in MISHAPS if mode != "garbage"])
def test_an_order_that_went_wrong_can_be_given_again(
    node: Sandbox, http: httpx.Client, valkey: Redis, tenant: str, mode: str
) -> None:
    line = Line(node)
    try:
        _given_again(line, client_for([f"{line.url}/kumomta"], http, valkey), tenant, mode)
    finally:
        line.close()


def _given_again(line: Line, mail: KumoClient, tenant: str, mode: str) -> None:
    node = line.sandbox
    line.mishap("kumomta", "POST .*/suspend/v1", mode)
    with pytest.raises(ProviderUnavailable):
        mail.kill_tenant(tenant, reason="abuse")
    mail.kill_tenant(tenant, reason="abuse")
    assert len(suspensions(node, tenant)) == 1
    line.mishap("kumomta", "DELETE .*/suspend/v1", mode)
    with pytest.raises(ProviderUnavailable):
        mail.revive_tenant(tenant)
    mail.revive_tenant(tenant)
    assert suspensions(node, tenant) == []


def test_a_refused_order_is_not_given_up(
    node: Sandbox, http: httpx.Client, valkey: Redis, tenant: str
) -> None:
    stranger = client_for([f"{node.url}/kumomta"], http, valkey, admin_token="very-secret")
    with pytest.raises(ProviderUnavailable) as caught:
        stranger.kill_tenant(tenant, reason="abuse")
    assert "401" in caught.value.message
    assert "very-secret" not in f"{caught.value} {caught.value.details}"


def test_without_redis_the_nodes_are_told_all_the_same(
    node: Sandbox, http: httpx.Client, no_redis: Redis, tenant: str
) -> None:
    mail = client_for([f"{node.url}/kumomta"], http, no_redis)
    with pytest.raises(ProviderUnavailable, match="Redis"):
        mail.kill_tenant(tenant, reason="abuse")
    assert len(suspensions(node, tenant)) == 1
    for call in (
        lambda: mail.publish_inboxes([entry(1)]),
        lambda: mail.remove_inboxes(["a@b.test"]),
        lambda: mail.drifted([entry(1)]),
        lambda: mail.add_relay("a.test", tenant_id="t", selector="s"),
        lambda: mail.suppress("t", ["a@b.test"]),
        lambda: mail.revive_tenant(tenant),
        mail.killed_tenants,
    ):
        with pytest.raises(ProviderUnavailable, match="Redis"):
            call()


def test_a_reload_reaches_the_node(mail: KumoClient, node: Sandbox) -> None:
    def epoch() -> int:
        answer = httpx.post(
            f"{node.url}/kumomta/api/admin/bump-config-epoch",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        return int(answer.json()["epoch"])

    before = epoch()
    mail.reload()
    assert epoch() == before + 2


def test_the_state_of_every_node_is_told(
    node: Sandbox, scripted: Scripted, http: httpx.Client, valkey: Redis, tenant: str, nowhere: str
) -> None:
    urls = [f"{node.url}/kumomta", f"http://{nowhere}", scripted.url]
    mail = client_for(urls, http, valkey)
    before = mail.nodes()[0].suspensions
    assert before is not None
    client_for(urls[:1], http, valkey).kill_tenant(tenant, reason="abuse")
    scripted.say(200, '{"not": "a list"}')
    good, away, odd = mail.nodes()
    assert (good.url, good.reachable, good.suspensions) == (urls[0], True, before + 1)
    assert (away.reachable, away.suspensions) == (False, None)
    assert away.detail
    assert not odd.reachable


@pytest.mark.parametrize("answer", [(200, "[{"), (200, "null"), (200, ""), (302, ""), (200, "{}")])
def test_a_node_that_talks_nonsense_has_not_obeyed(
    scripted: Scripted, http: httpx.Client, valkey: Redis, tenant: str, answer: tuple[int, str]
) -> None:
    scripted.say(*answer)
    with pytest.raises(ProviderUnavailable):
        client_for([scripted.url], http, valkey).revive_tenant(tenant)


def test_an_entry_that_ran_out_meanwhile_is_fine(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    scripted.say(200, '[{"id": "s1", "tenant": "t1", "reason": "ig:kill:t1"}]')
    scripted.say(404, "not found")
    scripted.say(200, "[]")
    scripted.say(200, "")
    scripted.say(200, "{}")
    client_for([f"{scripted.url}/"], http, valkey).revive_tenant("t1")
    asked = [(method, path) for method, path, _, _ in scripted.asked]
    admin = "/api/admin"
    assert asked == [
        ("GET", f"{admin}/suspend/v1"),
        ("DELETE", f"{admin}/suspend/v1"),
        ("GET", f"{admin}/bounce/v1"),
        ("POST", f"{admin}/bump-config-epoch"),
        ("POST", f"{admin}/rebind/v1"),
    ]
    bodies = [httpx.Response(200, content=body or b"null").json() for *_, body in scripted.asked]
    assert bodies[1] == {"id": "s1"}
    assert (bodies[4]["tenant"], bodies[4]["always_flush"], bodies[4]["data"]) == ("t1", True, {})
    assert {headers["authorization"] for _, _, headers, _ in scripted.asked} == {f"Bearer {TOKEN}"}


def test_without_nodes_nothing_was_obeyed(http: httpx.Client, valkey: Redis, tenant: str) -> None:
    mail = client_for([], http, valkey)
    with pytest.raises(ProviderUnavailable) as caught:
        mail.kill_tenant(tenant, reason="abuse")
    assert caught.value.details["reason"] == "no node is known"
    assert mail.killed_tenants() == {tenant}
