"""Reads on the event loop: the same callers, limits and answers as everywhere, in plain SQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Engine, select, text, update

from app import clock, errors
from app.api.schemas.domains import DomainOut
from app.api.schemas.infrastructure import InboxOut
from app.config import get_settings
from app.database.models import APIKey, Domain, Inbox, SuspensionReason, Tenant, User
from app.database.patience import ImpatientReader
from app.database.queries import callers
from app.database.reading import READS, Pool, Reading, open_pool, reading
from app.database.session import ALL_TENANTS, transaction
from app.middleware.rate_limit import RateLimiter
from app.rules.throttles import HOUR, MINUTE
from app.services import kill_switch
from app.utils import security
from tests.fixtures.customer import Customer


def read(tenant: UUID | str, work: Callable[[Reading], Any], *, pool: Pool | None = None) -> Any:
    """What `work` makes of one transaction, on a loop and a pool of its own."""

    async def run() -> Any:
        opened = pool or open_pool(get_settings().psycopg_url, size=2)
        await opened.open()
        try:
            async with reading(opened, tenant) as asked:
                return await work(asked)
        finally:
            await opened.close()

    return asyncio.run(run())


# What it tells ----------------------------------------------------------------------------------


@pytest.fixture
def inboxes(paying: Customer, own_domain: Any, drain: Callable[..., list[str]]) -> list[str]:
    """Ids of five."""
    domain_id = own_domain(paying)
    made = paying.post("/infrastructure/provision", domain_id=domain_id, inbox_count=5)
    drain()
    return [inbox["id"] for inbox in made["inboxes"]]


@pytest.mark.parametrize(
    ("path", "model", "schema"),
    [("/infrastructure/inboxes", Inbox, InboxOut), ("/domains", Domain, DomainOut)],
)
def test_lists_have_the_shape_of_their_schema(
    paying: Customer, inboxes: list[str], path: str, model: Any, schema: Any
) -> None:
    with transaction(tenant=UUID(paying.tenant_id)) as db:
        rows = db.scalars(select(model).order_by(model.id)).all()
        wanted = [schema.model_validate(row).model_dump(mode="json") for row in rows]
    assert paying.get(path) == wanted


def test_a_list_is_told_in_pages(paying: Customer, inboxes: list[str]) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for size in (2, 2, 1):
        answer = paying.http.get("/infrastructure/inboxes", params={"limit": 2, **cursor}).json()
        seen += [inbox["id"] for inbox in answer["data"]]
        assert len(answer["data"]) == size
        assert answer["meta"]["has_more"] == (answer["meta"]["next_cursor"] is not None)
        cursor = {"cursor": answer["meta"]["next_cursor"]}
    assert seen == sorted(inboxes)
    assert answer["meta"] == {"next_cursor": None, "has_more": False}


def test_filters(paying: Customer, inboxes: list[str]) -> None:
    def found(**filters: str) -> list[str]:
        return [inbox["id"] for inbox in paying.get("/infrastructure/inboxes", **filters)]

    first = paying.get(f"/infrastructure/inboxes/{inboxes[0]}")
    assert found(q=first["full_email"].upper()) == [inboxes[0]]
    # What has a meaning in patterns has none here.
    assert found(q="%") == found(q="_") == []
    assert found(domain_id=first["domain_id"]) == sorted(inboxes)
    assert found(domain_id=str(uuid4())) == []
    paying.http.delete(f"/infrastructure/inboxes/{inboxes[0]}").raise_for_status()
    assert found(status="deleted") == [inboxes[0]]
    assert found() == found(status="active") == sorted(inboxes[1:])


def test_what_was_sent_on_another_day_was_not_sent_today(
    paying: Customer, inboxes: list[str]
) -> None:
    today = clock.now().date()
    last_month = today.replace(day=1) - timedelta(days=1)
    days = (today, today - timedelta(days=1), last_month, None)
    with transaction(tenant=ALL_TENANTS) as db:
        for id_, day in zip(inboxes, days, strict=False):
            sent = {"emails_sent_today": 7, "emails_sent_this_month": 9, "sent_on": day}
            db.execute(update(Inbox).where(Inbox.id == UUID(id_)).values(sent))
    yesterday = 9 if today.day > 1 else 0
    wanted = [(7, 9), (0, yesterday), (0, 0), (0, 0)]
    listed = {inbox["id"]: inbox for inbox in paying.get("/infrastructure/inboxes")}
    alone = {id_: paying.get(f"/infrastructure/inboxes/{id_}") for id_ in inboxes}
    for told in (listed, alone):
        counters = [
            (told[id_]["emails_sent_today"], told[id_]["emails_sent_this_month"])
            for id_ in inboxes[:4]
        ]
        assert counters == wanted


# Who asks ---------------------------------------------------------------------------------------


def test_callers_are_whole_objects(signed_in: Customer) -> None:
    token = signed_in.http.headers["Authorization"].removeprefix("Bearer ")
    claims = security.read_access_token(token)
    user, tenant = read(claims.tenant_id, lambda db: callers.person(db, claims, clock.now()))
    with transaction(tenant=ALL_TENANTS) as db:
        for found, model in ((user, User), (tenant, Tenant)):
            stored = db.get_one(model, found.id)
            for column in model.__mapper__.column_attrs:
                seen, wanted = getattr(found, column.key), getattr(stored, column.key)
                assert (seen, type(seen)) == (wanted, type(wanted)), column.key


def test_the_last_note_is_told(signed_in: Customer) -> None:
    tenant_id = UUID(signed_in.tenant_id)
    for reason, note in (
        (SuspensionReason.PAYMENT_FAILED, "An invoice is open."),
        (SuspensionReason.TERMS_VIOLATION, "Look here."),
        (None, "Well then."),
    ):
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get_one(Tenant, tenant_id)
            if reason is None:
                kill_switch.turn_off(tenant, db, note=note)
            else:
                kill_switch.turn_on(tenant, reason, db, note=note)
        told = signed_in.get("/auth/me")["suspension"]
        assert (told and (told["reason"], told["note"])) == (reason and (reason, note))


def test_the_use_of_a_key_is_written_down_once_a_minute(
    signed_in: Customer, travel: Callable[..., None]
) -> None:
    made = signed_in.post("/auth/api-keys", name="deploy", scopes=["domains:read"])
    headers = {"Authorization": f"Bearer {made['key']}"}

    def used() -> Any:
        signed_in.http.get("/domains", headers=headers).raise_for_status()
        with transaction(tenant=ALL_TENANTS) as db:
            return db.get_one(APIKey, UUID(made["id"])).last_used_at

    first = used()
    assert first is not None
    assert used() == first
    travel(minutes=2)
    assert used() > first


# What it cannot do ------------------------------------------------------------------------------


def test_it_changes_nothing(signed_in: Customer) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        read(ALL_TENANTS, lambda db: db.rows("UPDATE tenants SET company_name = 'x'", {}))


def test_it_sees_one_tenant(signed_in: Customer) -> None:
    count = "SELECT count(*) AS n FROM users"
    assert read(UUID(signed_in.tenant_id), lambda db: db.rows(count, {})) == [{"n": 1}]
    for nobody in (uuid4(), "nobody", "' OR true --"):
        assert read(nobody, lambda db: db.rows(count, {})) == [{"n": 0}]

    async def another(db: Reading) -> Any:
        await db.see(uuid4())
        return await db.rows(count, {})

    assert read(UUID(signed_in.tenant_id), another) == [{"n": 0}]


# When the database goes away ---------------------------------------------------------------------


def test_connections_that_died_in_the_pool_are_passed_over(
    signed_in: Customer, owner: Engine
) -> None:
    ended = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname ="
        " current_database() AND application_name = :reads"
    )
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: signed_in.http.get("/auth/me"), range(12)))
        assert {answer.status_code for answer in answers} == {200}
        with owner.begin() as connection:
            assert connection.scalar(text(ended), {"reads": READS})


def test_a_silent_server_is_left(clean: None) -> None:
    class Hurried(ImpatientReader):
        answer_seconds = 0.3

    pool = open_pool(get_settings().psycopg_url, size=2)
    pool.connection_class = Hurried
    began = time.monotonic()
    with pytest.raises(errors.Unavailable):
        read(ALL_TENANTS, lambda db: db.rows("SELECT pg_sleep(5)", {}), pool=pool)
    assert time.monotonic() - began < 4


def test_who_leaves_while_it_begins_takes_no_connection_along(clean: None) -> None:
    async def run() -> None:
        begun, hold = asyncio.Event(), True

        class Held(ImpatientReader):
            async def execute(self, *args: Any, **options: Any) -> Any:
                if hold:
                    begun.set()
                    await asyncio.Event().wait()
                return await super().execute(*args, **options)

        pool = open_pool(get_settings().psycopg_url, size=1)
        pool.connection_class = Held
        await pool.open()
        left = asyncio.ensure_future(reading(pool, ALL_TENANTS).__aenter__())
        await asyncio.wait_for(begun.wait(), 10)
        left.cancel()
        await asyncio.wait([left])
        hold = False
        async with reading(pool, ALL_TENANTS) as asked:
            assert await asked.rows("SELECT 1 AS n", {}) == [{"n": 1}]
        await pool.close()

    asyncio.run(run())


def test_nobody_listens(clean: None) -> None:
    pool = open_pool("postgresql://127.0.0.1:1/nowhere", size=1)
    pool.timeout = 0.5
    with pytest.raises(errors.Unavailable):
        read(ALL_TENANTS, lambda db: db.rows("SELECT 1", {}), pool=pool)


# The limit --------------------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_both_ways_of_counting_count_together(clean: None, loop: asyncio.Runner) -> None:
    limiter, limits = RateLimiter(get_settings().redis_url), [(1_000, MINUTE), (5, HOUR)]
    allowed = []
    for _ in range(4):
        allowed.append(limiter.spend("a", limits).allowed)
        allowed.append(loop.run(limiter.ask("a", limits)).allowed)
    assert allowed == [True] * 5 + [False] * 3
    assert loop.run(limiter.ask("a", limits)).windows == limiter.spend("a", limits).windows
    loop.run(limiter.aclose())


def test_the_loop_does_not_wait_for_a_redis_that_is_away(loop: asyncio.Runner) -> None:
    limiter, limits = RateLimiter("redis://127.0.0.1:1/0"), [(4, MINUTE), (100, HOUR)]
    standings = [loop.run(limiter.ask("a", limits)) for _ in range(4)]
    assert [standing.allowed for standing in standings] == [True, True, False, False]
    loop.run(limiter.aclose())
