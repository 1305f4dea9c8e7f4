"""What services may ask of the world outside, in our words.

Every method may raise ProviderUnavailable (away, slow, told us to wait: asking again is safe),
ProviderFailed (a clear no) and, where the docstring says so, OutcomeUnknown (it may have happened).
Money is integer cents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

# Payments ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Intent:
    """A SetupIntent or PaymentIntent, as far as we look at it."""

    id: str
    status: str
    client_secret: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    amount: int = 0
    amount_capturable: int = 0
    amount_received: int = 0
    currency: str = "usd"
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    payment_method: str
    customer: str | None
    brand: str
    last_four: str
    expiry: str
    """MM/YYYY"""
    fingerprint: str | None


@dataclass(frozen=True)
class SubscriptionState:
    id: str
    customer: str
    status: str
    """incomplete, incomplete_expired, trialing, active, past_due, canceled, unpaid or paused."""
    plan: str | None
    """The price's lookup key without its interval: starter, growth, enterprise."""
    item_id: str
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool
    default_payment_method: str | None


@dataclass(frozen=True)
class InvoiceState:
    id: str
    customer: str
    subscription: str | None
    number: str | None
    status: str
    billing_reason: str | None
    amount_due: int
    amount_paid: int
    currency: str
    attempt_count: int
    next_payment_attempt: datetime | None
    hosted_invoice_url: str | None
    invoice_pdf: str | None


@dataclass(frozen=True)
class ChargeState:
    id: str
    customer: str | None
    payment_intent: str | None
    amount: int
    amount_captured: int
    currency: str
    status: str
    captured: bool
    description: str | None
    failure_code: str | None
    receipt_url: str | None


@dataclass(frozen=True)
class WebhookEvent:
    """A verified event; `object` is the raw object it came with."""

    id: str
    type: str
    created: datetime
    object: Mapping[str, Any]
    payload: dict[str, Any]


class PaymentGateway(Protocol):
    """Stripe. `key` is the idempotency key, made from the id of our row."""

    def create_customer(self, *, email: str, name: str, tenant_id: str, key: str) -> str: ...
    def create_setup_intent(self, *, customer: str, tenant_id: str, key: str) -> Intent: ...
    def get_setup_intent(self, intent_id: str) -> Intent: ...
    def set_default_payment_method(
        self, *, customer: str, payment_method: str, subscription: str | None
    ) -> None: ...
    def get_card(self, payment_method: str) -> Card: ...
    def create_payment_intent(
        self,
        *,
        customer: str,
        amount: int,
        currency: str,
        description: str,
        metadata: Mapping[str, str],
        key: str,
    ) -> Intent:
        """A hold to be captured later (capture_method=manual), nothing charged yet."""
        ...

    def get_payment_intent(self, intent_id: str) -> Intent: ...
    def capture(self, intent_id: str, *, key: str) -> Intent: ...
    def release(self, intent_id: str, *, key: str) -> Intent:
        """Cancel the hold; asking again for a cancelled one returns it as it is."""
        ...

    def create_subscription(
        self,
        *,
        customer: str,
        plan: str,
        payment_method: str,
        trial_end: datetime | None,
        tenant_id: str,
        key: str,
    ) -> SubscriptionState:
        """`trial_end` None starts charging at once."""
        ...

    def get_subscription(self, subscription_id: str) -> SubscriptionState: ...
    def change_plan(
        self, subscription_id: str, *, plan: str, end_trial: bool, key: str
    ) -> SubscriptionState:
        """Upgrade now, prorated and invoiced at once; `end_trial` starts the paid time now."""
        ...

    def get_invoice(self, invoice_id: str) -> InvoiceState: ...
    def get_charge(self, charge_id: str) -> ChargeState: ...
    def read_webhook(self, payload: bytes, signature: str) -> WebhookEvent:
        """Verify and parse. Raises Invalid for a bad signature or a timestamp off by > 300 s."""
        ...


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

    def register(self, domain_name: str, years: int, *, cost_ceiling_cents: int) -> Registration:
        """Buy it. Never retried by the client. Raises OutcomeUnknown when the answer was lost."""
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

    def directory(self, usernames: Sequence[str]) -> dict[str, InboxEntry]:
        """What the directory holds now, for reconciliation."""
        ...

    def killed_tenants(self) -> set[str]: ...
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

    def align_nodes(self, tenants: Set[str], inboxes: Set[str]) -> list[NodeRepairs]:
        """Have every node hold the queued mail of exactly these; never raises for one that is away.

        Nodes forget at a restart; this puts back what they forgot and takes away what has ended.
        """
        ...

    def nodes(self) -> list[NodeState]:
        """Every node, and whether it takes orders now; never raises for one that does not."""
        ...


class Mailer(Protocol):
    def send(self, *, to: str, subject: str, text: str, html: str, key: str) -> None:
        """One message of our own to a person; `key` becomes its Message-ID."""
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
