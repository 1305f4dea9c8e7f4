"""Delivery records: each stored and counted once, whoever sends them how often at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from app.database.models import DeliveryEvent, DomainDay, Inbox, InboxDay, ProviderDay, TenantDay
from app.database.session import ALL_TENANTS, transaction
from app.rules.records import KINDS
from tests.fixtures.relay import Address, Node, last_month_end, noon
from tests.fixtures.world import SECRET


def stored() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return len(db.scalars(select(DeliveryEvent.id)).all())


def day_of() -> InboxDay:
    """Yesterday's counts of the only inbox."""
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalars(select(InboxDay).where(InboxDay.day == noon().date())).one()


def answered(answer: httpx.Response, **counts: int) -> None:
    data = answer.json()["data"]
    assert {name: count for name, count in data.items() if count} == counts


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
    answered(first, accepted=20, stored=20)
    answered(second, accepted=20, repeated=20)
    assert (stored(), day_of().accepted) == (20, 20)


def test_the_same_record_twice_in_one_batch(node: Node) -> None:
    record = node.record("Reception")
    assert node.post([record, record]).json()["data"]["stored"] == 1
    assert day_of().accepted == 1


def test_eight_nodes_at_once_with_overlap(node: Node, make_inbox: Callable[[], Address]) -> None:
    """Every writer touches every inbox, in another order: no deadlock, no count lost."""
    nodes = [node] + [Node(node.url, make_inbox()) for _ in range(9)]
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
    this_month = 1 if noon(ago=0).day == 1 else 3
    node.post([node.record("Reception"), node.record("Reception")])
    node.post([node.record("Reception", noon(ago=0))])
    node.post([node.record("Reception")])  # Late news of yesterday.
    with transaction(tenant=ALL_TENANTS) as db:
        inbox = db.get_one(Inbox, node.inbox)
        assert (inbox.emails_sent_today, inbox.emails_sent_this_month) == (1, this_month)
    assert day_of().accepted == 3


def test_a_new_month_starts_at_zero(node: Node) -> None:
    node.post([node.record("Reception", last_month_end())])
    node.post([node.record("Reception", last_month_end() + timedelta(minutes=1))])
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Inbox, node.inbox).emails_sent_this_month == 1


def test_the_four_roll_ups_agree(node: Node, make_inbox: Callable[[], Address]) -> None:
    unknown = {"code": 550, "content": "5.1.1 user unknown"}
    nodes = [node, Node(node.url, make_inbox())]
    node.post([
        each.record(kind, noon(ago), recipient=f"bob@{domain}", response=unknown)
        for each in nodes
        for ago in (1, 2)
        for domain in ("gmail.com", "outlook.com", "corp.test")
        for kind in ("Reception", "Delivery", "Bounce")
    ])  # fmt: skip
    with transaction(tenant=ALL_TENANTS) as db:
        for table, rows in ((InboxDay, 4), (DomainDay, 4), (ProviderDay, 12), (TenantDay, 4)):
            days = db.scalars(select(table)).all()
            assert len(days) == rows
            sums = {kind: sum(getattr(day, kind) for day in days) for kind in KINDS}
            assert {kind: n for kind, n in sums.items() if n} == dict.fromkeys(
                ("accepted", "delivered", "bounced", "unknown_users"), 12
            )
        assert {day.provider for day in db.scalars(select(ProviderDay))} == {
            "google", "microsoft", "other",
        }  # fmt: skip


def test_what_is_too_old_or_in_the_future_is_neither_stored_nor_counted(node: Node) -> None:
    records = [node.record("Reception", noon(ago)) for ago in (-2, 0, 90, 91)]
    answered(node.post(records), accepted=4, stored=2, out_of_range=2)
    answered(node.post(records), accepted=4, repeated=2, out_of_range=2)


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
    answered(node.post(records), accepted=4, stored=1, ignored=2, repeated=1)


def test_an_inbox_of_another_tenant_is_not_counted(
    node: Node, make_inbox: Callable[[], Address]
) -> None:
    _, _, foreign = make_inbox()
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
