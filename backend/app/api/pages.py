"""The page that a mailed link opens. It asks for a press of a button, because mail scanners follow
links and must not spend the token."""

from __future__ import annotations

from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from app.api.deps import DB, anybody
from app.database.session import ALL_TENANTS, scope
from app.errors import Invalid
from app.services.identity_service import IdentityService

router = APIRouter(include_in_schema=False, dependencies=[Depends(anybody)])
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'"
}


@router.get("/verify-email")
def ask(token: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    """A button that confirms the address."""
    return _page(
        "Confirm your e-mail address",
        f'<form method="post" action="/verify-email"><input type="hidden" name="token"'
        f' value="{escape(token, quote=True)}"><button>Confirm</button></form>',
    )


@router.post("/verify-email")
async def confirm(request: Request, db: DB) -> HTMLResponse:
    """Spend the token, and say in words how it went."""
    fields = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=5)
    token = fields.get("token", [""])[0]
    scope(db, ALL_TENANTS)
    try:
        await run_in_threadpool(IdentityService.verify_email, token, db)
    except Invalid as error:
        return _page("This did not work", f"<p>{escape(error.message)}</p>", 400)
    return _page("Thank you", "<p>Your address is confirmed. You can close this page.</p>")


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family:sans-serif;max-width:36em;margin:3em auto"><h1>{title}</h1>'
        f"{body}</body></html>",
        status,
        _HEADERS,
    )
