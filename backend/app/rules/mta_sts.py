"""MTA-STS (RFC 8461): mail to a domain comes over verified TLS only, says a policy it serves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

MODES = ("testing", "enforce")
MAX_AGE = 604_800
"""Seconds a sender remembers the policy: a week, the least that is of use (RFC 8461, 3.2)."""

HOST = "mta-sts"
PATH = "/.well-known/mta-sts.txt"


def policy(mode: str, hosts: Sequence[str]) -> str:
    """The text a policy host serves (RFC 8461, 3.2). Raises ValueError for a mode it knows not."""
    if mode not in MODES:
        raise ValueError(f"The mode of MTA-STS is one of {', '.join(MODES)}.")
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts)]
    return "".join(f"{line}\r\n" for line in [*lines, f"max_age: {MAX_AGE}"])


def record(policy_text: str) -> str:
    """The TXT record at `_mta-sts`; its id is made of the policy, so it changes exactly with it."""
    digest = hashlib.sha256(policy_text.encode()).hexdigest()[:20]
    return f"v=STSv1; id={digest}"


def domain_of(host: str) -> str | None:
    """The mail domain whose policy a request for `host` (a Host header) asks for."""
    name = host.partition(":")[0].lower().rstrip(".")
    label, _, domain = name.partition(".")
    return domain if label == HOST and domain else None
