"""Several nodes: what each acknowledged, what it forgot, and that all are brought into line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from app.errors import ProviderUnavailable
from app.integrations.kumo_client import KumoClient
from app.integrations.ports import NodeRepairs, Sent
from tests.contracts.tools import Sandbox

TOKEN = "token-of-the-control-plane"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(
        ("dns", "namecheap", "cloudflare", "kumomta"),
        SANDBOX_KUMOMTA_NODES="2",
        IG_ADMIN_TOKEN=TOKEN,
        IG_MTA_TOKEN="token-of-the-node",
        IG_AUTH_PEPPER="pepper",
        IG_TRACE_KEY="trace-key",
        IG_REDIS_URL=os.environ["REDIS_URL"],
        IG_CONTROL_URL="http://127.0.0.1:9",
    )
    yield made
    made.close()


@pytest.fixture
def nodes(sandbox: Sandbox) -> Iterator[list[str]]:
    yield [f"{sandbox.url}/kumomta", f"{sandbox.url}/kumomta/nodes/2"]
    httpx.post(f"{sandbox.url}/control/kumomta/nodes/2/start")


@pytest.fixture
def mail(nodes: list[str], http: httpx.Client, valkey: Redis) -> KumoClient:
    client = KumoClient(http=http, redis=valkey, nodes=lambda: nodes, admin_token=TOKEN)
    client.align_nodes(lambda: (set(), set()))
    return client


def second(sandbox: Sandbox, deed: str) -> None:
    assert httpx.post(f"{sandbox.url}/control/kumomta/nodes/2/{deed}").is_success


def nothing(repairs: NodeRepairs) -> NodeRepairs:
    """The same without the name that the machine gave itself when it was made."""
    return replace(repairs, node_id=None)


def held(node: str) -> set[tuple[str | None, str | None]]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{node}/api/admin/suspend/v1", headers=headers)
    entries: list[dict[str, Any]] = answer.json()
    return {(entry.get("tenant"), entry.get("campaign")) for entry in entries}


def test_every_order_is_acknowledged_by_every_node(mail: KumoClient, nodes: list[str]) -> None:
    tenant = str(uuid4())
    mail.kill_tenant(tenant, reason="abuse")
    for state in mail.nodes():
        assert state.reachable
        assert state.online_since
        (order,) = [order for order in state.orders if tenant in order.order]
        assert (order.order, order.acknowledged) == (f"kill {tenant}", True)
    mail.revive_tenant(tenant)
    orders = [order.order for state in mail.nodes() for order in state.orders]
    assert orders.count(f"revive {tenant}") == 2
    assert f"kill {tenant}" not in orders
    assert held(nodes[0]) == held(nodes[1]) == set()


def test_an_inbox_is_held_let_go_and_bounced_by_itself(mail: KumoClient, nodes: list[str]) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def epoch() -> int:
        answer = httpx.post(f"{nodes[0]}/api/admin/bump-config-epoch", headers=headers)
        return int(answer.json()["epoch"])

    inbox = str(uuid4())
    mail.hold_inbox(inbox)
    assert held(nodes[0]) == held(nodes[1]) == {(None, inbox)}
    before = epoch()
    mail.release_inbox(inbox)
    assert held(nodes[0]) == held(nodes[1]) == set()
    assert epoch() == before + 2
    # Nothing is held any more, so nothing has to be looked at anew.
    mail.release_inbox(inbox)
    assert epoch() == before + 3
    mail.bounce_inbox(inbox)
    for node in nodes:
        rules = httpx.get(f"{node}/api/admin/bounce/v1", headers=headers).json()
        assert inbox in {rule.get("campaign") for rule in rules}


def test_a_node_that_was_down_is_named_and_gets_its_orders_when_it_is_back(
    mail: KumoClient, sandbox: Sandbox, nodes: list[str]
) -> None:
    tenant = str(uuid4())
    second(sandbox, "stop")
    with pytest.raises(ProviderUnavailable):
        mail.kill_tenant(tenant, reason="abuse")
    good, down = mail.nodes()
    assert good.orders[0].acknowledged
    assert (down.reachable, down.orders[0].acknowledged) == (False, False)
    assert down.orders[0].detail
    (first, away) = mail.align_nodes(lambda: ({tenant}, set()))
    assert (nothing(first), away.reachable) == (NodeRepairs(nodes[0], reachable=True), False)

    second(sandbox, "start")
    (_, back) = mail.align_nodes(lambda: ({tenant}, set()))
    # It put the kill back by itself from Redis only where that is whole; here it is not.
    assert (back.restarted, back.added >= 1) == (True, True)
    assert (tenant, None) in held(nodes[1])
    again = mail.align_nodes(lambda: ({tenant}, set()))
    assert [nothing(node) for node in again] == [NodeRepairs(node, True) for node in nodes]
    assert None not in {node.node_id for node in again}


def test_a_restart_is_noticed_and_only_what_is_wanted_stays(
    mail: KumoClient, sandbox: Sandbox, nodes: list[str]
) -> None:
    tenant, inbox, stale = (str(uuid4()) for _ in range(3))
    mail.kill_tenant(stale, reason="abuse")
    second(sandbox, "restart")
    repairs = mail.align_nodes(lambda: ({tenant}, {inbox}))
    assert [repair.restarted for repair in repairs] == [False, True]
    for node in nodes:
        assert held(node) == {(tenant, None), (None, inbox)}
    assert mail.align_nodes(lambda: (set(), set()))[1].removed == 2
    assert held(nodes[1]) == set()


def test_strangers_suspensions_are_left_alone(mail: KumoClient, nodes: list[str]) -> None:
    body = {"tenant": "t", "reason": "by hand", "duration": "1h"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"{nodes[0]}/api/admin/suspend/v1", json=body, headers=headers)
    mail.align_nodes(lambda: (set(), set()))
    assert held(nodes[0]) == {("t", None)}
    httpx.request("DELETE", f"{nodes[0]}/api/admin/suspend/v1", json=answer.json(), headers=headers)


def test_counters_are_raised_never_lowered(mail: KumoClient, valkey: Redis) -> None:
    from app import clock

    today = clock.now().date()
    day, month = f"ig:q:i1:d:{today:%Y%m%d}", f"ig:q:i1:m:{today:%Y%m}"
    valkey.set(month, 90)
    mail.restore_counters([Sent("i1", today, 7, 80)])
    assert (valkey.get(day), valkey.get(month)) == ("7", "90")
    assert valkey.ttl(day) > 0


def test_a_second_wipe_during_the_repair_leaves_the_mark_off(
    mail: KumoClient, valkey: Redis
) -> None:
    valkey.flushdb()
    assert not mail.is_whole()
    token = mail.begin_restore()
    valkey.flushdb()
    assert not mail.end_restore(token)
    assert not mail.is_whole()
    assert mail.end_restore(mail.begin_restore())
    assert mail.is_whole()


def test_verification_names_a_node_that_does_not_hold_the_tenant(
    mail: KumoClient, sandbox: Sandbox, valkey: Redis
) -> None:
    tenant, email = str(uuid4()), "canary@acme.test"
    fields: dict[Any, Any] = {
        "inbox": str(uuid4()),
        "tenant": tenant,
        "domain": "acme.test",
        "email": email,
    }
    fields |= {"h": "00", "status": "active", "day_limit": "1", "month_limit": "1"}
    valkey.hset(f"ig:inbox:{email}", mapping=fields)
    assert mail.end_restore(mail.begin_restore())
    mail.kill_tenant(tenant, reason="abuse")
    assert all(verdict.stopped for verdict in mail.verify_killed(tenant, canary=email))
    second(sandbox, "restart")
    # Its policy asked Redis for the kills before it read the spool.
    assert all(verdict.holds for verdict in mail.verify_killed(tenant, canary=email))
    valkey.srem("ig:killed", f"t:{tenant}")
    verdicts = mail.verify_killed(tenant, canary=email)
    assert [verdict.refuses for verdict in verdicts] == [False, False]
