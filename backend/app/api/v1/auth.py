"""Accounts and sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request

from app import errors
from app.api.deps import (
    DB,
    Person,
    acts,
    address_of,
    public,
    requires,
)
from app.api.reads import Reads, reads
from app.api.responses import Envelope, ok
from app.api.schemas import auth as s
from app.api.v1.plans import limits_out, plan_out
from app.database import throttles
from app.database.queries import accounts, callers
from app.database.session import ALL_TENANTS, scope
from app.rules import plans
from app.rules.permissions import Permission
from app.services import kill_switch
from app.services.identity_service import IdentityService, Registered
from app.services.session_service import SessionService
from app.services.subscription_service import SubscriptionService
from app.services.token_families import Device

router = APIRouter(prefix="/auth", tags=["auth"])

hashing = CapacityLimiter(8)
"""Threads for sign-ins: a storm of them must not take those of all other requests."""


@router.post(
    "/register", status_code=201, response_model=Envelope[s.RegisterOut],
    **public(audit_event="tenant_registered", waits=True),
)  # fmt: skip
def register(body: s.RegisterIn, request: Request, db: DB) -> Any:
    """Open an account: a seven-day trial, and a SetupIntent to confirm with a card in the browser.

    Nothing is charged before day 8. A company has one trial: the account of a second one is made as
    well, with `trial_refused_for` set, and may choose a plan at once.
    """
    throttles.spend("register", account=body.email, address=address_of(request))
    made = IdentityService.register(
        company_name=body.company_name,
        email=body.email,
        password=body.password,
        full_name=body.full_name,
        device=device_of(request),
        db=db,
    )
    return ok(_registered(made, request.app.state.publishable_key))


@router.post("/login", response_model=Envelope[s.LoginOut], **public(audit_event="user_logged_in"))
async def login(body: s.LoginIn, request: Request) -> Any:
    """Sign in. A wrong password and an unknown address look the same and take the same time.

    Who has a second factor sends its code, or a recovery code, as `totp_code`.
    """
    return await to_thread.run_sync(_login, body, request, limiter=hashing)


def _login(body: s.LoginIn, request: Request) -> Any:
    who = {"account": body.email, "address": address_of(request)}
    throttles.spend("login", **who)
    try:
        user, tokens = SessionService.login(
            email=body.email,
            password=body.password,
            totp_code=body.totp_code,
            device=device_of(request),
        )
    except errors.TotpRequired:
        throttles.refund("login", **who)
        raise
    # Only failures count.
    throttles.refund("login", **who)
    return ok({**vars(tokens), "user": user})


@router.post("/refresh", response_model=Envelope[s.LoginOut], **public())
def refresh(body: s.RefreshIn, request: Request) -> Any:
    """A new pair of tokens; the refresh token given is spent.

    Using a spent one ends the session: somebody else may have it.
    """
    user, tokens = SessionService.refresh(body.refresh_token, device_of(request))
    return ok({**vars(tokens), "user": user})


@router.post(
    "/reauthenticate",
    response_model=Envelope[s.AccessOut],
    **requires(
        Permission.PROFILE_WRITE,
        person=True,
        suspended_too=True,
        before_two_factor=True,
        audit_event="user_reauthenticated",
    ),
)
def reauthenticate(body: s.ReauthenticateIn, person: Person, db: DB) -> Any:
    """Show your credentials again, for what wants them shown in the last 15 minutes.

    The new access token belongs to the same session.
    """
    token, seconds = SessionService.reauthenticate(
        person.user,
        person.claims.family_id,
        password=body.password,
        totp_code=body.totp_code,
        db=db,
    )
    return ok({"access_token": token, "expires_in": seconds})


@router.post("/logout", response_model=Envelope[s.DoneOut], **public(audit_event="user_logged_out"))
def logout(request: Request, db: DB, body: s.LogoutIn | None = None) -> Any:
    """End a session, by its refresh token or else by the access token of the request."""
    claims = request.state.claims
    if body is not None and body.refresh_token is not None:
        scope(db, ALL_TENANTS)
        done = SessionService.logout_by_token(body.refresh_token, db)
    elif claims is not None:
        scope(db, claims.tenant_id)
        acts(request, "user", claims.user_id)
        done = SessionService.logout(claims.family_id, claims.user_id, claims.tenant_id, db)
    else:
        raise request.state.auth_error
    return ok({"done": done})


@router.get(
    "/me",
    response_model=Envelope[s.MeOut],
    **reads(Permission.ACCOUNT_READ, suspended_too=True, before_two_factor=True),
)
async def me(reader: Reads) -> Any:
    """The person, the company, its plan and how much of it is used; why it is suspended, if so."""
    principal, tenant, note = reader.principal, reader.tenant, None
    if tenant.is_suspended:
        note = await callers.suspension_note(reader.reading, tenant.id)
    plan = plans.plan(tenant.subscription_tier)
    return ok(
        {
            "user": principal.user,
            "permissions": sorted(principal.permissions),
            "tenant": tenant,
            "suspension": kill_switch.told(tenant, note),
            "plan": plan_out(plan),
            "limits": limits_out(plan, SubscriptionService.limits_of(tenant)),
            "usage": {"inboxes": tenant.inboxes_count, "domains": tenant.domains_count},
            "trial_days_remaining": SubscriptionService.get_trial_days_remaining(tenant),
        }
    )


@router.post(
    "/verify-email", response_model=Envelope[s.DoneOut], **public(audit_event="email_verified")
)
def verify_email(body: s.VerifyEmailIn, db: DB) -> Any:
    """Confirm an address with the token from the mail."""
    scope(db, ALL_TENANTS)
    IdentityService.verify_email(body.token, db)
    return ok({"done": True})


@router.post(
    "/resend-verification", status_code=202, response_model=Envelope[s.DoneOut], **public()
)
def resend_verification(body: s.ResendIn, request: Request, db: DB) -> Any:
    """Send the mail again. The answer is the same whether there is such an account or not."""
    throttles.spend("verify_mail", account=body.email, address=address_of(request))
    scope(db, ALL_TENANTS)
    IdentityService.request_verification(body.email, db)
    return ok({"done": True})


@router.get(
    "/sessions",
    response_model=Envelope[list[s.SessionOut]],
    **requires(Permission.PROFILE_WRITE, suspended_too=True, person=True, before_two_factor=True),
)
def sessions(person: Person, db: DB) -> Any:
    """Where this person is signed in."""
    current = person.claims.family_id
    return ok(
        [
            {**vars(session), "current": session.id == current}
            for session in accounts.sessions(db, person.user.id)
        ]
    )


@router.delete(
    "/sessions/{session_id}",
    response_model=Envelope[s.DoneOut],
    **requires(
        Permission.PROFILE_WRITE,
        audit_event="user_logged_out",
        suspended_too=True,
        person=True,
        before_two_factor=True,
    ),
)
def end_session(session_id: UUID, person: Person, db: DB) -> Any:
    """Sign out elsewhere; its access tokens stop with the next request."""
    if not SessionService.logout(session_id, person.user.id, person.tenant.id, db):
        raise errors.NotFound(resource="session")
    return ok({"done": True})


def device_of(request: Request) -> Device:
    """Where the request comes from."""
    return Device(ip=address_of(request), user_agent=request.headers.get("user-agent"))


def _registered(made: Registered, publishable_key: str) -> dict[str, Any]:
    return {
        **vars(made.tokens),
        "tenant": made.tenant,
        "user": made.user,
        "setup_intent": {**vars(made.setup_intent), "publishable_key": publishable_key},
    }
