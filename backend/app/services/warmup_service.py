"""The ramp of inboxes: each day's limit with what it follows from, and its pauses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Table, delete, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit, bulk
from app.database.models import (
    Domain,
    DomainStatus,
    Inbox,
    InboxStatus,
    Tenant,
    WarmupDay,
    new_id,
)
from app.database.queries import signals, standings
from app.integrations import ports
from app.rules import plans, warmup
from app.rules.blocklists import Blocklist, Kind
from app.services.directory_service import DirectoryService

BLOCK = 1_000
"""Inboxes in one transaction: their rows are locked, and events about them wait meanwhile."""

KEEP = timedelta(days=90)
"""As long as the metadata of messages."""

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Warmup:
    """Where an inbox stands on its ramp, and why."""

    inbox_id: UUID
    day: date
    stage: int
    daily_limit: int
    cap: int
    paused_at: datetime | None
    rule: warmup.Rule
    rule_version: str
    inputs: warmup.Inputs
    past: Sequence[WarmupDay]
    """Earlier days, the newest first."""

    @property
    def meaning(self) -> str:
        return warmup.MEANING[self.rule]


class WarmupService:
    @staticmethod
    def step(
        tenant_id: UUID,
        db: Session,
        *,
        mail: ports.MailPlatform | None = None,
        lists: Sequence[Blocklist] = (),
    ) -> int:
        """Give the next inboxes of a tenant today's limit; how many, 0 when all have it.

        Today's limit follows from what was recorded until yesterday. Repeating changes nothing: a
        day is decided once.
        """
        mail = mail or ports.current().mail
        lists = lists or ports.current().platform.blocklists
        tenant = db.get(Tenant, tenant_id, with_for_update=True)
        if tenant is None:
            return 0
        today = clock.now().date()
        inboxes = _undecided(db, tenant_id, today)
        if not inboxes:
            return 0
        cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
        inputs = _inputs(db, inboxes, cap, today, lists)
        steps = [warmup.step(each) for each in inputs]
        _store(db, tenant_id, today, inboxes, inputs, steps)
        changed = _apply(db, tenant_id, inboxes, steps)
        if changed:
            DirectoryService.publish(changed, mail, sending=DirectoryService.open(tenant))
        return len(inboxes)

    @staticmethod
    def of(inbox_id: UUID, db: Session) -> Warmup:
        """Today's limit and why. Raises NotFound."""
        inbox = _find(inbox_id, db)
        tenant = db.get_one(Tenant, inbox.tenant_id)
        cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
        days = db.scalars(
            select(WarmupDay)
            .where(WarmupDay.inbox_id == inbox_id)
            .order_by(WarmupDay.day.desc())
            .limit(31)
        ).all()
        if days:
            last, past = days[0], days[1:]
            day, rule, version = last.day, warmup.Rule(last.rule), last.rule_version
            inputs = warmup.Inputs.read(last.inputs)
        else:
            # Nothing was decided yet: the first day's limit needs no signals.
            day, version, past = _began(inbox), warmup.VERSION, []
            inputs = _first(cap, inbox)
            rule = warmup.step(inputs).rule
        return Warmup(
            inbox_id,
            day,
            inbox.warmup_stage,
            inbox.daily_limit,
            cap,
            inbox.warmup_paused_at,
            rule,
            version,
            inputs,
            past,
        )

    @staticmethod
    def pause(inbox_id: UUID, db: Session) -> Warmup:
        """Keep the limit from rising; a bad day still lowers it. Repeating changes nothing."""
        return _set_pause(inbox_id, clock.now(), "inbox_warmup_paused", db)

    @staticmethod
    def resume(inbox_id: UUID, db: Session) -> Warmup:
        """Let the limit rise again, from the next day on."""
        return _set_pause(inbox_id, None, "inbox_warmup_resumed", db)

    @staticmethod
    def forget(db: Session) -> None:
        """Drop days that nobody may ask about any more."""
        db.execute(
            delete(WarmupDay).where(WarmupDay.day < (clock.now() - KEEP).date()),
            execution_options={"synchronize_session": False},
        )


def _set_pause(inbox_id: UUID, since: datetime | None, action: str, db: Session) -> Warmup:
    inbox = _find(inbox_id, db, lock=True)
    if (inbox.warmup_paused_at is None) != (since is None):
        inbox.warmup_paused_at = since
        changes = {"warmup_paused": [since is None, since is not None]}
        audit.write(db, inbox.tenant_id, action, "inbox", inbox_id, changes)
    return WarmupService.of(inbox_id, db)


def _find(inbox_id: UUID, db: Session, *, lock: bool = False) -> Inbox:
    statement = select(Inbox).where(Inbox.id == inbox_id, Inbox.status != InboxStatus.DELETED)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    inbox = db.scalars(statement).one_or_none()
    if inbox is None:
        raise errors.NotFound(resource="inbox")
    return inbox


