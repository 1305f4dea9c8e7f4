"""Jobs that write to people about their account."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from app import events
from app.database import outbox
from app.services.erasure_service import ErasureService
from app.services.invitation_service import InvitationService
from app.services.password_service import PasswordService
from app.services.two_factor_service import TwoFactorService
from app.tasks.jobs import task


@task("accounts.plan_erasures")
def plan_erasures(db: Session) -> None:
    """A job of its own for each company whose day has come."""
    for tenant_id in ErasureService.due(db):
        outbox.record(db, events.TenantErasureDue(tenant_id=tenant_id))


@task("accounts.erase")
def erase(db: Session, tenant_id: UUID) -> None:
    ErasureService.erase(tenant_id, db)


@task("accounts.send_password_reset")
def send_password_reset(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    PasswordService.send_reset(user_id, db)


@task("accounts.tell_password_changed")
def tell_password_changed(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    PasswordService.send_notice(user_id, db)


@task("accounts.tell_two_factor_enabled")
def tell_two_factor_enabled(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    TwoFactorService.tell(user_id, "enabled", db)


@task("accounts.tell_two_factor_disabled")
def tell_two_factor_disabled(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    TwoFactorService.tell(user_id, "disabled", db)


@task("accounts.tell_recovery_codes_renewed")
def tell_recovery_codes_renewed(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    TwoFactorService.tell(user_id, "recovery_codes_renewed", db)


@task("accounts.tell_recovery_code_used")
def tell_recovery_code_used(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    TwoFactorService.tell(user_id, "recovery_code_used", db)


@task("accounts.send_invitation")
def send_invitation(db: Session, tenant_id: UUID, invitation_id: UUID) -> None:  # noqa: ARG001
    InvitationService.send(invitation_id, db)
