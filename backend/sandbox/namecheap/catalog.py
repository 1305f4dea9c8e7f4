"""What is on sale: suffixes, prices, and which names are premium or taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from sandbox.namecheap.answers import refuse

LABEL = re.compile(r"^(?!-)[a-z0-9-]{1,63}(?<!-)$")


@dataclass(frozen=True)
class Tld:
    """One suffix; prices in US dollars a year, `icann` is charged on top for each year."""

    name: str
    register: Decimal
    renew: Decimal
    icann: Decimal = Decimal("0.20")
    min_years: int = 1
    max_years: int = 10
    registerable: bool = True
    real_time: bool = True
    extended: bool = False

    def price(self, action: str, years: int) -> Decimal:
        """The total for `years`: only the first year of a registration has the lower price."""
        if action == "register":
            return self.register + self.renew * (years - 1)
        return self.renew * years


def _tld(name: str, register: str, renew: str, **more: object) -> Tld:
    return Tld(name, Decimal(register), Decimal(renew), **more)  # type: ignore[arg-type]


NO_FEE = Decimal(0)  # Country suffixes carry no ICANN fee.
TLDS: dict[str, Tld] = {
    tld.name: tld
    for tld in (
        _tld("com", "11.28", "14.98"),
        _tld("net", "12.98", "16.98"),
        _tld("org", "7.48", "15.98"),
        _tld("io", "34.98", "57.98", icann=NO_FEE),
        _tld("co", "12.98", "36.98", icann=NO_FEE),
        _tld("dev", "12.98", "20.98"),
        _tld("app", "14.98", "22.98"),
        _tld("xyz", "2.00", "18.98"),
        _tld("info", "3.98", "26.98"),
        _tld("biz", "6.98", "22.98"),
        _tld("email", "6.98", "32.98"),
        _tld("online", "1.98", "36.98"),
        _tld("site", "1.98", "38.98"),
        _tld("tech", "7.98", "56.98"),
        _tld("store", "1.98", "54.98"),
        _tld("agency", "5.98", "31.98"),
        _tld("me", "9.98", "22.98", icann=NO_FEE),
        _tld("ai", "79.98", "79.98", icann=NO_FEE, min_years=2),
        _tld("us.com", "9.98", "29.98", icann=NO_FEE),
        _tld("us", "6.48", "10.98", icann=NO_FEE, extended=True),
        _tld("co.uk", "7.58", "9.98", icann=NO_FEE, extended=True),
        _tld("de", "8.98", "10.98", icann=NO_FEE, extended=True, max_years=1),
        _tld("ca", "13.98", "15.98", icann=NO_FEE, extended=True, real_time=False),
        _tld("museum", "62.98", "62.98", registerable=False),
    )
}

# Names everybody knows to be gone; `taken-…` is gone too, whatever its suffix.
_WELL_KNOWN = (
    "amazon apple bing cloudflare cnn ebay example facebook github gmail google hotmail inboxgrove"
    " instagram linkedin microsoft namecheap netflix openai outlook paypal reddit stripe twitter"
    " wikipedia yahoo youtube"
)
WELL_KNOWN = frozenset(_WELL_KNOWN.split())


class Name(NamedTuple):
    """A registrable name, split at its suffix."""

    label: str
    tld: Tld

    def __str__(self) -> str:
        return f"{self.label}.{self.tld.name}"


def parse(text: str) -> Name:
    """Split at the longest suffix on sale (`a.co.uk` is `a` + `co.uk`).

    Refuses with 2030280 for an unknown suffix and 2030166 for a label no registry accepts.
    """
    text = text.strip().lower()
    labels = text.split(".")
    for cut in range(1, len(labels)):
        tld = TLDS.get(".".join(labels[cut:]))
        if tld is not None:
            label = ".".join(labels[:cut])
            if not LABEL.match(label):
                raise refuse(2030166, "Domain is invalid")
            return Name(label, tld)
    raise refuse(2030280, f"TLD is not supported in API: {text}")


def is_taken(name: Name) -> bool:
    return name.label.startswith("taken-") or name.label in WELL_KNOWN


@dataclass(frozen=True)
class Premium:
    """What a premium name costs: once, then a year."""

    register: Decimal
    renew: Decimal


def premium(name: Name) -> Premium | None:
    """`premium-…` and labels of one or two letters are sold at a registry's premium price."""
    if len(name.label) <= 2:
        return Premium(Decimal("2400.00"), Decimal("260.00"))
    if name.label.startswith("premium-"):
        return Premium(Decimal("650.00"), name.tld.renew)
    return None
