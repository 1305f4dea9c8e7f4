"""Messages to a tenant's own servers: what is told, when it is tried again, and where it may go.

The form is Standard Webhooks (standardwebhooks.com): `webhook-id`, `webhook-timestamp` (seconds),
`webhook-signature` (HMAC-SHA256 over `id.timestamp.body`, `v1,` and base64, one for each secret).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network


class EventType(StrEnum):
    DOMAIN_REGISTERED = "domain.registered"
    DOMAIN_ACTIVE = "domain.active"
    DOMAIN_FAILED = "domain.failed"
    DOMAIN_RENEWED = "domain.renewed"
    INBOXES_PROVISIONED = "inboxes.provisioned"
    PLAN_CHANGED = "plan.changed"
    ACCOUNT_REINSTATED = "account.reinstated"
    TEST = "webhook.test"


MEANING: dict[EventType, str] = {
    EventType.DOMAIN_REGISTERED: "A bought name is ours; its DNS is being set up.",
    EventType.DOMAIN_ACTIVE: "A domain is verified and known to the relay: it can send.",
    EventType.DOMAIN_FAILED: "A name could not be had; the money was let go.",
    EventType.DOMAIN_RENEWED: "A name has another year; its price is charged.",
    EventType.INBOXES_PROVISIONED: "The inboxes of one order are made.",
    EventType.PLAN_CHANGED: "Another plan holds, with its limits.",
    EventType.ACCOUNT_REINSTATED: "The account may act again. While it is suspended nothing is"
    " told; what happened before is told afterwards, in order.",
    EventType.TEST: "Somebody asked for a test.",
}

OF_EVENT: dict[str, EventType] = {
    "DomainRegistered": EventType.DOMAIN_REGISTERED,
    "DomainActivated": EventType.DOMAIN_ACTIVE,
    "DomainRegistrationFailed": EventType.DOMAIN_FAILED,
    "DomainRenewed": EventType.DOMAIN_RENEWED,
    "InboxesProvisioned": EventType.INBOXES_PROVISIONED,
    "PlanChanged": EventType.PLAN_CHANGED,
    "TenantReinstated": EventType.ACCOUNT_REINSTATED,
}
"""Our events (app/events.py) that are told outside."""

LADDER = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
"""Waits between tries, as Svix and those after it have them; the eighth try is the last."""

MAX_FAILING = timedelta(days=5)
"""An endpoint that answered nothing good for so long is disabled."""

OLD_SECRET_SIGNS = timedelta(hours=24)
KEEP = timedelta(days=30)
"""How long deliveries can be looked up and replayed."""

MAX_ENDPOINTS = 10
GONE = 410
"""By this answer a server asks never to be told again (RFC 9110 section 15.5.11)."""


def is_success(status_code: int | None) -> bool:
    """2xx; a redirect is none, because following one would tell somebody else."""
    return status_code is not None and 200 <= status_code < 300


def wait_after(attempts: int) -> timedelta | None:
    """How long to wait after that many failed tries; None: no more of them."""
    return LADDER[attempts - 1] if attempts <= len(LADDER) else None


def refusal(url: str, allowed: Sequence[Network]) -> str | None:
    """Why an address cannot be an endpoint; None when it can.

    A host name is looked into when it is called, each time anew (`is_public`).
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is no URL."
    if not url.isascii() or any(char.isspace() for char in url):
        return "Write the URL in ASCII and without spaces; a host in its xn-- form."
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed):
        return "The URL must begin with https://."
    if not host or port == 0:
        return "The URL must name a host."
    if parts.username is not None or parts.password is not None:
        return "The URL must not hold a user name or password; check the signature instead."
    if parts.fragment:
        return "A fragment (#…) is never sent; leave it out."
    try:
        literal = ip_address(host)
    except ValueError:
        # With one label it could only be a host of our own network.
        return None if "." in host or allowed else "The host must be a full domain name."
    return None if is_public(str(literal), allowed) else "This address is not on the public net."


def is_public(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address may be called: it is on the public net, or in one of `allowed`."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        # What is wrapped is where it really goes (RFC 4291 2.5.5.2, RFC 3056, RFC 4380, RFC 6052).
        wrapped = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in ip_network("64:ff9b::/96"):
            wrapped.append(ip_address(int(found) & 0xFFFF_FFFF))
        if any(inner is not None and not inner.is_global for inner in wrapped):
            return any(found in network for network in allowed if network.version == 6)
    if found.is_global and not found.is_multicast:
        return True
    return any(found in network for network in allowed if network.version == found.version)
