"""Bounces and complaints as they arrive: whom not to mail again, and who must be stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import Complaint, Domain, Inbox, SuspensionReason, Tenant, new_id
from app.database.queries import signals
from app.integrations import ports
from app.rules import abuse, suppressions, traces
from app.rules.records import EventRow
from app.services import kill_switch
from app.services.suppression_service import SuppressionService

HARD_BOUNCE, COMPLAINT = "hard_bounce", "complaint"
"""Reasons of suppressions."""


class AbuseService:
    @staticmethod
    def concerns(row: EventRow) -> bool:
        """Whether `take_in` has anything to do with the record."""
        return row.event_type == "Feedback" or _is_hard_bounce(row)

    @staticmethod
    def take_in(
        rows: Iterable[EventRow], db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Act on stored records: complaints are judged, and addresses suppressed at the relay.

        Expects a session that sees all tenants. Repeating it changes nothing, so a batch that
        failed half-way is simply handed in again.
        """
        providers = providers or ports.current()
        dead: dict[UUID, set[str]] = {}
        complained: dict[UUID, set[str]] = {}
        # In one order everywhere: two batches about the same addresses must not wait in a circle.
        for row in sorted(rows, key=lambda row: row.natural_key):
            if row.event_type == "Feedback":
                found = _complaint(row, db, providers.platform)
                if found is not None:
                    complained.setdefault(row.tenant_id, set()).add(found)
            elif _is_hard_bounce(row) and _is_about_our_mail(row, db, providers.platform):
                dead.setdefault(row.tenant_id, set()).add(row.recipient)
        for tenant_id in sorted({*dead, *complained}):
            tenant = db.get(Tenant, tenant_id)
            if tenant is None:
                continue
            for reason, found_by in ((HARD_BOUNCE, dead), (COMPLAINT, complained)):
                targets = _targets(found_by.get(tenant_id, set()))
                if targets:
                    SuppressionService.add(tenant, targets, reason, db, mail=providers.mail)
            if tenant_id in complained:
                AbuseService.judge(db, tenant_id=tenant_id)

    @staticmethod
    def judge(db: Session, *, tenant_id: UUID | None = None) -> None:
        """Warn or stop whom the recorded signals speak against: one tenant, or all of them."""
        found = signals.of_tenants(db, clock.now(), tenant_id=tenant_id)
        for id_ in sorted(found):
            finding = abuse.judge(found[id_])
            if finding is None:
                continue
            tenant = db.get_one(Tenant, id_)
            reason, note = SuspensionReason(finding.reason), finding.note
            if finding.stop:
                kill_switch.turn_on(tenant, reason, db, note=note, evidence=finding.evidence())
            elif not tenant.is_suspended:
                kill_switch.warn(tenant, reason, db, note=note, evidence=finding.evidence())


def _is_hard_bounce(row: EventRow) -> bool:
    return abuse.is_hard_bounce(row.event_type, row.response_code, row.bounce_classification)


def _targets(addresses: Iterable[str]) -> list[str]:
    return sorted({t for address in addresses if (t := suppressions.normal(address)) is not None})


def _sent_to(
    row: EventRow, meta: Mapping[str, Any], db: Session, platform: ports.Platform
) -> tuple[UUID, str | None] | None:
    """The inbox that the record's token names, and whom the message went to, if we know it."""
    token = str(meta.get(traces.META) or "")
    inbox_id = traces.read(platform.trace_key, token)
    if inbox_id is None:
        return None
    since = row.occurred_at - abuse.MAX_AGE
    return inbox_id, signals.recipient_of(db, inbox_id, token, platform.trace_key, since)


def _is_about_our_mail(row: EventRow, db: Session, platform: ports.Platform) -> bool:
    """Bounces that come by mail could be made up: the message must have gone to that address."""
    if row.event_type != "OOB":
        return True
    sent = _sent_to(row, json.loads(row.record).get("meta") or {}, db, platform)
    return sent is not None and sent[1] == row.recipient.lower()


def _complaint(row: EventRow, db: Session, platform: ports.Platform) -> str | None:
    """Store what a report says; the recipient when it is a verified complaint, and new."""
    record = json.loads(row.record)
    meta = record.get("meta") or {}
    sent = _sent_to(row, meta, db, platform)
    if sent is None:
        return None
    inbox = db.get(Inbox, sent[0])
    if inbox is None or inbox.tenant_id != row.tenant_id:
        return None
    recipient = sent[1]
    report = record.get("feedback_report") or {}
    reporter = abuse.reporter(str(meta.get("x_reporter") or "").split(), platform.reporters)
    doubt = abuse.doubt(
        recipient=recipient,
        feedback_type=str(report.get("feedback_type") or ""),
        reporter=reporter,
        own_domains=_own_domains(inbox.tenant_id, db),
    )
    values = {
        "id": new_id(),
        "created_at": clock.now(),
        "tenant_id": inbox.tenant_id,
        "inbox_id": inbox.id,
        "domain_id": inbox.domain_id,
        "trace": str(meta[traces.META]),
        "recipient": recipient or "",
        "reporter": reporter,
        "verified": doubt is None,
        "why_not": doubt and doubt.value,
        "received_at": row.occurred_at,
    }
    statement = insert(Complaint).values(values)
    given = ("reporter", "verified", "why_not", "received_at")
    stored = db.scalar(
        statement.on_conflict_do_update(
            index_elements=["trace", "recipient"],
            # A forged report that came first must not stand in the way of the true one.
            set_={name: statement.excluded[name] for name in given},
            where=~Complaint.verified & statement.excluded.verified,
        ).returning(Complaint.id)
    )
    if stored is None:
        return None
    changes = {"verified": [None, doubt is None], "why_not": [None, doubt and doubt.value]}
    audit.write(db, inbox.tenant_id, "complaint_recorded", "complaint", stored, changes)
    return recipient if doubt is None else None


def _own_domains(tenant_id: UUID, db: Session) -> Sequence[str]:
    names = list(db.scalars(select(Domain.domain_name).where(Domain.tenant_id == tenant_id)))
    company = db.scalar(select(Tenant.company_domain).where(Tenant.id == tenant_id))
    return [*names, *([company] if company else [])]
