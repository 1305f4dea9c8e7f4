"""Answers to machines."""

from __future__ import annotations

from app.api.schemas.base import Out


class ReceivedOut(Out):
    received: bool
    repeated: bool
    """Whether we had it already."""


class DirectoryEntryOut(Out):
    """The same fields and spelling as the relay's directory in Redis: all strings."""

    inbox: str
    tenant: str
    domain: str
    email: str
    h: str
    status: str
    day_limit: str
    month_limit: str
    hour_limit: str
    domain_limit: str


class DKIMOut(Out):
    domain: str
    selector: str
    private_key: str
    """PEM."""


class OwnerOut(Out):
    """Ids."""

    inbox: str
    tenant: str


class KillsOut(Out):
    tenants: list[str]
    inboxes: list[str]
