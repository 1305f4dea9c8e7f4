"""What services may ask of the world outside, in our words.

Every method may raise ProviderUnavailable (away, slow, told us to wait: asking again is safe),
ProviderFailed (a clear no) and, where the docstring says so, OutcomeUnknown (it may have happened).
Money is integer cents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Protocol

from app.errors import ProviderUnavailable
from app.integrations.names import (
    DNSProvider,
    DNSRecord,
    DNSResolver,
    Offer,
    Registrar,
    Registration,
    Shelf,
    Zone,
)
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
from app.rules.blocklists import Blocklist

# What of Stripe and of names is told here as well, so that services ask one module.
__all__ = [
    "Card",
    "ChargeState",
    "CheckoutState",
    "CustomerState",
    "DNSProvider",
    "DNSRecord",
    "DNSResolver",
    "DisputeState",
    "Intent",
    "InvoiceState",
    "Offer",
    "PaymentGateway",
    "Preview",
    "PreviewLine",
    "RefundState",
    "Registrar",
    "Registration",
    "Shelf",
    "SubscriptionState",
    "WebhookEvent",
    "Zone",
]

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
    hourly_limit: int
    recipient_domain_limit: int
    """Messages a day to recipients of one domain."""

    def fields(self) -> dict[str, str]:
        """As the relay reads it, in Redis, over HTTP and on a node's disk."""
        return {
            "inbox": self.inbox_id,
            "tenant": self.tenant_id,
            "domain": self.domain,
            "email": self.email,
            "h": self.password_hmac,
            "status": self.status,
            "day_limit": str(self.daily_limit),
            "month_limit": str(self.monthly_limit),
            "hour_limit": str(self.hourly_limit),
            "domain_limit": str(self.recipient_domain_limit),
        }


@dataclass(frozen=True)
class NodeOrder:
    """The last order about one subject, and whether a node acknowledged it."""

    order: str
    """`kill <tenant>`, `revive <tenant>`, `flush`, `bounce <tenant>` or `reload`."""
    acknowledged: bool
    at: str
    """When it was acknowledged or last failed, RFC 3339."""
    detail: str | None = None


@dataclass(frozen=True)
class NodeState:
    """One node of the relay."""

    url: str
    reachable: bool
    suspensions: int | None
    """How many suspensions it holds; None when it does not answer."""
    detail: str | None = None
    online_since: str | None = None
    """When its process started, as it says itself."""
    node_id: str | None = None
    """kumod's own name for the machine, which outlives its process."""
    queued: int | None = None
    """Customers' messages that have not left the node."""
    orders: tuple[NodeOrder, ...] = ()


@dataclass(frozen=True)
class NodeRepairs:
    """What one node lacked or held too much, and got or lost."""

    url: str
    reachable: bool
    restarted: bool = False
    """Since it was last looked at; also when that is not known any more."""
    added: int = 0
    removed: int = 0
    node_id: str | None = None


@dataclass(frozen=True)
class NodeVerdict:
    """Whether one node has stopped a tenant."""

    url: str
    holds: bool
    """It holds the queued mail."""
    refuses: bool
    """It refused a mail of the tenant; True as well when there was none to try."""
    detail: str | None = None

    @property
    def stopped(self) -> bool:
        return self.holds and self.refuses


