"""Rows of one tenant, made directly: one maker for each kind of object that the API names by an id,
and `extras` for the tables whose rows it never names.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    APIKey,
    Appeal,
    BillingNotice,
    Complaint,
    Decision,
    DecisionAction,
    DeliveryEvent,
    Dispute,
    DKIMKey,
    Domain,
    DomainDay,
    DomainPurchase,
    DomainStatus,
    IdempotencyRecord,
    Inbox,
    InboxDay,
    InboxStatus,
    Invitation,
    Invoice,
    MailToken,
    NoticeKind,
    PaymentMethod,
    ProviderDay,
    Provision,
    PurchaseState,
    RecoveryCode,
    RefreshToken,
    Refund,
    Registrant,
    Role,
    Suppression,
    SuspensionReason,
    Tenant,
    TenantDay,
    Transaction,
    TransactionType,
    User,
    WarmupDay,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    new_id,
)
from app.rules import api_keys, warmup
from app.services.dkim_keys import key_context
from app.services.inbox_batch import password_context
from app.services.registrant_service import contact_context
from app.services.webhook_delivery import secret_context
from app.utils import security
from tests.security.names import rows_of_a_name

PASSWORD = "correct horse battery"
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


@cache
def _password_hash() -> str:
    return security.hash_password(PASSWORD)


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


def add(db: Session, kind: type[Any], tenant_id: UUID, /, **fields: Any) -> UUID:
    """A row of this tenant's; its id."""
    row = kind(**{"id": new_id(), "tenant_id": tenant_id, **fields})
    db.add(row)
    # At once: others may refer to it, and the session knows no order among tables.
    db.flush()
    made: UUID = row.id
    return made


# People and programs ----------------------------------------------------------------------------


def user(tenant_id: UUID, db: Session, role: str = "member") -> UUID:
    """Somebody of this role, who can sign in with `PASSWORD`."""
    return add(
        db,
        User,
        tenant_id,
        email=f"{role}-{secrets.token_hex(6)}@walk.test",
        password_hash=_password_hash(),
        role=Role(role),
        is_admin=role in {"owner", "admin"},
        is_verified=True,
    )


def invitation(tenant_id: UUID, db: Session, *, token: str | None = None) -> UUID:
    return add(
        db,
        Invitation,
        tenant_id,
        email=f"guest-{secrets.token_hex(6)}@walk.test",
        role=Role.MEMBER,
        token_hash=security.token_hash(token or security.new_token()),
        expires_at=clock.now() + timedelta(days=7),
    )


def mail_token(tenant_id: UUID, db: Session, user_id: UUID, purpose: str, token: str) -> UUID:
    return add(
        db,
        MailToken,
        tenant_id,
        user_id=user_id,
        purpose=purpose,
        token_hash=security.token_hash(token),
        expires_at=clock.now() + timedelta(hours=1),
    )


def session(tenant_id: UUID, db: Session) -> UUID:
    """The id of a session of some member."""
    family = new_id()
    add(
        db,
        RefreshToken,
        tenant_id,
        user_id=user(tenant_id, db),
        family_id=family,
        token_hash=secrets.token_bytes(32),
        expires_at=clock.now() + timedelta(days=1),
    )
    return family


def api_key(tenant_id: UUID, db: Session) -> UUID:
    return key(tenant_id, db, ["domains:read"])[0]


def key(tenant_id: UUID, db: Session, scopes: Collection[str]) -> tuple[UUID, str]:
    """The id of an API key with these scopes, and its text."""
    text = api_keys.assemble(security.new_secret(), live=False)
    made = add(
        db,
        APIKey,
        tenant_id,
        name="a program",
        prefix=api_keys.hint(text),
        token_hash=security.token_hash(text),
        scopes=sorted(scopes),
    )
    return made, text


# Names and inboxes ------------------------------------------------------------------------------


def domain(tenant_id: UUID, db: Session) -> UUID:
    db.get_one(Tenant, tenant_id).domains_count += 1
    return add(
        db,
        Domain,
        tenant_id,
        domain_name=f"walk-{secrets.token_hex(6)}.com",
        status=DomainStatus.ACTIVE,
        kumo_authorized=True,
        dkim_selector="ig202611",
    )


def signed_domain(tenant_id: UUID, db: Session) -> UUID:
    """A name with a signing key."""
    domain_id, key_id = domain(tenant_id, db), new_id()
    add(
        db,
        DKIMKey,
        tenant_id,
        id=key_id,
        domain_id=domain_id,
        selector="ig202611",
        public_key="x",
        private_key=security.encrypt(b"PEM", key_context(key_id)),
    )
    return domain_id


def provision(tenant_id: UUID, db: Session) -> UUID:
    return add(
        db,
        Provision,
        tenant_id,
        domain_id=domain(tenant_id, db),
        inbox_count=1,
        naming_convention="firstname",
        published_at=clock.now(),
    )


