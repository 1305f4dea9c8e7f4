"""A tenant that owns one object of every kind that the API names by an id, and its people.

Rows are made directly and cheaply, so that a walk over all operations can use up a fresh one for
each request and no request depends on the one before.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Collection
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import pyotp
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    APIKey,
    AuditLog,
    Decision,
    DecisionAction,
    DeliveryEvent,
    DKIMKey,
    Domain,
    DomainPurchase,
    DomainStatus,
    DomainStep,
    IdempotencyRecord,
    Inbox,
    InboxDay,
    InboxStatus,
    Invitation,
    Invoice,
    MailToken,
    OperationState,
    PaymentMethod,
    Provision,
    PurchaseState,
    RecoveryCode,
    RefreshToken,
    RegistrarOperation,
    Role,
    StepName,
    Suppression,
    SuspensionReason,
    Tenant,
    Transaction,
    TransactionType,
    User,
    new_id,
)
from app.database.session import ALL_TENANTS, transaction
from app.rules import api_keys
from app.services.domain_setup import key_context
from app.services.inbox_batch import password_context
from app.utils import security

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@cache
def _password_hash() -> str:
    return security.hash_password(PASSWORD)


class Estate:
    """What one tenant has. `make(kind)` is the id of a new object of theirs, as the API names it."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = UUID(tenant_id)

    # People and programs --------------------------------------------------------------------------

    def person(self, role: str) -> UUID:
        """Somebody new of this role, who can sign in with `PASSWORD`."""
        with transaction(tenant=ALL_TENANTS) as db:
            user = User(
                id=new_id(),
                tenant_id=self.tenant_id,
                email=f"{role}-{secrets.token_hex(6)}@walk.test",
                password_hash=_password_hash(),
                role=Role(role),
                is_admin=role in {"owner", "admin"},
                is_verified=True,
            )
            db.add(user)
        return user.id

    def give_factor(self, user_id: UUID, *, in_force: bool = True) -> None:
        """A second factor; not `in_force`, it waits for the first code."""
        secret = security.new_totp_secret()
        with transaction(tenant=ALL_TENANTS) as db:
            user = db.get_one(User, user_id)
            user.totp_secret = security.encrypt(secret.encode(), f"users.totp_secret:{user.id}")
            user.totp_step, user.two_factor_enabled = None, in_force

    def bearer(self, user_id: UUID, *, shown: timedelta = timedelta(0)) -> dict[str, str]:
        """The headers of a new session of theirs; credentials were shown `shown` ago."""
        return _bearer(self.session(user_id, shown=shown)[0])

    def session(self, user_id: UUID, *, shown: timedelta = timedelta(0)) -> tuple[str, str, UUID]:
        """Access token, refresh token and the session's id."""
        refresh, family, at = security.new_token(), new_id(), clock.now() - shown
        with transaction(tenant=ALL_TENANTS) as db:
            user = db.get_one(User, user_id)
            db.add(
                RefreshToken(
                    tenant_id=user.tenant_id,
                    user_id=user.id,
                    family_id=family,
                    token_hash=security.token_hash(refresh),
                    expires_at=clock.now() + timedelta(days=1),
                    authenticated_at=at,
                )
            )
        access = security.access_token(
            user_id=user.id,
            tenant_id=user.tenant_id,
            session_version=user.session_version,
            family_id=family,
            authenticated_at=at,
        )
        return access, refresh, family

    def program(self, scopes: Collection[str]) -> dict[str, str]:
        """The headers of a program whose key has these scopes."""
        return _bearer(self._key(scopes)[1])

    def code_of(self, user_id: UUID) -> str:
        """What this person's authenticator app shows now."""
        with transaction(tenant=ALL_TENANTS) as db:
            sealed = db.get_one(User, user_id).totp_secret
        assert sealed is not None
        secret = security.decrypt(sealed, f"users.totp_secret:{user_id}").decode()
        return pyotp.TOTP(secret).at(clock.now())

    # Objects --------------------------------------------------------------------------------------

    def make(self, kind: str) -> str:
        """The id of a new object. Raises KeyError for a kind that nobody taught us."""
        maker = MAKERS[kind]
        with transaction(tenant=ALL_TENANTS) as db:
            return str(maker(self, db))

    def everything(self) -> dict[str, str]:
        """One object of every kind, and rows that hang on them: the ids by kind."""
        ids = {kind: self.make(kind) for kind in MAKERS}
        with transaction(tenant=ALL_TENANTS) as db:
            self._hang_on(db)
        return ids

    def user(self, db: Session) -> UUID:
        """Somebody who belongs to the tenant."""
        return self._add(
            db,
            User,
            email=f"member-{secrets.token_hex(6)}@walk.test",
            password_hash=_password_hash(),
            role=Role.MEMBER,
            is_verified=True,
        )

    def invitation(self, db: Session) -> UUID:
        return self._add(
            db,
            Invitation,
            email=f"guest-{secrets.token_hex(6)}@walk.test",
            role=Role.MEMBER,
            token_hash=secrets.token_bytes(32),
            expires_at=clock.now() + timedelta(days=7),
        )

    def invited(self) -> str:
        """The token of a new invitation."""
        token = security.new_token()
        with transaction(tenant=ALL_TENANTS) as db:
            db.get_one(Invitation, self.invitation(db)).token_hash = security.token_hash(token)
        return token

    def mailed(self, user_id: UUID, purpose: str) -> str:
        """The token of a mail to this person."""
        token = security.new_token()
        with transaction(tenant=ALL_TENANTS) as db:
            self._add(
                db,
                MailToken,
                user_id=user_id,
                purpose=purpose,
                token_hash=security.token_hash(token),
                expires_at=clock.now() + timedelta(hours=1),
            )
        return token

    def api_key(self, db: Session) -> UUID:
        return self._key(["domains:read"], db)[0]

    def domain(self, db: Session) -> UUID:
        domain = Domain(
            id=new_id(),
            tenant_id=self.tenant_id,
            domain_name=f"walk-{secrets.token_hex(6)}.com",
            status=DomainStatus.ACTIVE,
            kumo_authorized=True,
            dkim_selector="ig202611",
        )
        db.add(domain)
        db.get_one(Tenant, self.tenant_id).domains_count += 1
        db.flush()
        return domain.id

    def signed_domain(self, db: Session) -> UUID:
        """A name with a signing key."""
        domain_id, key_id = self.domain(db), new_id()
        self._add(
            db,
            DKIMKey,
            id=key_id,
            domain_id=domain_id,
            selector="ig202611",
            public_key="x",
            private_key=security.encrypt(b"PEM", key_context(key_id)),
        )
        return domain_id

    def provision(self, db: Session) -> UUID:
        return self._add(
            db,
            Provision,
            domain_id=self.domain(db),
            inbox_count=1,
            naming_convention="firstname",
            published_at=clock.now(),
        )

    def inbox(self, db: Session) -> UUID:
        provision = db.get_one(Provision, self.provision(db))
        name = db.get_one(Domain, provision.domain_id).domain_name
        password, inbox_id = security.inbox_password(), new_id()
        db.get_one(Tenant, self.tenant_id).inboxes_count += 1
        return self._add(
            db,
            Inbox,
            id=inbox_id,
            domain_id=provision.domain_id,
            provision_id=provision.id,
            local_part="ann",
            username=f"ann@{name}",
            full_email=f"ann@{name}",
            password=security.encrypt(password.encode(), password_context(inbox_id)),
            password_hmac=security.inbox_hmac(password),
            status=InboxStatus.ACTIVE,
            daily_limit=50,
            monthly_limit=1500,
        )

    def suppression(self, db: Session) -> UUID:
        target = f"no-{secrets.token_hex(6)}@walk.test"
        return self._add(db, Suppression, target=target, reason="manual")

    def purchase(self, db: Session) -> UUID:
        """A bought name, with a payment that the provider does not know of."""
        return self._add(
            db,
            DomainPurchase,
            domain_name=f"buy-{secrets.token_hex(6)}.com",
            years=1,
            registrar="namecheap",
            cost_cents=1000,
            price_cents=1300,
            expires_at=clock.now() + timedelta(minutes=15),
            stripe_payment_intent_id=f"pi_{secrets.token_hex(12)}",
            state=PurchaseState.CAPTURED,
            domain_id=self.domain(db),
        )

    def intent(self, db: Session) -> str:
        purchase = db.get_one(DomainPurchase, self.purchase(db))
        assert purchase.stripe_payment_intent_id is not None
        return purchase.stripe_payment_intent_id

    def invoice(self, db: Session) -> UUID:
        return self._add(
            db,
            Invoice,
            stripe_invoice_id=f"in_{secrets.token_hex(12)}",
            status="paid",
            amount_due_cents=9700,
            amount_paid_cents=9700,
            currency="usd",
        )

    def payment_method(self, db: Session) -> UUID:
        return self._add(
            db,
            PaymentMethod,
            stripe_payment_method_id=f"pm_{secrets.token_hex(12)}",
            card_brand="visa",
            card_last_four="4242",
            card_exp="12/2030",
        )

    def sign_in_session(self, db: Session) -> UUID:
        """The id of a session of some member."""
        family = new_id()
        self._add(
            db,
            RefreshToken,
            user_id=self.user(db),
            family_id=family,
            token_hash=secrets.token_bytes(32),
            expires_at=clock.now() + timedelta(days=1),
        )
        return family

    def tenant(self, db: Session) -> UUID:
        return self.tenant_id

    # ----------------------------------------------------------------------------------------------

    def _key(self, scopes: Collection[str], db: Session | None = None) -> tuple[UUID, str]:
        text = api_keys.assemble(security.new_secret(), live=False)
        fields: dict[str, Any] = {
            "name": "a program",
            "prefix": api_keys.hint(text),
            "token_hash": security.token_hash(text),
            "scopes": sorted(scopes),
        }
        if db is not None:
            return self._add(db, APIKey, **fields), text
        with transaction(tenant=ALL_TENANTS) as own:
            return self._add(own, APIKey, **fields), text

    def _hang_on(self, db: Session) -> None:
        """Rows that no id of the API names, but that belong to the tenant."""
        domain_id, inbox_id, user_id = self.domain(db), self.inbox(db), self.user(db)
        db.flush()
        now, today = clock.now(), date(2026, 1, 1)
        self._add(db, DomainStep, domain_id=domain_id, name=StepName.PAYMENT)
        self._add(
            db,
            RegistrarOperation,
            domain_id=domain_id,
            domain_name="done.example",
            state=OperationState.DONE,
        )
        self._add(db, InboxDay, inbox_id=inbox_id, domain_id=domain_id, day=today, accepted=7)
        self._add(
            db,
            DeliveryEvent,
            natural_key=secrets.token_bytes(32),
            inbox_id=inbox_id,
            event_type="Delivery",
            occurred_at=now,
            message_id="m",
            recipient="x@walk.test",
            recipient_domain="walk.test",
            record={},
        )
        self._add(
            db,
            Transaction,
            transaction_type=TransactionType.CHARGE,
            amount=Decimal("97.00"),
            currency="usd",
            status="succeeded",
            stripe_transaction_id=f"ch_{secrets.token_hex(12)}",
        )
        self._add(db, RecoveryCode, user_id=user_id, code_hash=secrets.token_bytes(32))
        self._add(
            db,
            MailToken,
            user_id=user_id,
            purpose="verify",
            token_hash=secrets.token_bytes(32),
            expires_at=now + timedelta(hours=1),
        )
        self._add(
            db,
            Decision,
            action=DecisionAction.REINSTATE,
            reason=SuspensionReason.SPAM_COMPLAINT,
            rule_version="1",
            actor_type="system",
        )
        self._add(
            db,
            IdempotencyRecord,
            key=f"key-{secrets.token_hex(6)}",
            request_hash=bytes(32),
            expires_at=now + timedelta(days=1),
        )
        assert db.scalar(select(AuditLog.id).where(AuditLog.tenant_id == self.tenant_id).limit(1))

    def _add(self, db: Session, kind: type[Any], **fields: Any) -> UUID:
        row = kind(**{"id": new_id(), "tenant_id": self.tenant_id, **fields})
        db.add(row)
        db.flush()
        made: UUID = row.id
        return made


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


