"""Delivery records: each stored and counted once, whoever sends them how often at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from app.database.models import DeliveryEvent, Inbox, InboxDay, InboxStatus
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.world import SECRET, Running

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Node:
    """A relay node that reports."""

    def __init__(self, url: str, inbox: tuple[UUID, UUID, UUID]) -> None:
        self.url, (self.tenant, self.domain, self.inbox) = url, inbox

    def record(self, kind: str = "Delivery", at: datetime = NOON, **more: Any) -> dict[str, Any]:
        return {
            "type": kind,
            "id": uuid4().hex,
            "sender": "a@sender-mail.com",
            "recipient": "bob@gmail.test",
            "event_time": at.isoformat().replace("+00:00", "Z"),
            "timestamp": int(at.timestamp()),
            "nodeid": "node-1",
            "session_id": "s-1",
            "response": {"code": 250, "content": "OK", "command": None},
            "meta": {"tenant": str(self.tenant), "x_inbox": str(self.inbox)},
            **more,
        }

    def post(self, records: list[dict[str, Any]], token: str = SECRET) -> httpx.Response:
        batch = [
            {"event_id": uuid4().hex, "node": "node-1", "record": record} for record in records
        ]
        return httpx.post(
            f"{self.url}/webhooks/kumomta",
            json={"records": batch},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )


@pytest.fixture
def node(world: Running, make_tenant: Callable[..., Any], make_domain: Callable[..., Any]) -> Node:
    return Node(world.api_url, make_inbox(make_tenant, make_domain))


def make_inbox(
    make_tenant: Callable[..., Any], make_domain: Callable[..., Any]
) -> tuple[UUID, UUID, UUID]:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db)
        domain = make_domain(db, tenant)
        address = f"a@{domain.domain_name}"
        inbox = Inbox(
            tenant_id=tenant.id,
            domain_id=domain.id,
            local_part="a",
            username=address,
            full_email=address,
            password=b"",
            password_hmac="",
            status=InboxStatus.ACTIVE,
            daily_limit=20,
            monthly_limit=600,
        )
        db.add(inbox)
        tenant.inboxes_count += 1
        db.flush()
        return tenant.id, domain.id, inbox.id


def stored() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return len(db.scalars(select(DeliveryEvent.id)).all())


def day_of(day: date = NOON.date()) -> InboxDay:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalars(select(InboxDay).where(InboxDay.day == day)).one()


def test_each_kind_moves_its_counter(node: Node) -> None:
    kinds = {
        "Reception": "accepted",
        "Delivery": "delivered",
        "TransientFailure": "deferred",
        "Bounce": "bounced",
        "Rejection": "rejected",
    }
    assert node.post([node.record(kind) for kind in kinds]).status_code == 200
    day = day_of()
    assert {name: getattr(day, name) for name in kinds.values()} == dict.fromkeys(kinds.values(), 1)
    assert (day.tenant_id, day.domain_id, day.inbox_id) == (node.tenant, node.domain, node.inbox)


def test_a_repeated_batch_counts_once(node: Node) -> None:
    records = [node.record("Reception") for _ in range(20)]
    first, second = node.post(records), node.post(records)
    assert first.json()["data"] == {"accepted": 20, "stored": 20}
    assert second.json()["data"] == {"accepted": 20, "stored": 0}
    assert (stored(), day_of().accepted) == (20, 20)


def test_the_same_record_twice_in_one_batch(node: Node) -> None:
    record = node.record("Reception")
    assert node.post([record, record]).json()["data"]["stored"] == 1
    assert day_of().accepted == 1


def test_eight_nodes_at_once_with_overlap(
    node: Node, make_tenant: Callable[..., Any], make_domain: Callable[..., Any]
) -> None:
    """Every writer touches every inbox, in another order: no deadlock, no count lost."""
    nodes = [node] + [Node(node.url, make_inbox(make_tenant, make_domain)) for _ in range(9)]
    records = [each.record("Reception") for each in nodes for _ in range(30)]
    shuffles = [records[start:] + records[:start] for start in range(0, 300, 37)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(node.post, shuffles))
    assert {answer.status_code for answer in answers} == {200}
    assert stored() == 300
    with transaction(tenant=ALL_TENANTS) as db:
        assert {day.accepted for day in db.scalars(select(InboxDay))} == {30}
        assert {inbox.emails_sent_today for inbox in db.scalars(select(Inbox))} == {30}


def test_a_new_day_starts_at_zero_and_an_old_record_does_not_turn_it_back(node: Node) -> None:
    node.post([node.record("Reception"), node.record("Reception")])
    node.post([node.record("Reception", NOON + timedelta(days=1))])
    node.post([node.record("Reception")])  # Late news of yesterday.
    with transaction(tenant=ALL_TENANTS) as db:
        inbox = db.get_one(Inbox, node.inbox)
        assert (inbox.emails_sent_today, inbox.emails_sent_this_month) == (1, 3)
    assert day_of().accepted == 3


def test_a_new_month_starts_at_zero(node: Node) -> None:
    node.post([node.record("Reception", datetime(2026, 11, 30, 23, 59, tzinfo=UTC))])
    node.post([node.record("Reception", datetime(2026, 12, 1, 0, 0, tzinfo=UTC))])
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Inbox, node.inbox).emails_sent_this_month == 1


def test_our_own_holding_back_is_not_the_receivers_doing(node: Node) -> None:
    held = {"code": 451, "content": "KumoMTA internal: scheduled queue is suspended: ig:kill"}
    node.post([node.record("TransientFailure", response=held), node.record("TransientFailure")])
    assert day_of().deferred == 1


def test_strangers_are_accepted_and_forgotten(node: Node) -> None:
    """A record about nobody we know must not make the node keep the whole batch."""
    records = [
        node.record(meta={}),
        node.record(meta={"tenant": str(uuid4())}),
        node.record(meta={"tenant": "not an id"}),
        node.record("Reception"),
    ]
    assert node.post(records).json()["data"] == {"accepted": 4, "stored": 1}


def test_an_inbox_of_another_tenant_is_not_counted(
    node: Node, make_tenant: Callable[..., Any], make_domain: Callable[..., Any]
) -> None:
    _, _, foreign = make_inbox(make_tenant, make_domain)
    meta = {"tenant": str(node.tenant), "x_inbox": str(foreign)}
    assert node.post([node.record("Reception", meta=meta)]).status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(DeliveryEvent)).one().inbox_id is None
        assert db.scalars(select(InboxDay)).all() == []


@pytest.mark.parametrize("token", ["x", SECRET[:-1]])
def test_without_the_token_nothing_is_taken(node: Node, token: str) -> None:
    assert node.post([node.record()], token=token).status_code == 401
    assert stored() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"records": 1}',
        b'{"records": [1]}',
        b'{"records": [{}]}',
        b'{"records": [{"record": {"type": 5}}]}',
        json.dumps({"records": [{}] * 10_001}).encode(),
    ],
)
def test_bad_batches_are_refused_whole(node: Node, body: bytes) -> None:
    answer = httpx.post(
        f"{node.url}/webhooks/kumomta",
        content=body,
        headers={"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "VALIDATION_ERROR"
    assert stored() == 0


def test_a_text_with_nul_is_kept_without_it(node: Node) -> None:
    response = {"code": 550, "content": "no\x00pe", "command": "RCPT\x00"}
    assert node.post([node.record("Bounce", response=response)]).status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(DeliveryEvent)).one().response == "nope"
