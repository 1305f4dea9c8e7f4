"""Feedback reports (RFC 5965): kept once for each message and recipient, and judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import Complaint, Domain, Inbox, Tenant, new_id
from app.database.queries import signals
from app.integrations import ports
from app.rules import abuse, traces
from app.rules.records import EventRow

KEEP = timedelta(days=90)
"""As long as the metadata of messages."""

BLOCK = 500
"""Reports that are looked at again in one transaction."""


def sent_to(
    row: EventRow, meta: Mapping[str, Any], db: Session, platform: ports.Platform
) -> tuple[UUID, str | None] | None:
    """The inbox that the record's token names, and whom the message went to, if we know it."""
    token = str(meta.get(traces.META) or "")
    inbox_id = traces.read(platform.trace_key, token)
    if inbox_id is None:
        return None
    return inbox_id, signals.recipient_of(db, inbox_id, token, row.occurred_at - abuse.MAX_AGE)


def take_in(row: EventRow, db: Session, platform: ports.Platform) -> str | None:
    """Store what a report says; the recipient when it is a verified complaint, and new."""
    record = json.loads(row.record)
    meta = record.get("meta") or {}
    sent = sent_to(row, meta, db, platform)
    if sent is None:
        return None
    inbox = db.get(Inbox, sent[0])
    if inbox is None or inbox.tenant_id != row.tenant_id:
        return None
    recipient = sent[1]
    reporter = abuse.reporter(str(meta.get("x_reporter") or "").split(), platform.reporters)
    report = record.get("feedback_report") or {}
    feedback_type = str(report.get("feedback_type") or "").lower()[:40]
    doubt = _doubt(inbox.tenant_id, recipient, feedback_type, reporter, db)
    values = {
        "id": new_id(),
        "created_at": clock.now(),
        "tenant_id": inbox.tenant_id,
        "inbox_id": inbox.id,
        "domain_id": inbox.domain_id,
        "trace": traces.normal(str(meta[traces.META])),
        "recipient": recipient or "",
        "feedback_type": feedback_type,
        "reporter": reporter,
        "verified": doubt is None,
        "why_not": doubt,
        "received_at": row.occurred_at,
    }
    stored = _store(values, db)
    if stored is None:
        return None
    changes = {"verified": [None, doubt is None], "why_not": [None, doubt]}
    audit.write(db, inbox.tenant_id, "complaint_recorded", "complaint", stored, changes)
    return recipient if doubt is None else None


def reconsider(db: Session) -> dict[UUID, set[str]]:
    """Judge reports again that came before we knew of their message: new verified ones by tenant.

    Nodes report in their own time, so a complaint can be faster than the record of its message.
    """
    rows = db.scalars(
        select(Complaint)
        .where(
            Complaint.why_not == abuse.Doubt.NO_SUCH_MESSAGE.value,
            Complaint.received_at >= clock.now() - abuse.LATE_RECORDS,
        )
        .order_by(Complaint.id)
        .limit(BLOCK)
        .with_for_update(skip_locked=True)
    ).all()
    found: dict[UUID, set[str]] = {}
    for row in rows:
        since = row.received_at - abuse.MAX_AGE
        recipient = signals.recipient_of(db, row.inbox_id, row.trace, since)
        if recipient is None or _is_known(row.trace, recipient, db):
            continue
        doubt = _doubt(row.tenant_id, recipient, row.feedback_type, row.reporter, db)
        row.recipient, row.verified, row.why_not = recipient, doubt is None, doubt
        changes = {"verified": [False, doubt is None], "why_not": ["no_such_message", doubt]}
        audit.write(db, row.tenant_id, "complaint_recorded", "complaint", row.id, changes)
        if doubt is None:
            found.setdefault(row.tenant_id, set()).add(recipient)
    return found


def forget(db: Session) -> None:
    """Drop reports as old as the oldest event that is kept: they name people."""
    db.execute(
        delete(Complaint).where(Complaint.received_at < clock.now() - KEEP),
        execution_options={"synchronize_session": False},
    )


def _is_known(trace: str, recipient: str, db: Session) -> bool:
    """Whether the same was reported again in the meantime, and judged by what was known then."""
    same = Complaint.trace == trace, Complaint.recipient == recipient
    return db.scalar(select(Complaint.id).where(*same)) is not None


def _doubt(
    tenant_id: UUID, recipient: str | None, feedback_type: str, reporter: str | None, db: Session
) -> str | None:
    doubt = abuse.doubt(
        recipient=recipient,
        feedback_type=feedback_type,
        reporter=reporter,
        own_domains=_own_domains(tenant_id, db),
    )
    return None if doubt is None else doubt.value


def _store(values: Mapping[str, Any], db: Session) -> UUID | None:
    """The row's id; None when it says nothing new."""
    statement = insert(Complaint).values(values)
    given = ("feedback_type", "reporter", "verified", "why_not", "received_at")
    # A forged report that came first must not stand in the way of the true one, not even while
    # nothing is known of the message.
    better = statement.excluded.verified | (
        Complaint.reporter.is_(None)
        & statement.excluded.reporter.is_not(None)
        & (Complaint.why_not == abuse.Doubt.NO_SUCH_MESSAGE.value)
    )
    return db.scalar(
        statement.on_conflict_do_update(
            index_elements=["trace", "recipient"],
            set_={name: statement.excluded[name] for name in given},
            where=~Complaint.verified & better,
        ).returning(Complaint.id)
    )


def _own_domains(tenant_id: UUID, db: Session) -> Sequence[str]:
    names = list(db.scalars(select(Domain.domain_name).where(Domain.tenant_id == tenant_id)))
    company = db.scalar(select(Tenant.company_domain).where(Tenant.id == tenant_id))
    return [*names, *([company] if company else [])]
