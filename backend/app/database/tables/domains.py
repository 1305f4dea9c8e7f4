"""Names, what was done to set them up, and their signing keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, Text, Updated


class DomainStatus(StrEnum):
    VERIFYING_OWNERSHIP = "verifying_ownership"
    """A claim: several tenants may have one to the same name until one of them proves it."""
    PENDING_PAYMENT = "pending_payment"
    REGISTERING = "registering"
    REGISTERED = "registered"
    CONFIGURING_DNS = "configuring_dns"
    VERIFYING_DNS = "verifying_dns"
    AUTHORIZING = "authorizing"
    ACTIVE = "active"
    FAILED = "failed"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    """Let go of by its tenant; registered until the end of its term."""


class Domain(TenantOwned, Updated, Base):
    __tablename__ = "domains"
    __table_args__ = (
        # A name has one living owner; a failed purchase frees it for the next try.
        Index(
            "uq_domains_domain_name_live",
            "domain_name",
            unique=True,
            postgresql_where=text(
                "status NOT IN ('failed', 'expired', 'deleted', 'verifying_ownership')"
            ),
        ),
        Index(
            "uq_domains_claim",
            "tenant_id",
            "domain_name",
            unique=True,
            postgresql_where=text("status = 'verifying_ownership'"),
        ),
        Index("ix_domains_tenant_id_created_at", "tenant_id", "created_at"),
    )

    domain_name: Mapped[str] = mapped_column(String(253))
    status: Mapped[DomainStatus] = mapped_column(Text(DomainStatus), index=True)
    registrar_provider: Mapped[str | None] = mapped_column(String(30))
    registrar_domain_id: Mapped[str | None] = mapped_column(String(64))
    cloudflare_zone_id: Mapped[str | None] = mapped_column(String(64))
    name_servers: Mapped[list[Any]] = mapped_column(default=list)
    dns_records: Mapped[list[Any]] = mapped_column(default=list)
    """What we want published: [{"type", "name", "content", "ttl", "priority"?, "purpose"}]."""
    dkim_selector: Mapped[str | None] = mapped_column(String(63))
    dmarc_policy: Mapped[str] = mapped_column(String(10), default="none")
    """none, quarantine or reject."""
    purchase_price: Mapped[Decimal | None] = mapped_column(Numeric(14, 2))
    purchase_date: Mapped[datetime | None]
    expiry_date: Mapped[datetime | None]
    auto_renew: Mapped[bool] = mapped_column(default=True)
    protected_at: Mapped[datetime | None]
    """When it was locked and its registrant hidden."""
    transfer_out_at: Mapped[datetime | None]
    """Since when it is unlocked for another registrar."""
    kumo_authorized: Mapped[bool] = mapped_column(default=False)
    failure: Mapped[str | None] = mapped_column(String(500))


class StepName(StrEnum):
    PAYMENT = "payment"
    REGISTRATION = "registration"
    OWNERSHIP = "ownership"
    ZONE = "zone"
    RECORDS = "records"
    DELEGATION = "delegation"
    VERIFICATION = "verification"
    AUTHORIZATION = "authorization"


class DomainStep(TenantOwned, Updated, Base):
    """One step of setting a name up, with its times: what a progress bar shows."""

    __tablename__ = "domain_steps"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"))
    name: Mapped[StepName] = mapped_column(Text(StepName))
    state: Mapped[str] = mapped_column(String(20), default="pending")
    """pending, running, done or failed."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    detail: Mapped[str | None] = mapped_column(String(500))


class OperationState(StrEnum):
    SUBMITTED = "submitted"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class RegistrarOperation(TenantOwned, Updated, Base):
    """The intent to register or renew, committed before the call that cannot be repeated."""

    __tablename__ = "registrar_operations"
    __table_args__ = (
        Index(
            "uq_registrar_operations_open",
            "domain_name",
            unique=True,
            postgresql_where=text("state IN ('submitted', 'unknown')"),
        ),
    )

    domain_id: Mapped[UUID] = mapped_column(
        ForeignKey("domains.id", ondelete="CASCADE"), index=True
    )
    domain_name: Mapped[str] = mapped_column(String(253))
    purchase_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("domain_purchases.id", ondelete="CASCADE"), index=True
    )
    """The order that a renewal carries out."""
    kind: Mapped[str] = mapped_column(String(20), default="register")
    """register or renew."""
    state: Mapped[OperationState] = mapped_column(Text(OperationState))
    order_id: Mapped[str | None] = mapped_column(String(64))
    charged_cents: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(500))


class Registrant(TenantOwned, Updated, Base):
    """Who a tenant's names are registered for; without a row it is the platform."""

    __tablename__ = "registrants"
    __table_args__ = (UniqueConstraint("tenant_id"),)

    contact: Mapped[bytes]
    """JSON of rules.registrants.Contact, encrypted."""


class DKIMKey(TenantOwned, Base):
    """A signing key; a selector is never reused for another key (relays cache by selector)."""

    __tablename__ = "dkim_keys"
    __table_args__ = (UniqueConstraint("domain_id", "selector"),)

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"))
    selector: Mapped[str] = mapped_column(String(63))
    algorithm: Mapped[str] = mapped_column(String(20), default="rsa-sha256")
    public_key: Mapped[str] = mapped_column(String(1000))
    """Base64 of the SubjectPublicKeyInfo, as it stands in the record's p= tag."""
    private_key: Mapped[bytes]
    """PEM, encrypted."""


class DKIMRotation(TenantOwned, Updated, Base):
    """A signing key that is being replaced by one below another selector; one at a time."""

    __tablename__ = "dkim_rotations"
    __table_args__ = (
        Index(
            "uq_dkim_rotations_domain_id_live",
            "domain_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"))
    old_selector: Mapped[str] = mapped_column(String(63))
    new_selector: Mapped[str] = mapped_column(String(63))
    stage: Mapped[str] = mapped_column(String(20))
    """rules.dkim_rotation.Stage."""
    leaked: Mapped[bool]
    """The old key is known to others: it is not kept, though mail under way may fail by it."""
    switched_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    detail: Mapped[str | None] = mapped_column(String(500))
    """What is waited for."""


class DomainConnection(TenantOwned, Updated, Base):
    """A name its owner brought: how it is proven to be theirs, and whether it still is."""

    __tablename__ = "domain_connections"
    __table_args__ = (UniqueConstraint("domain_id"),)

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"))
    dns: Mapped[str] = mapped_column(String(20))
    """manual or nameservers."""
    token: Mapped[str] = mapped_column(String(64))
    """What the proving record says: public, for one tenant and one name, never used again."""
    kept: Mapped[list[Any]] = mapped_column(default=list)
    """Purposes that records of the owner's serve; we publish none for them."""
    next_look_at: Mapped[datetime] = mapped_column(index=True)
    proven_at: Mapped[datetime | None]
    lost_at: Mapped[datetime | None]
    """Since when the proof is not seen any more; None while it is."""
