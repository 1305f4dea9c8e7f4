"""Connecting a name that the tenant owns already."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.api.schemas.base import In, Out, example
from app.api.schemas.domains import DomainWithSteps


class ConnectIn(In):
    model_config = example({"domain_name": "mail.acme.com", "dns": "manual"})

    domain_name: Annotated[str, Field(min_length=1, max_length=254)]
    dns: Literal["manual", "nameservers"]
    """Who holds the records: you, set by hand; or we, after you change the name servers."""


class RequiredRecord(Out):
    type: str
    name: str
    content: str
    ttl: int
    priority: int | None
    purpose: str


class ConnectionOut(Out):
    domain: DomainWithSteps
    ownership_token: str
    """What the record `_inboxgrove-challenge` says behind its equals sign."""
    required_records: list[RequiredRecord]


class ConflictOut(Out):
    code: str
    """cname_at_apex, mx_elsewhere, two_spf, spf_to_merge, spf_too_long or two_dmarc."""
    message: str
    fix: str


class ConflictsOut(Out):
    domain_name: str
    conflicts: list[ConflictOut]
