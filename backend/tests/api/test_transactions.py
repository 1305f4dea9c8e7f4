"""One request, one transaction, committed before the answer leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, text

from app.database.models import IdempotencyRecord, Inbox, Suppression
from app.database.session import ALL_TENANTS, engine, transaction
from tests.fixtures.customer import Customer

FAILURES = {
    # The connection dies at the moment of the commit.
    "lost connection": "PERFORM pg_terminate_backend(pg_backend_pid());",
    "serialization": "RAISE EXCEPTION 'no' USING ERRCODE = '40001';",
}


@pytest.fixture(params=FAILURES)
def failing_commit(request: pytest.FixtureRequest, owner: Engine) -> Iterator[None]:
    """Every commit that made a suppression or an inbox fails, and only the commit does."""
    with owner.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
                f" $$ BEGIN {FAILURES[request.param]} RETURN NULL; END $$"
            )
        )
        for table in ("suppressions", "inboxes"):
            connection.execute(
                text(
                    f"CREATE CONSTRAINT TRIGGER fail_late AFTER INSERT ON {table}"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_late()"
                )
            )
    yield
    with owner.begin() as connection:
        connection.execute(text("DROP FUNCTION fail_late CASCADE"))


def count(model: type) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(select(func.count()).select_from(model)) or 0


@pytest.mark.usefixtures("failing_commit")
def test_a_commit_that_fails_is_503_and_never_200(paying: Customer) -> None:
    answer = paying.try_post("/infrastructure/suppressions", targets=["a@b.test"])
    assert (answer.status_code, answer.json()["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert count(Suppression) == 0


@pytest.mark.usefixtures("failing_commit")
def test_a_commit_that_fails_gives_the_idempotency_key_back(paying: Customer, own_domain) -> None:
    body = {"domain_id": own_domain(paying), "inbox_count": 1}
    answer = paying.try_post("/infrastructure/provision", key="k", **body)
    assert answer.status_code == 503
    assert (count(Inbox), count(IdempotencyRecord)) == (0, 0)


def test_an_error_after_a_write_takes_the_write_back(paying: Customer, world) -> None:
    from redis import Redis

    from app.config import get_settings

    # The relay's list cannot be written: its key holds something that is no set.
    with Redis.from_url(get_settings().redis_url) as redis:
        redis.set(f"ig:suppressed:{paying.tenant_id}", "x")
    answer = paying.try_post("/infrastructure/suppressions", targets=["a@b.test"])
    assert answer.status_code == 503
    assert count(Suppression) == 0


def test_no_connection_stays_out(paying: Customer) -> None:
    for path in ("/auth/me", "/domains", "/domains/x", "/analytics/overview", "/nowhere"):
        paying.http.get(path)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
