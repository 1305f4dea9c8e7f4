"""Tenants, their people, and everything that proves who asks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app import clock
from app.database.tables.base import Base, TenantOwned, Text, Updated


class Plan(StrEnum):
    STARTER = "starter"
    GROWTH = "growth"
    ENTERPRISE = "enterprise"


class SubscriptionStatus(StrEnum):
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    TRIAL_EXPIRED = "trial_expired"
    CANCELED = "canceled"
    UNPAID = "unpaid"


class SuspensionReason(StrEnum):
    SPAM_COMPLAINT = "spam_complaint"
    BLACKLISTED = "blacklisted"
    PAYMENT_FAILED = "payment_failed"
    TERMS_VIOLATION = "terms_violation"
    PAYMENT_DISPUTED = "payment_disputed"
    ERASURE = "erasure"
    """The company asked to be forgotten."""


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READ_ONLY = "read_only"


class TrialClaimKind(StrEnum):
    CARD = "card"
    COMPANY_DOMAIN = "company_domain"
    MAILBOX = "mailbox"
    """At a provider of free mail, where a domain says nothing about a company."""


class DecisionAction(StrEnum):
    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    WARN = "warn"
    PAUSE = "pause"
    """Of one inbox."""


class Tenant(Updated, Base):
    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("domains_count >= 0 AND inboxes_count >= 0", name="counts"),
        Index("ix_tenants_trial_ends_at", "trial_ends_at"),
        Index(
            "ix_tenants_scheduled_plan_at",
            "scheduled_plan_at",
            postgresql_where=text("scheduled_plan_at IS NOT NULL"),
        ),
    )

    company_name: Mapped[str] = mapped_column(String(200))
    company_email: Mapped[str] = mapped_column(String(320))
    subscription_tier: Mapped[Plan] = mapped_column(Text(Plan), default=Plan.STARTER)
    subscription_status: Mapped[SubscriptionStatus] = mapped_column(
        Text(SubscriptionStatus), default=SubscriptionStatus.TRIALING, index=True
    )
    stripe_customer_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    stripe_subscription_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    current_period_end: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    scheduled_plan: Mapped[Plan | None] = mapped_column(Text(Plan))
    """The cheaper plan that begins at `scheduled_plan_at`; Stripe bills it from then on."""
    scheduled_plan_at: Mapped[datetime | None]
    trial_started_at: Mapped[datetime]
    trial_ends_at: Mapped[datetime]
    trial_inbox_limit: Mapped[int] = mapped_column(default=5)
    trial_domain_limit: Mapped[int] = mapped_column(default=1)
    trial_converted: Mapped[bool] = mapped_column(default=False)
    is_suspended: Mapped[bool] = mapped_column(default=False)
    suspension_reason: Mapped[SuspensionReason | None] = mapped_column(Text(SuspensionReason))
    suspended_at: Mapped[datetime | None]
    domains_count: Mapped[int] = mapped_column(default=0)
    inboxes_count: Mapped[int] = mapped_column(default=0)
    requires_two_factor: Mapped[bool] = mapped_column(default=False)
    """Whether every person of this tenant must have a second factor."""
    erase_at: Mapped[datetime | None]
    """When all that tells of people goes, once that was asked for."""
    erased_at: Mapped[datetime | None]
    company_domain: Mapped[str | None] = mapped_column(String(253))
    """Registrable domain of the owner's address; None at a provider of free mail."""
    trial_refused_for: Mapped[TrialClaimKind | None] = mapped_column(Text(TrialClaimKind))
    """What another tenant had a trial with before."""


