"""What people are written about money and names: recorded with the fact, sent by a job."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, events
from app.database import outbox
from app.database.models import BillingNotice, NoticeKind, OperatorAlert, Tenant, new_id
from app.integrations import ports
from app.services import notice_letters, notification_choices
from app.utils import email_service, monitoring


def owe(
    db: Session, tenant_id: UUID, kind: NoticeKind, fact: str, **details: str | int | None
) -> bool:
    """One message for one fact; False when it is owed or sent already."""
    row = db.scalar(
        insert(BillingNotice)
        .values(
            id=new_id(),
            created_at=clock.now(),
            tenant_id=tenant_id,
            kind=kind,
            fact=fact,
            details=details,
        )
        .on_conflict_do_nothing()
        .returning(BillingNotice.id)
    )
    if row is not None:
        outbox.record(db, events.BillingNoticeDue(tenant_id=tenant_id, notice_id=row))
    return row is not None


def send(notice_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Send a message that is owed to whom it concerns; a repeat carries the same Message-IDs."""
    providers = providers or ports.current()
    notice = db.get(BillingNotice, notice_id, with_for_update=True)
    if notice is None or notice.sent_at is not None:
        return
    tenant = db.get_one(Tenant, notice.tenant_id)
    mail = notice_letters.write(notice, tenant, providers.platform)
    for user_id, address in notification_choices.recipients(tenant, notice.kind, db):
        providers.mailer.send(
            to=address,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"billing-{notice.id}" + (f"-{user_id}" if user_id else ""),
        )
    notice.sent_at = clock.now()


def alert(
    db: Session, kind: str, fact: str, message: str, *, tenant_id: UUID | None = None
) -> bool:
    """Call a person of the platform, once for each fact: a row, the log, and a mail."""
    row = db.scalar(
        insert(OperatorAlert)
        .values(
            id=new_id(),
            created_at=clock.now(),
            kind=kind,
            fact=fact[:120],
            message=message[:1000],
            about_tenant_id=tenant_id,
        )
        .on_conflict_do_nothing()
        .returning(OperatorAlert.id)
    )
    if row is not None:
        monitoring.ALERTS.labels(kind=kind).inc()
        monitoring.log.error("operator alert", kind=kind, fact=fact, message=message)
        outbox.record(db, events.OperatorAlertRaised(alert_id=row))
    return row is not None


def send_alert(alert_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Mail an alert to the operators' address, where one is set."""
    providers = providers or ports.current()
    raised = db.get(OperatorAlert, alert_id)
    to = providers.platform.alert_email
    if raised is None or not to:
        return
    mail = email_service.alert(
        kind=raised.kind,
        fact=raised.fact,
        message=raised.message,
        tenant_id=str(raised.about_tenant_id or ""),
    )
    providers.mailer.send(
        to=to, subject=mail.subject, text=mail.text, html=mail.html, key=f"alert-{alert_id}"
    )
