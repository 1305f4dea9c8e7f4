"""What people are written about money and names: recorded with the fact, sent by a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, events
from app.database import outbox
from app.database.models import BillingNotice, NoticeKind, OperatorAlert, Tenant, new_id
from app.integrations import ports
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
    """Send a message that is owed; a repeat carries the same Message-ID."""
    providers = providers or ports.current()
    notice = db.get(BillingNotice, notice_id, with_for_update=True)
    if notice is None or notice.sent_at is not None:
        return
    tenant = db.get_one(Tenant, notice.tenant_id)
    mail = _written(notice, tenant, providers.platform)
    providers.mailer.send(
        to=tenant.company_email,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        key=f"billing-{notice.id}",
    )
    notice.sent_at = clock.now()


def _written(notice: BillingNotice, tenant: Tenant, platform: ports.Platform) -> email_service.Mail:
    known: dict[str, Any] = notice.details
    company, page = tenant.company_name, f"{platform.public_url}/billing"
    match notice.kind:
        case NoticeKind.RECEIPT | NoticeKind.PURCHASE_RECEIPT:
            return email_service.receipt(
                company=company,
                cents=known["cents"],
                currency=known["currency"],
                paid_at=notice.created_at,
                description=known["description"],
                reference=known["reference"],
                link=known["link"],
            )
        case NoticeKind.PAYMENT_FAILED:
            return email_service.payment_failed(
                company=company,
                cents=known["cents"],
                currency=known["currency"],
                reason=known["reason"],
                next_attempt=_instant(known["next_attempt"]),
                link=known["link"] or page,
            )
        case NoticeKind.ACTION_REQUIRED:
            return email_service.action_required(
                company=company,
                cents=known["cents"],
                currency=known["currency"],
                link=known["link"] or page,
            )
        case NoticeKind.TRIAL_ENDING:
            return email_service.trial_ending(
                company=company,
                ends_at=tenant.trial_ends_at,
                days=known["days"],
                has_card=tenant.stripe_subscription_id is not None,
                plan=known["plan"],
                cents=known["cents"],
                link=page,
            )
        case NoticeKind.TRIAL_EXPIRED:
            return email_service.trial_expired(company=company, link=page)
        case NoticeKind.RENEWAL:
            return email_service.renewal(
                company=company,
                cents=known["cents"],
                currency=known["currency"],
                at=_instant(known["at"]),
                link=page,
            )
        case NoticeKind.REFUNDED:
            return email_service.refunded(
                company=company,
                cents=known["cents"],
                currency=known["currency"],
                cause=known["cause"],
            )
        case NoticeKind.SUSPENDED:
            return email_service.suspended(company=company, reason=known["reason"])
        case NoticeKind.WARNED:
            return email_service.warned(
                company=company,
                note=known["note"],
                paused=bool(known["paused"]),
                link=f"{platform.public_url}/decisions",
            )
        case NoticeKind.CANCELED:
            return email_service.canceled(company=company, link=page)
        case NoticeKind.DOMAIN_EXPIRING:
            return email_service.domain_expiring(
                company=company,
                domain=known["domain_name"],
                at=datetime.fromisoformat(known["at"]),
                days=known["days"],
                kept=known["kept"] == "yes",
            )
        case NoticeKind.DOMAIN_EXPIRED:
            return email_service.domain_expired(
                company=company,
                domain=known["domain_name"],
                until=datetime.fromisoformat(known["at"]),
            )
        case NoticeKind.DOMAIN_OWNERSHIP:
            return email_service.domain_ownership(
                company=company, domain=known["domain_name"], what=known["what"]
            )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


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