MAKERS: dict[str, Callable[[Estate, Session], UUID | str]] = {
    "user": Estate.user,
    "invitation": Estate.invitation,
    "session": Estate.sign_in_session,
    "api_key": Estate.api_key,
    "domain": Estate.domain,
    "signed_domain": Estate.signed_domain,
    "inbox": Estate.inbox,
    "provision": Estate.provision,
    "suppression": Estate.suppression,
    "purchase": Estate.purchase,
    "intent": Estate.intent,
    "invoice": Estate.invoice,
    "payment_method": Estate.payment_method,
    "tenant": Estate.tenant,
}
"""What has an id."""

KINDS: dict[str, tuple[str, ...]] = {
    "actor_id": ("user",),
    "domain_id": ("domain",),
    "domain_ids": ("domain",),
    "inbox_id": ("inbox",),
    "inbox_ids": ("inbox",),
    "key_id": ("api_key",),
    "payment_intent_id": ("intent",),
    "payment_method_id": ("payment_method",),
    "provision_id": ("provision",),
    "purchase_id": ("purchase",),
    "resource_id": ("domain",),
    "session_id": ("session",),
    "suppression_id": ("suppression",),
    "tenant_id": ("tenant",),
    "user_id": ("user", "invitation"),
}
"""Name of a parameter or field: what its ids are ids of."""
