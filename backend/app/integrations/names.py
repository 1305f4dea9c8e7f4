"""The ports to names: who registers them, who serves their records, who answers for them.

Money is integer cents, and times are in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

# Registrar --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    """What the registrar says about one name, for one year, registrar's own prices in cents."""

    domain_name: str
    available: bool
    premium: bool
    price_cents: int | None
    renewal_cents: int | None
    currency: str = "usd"
    reason: str | None = None
    """Why it cannot be bought, when it cannot."""
    premium_cents: int | None = None
    """The registry's own price of a premium name, which an order must repeat to the cent."""


@dataclass(frozen=True)
class Registration:
    domain_name: str
    registrar_id: str
    order_id: str | None
    charged_cents: int | None
    created_at: datetime | None
    expires_at: datetime | None


class Registrar(Protocol):
    name: str
    names_per_call: int
    """How many names one call of its check tells about: what a kept answer saves."""

    def offers(self, names: Sequence[str], years: int = 1) -> list[Offer]:
        """Availability and price, in the order asked; at most 50 names."""
        ...

    def order(self) -> AbstractContextManager[None]:
        """Around all that buying or renewing a name asks: room for it, or none of it.

        Raises ProviderUnavailable before the first question.
        """
        ...

    def register(
        self,
        domain_name: str,
        years: int,
        *,
        cost_ceiling_cents: int,
        premium: bool = False,
        registrant: Mapping[str, str] | None = None,
    ) -> Registration:
        """Buy it. Never retried by the client. Raises OutcomeUnknown when the answer was lost.

        A premium name is bought only when `premium` says that its buyer knows. `registrant` has the
        fields of rules.registrants.Contact; None stands for the platform.
        """
        ...

    def find(self, domain_name: str) -> Registration | None:
        """Our registration of that name, or None when it is not in our account."""
        ...

    def renewal_cents(self, domain_name: str, *, lapsed: bool = False) -> int | None:
        """What one more year of a name of ours costs now; None when it is not sold.

        `lapsed` asks for a name whose end is past: having it back may cost a fee.
        """
        ...

    def renew(
        self, domain_name: str, *, cost_ceiling_cents: int, lapsed: bool = False
    ) -> Registration:
        """One more year. Never retried by the client. Raises OutcomeUnknown when it was lost.

        Nothing here keeps a second call from adding a second year: compare `find()` before.
        """
        ...

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None: ...
    def set_registrant(self, domain_name: str, registrant: Mapping[str, str]) -> None:
        """Register the name for somebody else; safe to repeat."""
        ...

    def protect(self, domain_name: str) -> None:
        """Lock the name against transfers and hide its registrant; safe to repeat."""
        ...

    def unlock(self, domain_name: str) -> None:
        """Allow transfers; safe to repeat. Raises ProviderFailed where only a person can."""
        ...

    def auth_code(self, domain_name: str) -> str | None:
        """What another registrar needs to take the name; None where people alone are told."""
        ...

    def balance_cents(self) -> int: ...


class Shelf(Protocol):
    """Answers kept for an hour, as JSON by kind and name; losing them costs only time."""

    def read(self, kind: str, names: Sequence[str]) -> dict[str, Any]: ...
    def keep(self, kind: str, answers: Mapping[str, Any]) -> None: ...
    def forget(self, kind: str, name: str) -> None: ...


# DNS --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DNSRecord:
    """One record as we want it or as it is; `name` is fully qualified without a final dot.

    `content` of TXT is the joined text without quotes.
    """

    type: str
    name: str
    content: str
    ttl: int = 300
    priority: int | None = None
    purpose: str = ""


@dataclass(frozen=True)
class Zone:
    id: str
    name: str
    status: str
    name_servers: tuple[str, ...]


class DNSProvider(Protocol):
    """Cloudflare."""

    def ensure_zone(self, domain_name: str) -> Zone:
        """Find or create; safe to repeat."""
        ...

    def get_zone(self, zone_id: str) -> Zone: ...
    def apply(self, zone_id: str, wanted: Sequence[DNSRecord]) -> int:
        """Make our own records exactly `wanted`, never touch a customer's; how many changed."""
        ...

    def remove_zone(self, zone_id: str) -> bool:
        """Take our records away, and the zone with them unless it holds others; safe to repeat.

        Whether the zone is gone.
        """
        ...


class DNSResolver(Protocol):
    """Real queries to recursive or authoritative servers; never an answer of our own making."""

    def lookup(self, name: str, record_type: str) -> list[str]:
        """Record data as text (TXT joined, MX as "10 host"), [] when there is none.

        Raises ProviderUnavailable when no server answers.
        """
        ...

    def views(self) -> Mapping[str, DNSResolver]:
        """Each of our servers asked by itself, by its address; at least one."""
        ...
