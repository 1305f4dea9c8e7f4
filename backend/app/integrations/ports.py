"""What services may ask of the world outside, in our words.

Every method may raise ProviderUnavailable (away, slow, told us to wait: asking again is safe),
ProviderFailed (a clear no) and, where the docstring says so, OutcomeUnknown (it may have happened).
Money is integer cents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Protocol

from app.integrations.payments import (
    Card,
    ChargeState,
    CheckoutState,
    CustomerState,
    DisputeState,
    Intent,
    InvoiceState,
    PaymentGateway,
    Preview,
    PreviewLine,
    RefundState,
    SubscriptionState,
    WebhookEvent,
)

# What of Stripe is told here as well, so that services ask one module.
__all__ = [
    "Card",
    "ChargeState",
    "CheckoutState",
    "CustomerState",
    "DisputeState",
    "Intent",
    "InvoiceState",
    "PaymentGateway",
    "Preview",
    "PreviewLine",
    "RefundState",
    "SubscriptionState",
    "WebhookEvent",
]

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

    def offers(self, names: Sequence[str], years: int = 1) -> list[Offer]:
        """Availability and price, in the order asked; at most 50 names."""
        ...

    def register(
        self, domain_name: str, years: int, *, cost_ceiling_cents: int, premium: bool = False
    ) -> Registration:
        """Buy it. Never retried by the client. Raises OutcomeUnknown when the answer was lost.

        A premium name is bought only when `premium` says that its buyer knows.
        """
        ...

    def find(self, domain_name: str) -> Registration | None:
        """Our registration of that name, or None when it is not in our account."""
        ...

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None: ...
    def balance_cents(self) -> int: ...


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


class DNSResolver(Protocol):
    """Real queries to recursive or authoritative servers; never an answer of our own making."""

    def lookup(self, name: str, record_type: str) -> list[str]:
        """Record data as text (TXT joined, MX as "10 host"), [] when there is none.

        Raises ProviderUnavailable when no server answers.
        """
        ...


# Mail plane -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InboxEntry:
    """What the relay must know of an inbox."""

    username: str
    inbox_id: str
    tenant_id: str
    domain: str
    email: str
    password_hmac: str
    status: str
    daily_limit: int
    monthly_limit: int


@dataclass(frozen=True)
class NodeState:
    """One node of the relay."""

    url: str
    reachable: bool
    suspensions: int | None
    """How many suspensions it holds; None when it does not answer."""
    detail: str | None = None


class MailPlatform(Protocol):
    """The KumoMTA nodes and the directory they read in Redis."""

    def publish_inboxes(self, entries: Sequence[InboxEntry]) -> None:
        """Write the entries to the directory."""
        ...

    def remove_inboxes(self, usernames: Sequence[str]) -> None: ...
    def add_relay(self, domain: str, *, tenant_id: str, selector: str) -> None:
        """Authorise `domain` for sending."""
        ...

    def remove_relay(self, domain: str) -> None: ...
    def reload(self) -> None:
        """Have every node read its directory anew; returns when all have acknowledged."""
        ...

    def suppress(self, tenant_id: str, targets: Sequence[str]) -> None: ...
    def unsuppress(self, tenant_id: str, targets: Sequence[str]) -> None: ...
    def kill_tenant(self, tenant_id: str, *, reason: str) -> None:
        """Refuse new mail at once and hold queued mail on every node."""
        ...

    def revive_tenant(self, tenant_id: str) -> None: ...
    def directory(self, usernames: Sequence[str]) -> dict[str, InboxEntry]:
        """What the directory holds now, for reconciliation."""
        ...

    def killed_tenants(self) -> set[str]: ...
    def nodes(self) -> list[NodeState]:
        """Every node, and whether it takes orders now; never raises for one that does not."""
        ...


class Mailer(Protocol):
    def send(self, *, to: str, subject: str, text: str, html: str, key: str) -> None:
        """One message of our own to a person; `key` becomes its Message-ID."""
        ...


# A tenant's own servers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class HookAnswer:
    status_code: int | None
    """None when no answer came."""
    text: str
    """The beginning of the body, or why there was none."""
    milliseconds: int


class HookSender(Protocol):
    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HookAnswer:
        """One try; it raises nothing for what the other side does."""
        ...


@dataclass(frozen=True)
class Platform:
    """What this installation is to the outside, from Settings."""

    mail_zone: str
    """The zone of our sending hosts: mx1.<zone>, _spf.<zone>, bounce.<zone>."""
    submission_host: str
    submission_port: int
    domain_margin_percent: int
    domain_fixed_cents: int
    quote_minutes: int
    public_url: str
    audit_heads_file: Path | None = None
    """Where the ends of the audit chains are kept; the log has them in any case."""
    automatic_capture: bool = False
    """Whether a domain's price is charged at once and refunded on failure, instead of held."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public and may be called all the same."""
    alert_email: str = ""
    """Who is written to when a person must look; nobody when empty."""


@dataclass(frozen=True)
class Providers:
    """Everything outside, built once by wiring."""

    platform: Platform

    payments: PaymentGateway
    registrar: Registrar
    dns: DNSProvider
    resolver: DNSResolver
    mail: MailPlatform
    mailer: Mailer
    hooks: HookSender
    closing: tuple[Callable[[], object], ...] = ()
    """What gives the connections of these back."""

    def close(self) -> None:
        """Give every connection back; called once, when the process ends."""
        for close in self.closing:
            close()


_installed: Providers | None = None


def install(providers: Providers) -> None:
    """Called once by wiring at the start of a process."""
    global _installed
    _installed = providers


def current() -> Providers:
    """The providers of this process. Raises RuntimeError when wiring has not been called."""
    if _installed is None:
        raise RuntimeError("No providers: call app.wiring.boot() first.")
    return _installed
