"""Second factors of the person who asks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.api.deps import DB, Person, requires
from app.api.responses import Envelope, ok
from app.api.schemas import two_factor as s
from app.rules.permissions import Permission
from app.services.two_factor_service import TwoFactorService

router = APIRouter(prefix="/auth/2fa", tags=["auth"])


@router.get(
    "",
    response_model=Envelope[s.TwoFactorOut],
    **requires(Permission.ACCOUNT_READ, person=True, before_two_factor=True),
)
def two_factor_state(person: Person, db: DB) -> Any:
    """Whether a second factor is on, and how many recovery codes are left."""
    return ok(
        {
            "enabled": person.user.two_factor_enabled,
            "required": person.tenant.requires_two_factor,
            "recovery_codes_left": TwoFactorService.recovery_codes_left(person.user.id, db),
        }
    )


@router.post(
    "/setup",
    response_model=Envelope[s.SetUpOut],
    **requires(
        Permission.PROFILE_WRITE,
        person=True,
        recent=True,
        before_two_factor=True,
        audit_event="two_factor_set_up",
    ),
)
def set_up_two_factor(person: Person, db: DB) -> Any:
    """A secret for an authenticator app; in force once /auth/2fa/enable got a code made of it."""
    return ok(TwoFactorService.set_up(person.user, db))


@router.post(
    "/enable",
    response_model=Envelope[s.EnabledOut],
    **requires(
        Permission.PROFILE_WRITE,
        person=True,
        recent=True,
        before_two_factor=True,
        audit_event="two_factor_enabled",
    ),
)
def enable_two_factor(body: s.EnableIn, person: Person, db: DB) -> Any:
    """Switch it on. The recovery codes are shown this once; other sessions are signed out."""
    changed = TwoFactorService.enable(person.user, body.code, person.claims, db)
    return ok({**vars(changed), "enabled": True})


@router.post(
    "/disable",
    response_model=Envelope[s.ChangedOut],
    **requires(
        Permission.PROFILE_WRITE, person=True, recent=True, audit_event="two_factor_disabled"
    ),
)
def disable_two_factor(body: s.DisableIn, person: Person, db: DB) -> Any:
    """Switch it off, by password or code. Other sessions are signed out."""
    changed = TwoFactorService.disable(
        person.user, person.claims, db, password=body.password, code=body.code
    )
    return ok({**vars(changed), "enabled": False})


@router.post(
    "/recovery-codes",
    response_model=Envelope[s.RecoveryCodesOut],
    **requires(
        Permission.PROFILE_WRITE, person=True, recent=True, audit_event="recovery_codes_renewed"
    ),
)
def renew_recovery_codes(person: Person, db: DB) -> Any:
    """Ten new ones, shown this once; those before are void."""
    return ok({"recovery_codes": TwoFactorService.renew_recovery_codes(person.user, db)})