class User(TenantOwned, Updated, Base):
    __tablename__ = "users"
    __table_args__ = (Index("uq_users_email", "email", unique=True),)

    email: Mapped[str] = mapped_column(String(320))
    """Lower case: one address, one account."""
    full_name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(Text(Role), default=Role.OWNER)
    is_admin: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    is_verified: Mapped[bool] = mapped_column(default=False)
    two_factor_enabled: Mapped[bool] = mapped_column(default=False)
    totp_secret: Mapped[bytes | None]
    """Encrypted; there from set-up on, in force once `two_factor_enabled`."""
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    """The last 30-second step whose code was accepted: no code counts twice."""
    password_changed_at: Mapped[datetime | None]
    session_version: Mapped[int] = mapped_column(default=1)
    """Part of every access token: raising it cuts all of them at once."""
    last_login_at: Mapped[datetime | None]
    notifications: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Topics of rules.notifications that this person switched on or off."""


class RefreshToken(TenantOwned, Base):
    __tablename__ = "refresh_tokens"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    family_id: Mapped[UUID] = mapped_column(index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[datetime]
    authenticated_at: Mapped[datetime] = mapped_column(default=clock.now)
    """When the person last showed credentials; a rotated token keeps it."""
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user_agent: Mapped[str | None] = mapped_column(String(300))
    ip: Mapped[str | None] = mapped_column(String(45))


class RecoveryCode(TenantOwned, Base):
    """One-time substitutes for a lost second factor, hashed."""

    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("user_id", "code_hash"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    used_at: Mapped[datetime | None]


class Invitation(TenantOwned, Base):
    """An address that may become a member; the mailed token is kept hashed."""

    __tablename__ = "invitations"
    __table_args__ = (
        Index(
            "uq_invitations_open",
            "tenant_id",
            "email",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )

    email: Mapped[str] = mapped_column(String(320))
    """Lower case."""
    role: Mapped[Role] = mapped_column(Text(Role))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class MailToken(TenantOwned, Base):
    """One-time tokens sent by mail, hashed, bound to one purpose."""

    __tablename__ = "mail_tokens"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(30))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class APIKey(TenantOwned, Base):
    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(20))
    """What is shown of it later, so that people can tell their keys apart."""
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[list[Any]] = mapped_column(default=list)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Operator(Base):
    """A person who runs the platform; no tenant of their own. Made by the command line only."""

    __tablename__ = "operators"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    totp_secret: Mapped[bytes | None]
    """Encrypted. Without one the operator cannot sign in."""
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    session_version: Mapped[int] = mapped_column(default=1)
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class OperatorAct(Base):
    """What operators did to the platform itself; what they do to a tenant is in its own trail."""

    __tablename__ = "operator_acts"

    operator_id: Mapped[UUID | None] = mapped_column(index=True)
    """None: somebody with a shell on the platform."""
    action: Mapped[str] = mapped_column(String(60))
    resource_type: Mapped[str] = mapped_column(String(40))
    resource_id: Mapped[UUID | None]
    changes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))


class Decision(TenantOwned, Base):
    """Why a tenant was cut off or let back in: append-only, for the tenant and for an appeal."""

    __tablename__ = "decisions"

    action: Mapped[DecisionAction] = mapped_column(Text(DecisionAction))
    reason: Mapped[SuspensionReason] = mapped_column(Text(SuspensionReason))
    evidence: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """The figures and ids that the decision rests on."""
    rule_version: Mapped[str] = mapped_column(String(20))
    note: Mapped[str | None] = mapped_column(String(2000))
    inbox_id: Mapped[UUID | None] = mapped_column(index=True)
    """The inbox that it is about; None: the tenant."""
    actor_type: Mapped[str] = mapped_column(String(20))
    actor_id: Mapped[UUID | None]


class TrialClaim(Base):
    """Who had the one trial that goes with a card or a company's domain.

    No tenant's row: it outlives the tenant and is asked across tenants. It holds a hash only.
    """

    __tablename__ = "trial_claims"
    __table_args__ = (UniqueConstraint("kind", "value_hash"),)

    kind: Mapped[TrialClaimKind] = mapped_column(Text(TrialClaimKind))
    value_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenants.id", ondelete="SET NULL"))


class Throttle(Base):
    """Attempts at a door in one window of time; guessers are counted here, Redis or not."""

    __tablename__ = "throttles"
    __table_args__ = (UniqueConstraint("key", "window_start"),)

    key: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of the door, the length of the window, and who knocks."""
    window_start: Mapped[datetime] = mapped_column(index=True)
    count: Mapped[int] = mapped_column(default=0)


class AuditLog(TenantOwned, Base):
    """Who did what to what: append-only and chained, also for the tenant to read."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        Index("ix_audit_logs_tenant_id_created_at", "tenant_id", "created_at"),
        Index("ix_audit_logs_resource", "resource_type", "resource_id"),
        UniqueConstraint("tenant_id", "seq"),
    )

    # Nobody's trail disappears along with the tenant. The index of `seq` begins with it.
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="RESTRICT"))
    seq: Mapped[int] = mapped_column(BigInteger)
    """1, 2, 3, … within a tenant."""
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """That of the row before; 32 zero bytes in the first."""
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256; rules/audit_chain.py says over what."""
    action: Mapped[str] = mapped_column(String(60))
    resource_type: Mapped[str] = mapped_column(String(40))
    resource_id: Mapped[UUID | None]
    actor_type: Mapped[str] = mapped_column(String(20))
    """user, api_key, operator or system."""
    actor_id: Mapped[UUID | None]
    changes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """{"field": [before, after]}, secrets left out."""
    ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))


class IdempotencyRecord(TenantOwned, Base):
    """The answer to a request that creates or spends, kept for a repeat with the same key."""

    __tablename__ = "idempotency_records"
    __table_args__ = (UniqueConstraint("tenant_id", "key"),)

    key: Mapped[str] = mapped_column(String(255))
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 over method, path and body."""
    status_code: Mapped[int | None]
    media_type: Mapped[str | None] = mapped_column(String(100))
    body: Mapped[bytes | None]
    """Encrypted, because it may hold passwords that are shown once."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
