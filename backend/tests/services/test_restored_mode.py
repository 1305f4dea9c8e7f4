"""A database that was put back waits with money and names, however it came back."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import Job, JobState, OutboxEvent, Restoration
from app.database.session import ALL_TENANTS, transaction
from app.services import restored_mode
from app.tasks import jobs, relay, routing
from tests.fixtures.money import alerts


def swept() -> list[str]:
    sent: list[str] = []
    relay.sweep(lambda task, _: sent.append(task))
    return sent


def happens(event: events.Event) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, event)


def elsewhere() -> None:
    """What a dump in a new cluster, or a recovery to a point in time, looks like."""
    with transaction(tenant=ALL_TENANTS) as db:
        db.execute(update(Restoration).values(cluster="7000000000000000000:00000001"))


def held() -> bool:
    with transaction(tenant=ALL_TENANTS) as db:
        return restored_mode.is_held(db)


def test_the_first_start_is_no_restoration(clean: None) -> None:
    assert swept() == []
    assert not held()
    assert alerts() == []


def test_another_cluster_holds_money_and_names_but_not_the_kill_switch(clean: None) -> None:
    swept()
    elsewhere()
    assert held()
    happens(events.BooksDue())
    happens(events.DomainsDue())
    happens(events.HousekeepingDue())
    # Its own alert is told as well.
    assert set(swept()) <= {"monitoring.housekeeping", "billing.send_alert"}
    assert alerts() == ["restored"]
    with transaction(tenant=ALL_TENANTS) as db, pytest.raises(errors.Conflict, match="compared"):
        restored_mode.release(db)
    with transaction(tenant=ALL_TENANTS) as db:
        restored_mode.release(db, unseen=True)
    assert not held()
    assert {"billing.reconcile", "domains.look_after_all"} <= set(swept())


def test_a_restore_that_said_so_itself_keeps_what_it_knows(clean: None) -> None:
    until = clock.now()
    with transaction(tenant=ALL_TENANTS) as db:
        db.add(Restoration(cluster="", cause="a.dump was restored.", data_until=until))
    swept()
    with transaction(tenant=ALL_TENANTS) as db:
        assert restored_mode.present(db).data_until == until
        assert len(db.scalars(select(Restoration)).all()) == 1


def test_two_relays_see_it_once(clean: None) -> None:
    swept()
    elsewhere()
    swept()
    swept()
    with transaction(tenant=ALL_TENANTS) as db:
        assert len(db.scalars(select(Restoration)).all()) == 2


def test_what_the_broker_still_holds_is_put_back(clean: None) -> None:
    swept()
    happens(events.BooksDue())
    assert swept() == ["billing.reconcile"]
    with transaction(tenant=ALL_TENANTS) as db:
        (job_id,) = db.scalars(select(Job.id))
    elsewhere()

    def never(db: Session, **ids: UUID) -> None:
        raise AssertionError("a job of money ran on a restored database")

    assert jobs.run(job_id, {"billing.reconcile": never}) is None
    with transaction(tenant=ALL_TENANTS) as db:
        job = db.get_one(Job, job_id)
        assert (job.state, job.attempts) == (JobState.WAITING, 0)


def test_every_task_about_money_and_names_waits() -> None:
    spending = {
        "billing.capture_purchase", "billing.collect_debts", "billing.refund",
        "billing.send_notice", "billing.handle_provider_event", "domains.register",
        "domains.renew", "domains.look", "domains.retry_renewals", "webhooks.deliver",
    }  # fmt: skip
    assert spending <= routing.WAIT_WHILE_RESTORED
    assert not {"monitoring.silence_tenant", "billing.send_alert"} & routing.WAIT_WHILE_RESTORED


def test_a_database_that_never_ran_is_not_held(
    clean: None, drain: Callable[..., list[str]]
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        assert restored_mode.newest(db) is None
        assert not restored_mode.is_held(db)
        db.add(OutboxEvent(event="HousekeepingDue", payload={}, created_at=clock.now()))
    assert "monitoring.housekeeping" in drain()