def inbox(tenant_id: UUID, db: Session) -> UUID:
    made = db.get_one(Provision, provision(tenant_id, db))
    name = db.get_one(Domain, made.domain_id).domain_name
    password, inbox_id = security.inbox_password(), new_id()
    db.get_one(Tenant, tenant_id).inboxes_count += 1
    return add(
        db,
        Inbox,
        tenant_id,
        id=inbox_id,
        domain_id=made.domain_id,
        provision_id=made.id,
        local_part="ann",
        username=f"ann@{name}",
        full_email=f"ann@{name}",
        password=security.encrypt(password.encode(), password_context(inbox_id)),
        password_hmac=security.inbox_hmac(password),
        status=InboxStatus.ACTIVE,
        daily_limit=50,
        monthly_limit=1500,
    )


def suppression(tenant_id: UUID, db: Session) -> UUID:
    target = f"no-{secrets.token_hex(6)}@walk.test"
    return add(db, Suppression, tenant_id, target=target, reason="manual")


def decision(tenant_id: UUID, db: Session) -> UUID:
    return add(
        db,
        Decision,
        tenant_id,
        action=DecisionAction.WARN,
        reason=SuspensionReason.SPAM_COMPLAINT,
        rule_version="1",
        actor_type="system",
    )


def appeal(tenant_id: UUID, db: Session) -> UUID:
    return add(db, Appeal, tenant_id, decision_id=decision(tenant_id, db), message="They agreed.")


def endpoint(tenant_id: UUID, db: Session) -> UUID:
    """Of a server that is not there."""
    made = new_id()
    return add(
        db,
        WebhookEndpoint,
        tenant_id,
        id=made,
        url="http://127.0.0.1:9/hook",
        event_types=[],
        secret=security.encrypt(b"whsec_" + b"YWJj" * 8, secret_context(made)),
    )


def delivery(tenant_id: UUID, db: Session, endpoint_id: UUID | None = None) -> UUID:
    to = db.get_one(WebhookEndpoint, endpoint_id or endpoint(tenant_id, db))
    to.last_sequence += 1
    return add(
        db,
        WebhookDelivery,
        tenant_id,
        endpoint_id=to.id,
        sequence=to.last_sequence,
        event_type="webhook.test",
        occurred_at=clock.now(),
        data={},
        next_try_at=clock.now(),
    )


# Money ------------------------------------------------------------------------------------------


def purchase(tenant_id: UUID, db: Session) -> UUID:
    """A bought name, with a payment that the provider does not know of."""
    return add(
        db,
        DomainPurchase,
        tenant_id,
        domain_name=f"buy-{secrets.token_hex(6)}.com",
        years=1,
        registrar="namecheap",
        cost_cents=1000,
        price_cents=1300,
        expires_at=clock.now() + timedelta(minutes=15),
        stripe_payment_intent_id=f"pi_{secrets.token_hex(12)}",
        state=PurchaseState.CAPTURED,
        domain_id=domain(tenant_id, db),
    )


def intent(tenant_id: UUID, db: Session) -> str:
    made = db.get_one(DomainPurchase, purchase(tenant_id, db)).stripe_payment_intent_id
    assert made is not None
    return made


def invoice(tenant_id: UUID, db: Session) -> UUID:
    return add(
        db,
        Invoice,
        tenant_id,
        stripe_invoice_id=f"in_{secrets.token_hex(12)}",
        status="paid",
        amount_due_cents=9700,
        amount_paid_cents=9700,
        currency="usd",
    )


def payment_method(tenant_id: UUID, db: Session) -> UUID:
    return add(
        db,
        PaymentMethod,
        tenant_id,
        stripe_payment_method_id=f"pm_{secrets.token_hex(12)}",
        card_brand="visa",
        card_last_four="4242",
        card_exp="12/2030",
    )


def tenant(tenant_id: UUID, db: Session) -> UUID:
    return tenant_id


MAKERS: dict[str, Callable[[UUID, Session], UUID | str]] = {
    "user": user,
    "invitation": invitation,
    "session": session,
    "api_key": api_key,
    "domain": domain,
    "signed_domain": signed_domain,
    "inbox": inbox,
    "provision": provision,
    "suppression": suppression,
    "decision": decision,
    "appeal": appeal,
    "endpoint": endpoint,
    "purchase": purchase,
    "intent": intent,
    "invoice": invoice,
    "payment_method": payment_method,
    "tenant": tenant,
}
"""What has an id."""


def extras(tenant_id: UUID, db: Session) -> None:
    """Rows that no id of the API names, but that belong to the tenant."""
    domain_id, inbox_id = domain(tenant_id, db), inbox(tenant_id, db)
    user_id, later = user(tenant_id, db), clock.now() + timedelta(hours=1)
    # A day's events have a table of their own.
    today = {"day": clock.now().date()}
    db.execute(text("SELECT make_delivery_days(ARRAY[CAST(:day AS date)])"), today)
    rows: list[tuple[type[Any], dict[str, Any]]] = [
        *rows_of_a_name(domain_id),
        (InboxDay, {"inbox_id": inbox_id, "domain_id": domain_id, "day": date(2026, 1, 1)}),
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