@dataclass(frozen=True)
class Sent:
    """What an inbox sent: recipients on one day (UTC) and in its month."""

    inbox_id: str
    day: date
    today: int
    this_month: int


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

    def revive_tenant(self, tenant_id: str) -> None:
        """Let in again, and take up at once what was held."""
        ...

    def bounce_tenant(self, tenant_id: str, *, reason: str) -> None:
        """Fail all queued mail for good; to be used on a killed tenant."""
        ...

    def verify_killed(self, tenant_id: str, *, canary: str | None) -> list[NodeVerdict]:
        """Try it on every node, with a mail from `canary`, an address of the tenant."""
        ...

    def drifted(self, entries: Sequence[InboxEntry]) -> list[InboxEntry]:
        """Those that the directory lacks or has otherwise."""
        ...

    def usernames(self) -> Iterator[list[str]]:
        """Every login of the directory, in blocks; some may come twice."""
        ...

    def relays(self) -> dict[str, tuple[str, str] | None]:
        """Tenant and selector of every domain of the directory; None for one that may not send."""
        ...

    def suppressed(self) -> dict[str, set[str]]:
        """Whom each tenant must not mail, as the relay knows it."""
        ...

    def killed_tenants(self) -> set[str]: ...
    def mark_killed(self, tenant_ids: Set[str]) -> None:
        """Refuse new mail of these; the nodes' queues are left to `align_nodes`."""
        ...

    def unmark_killed(self, tenant_ids: Set[str]) -> None: ...
    def is_whole(self) -> bool:
        """Whether the directory holds all that was ever written to it; False after a wipe."""
        ...

    def begin_restore(self) -> str:
        """A token for `end_restore`, which a second wipe meanwhile makes worthless."""
        ...

    def end_restore(self, token: str) -> bool:
        """Say that it is whole; until then the nodes defer all mail. False if the token is lost."""
        ...

    def restore_counters(self, sent: Sequence[Sent]) -> None:
        """Raise the counters of sent mail to at least these; none is lowered."""
        ...

    def hold_inbox(self, inbox_id: str) -> None:
        """Keep the queued mail of one inbox where it is, on every node."""
        ...

    def release_inbox(self, inbox_id: str) -> None:
        """Let it go, and take up at once what was held."""
        ...

    def bounce_inbox(self, inbox_id: str) -> None:
        """Fail all queued mail of one inbox for good."""
        ...

    def align_nodes(self, wanted: Callable[[], tuple[Set[str], Set[str]]]) -> list[NodeRepairs]:
        """Have every node hold the queued mail of exactly these tenants and inboxes.

        `wanted` is asked once, after the nodes were looked at. Never raises for a node that is
        away. Nodes forget at a restart; this puts back what they forgot, and ends what is over.
        """
        ...

    def nodes(self) -> list[NodeState]:
        """Every node, and whether it takes orders now; never raises for one that does not."""
        ...

    def probe_node(self, url: str) -> NodeState:
        """The same of one node, which need not be known yet; raises when it does not answer."""
        ...

    def forget_node(self, url: str) -> None:
        """Drop what is kept about a node that is gone."""
        ...

    def draining_nodes(self) -> set[str]: ...
    def drain_nodes(self, node_ids: Set[str]) -> None:
        """Have these nodes, by `node_id`, let nobody log in, within seconds."""
        ...

    def undrain_nodes(self, node_ids: Set[str]) -> None: ...


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
    trace_key: str = field(default="", repr=False)
    """Of the tokens by which returned mail is known; without it no report is believed."""
    reporters: tuple[str, ...] = ()
    """Domains whose complaint reports count."""
    blocklists: tuple[Blocklist, ...] = ()
    """Which are asked."""
    mta_nodes: tuple[str, ...] = ()
    """The nodes of the first start, by the address of their admin listener."""
    sending_addresses: tuple[str, ...] = ()
    """Those of the relay that blocklists are asked about."""
    automatic_capture: bool = False
    """Whether a domain's price is charged at once and refunded on failure, instead of held."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public and may be called all the same."""
    alert_email: str = ""
    """Who is written to when a person must look; nobody when empty."""
    keep_events: timedelta = timedelta(days=90)
    """How long single events of mail are kept; what they count for stays."""
    rotate_keys_after: timedelta = timedelta(days=180)
    """How long a signing key is used before it is replaced; nothing: until somebody asks."""
    tracking_host: str = ""
    """Where links of tracked mails lead; domains get no tracking name when empty."""
    mta_sts_mode: str = ""
    """`testing` or `enforce`; domains get no MTA-STS when empty."""


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
    others: Mapping[str, Registrar] = field(default_factory=dict)
    """By name, the registrars that names are not bought at any more."""
    shelf: Shelf | None = None
    """Where search answers are kept; without one everything is asked each time."""
    closing: tuple[Callable[[], object], ...] = ()
    """What gives the connections of these back."""

    def at(self, registrar: str | None) -> Providers:
        """The same with the registrar that holds a name; a name without one changes nothing.

        Raises ProviderUnavailable when the registrar is not set up here any more.
        """
        if registrar is None or registrar == self.registrar.name:
            return self
        if registrar not in self.others:
            raise ProviderUnavailable(
                provider=registrar, reason="its account is not set up here any more"
            )
        return replace(self, registrar=self.others[registrar])

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
