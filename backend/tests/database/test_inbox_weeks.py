"""Sums of weeks are never anything but the sums of their days, whatever comes late and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select, text

from app import clock, events
from app.database import outbox
from app.database.models import DomainDay, InboxDay, InboxWeek, Tenant, TenantDay
from app.database.queries import analytics, inbox_weeks
from app.database.session import ALL_TENANTS, transaction
from app.rules.records import KINDS
from tests.fixtures.database import WAITING
from tests.fixtures.relay import Address, Node, add_inbox, noon
from tests.fixtures.world import eventually

WEEK = timedelta(days=7)


def sum_up(at_most: int = 1_000) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return inbox_weeks.sum_up(db, clock.now().date(), at_most=at_most)


def weeks() -> list[date]:
    """Mondays that are summed."""
    with transaction(tenant=ALL_TENANTS) as db:
        return sorted(set(db.scalars(select(InboxWeek.week))))


def by_inbox(tenant: UUID, since: date, until: date) -> dict[str, tuple[int, ...]]:
    with transaction(tenant=tenant) as db:
        groups = analytics.grouped(db, since, until, "inbox", at_most=None)
    return {str(group.id): tuple(getattr(group, kind) for kind in KINDS) for group in groups}


def by_days(tenant: UUID, since: date, until: date) -> dict[str, tuple[int, ...]]:
    """The same, from the days alone."""
    sums = [func.sum(getattr(InboxDay, kind)) for kind in KINDS]
    with transaction(tenant=tenant) as db:
        rows = db.execute(
            select(InboxDay.inbox_id, *sums)
            .where(InboxDay.day.between(since, until))
            .group_by(InboxDay.inbox_id)
        )
        return {str(row[0]): tuple(map(int, row[1:])) for row in rows}


def agree(tenant: UUID, chance: random.Random) -> None:
    """For random periods, and for the whole."""
    today = clock.now().date()
    periods = [(today - timedelta(days=89), today)]
    for _ in range(8):
        first = today - timedelta(days=chance.randrange(90))
        periods.append((first, first + timedelta(days=chance.randrange((today - first).days + 1))))
    for since, until in periods:
        assert by_inbox(tenant, since, until) == by_days(tenant, since, until), (since, until)


def happened(node: Node, ago: int, count: int = 1) -> Any:
    return node.post([node.record("Reception", noon(ago)) for _ in range(count)])


@pytest.fixture
def another(node: Node, make_domain: Callable[..., Any]) -> Callable[[], Node]:
    """`another()`: one more inbox of the same tenant."""

    def make() -> Node:
        with transaction(tenant=ALL_TENANTS) as db:
            domain = make_domain(db, db.get_one(Tenant, node.tenant))
            return Node(node.url, add_inbox(db, domain))

    return make


@pytest.mark.parametrize("seed", range(3))
def test_reports_tell_the_same_whatever_is_summed(
    node: Node,
    another: Callable[[], Node],
    make_inbox: Callable[[], Address],
    seed: int,
) -> None:
    chance = random.Random(seed)
    nodes = [node, another(), another(), Node(node.url, make_inbox())]
    for _ in range(6):
        for each in nodes:
            days = [chance.randrange(85) for _ in range(chance.randrange(8))]
            kinds = [chance.choice(("Reception", "Delivery", "Bounce")) for _ in days]
            records = [each.record(kind, noon(ago)) for kind, ago in zip(kinds, days, strict=True)]
            assert each.post(records).status_code == 200
        if chance.random() < 0.6:
            sum_up(chance.choice((1, 3, 1_000)))
        agree(node.tenant, chance)
    sum_up()
    assert weeks()
    agree(node.tenant, chance)


def test_only_what_is_over_is_summed(node: Node) -> None:
    for ago in (0, 3, 9, 10, 16, 17, 30):
        happened(node, ago)
    today = clock.now().date()
    sum_up()
    assert all(week + WEEK + inbox_weeks.SETTLES <= today for week in weeks())
    assert weeks() == sorted(
        {
            inbox_weeks.first_day(day)
            for ago in (9, 10, 16, 17, 30)
            if inbox_weeks.first_day(day := today - timedelta(days=ago)) + WEEK
            <= today - inbox_weeks.SETTLES
        }
    )
    assert sum_up() == 0


def test_a_late_record_takes_its_week_apart(node: Node, another: Callable[[], Node]) -> None:
    for each in (node, another()):
        for ago in (20, 40):
            happened(each, ago)
    sum_up()
    before = weeks()
    assert len(before) == 2
    happened(node, 20)
    assert weeks() == before[:1], "of all inboxes"
    chance = random.Random(1)
    agree(node.tenant, chance)
    assert sum_up() == 1
    assert weeks() == before
    agree(node.tenant, chance)
    # What happens now leaves all of them alone.
    happened(node, 0)
    assert weeks() == before


def waiting(owner: Engine) -> int:
    with owner.connect() as connection:
        return int(connection.scalar(text(WAITING)))


def test_nobody_counts_while_a_week_is_summed(node: Node, owner: Engine) -> None:
    happened(node, 20, 3)
    with ThreadPoolExecutor(1) as pool:
        with transaction(tenant=ALL_TENANTS) as db:
            assert inbox_weeks.sum_up(db, clock.now().date(), at_most=9) == 1
            late: Future[Any] = pool.submit(happened, node, 20, 2)
            eventually(lambda: waiting(owner) == 1, within=10, why="the late record waits")
            # What happens now waits for nobody.
            assert happened(node, 0).status_code == 200
        assert late.result(30).status_code == 200
    assert weeks() == []
    agree(node.tenant, random.Random(2))


def test_no_week_is_summed_while_one_is_counted(node: Node, owner: Engine) -> None:
    happened(node, 20)
    with ThreadPoolExecutor(2) as pool:
        with owner.begin() as holder:
            # The batch has the lock of weeks and waits here for its inbox.
            holder.execute(text("SELECT set_config('app.tenant', '*', true)"))
            assert holder.execute(text("SELECT id FROM inboxes FOR UPDATE")).all()
            late = pool.submit(happened, node, 20, 2)
            eventually(lambda: waiting(owner) == 1, within=10, why="the record waits for its inbox")
            summed = pool.submit(sum_up)
            eventually(lambda: waiting(owner) == 2, within=4, why="the sum waits for the record")
        assert late.result(30).status_code == 200
        assert summed.result(30) == 1
    assert len(weeks()) == 1
    agree(node.tenant, random.Random(3))


def test_a_few_at_a_time_the_latest_first(node: Node) -> None:
    for ago in range(14, 80, 7):
        happened(node, ago)
    assert [sum_up(4), len(weeks())] == [4, 4]
    latest = inbox_weeks.first_day(clock.now().date() - timedelta(days=14))
    assert weeks() == [latest - n * WEEK for n in (3, 2, 1, 0)]
    assert [sum_up(4), sum_up(4), sum_up(4)] == [4, 2, 0]


def test_the_calendar_sums(node: Node, drain: Callable[..., list[str]]) -> None:
    for ago in (20, 40):
        happened(node, ago)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.DeliveryDaysDue())
    assert drain().count("delivery.sum_weeks") == 1
    assert len(weeks()) == 2


def test_other_reports_know_no_weeks(node: Node) -> None:
    happened(node, 20)
    sum_up()
    day = noon(20).date()
    with transaction(tenant=node.tenant) as db:
        for by, table in (("domain", DomainDay), ("day", TenantDay)):
            (group,) = analytics.grouped(db, day, day, by)
            assert group.accepted == db.scalar(select(table.accepted)) == 1
