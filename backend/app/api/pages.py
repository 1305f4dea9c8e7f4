"""The pages that mailed links open. They ask for a press of a button, because mail scanners follow
links and must not spend the token."""

from __future__ import annotations

from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from app.api.deps import DB, address_of, anybody
from app.api.schemas.auth import ForgotIn, ResetIn
from app.api.schemas.team import AcceptIn
from app.api.v1.auth import hashing
from app.api.v1.passwords import forgot, reset
from app.api.v1.team import throttled
from app.database.session import ALL_TENANTS, scope
from app.errors import Conflict, Forbidden, Invalid, RateLimited
from app.rules.passwords import LONGEST, SHORTEST
from app.services.identity_service import IdentityService
from app.services.invitation_service import InvitationService

router = APIRouter(include_in_schema=False, dependencies=[Depends(anybody)])
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'"
}
_PASSWORDS = "".join(
    f'<p><label>{label}<br><input type="password" name="{name}" autocomplete="new-password"'
    f' required minlength="{SHORTEST}" maxlength="{LONGEST}"></label></p>'
    for label, name in (("New password", "password"), ("Once more", "repeated"))
)
Token = Annotated[str, Query(max_length=200)]


@router.get("/verify-email")
def ask_to_confirm(token: Token = "") -> HTMLResponse:
    """A button that confirms the address."""
    return _page(
        "Confirm your e-mail address", _form("/verify-email", token, "<button>Confirm</button>")
    )


@router.post("/verify-email")
async def confirm(request: Request, db: DB) -> HTMLResponse:
    """Spend the token, and say in words how it went."""
    token = (await _fields(request)).get("token", "")
    scope(db, ALL_TENANTS)
    try:
        await run_in_threadpool(IdentityService.verify_email, token, db)
    except Invalid as error:
        return _page("This did not work", _said(error.message), 400)
    return _page("Thank you", _said("Your address is confirmed. You can close this page."))


@router.get("/reset-password")
def ask_for_password(token: Token = "") -> HTMLResponse:
    """Two fields for a new password; without a token, one for the address to mail a link to."""
    return _new_password(token) if token else _forgotten()


@router.post("/forgot-password")
async def send_link(request: Request, db: DB) -> HTMLResponse:
    """Have a link mailed; says the same whether there is such an account or not."""
    try:
        email = ForgotIn(email=(await _fields(request)).get("email", "")).email
    except ValidationError:
        return _forgotten("This is not an e-mail address.")
    try:
        await run_in_threadpool(forgot, email, address_of(request), db)
    except RateLimited as error:
        return _page("Too many attempts", _said(error.message), 429)
    return _page(
        "Look into your mailbox",
        _said("If there is an account with this address, a link is on its way to it."),
    )


@router.post("/reset-password")
async def set_password(request: Request) -> HTMLResponse:
    """Set the password, or say in words what is wrong and ask again."""
    fields = await _fields(request)
    token, password = fields.get("token", ""), fields.get("password", "")
    if password != fields.get("repeated", ""):
        return _new_password(token, "The two passwords are not the same.")
    try:
        body = ResetIn(token=token, new_password=password)
    except ValidationError:
        return _new_password(token, f"Choose a password of {SHORTEST} to {LONGEST} characters.")
    try:
        await to_thread.run_sync(
            reset, body.token, body.new_password, address_of(request), limiter=hashing
        )
    except Invalid as error:
        if error.details.get("fields"):
            return _new_password(token, error.message)
        return _page("This did not work", _said(error.message), 400)
    except RateLimited as error:
        return _page("Too many attempts", _said(error.message), 429)
    return _page(
        "Thank you", _said("Your password is changed. Sign in with it; every session has ended.")
    )


@router.get("/accept-invite")
def ask_to_join(token: Token = "") -> HTMLResponse:
    """Fields for a name and a password."""
    return _joining(token)


@router.post("/accept-invite")
async def join(request: Request) -> HTMLResponse:
    """Make the account, or say in words what is wrong and ask again."""
    fields = await _fields(request)
    token, name = fields.get("token", ""), fields.get("full_name", "")
    if fields.get("password") != fields.get("repeated"):
        return _joining(token, "The two passwords are not the same.", name)
    try:
        body = AcceptIn(token=token, full_name=name, password=fields.get("password", ""))
    except ValidationError:
        wanted = f"Tell us your name, and choose a password of {SHORTEST} to {LONGEST} characters."
        return _joining(token, wanted, name)

    def work() -> None:
        with throttled(address_of(request)):
            InvitationService.join(body.token, full_name=body.full_name, password=body.password)

    try:
        await to_thread.run_sync(work, limiter=hashing)
    except (Invalid, Conflict, Forbidden) as error:
        if error.details.get("fields"):
            return _joining(token, error.message, name)
        return _page("This did not work", _said(error.message), 400)
    except RateLimited as error:
        return _page("Too many attempts", _said(error.message), 429)
    return _page("Welcome", _said("Your account is made. Sign in with your address."))


def _joining(token: str, fault: str = "", name: str = "") -> HTMLResponse:
    named = (
        '<p><label>Your name<br><input name="full_name" autocomplete="name" required'
        f' maxlength="200" value="{escape(name, quote=True)}"></label></p>'
    )
    return _page(
        "Join your team",
        (_said(fault) if fault else "")
        + _form("/accept-invite", token, f"{named}{_PASSWORDS}<button>Join</button>"),
        400 if fault else 200,
    )


def _forgotten(fault: str = "") -> HTMLResponse:
    field = (
        '<p><label>Your e-mail address<br><input type="email" name="email" autocomplete="username"'
        ' required maxlength="320"></label></p>'
    )
    return _page(
        "Forgot your password?",
        (_said(fault) if fault else "")
        + f'<form method="post" action="/forgot-password">{field}<button>Mail me a link</button>'
        "</form>",
        400 if fault else 200,
    )


def _new_password(token: str, fault: str = "") -> HTMLResponse:
    return _page(
        "Choose a new password",
        (_said(fault) if fault else "")
        + _form("/reset-password", token, f"{_PASSWORDS}<button>Change the password</button>"),
        400 if fault else 200,
    )


async def _fields(request: Request) -> dict[str, str]:
    """The first value of each field of a form; none for something that is no form."""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=5)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _form(action: str, token: str, inside: str) -> str:
    hidden = f'<input type="hidden" name="token" value="{escape(token, quote=True)}">'
    return f'<form method="post" action="{action}">{hidden}{inside}</form>'


def _said(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family:sans-serif;max-width:36em;margin:3em auto"><h1>{title}</h1>'
        f"{body}</body></html>",
        status,
        _HEADERS,
    )
