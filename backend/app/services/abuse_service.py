"""Bounces and complaints as they arrive: whom not to mail again, and who must be stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import DecisionAction, Inbox, InboxStatus, SuspensionReason, Tenant
from app.database.queries import signals
from app.integrations import ports
from app.rules import abuse, suppressions
from app.rules.bounces import BounceClass
from app.rules.records import CLASS_COUNTERS, EventRow
from app.services import complaints, kill_switch
from app.services.inbox_service import InboxService
from app.services.suppression_service import SuppressionService

HARD_BOUNCE, COMPLAINT = "hard_bounce", "complaint"
"""Reasons of suppressions."""

_MOST_IDS = 50
"""Complaints that are named in one decision."""

_UNKNOWN_USERS = CLASS_COUNTERS[BounceClass.UNKNOWN_USER]


class AbuseService:
    @staticmethod
    def concerns(row: EventRow) -> bool:
        """Whether `take_in` has anything to do with the record."""
        return row.event_type == "Feedback" or _is_hard_bounce(row)

    @staticmethod
    def take_in(
        rows: Sequence[EventRow], db: Session, *, providers: ports.Providers | None = None
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
                found = complaints.take_in(row, db, providers.platform)
                if found is not None:
                    complained.setdefault(row.tenant_id, set()).add(found)
            elif _is_hard_bounce(row) and _is_about_our_mail(row, db, providers.platform):
                dead.setdefault(row.tenant_id, set()).add(row.recipient)
        _silence(dead, HARD_BOUNCE, db, providers.mail)
        _silence(complained, COMPLAINT, db, providers.mail)
        for tenant_id in sorted({*dead, *complained}):
            strangers = {
                row.inbox_id
                for row in rows
                if row.tenant_id == tenant_id and row.class_counter == _UNKNOWN_USERS
            }
            AbuseService.judge_inboxes(db, tenant_id, strangers)
            AbuseService.judge(db, tenant_id=tenant_id)

    @staticmethod
    def check(db: Session, *, providers: ports.Providers | None = None) -> None:
        """What `take_in` could not know yet, and what grew slowly, for all tenants."""
        providers = providers or ports.current()
        _silence(complaints.reconsider(db), COMPLAINT, db, providers.mail)
        AbuseService.judge(db)

    @staticmethod
    def judge_inboxes(db: Session, tenant_id: UUID, inbox_ids: Iterable[UUID | None]) -> None:
        """Pause inboxes that mail many people who do not exist today, or warn their owners."""
        today = clock.now().date()
        counts = signals.of_day(db, [id_ for id_ in inbox_ids if id_ is not None], today)
        found = {id_: abuse.storm(c.accepted, c.unknown_users) for id_, c in counts.items()}
        if not any(found.values()):
            return
        # Of two batches at once the second sees what the first decided.
        tenant = db.get_one(Tenant, tenant_id, with_for_update={"key_share": True})
        for inbox_id in sorted(found):
            storm = found[inbox_id]
            if storm is not None:
                _judge_inbox(tenant, db.get_one(Inbox, inbox_id), storm, today, db)

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
            evidence = finding.evidence()
            if reason == SuspensionReason.SPAM_COMPLAINT:
                ids = signals.complaint_ids(db, id_, clock.now(), _MOST_IDS)
                evidence["complaints"] = list(map(str, ids))
            if finding.stop:
                kill_switch.turn_on(tenant, reason, db, note=note, evidence=evidence)
            elif not tenant.is_suspended:
                kill_switch.warn(tenant, reason, db, note=note, evidence=evidence)


def _judge_inbox(
    tenant: Tenant, inbox: Inbox, storm: abuse.Storm, today: date, db: Session
) -> None:
    action = DecisionAction.PAUSE if storm.stop else DecisionAction.WARN
    # Once a day: who resumes an inbox after a look at its list is not stopped for the same mail.
    if inbox.status != InboxStatus.ACTIVE or signals.decided_on(db, inbox.id, action, today):
        return
    reason = SuspensionReason.TERMS_VIOLATION
    kill_switch.decide(tenant, action, reason, db, storm.note, storm.evidence(), inbox_id=inbox.id)
    if storm.stop:
        InboxService.set_status(inbox.id, InboxStatus.PAUSED, db)
    else:
        audit.write(db, tenant.id, "inbox_warned", "inbox", inbox.id)


def _is_hard_bounce(row: EventRow) -> bool:
    return abuse.is_hard_bounce(row.event_type, row.class_counter)


def _silence(
    found: Mapping[UUID, Iterable[str]], reason: str, db: Session, mail: ports.MailPlatform
) -> None:
    """Have each tenant mail these addresses no more."""
    for tenant_id in sorted(found):
        tenant, targets = db.get(Tenant, tenant_id), _targets(found[tenant_id])
        if tenant is not None and targets:
            SuppressionService.add(tenant, targets, reason, db, mail=mail)


def _targets(addresses: Iterable[str]) -> list[str]:
    return sorted({t for address in addresses if (t := suppressions.normal(address)) is not None})


def _is_about_our_mail(row: EventRow, db: Session, platform: ports.Platform) -> bool:
    """Bounces that come by mail could be made up: the message must have gone to that address."""
    if row.event_type != "OOB":
        return True
    sent = complaints.sent_to(row, json.loads(row.record).get("meta") or {}, db, platform)
    return sent is not None and sent[1] == row.recipient.lower()
