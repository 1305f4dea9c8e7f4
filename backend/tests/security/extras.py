"""Rows that no id of the API names, but that belong to a tenant."""

from __future__ import annotations

import json
import secrets
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    BillingNotice,
    Complaint,
    DeliveryEvent,
    Dispute,
    DKIMRotation,
    DomainConnection,
    DomainDay,
    DomainStanding,
    DomainStep,
    IdempotencyRecord,
    InboxDay,
    InboxWeek,
    NoticeKind,
    OperationState,
    ProviderDay,
    RecoveryCode,
    Refund,
    Registrant,
    RegistrarOperation,
    StepName,
    TenantDay,
    Transaction,
    TransactionType,
    WarmupDay,
    WebhookAttempt,
    new_id,
)
from app.rules import warmup
from app.services.registrant_service import contact_context
from app.utils import security
from tests.security.belongings import add, delivery, domain, inbox, mail_token, user

FIRST_DAY = warmup.Inputs(
    age_days=0,
    limit=20,
    cap=50,
    paused=False,
    accepted=None,
    deferred=None,
    bounced=None,
    complaints=0,
    listing=warmup.Listing.UNCHECKED,
    aligned=None,
).document()


PERSON = {
    "first_name": "Ann",
    "last_name": "Lee",
    "organization": "",
    "address": "1 Main Street",
    "city": "Phoenix",
    "state": "AZ",
    "postal_code": "85284",
    "country": "US",
    "phone": "+1.6613102107",
    "email": "ann@walk.test",
}
"""Whom a tenant's names are registered for."""


def make(tenant_id: UUID, db: Session) -> None:
    """Rows that no id of the API names, but that belong to the tenant."""
    domain_id, inbox_id = domain(tenant_id, db), inbox(tenant_id, db)
    user_id, later = user(tenant_id, db), clock.now() + timedelta(hours=1)
    brought = {"domain_id": domain_id, "dns": "manual", "token": "x", "next_look_at": later}
    # A day's events have a table of their own.
    today = {"day": clock.now().date()}
    db.execute(text("SELECT make_delivery_days(ARRAY[CAST(:day AS date)])"), today)
    rows: list[tuple[type[Any], dict[str, Any]]] = [
        (DomainStep, {"domain_id": domain_id, "name": StepName.PAYMENT}),
        (DomainConnection, brought),
        (
            RegistrarOperation,
            {"domain_id": domain_id, "domain_name": "x.com", "state": OperationState.DONE},
        ),
        (InboxDay, {"inbox_id": inbox_id, "domain_id": domain_id, "day": date(2026, 1, 1)}),
        (InboxWeek, {"inbox_id": inbox_id, "week": date(2025, 12, 29)}),
        (DomainDay, {"domain_id": domain_id, "day": date(2026, 1, 1)}),
        (ProviderDay, {"domain_id": domain_id, "day": date(2026, 1, 1), "provider": "google"}),
        (TenantDay, {"day": date(2026, 1, 1)}),
        (
            WarmupDay,
            {
                "inbox_id": inbox_id,
                "day": date(2026, 1, 1),
                "inputs": FIRST_DAY,
                "rule": "first_day",
                "rule_version": warmup.VERSION,
                "stage": 0,
                "daily_limit": 20,
            },
        ),
        (
            Complaint,
            {
                "inbox_id": inbox_id,
                "domain_id": domain_id,
                "trace": secrets.token_hex(8),
                "recipient": "x@walk.test",
                "verified": True,
                "received_at": clock.now(),
            },
        ),
        (
            DomainStanding,
            {
                "domain_id": domain_id,
                "zone": "dbl.test",
                "state": "clear",
                "since": clock.now(),
                "tried_at": clock.now(),
            },
        ),
        (
            DeliveryEvent,
            {
                "natural_key": secrets.token_bytes(32),
                "inbox_id": inbox_id,
                "event_type": "Delivery",
                "occurred_at": clock.now(),
                "message_id": "m",
                "recipient": "x@walk.test",
                "recipient_domain": "walk.test",
                "record": {},
            },
        ),
        (
            Refund,
            {"stripe_payment_intent_id": f"pi_{secrets.token_hex(12)}", "cause": "asked for"},
        ),
        (
            Dispute,
            {
                "stripe_dispute_id": f"dp_{secrets.token_hex(12)}",
                "stripe_charge_id": f"ch_{secrets.token_hex(12)}",
                "amount_cents": 9700,
                "currency": "usd",
                "status": "won",
                "reason": "general",
            },
        ),
        (WebhookAttempt, {"delivery_id": delivery(tenant_id, db), "duration_ms": 1}),
        (BillingNotice, {"kind": NoticeKind.CANCELED, "fact": secrets.token_hex(6)}),
        (
            Transaction,
            {
                "transaction_type": TransactionType.CHARGE,
                "amount": Decimal("97.00"),
                "currency": "usd",
                "status": "succeeded",
                "stripe_transaction_id": f"ch_{secrets.token_hex(12)}",
            },
        ),
        (
            DKIMRotation,
            {
                "domain_id": domain(tenant_id, db),
                "old_selector": "ig202611",
                "new_selector": "ig202705",
                "stage": "keeping",
                "leaked": False,
            },
        ),
        (RecoveryCode, {"user_id": user_id, "code_hash": secrets.token_bytes(32)}),
        (
            IdempotencyRecord,
            {"key": secrets.token_hex(6), "request_hash": bytes(32), "expires_at": later},
        ),
    ]
    for kind, fields in rows:
        add(db, kind, tenant_id, **fields)
    mail_token(tenant_id, db, user_id, "verify_email", security.new_token())
    registrant(tenant_id, db)


def registrant(tenant_id: UUID, db: Session) -> UUID:
    id_ = new_id()
    sealed = security.encrypt(json.dumps(PERSON).encode(), contact_context(id_))
    return add(db, Registrant, tenant_id, id=id_, contact=sealed)