def _began(inbox: Inbox) -> date:
    return inbox.warmup_started_on or inbox.created_at.date()


def _undecided(db: Session, tenant_id: UUID, today: date) -> Sequence[Inbox]:
    decided = select(WarmupDay.id).where(WarmupDay.inbox_id == Inbox.id, WarmupDay.day == today)
    began = Inbox.warmup_started_on.is_(None) | (Inbox.warmup_started_on < today)
    return db.scalars(
        select(Inbox)
        .where(
            Inbox.tenant_id == tenant_id,
            Inbox.status.in_([InboxStatus.ACTIVE, InboxStatus.PAUSED]),
            began,
            ~decided.exists(),
        )
        # The order in which the counters of events are locked, too.
        .order_by(Inbox.id)
        .limit(BLOCK)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def _inputs(
    db: Session,
    inboxes: Sequence[Inbox],
    cap: int,
    today: date,
    lists: Sequence[Blocklist],
) -> list[warmup.Inputs]:
    ids, yesterday = [inbox.id for inbox in inboxes], today - ONE_DAY
    counted = signals.of_day(db, ids, yesterday)
    complained = signals.complaints_of_day(db, ids, yesterday)
    domain_ids = {inbox.domain_id for inbox in inboxes}
    aligned = _aligned(db, domain_ids)
    asked = [each.name for each in lists if each.kind == Kind.DOMAIN]
    listed = standings.listings(db, sorted(domain_ids), asked, clock.now())
    found = []
    for inbox in inboxes:
        counts = counted.get(inbox.id)
        found.append(
            warmup.Inputs(
                age_days=(today - _began(inbox)).days,
                limit=inbox.daily_limit,
                cap=cap,
                paused=inbox.warmup_paused_at is not None,
                accepted=None if counts is None else counts.accepted,
                deferred=None if counts is None else counts.deferred,
                bounced=None if counts is None else counts.bounced,
                complaints=complained.get(inbox.id, 0),
                listing=listed[inbox.domain_id],
                aligned=aligned.get(inbox.domain_id),
            )
        )
    return found


def _first(cap: int, inbox: Inbox) -> warmup.Inputs:
    return warmup.Inputs(
        age_days=0,
        limit=warmup.daily_limit(0, cap),
        cap=cap,
        paused=inbox.warmup_paused_at is not None,
        accepted=None,
        deferred=None,
        bounced=None,
        complaints=0,
        listing=warmup.Listing.UNCHECKED,
        aligned=None,
    )


def _aligned(db: Session, domain_ids: set[UUID]) -> dict[UUID, bool]:
    """A domain is active once its SPF, DKIM and DMARC were found in the DNS as we want them."""
    rows = db.execute(
        select(Domain.id, Domain.status, Domain.kumo_authorized).where(Domain.id.in_(domain_ids))
    )
    return {id_: status == DomainStatus.ACTIVE and signed for id_, status, signed in rows}


def _store(
    db: Session,
    tenant_id: UUID,
    today: date,
    inboxes: Sequence[Inbox],
    inputs: Sequence[warmup.Inputs],
    steps: Sequence[warmup.Step],
) -> None:
    table = WarmupDay.__table__
    assert isinstance(table, Table)  # noqa: S101  # Declarative classes are mapped to tables.
    bulk.insert(
        db,
        table,
        {
            "id": [new_id() for _ in inboxes],
            "inbox_id": [inbox.id for inbox in inboxes],
            "inputs": [json.dumps(each.document()) for each in inputs],
            "rule": [step.rule.value for step in steps],
            "stage": [step.stage for step in steps],
            "daily_limit": [step.limit for step in steps],
            "rule_version": warmup.VERSION,
            "day": today,
            "tenant_id": tenant_id,
            "created_at": clock.now(),
        },
        len(inboxes),
    )


_Change = tuple[int, int, int, int, str]


def _apply(
    db: Session, tenant_id: UUID, inboxes: Sequence[Inbox], steps: Sequence[warmup.Step]
) -> list[Inbox]:
    """Write what changed into the inboxes; those with the same change are one deed."""
    changed, alike = [], dict[_Change, list[UUID]]()
    for inbox, step in zip(inboxes, steps, strict=True):
        before = inbox.warmup_stage, inbox.daily_limit
        if before == (step.stage, step.limit):
            continue
        key = (before[0], step.stage, before[1], step.limit, step.rule.value)
        inbox.warmup_stage, inbox.daily_limit = step.stage, step.limit
        changed.append(inbox)
        alike.setdefault(key, []).append(inbox.id)
    for (old, stage, before_limit, limit, rule), ids in alike.items():
        changes = {
            "warmup_stage": [old, stage],
            "daily_limit": [before_limit, limit],
            "rule": [None, rule],
        }
        audit.write_many(db, tenant_id, "inbox_warmed_up", "inbox", ids, changes)
    return changed
