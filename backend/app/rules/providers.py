"""Which of the large mailbox providers a recipient's mail goes to.

A family is told by the host that took the mail, because most business domains are hosted by Google
or Microsoft under names of their own; before a host is known, by the provider's own domains.
Sources: support.google.com/a/answer/174125 (MX of Workspace), learn.microsoft.com on Exchange
(`*.mail.protection.outlook.com`, `*.mx.microsoft`), senders.yahooinc.com (Yahoo and AOL on
`yahoodns.net`, with the access providers it hosts), support.apple.com/102374 (iCloud's domains).
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache


class Provider(StrEnum):
    GOOGLE = "google"
    MICROSOFT = "microsoft"
    YAHOO = "yahoo"
    APPLE = "apple"
    OTHER = "other"


_HOSTS: tuple[tuple[str, Provider], ...] = (
    ("google.com", Provider.GOOGLE),
    ("googlemail.com", Provider.GOOGLE),
    ("outlook.com", Provider.MICROSOFT),
    ("hotmail.com", Provider.MICROSOFT),
    ("mx.microsoft", Provider.MICROSOFT),
    ("yahoodns.net", Provider.YAHOO),
    ("icloud.com", Provider.APPLE),
    ("apple.com", Provider.APPLE),
)

_DOMAINS: dict[str, Provider] = {
    domain: provider
    for provider, domains in {
        Provider.GOOGLE: "gmail.com googlemail.com google.com",
        Provider.MICROSOFT: "msn.com passport.com windowslive.com",
        Provider.YAHOO: "ymail.com rocketmail.com aol.com aim.com verizon.net att.net bellsouth.net"
        " sbcglobal.net pacbell.net ameritech.net swbell.net frontier.com sky.com myyahoo.com",
        Provider.APPLE: "icloud.com me.com mac.com",
    }.items()
    for domain in domains.split()
}

# Names under which a provider has domains in many countries: hotmail.fr, live.co.uk, yahoo.co.jp.
_BRANDS: dict[str, Provider] = {
    "hotmail": Provider.MICROSOFT,
    "live": Provider.MICROSOFT,
    "outlook": Provider.MICROSOFT,
    "yahoo": Provider.YAHOO,
}

# Under these countries register names: live.co.uk is Microsoft's, live.example.uk is not.
_SHARED = frozenset({"co", "com", "net", "org", "ne"})


@lru_cache(maxsize=16_384)
def family(recipient_domain: str, host: str = "") -> Provider:
    """The provider behind a recipient's domain; `host` is the MX that answered, or its site name.

    A trailing dot and kumod's `@smtp_client` are ignored; unknown hosts leave it to the domain.
    """
    host = host.partition("@")[0].rstrip(".").lower()
    for suffix, provider in _HOSTS:
        if host == suffix or host.endswith("." + suffix):
            return provider
    domain = recipient_domain.rstrip(".").lower()
    if domain in _DOMAINS:
        return _DOMAINS[domain]
    first, *rest = domain.split(".")
    national = len(rest) == 1 or (len(rest) == 2 and rest[0] in _SHARED and len(rest[1]) == 2)
    return _BRANDS.get(first, Provider.OTHER) if national else Provider.OTHER
