"""After a restore: what belongs to no account, and what is told of everything that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock
from app.database.models import Inbox, InboxStatus, Suppression, Tenant
from app.integrations import ports
from app.services import notices, reconciliation, restored_mode, stripe_events
from app.services.restored_reconciling import Account
from app.services.suppression_service import SuppressionService

OVERLAP = timedelta(hours=1)
"""Events from so long before the dump: what was on its way when it was taken."""

MEMORY = timedelta(days=30)
"""How long Stripe keeps events; asked for when nobody knows how old the data is."""

_AT_ONCE = 1_000
"""Suppressions in one statement."""


def finish(
    found: Sequence[Account], db: Session, *, providers: ports.Providers | None = None
) -> dict[str, Any]:
    """The rest, once every account was looked at; the findings, which are also kept and told.

    Raises Conflict when nothing is held.
    """
    providers = providers or ports.current()
    # Stripe is asked page by page meanwhile.
    db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
    life = restored_mode.present(db)
    since = (life.data_until or clock.now() - MEMORY) - OVERLAP
    strangers = sorted(_strangers(since, db, providers.payments))
    missed = reconciliation.fetch_missed_events(db, providers.payments, since=since)
    findings = {
        "data_until": None if life.data_until is None else life.data_until.isoformat(),
        "accounts": [asdict(one) for one in found],
        "events": missed,
        "customers_without_account": strangers,
        "suspended_at_the_relay_only": sorted(_killed_only(db, providers.mail)),
        "suppressions_kept": _keep_suppressions(db, providers.mail),
        "logins_at_the_relay_only": sum(len(names) for names in _unknown(db, providers.mail)),
    }
    life.findings, life.reconciled_at = findings, clock.now()
    names = sum(len(one.names) for one in found)
    unexplained = sum(len(one.unexplained) for one in found)
    notices.alert(
        db,
        "restored_reconciled",
        f"{life.id} {life.reconciled_at:%Y-%m-%d %H:%M:%S}",
        f"The restored database was compared with Stripe and the registrar: {len(found)} accounts"
        f" differed, {names} names were taken up again, {unexplained} payments need a person,"
        f" {missed} events had not reached us, {len(strangers)} customers have no account here."
        " `inboxgrove ops restored status` lists them.",
    )
    return findings


def _strangers(since: datetime, db: Session, payments: ports.PaymentGateway) -> set[str]:
    """Who did something at Stripe and has no tenant: it registered in the lost time."""
    seen = set()
    for event in payments.events_since(since, sorted(stripe_events.HANDLERS)):
        body = event.payload["data"]["object"]
        customer = body["id"] if body.get("object") == "customer" else body.get("customer")
        if isinstance(customer, str):
            seen.add(customer)
    known = select(Tenant.stripe_customer_id).where(Tenant.stripe_customer_id.in_(seen))
    return seen - {str(customer) for customer in db.scalars(known)}


def _killed_only(db: Session, mail: ports.MailPlatform) -> set[str]:
    """Suspended in the lost time, perhaps: the release of this database would let them send."""
    suspended = {str(id_) for id_ in db.scalars(select(Tenant.id).where(Tenant.is_suspended))}
    return mail.killed_tenants() - suspended


def _keep_suppressions(db: Session, mail: ports.MailPlatform) -> int:
    """Who asked to be left alone in the lost time stays so, as far as the relay remembers it."""
    kept = 0
    for tenant_id, held in mail.suppressed().items():
        tenant = db.get(Tenant, UUID(tenant_id))
        if tenant is not None:
            known = select(Suppression.target).where(Suppression.tenant_id == tenant.id)
            lost = sorted(held - set(db.scalars(known)))
            for at in range(0, len(lost), _AT_ONCE):
                some = lost[at : at + _AT_ONCE]
                kept += SuppressionService.add(tenant, some, "restored", db, mail=mail)
    return kept


def _unknown(db: Session, mail: ports.MailPlatform) -> Iterator[set[str]]:
    for names in mail.usernames():
        known = select(Inbox.username).where(
            Inbox.username.in_(names), Inbox.status != InboxStatus.DELETED
        )
        yield set(names) - {name.lower() for name in db.scalars(known)}
