"""The MTA-STS policy of each tenant's domain (RFC 8461), asked at `mta-sts.<domain>`.

Senders come over HTTPS and check the certificate; whoever terminates TLS has one for each name.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from app.api.deps import DB, anybody
from app.database.session import ALL_TENANTS, scope
from app.errors import NotFound
from app.integrations import ports
from app.rules import mta_sts
from app.services import mail_policy

router = APIRouter(include_in_schema=False, dependencies=[Depends(anybody)])


@router.get(mta_sts.PATH)
def policy(request: Request, db: DB) -> PlainTextResponse:
    """The policy of the domain that the Host header names; 404 where none is published."""
    # Nobody signed in here: which tenant it is follows from the name.
    scope(db, ALL_TENANTS)
    name = mta_sts.domain_of(request.headers.get("host", ""))
    text = None if name is None else mail_policy.of(name, db, ports.current().platform)
    if text is None:
        raise NotFound(resource="policy")
    return PlainTextResponse(text, headers={"Cache-Control": "public, max-age=300"})
