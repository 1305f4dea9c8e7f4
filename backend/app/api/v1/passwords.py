"""Passwords of people: forgotten, reset, changed."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from app.api.deps import DB, Person, address_of, public, requires
from app.api.responses import Envelope, ok
from app.api.schemas import auth as s
from app.api.v1.auth import device_of, hashing
from app.database import throttles
from app.database.session import ALL_TENANTS, scope
from app.rules.permissions import Permission
from app.services.password_service import PasswordService

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/forgot-password",
    status_code=202,
    response_model=Envelope[s.DoneOut],
    **public(audit_event="password_reset_requested"),
)
def forgot_password(body: s.ForgotIn, request: Request, db: DB) -> Any:
    """Have a link mailed that sets a new password, once, within 30 minutes.

    The answer is the same, and as quick, whether there is such an account or not.
    """
    forgot(body.email, address_of(request), db)
    return ok({"done": True})


def forgot(email: str, address: str, db: Session) -> None:
    """What this operation and the page at /reset-password do."""
    throttles.spend("reset_mail", account=email, address=address)
    scope(db, ALL_TENANTS)
    PasswordService.request_reset(email, db)


@router.post(
    "/reset-password",
    response_model=Envelope[s.DoneOut],
    **public(audit_event="password_reset"),
)
async def reset_password(body: s.ResetIn, request: Request) -> Any:
    """Set a new password with the token from the mail. All sessions end; sign in afterwards.

    A second factor is asked for at that sign-in as ever.
    """
    await to_thread.run_sync(
        reset, body.token, body.new_password, address_of(request), limiter=hashing
    )
    return ok({"done": True})


def reset(token: str, new_password: str, address: str) -> None:
    """What this operation and the page at /reset-password do."""
    throttles.spend("reset_password", address=address)
    PasswordService.reset(token, new_password)
    # Only failures count.
    throttles.refund("reset_password", address=address)


@router.post(
    "/change-password",
    response_model=Envelope[s.LoginOut],
    **requires(
        Permission.PROFILE_WRITE,
        person=True,
        before_two_factor=True,
        audit_event="password_changed",
    ),
)
def change_password(body: s.ChangePasswordIn, request: Request, person: Person, db: DB) -> Any:
    """Set a new password. Every session ends with the next request; the new pair goes on."""
    user, tokens = PasswordService.change(
        person.user,
        current_password=body.current_password,
        new_password=body.new_password,
        device=device_of(request),
        db=db,
    )
    return ok({**vars(tokens), "user": user})
