"""Zones that exist from the start: our own platform, the recipients, reverse names."""

from __future__ import annotations

from typing import Any

from sandbox.dns.zone import Served

Record = dict[str, Any]
PLATFORM = "inboxgrove.test"
MAIL = f"mta.{PLATFORM}"
RECIPIENTS = ("gmail.test", "outlook.test", "yahoo.test", "corp.test")
OUR_SPF = "v=spf1 ip4:127.0.0.0/8 -all"
SERVERS = ("ns1.sandbox.test", "ns2.sandbox.test")


def _record(name: str, kind: str, content: str, priority: int | None = None) -> Record:
    return {"name": name, "type": kind, "content": content, "ttl": 300, "priority": priority}


def _platform() -> list[Record]:
    a_names = (PLATFORM, f"mx1.{MAIL}", f"mx2.{MAIL}", f"track.{MAIL}", f"mta-sts.{MAIL}")
    # Whatever lives below the mail zone takes mail at the same two hosts.
    takes_mail = (PLATFORM, MAIL, f"bounce.{MAIL}", f"fbl.{MAIL}", f"rua.{MAIL}")
    return [
        *(_record(name, "A", "127.0.0.1") for name in a_names),
        *(_record(name, "MX", f"mx1.{MAIL}", 10) for name in takes_mail),
        *(_record(name, "MX", f"mx2.{MAIL}", 20) for name in takes_mail),
        _record(PLATFORM, "TXT", OUR_SPF),
        _record(f"_dmarc.{PLATFORM}", "TXT", f"v=DMARC1; p=none; rua=mailto:dmarc@rua.{MAIL}"),
        _record(MAIL, "TXT", OUR_SPF),
        _record(f"_spf.{MAIL}", "TXT", OUR_SPF),
        _record(f"bounce.{MAIL}", "TXT", f"v=spf1 include:_spf.{MAIL} -all"),
        # Whose reports we take: everybody's (RFC 9990 keeps the wildcard of RFC 7489, 7.1).
        _record(f"*._report._dmarc.rua.{MAIL}", "TXT", "v=DMARC1"),
    ]


def _recipient(name: str) -> list[Record]:
    return [
        _record(name, "MX", f"mx.{name}", 10),
        _record(name, "A", "127.0.0.1"),
        # Their reports come from their own hosts, which are all this machine.
        _record(f"feedback.{name}", "TXT", OUR_SPF),
        _record(f"mx.{name}", "A", "127.0.0.1"),
    ]


def zones() -> dict[str, Served]:
    """Name -> zone, built anew for each world."""
    made = {PLATFORM: Served(PLATFORM, SERVERS, _platform())}
    for name in RECIPIENTS:
        made[name] = Served(name, SERVERS, _recipient(name))
    reverse = "127.in-addr.arpa"
    pointer = _record(f"1.0.0.{reverse}", "PTR", f"mx1.{MAIL}")
    made[reverse] = Served(reverse, SERVERS, [pointer])
    # Every name server of the sandbox is this one process.
    own = "sandbox.test"
    made[own] = Served(
        own,
        SERVERS,
        [
            *(_record(host, "A", "127.0.0.1") for host in SERVERS),
            _record(f"*.ns.cloudflare.{own}", "A", "127.0.0.1"),
        ],
    )
    return made
