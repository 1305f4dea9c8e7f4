"""The world outside, played in memory: one small truth behind the ports, and accidents on demand.

A name is registered here exactly once; DNS shows a zone only when the registrar delegates to it; a
hold can be captured only while it stands. `accidents` make a call fail before or after its effect.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from app import clock, errors
from app.integrations import ports

ZONE = "mta.inboxgrove.test"
PLATFORM = ports.Platform(
    mail_zone=ZONE,
    submission_host="127.0.0.1",
    submission_port=1587,
    domain_margin_percent=20,
    domain_fixed_cents=50,
    quote_minutes=15,
    public_url="http://127.0.0.1:8000",
    alert_email="ops@platform.test",
)


class Killed(BaseException):
    """The worker dies here: no handler of ours sees it, the transaction is lost."""


@dataclass
class Accident:
    error: BaseException | None = None
    after: bool = False
    """Whether the effect takes place first."""
    then: Callable[[], None] | None = None
    """Something else that happens at that moment."""


class Accidents:
    """Calls that go wrong, by name of the method, in order; each happens once. Counts all calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._due: dict[str, deque[Accident]] = {}
        self._lock = Lock()

    def plan(
        self,
        method: str,
        error: BaseException | None = None,
        *,
        after: bool = False,
        then: Callable[[], None] | None = None,
        times: int = 1,
    ) -> None:
        accidents = self._due.setdefault(method, deque())
        accidents.extend(Accident(error, after, then) for _ in range(times))

    def clear(self) -> None:
        self._due.clear()

    def around(self, method: str, effect: Callable[[], Any]) -> Any:
        with self._lock:
            self.calls[method] += 1
            accident = self._due[method].popleft() if self._due.get(method) else Accident()
        if accident.then is not None:
            accident.then()
        if accident.error is not None and not accident.after:
            raise accident.error
        result = effect()
        if accident.error is not None:
            raise accident.error
        return result


@dataclass
class FakeRegistrar:
    """Everything is free at 11.48 unless it is said otherwise."""

    accidents: Accidents
    name: str = "namecheap"
    names_per_call: int = 50
    protected: set[str] = field(default_factory=set)
    ours: dict[str, ports.Registration] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    prices: dict[str, int] = field(default_factory=dict)
    premium: set[str] = field(default_factory=set)
    currency: str = "usd"
    name_servers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bought: Counter[str] = field(default_factory=Counter)
    registrants: dict[str, Mapping[str, str] | None] = field(default_factory=dict)
    renewed: Counter[str] = field(default_factory=Counter)
    codes: dict[str, str] = field(default_factory=dict)
    """Authorisation codes; names without one have theirs told to people only."""
    _lock: Lock = field(default_factory=Lock)

    def order(self) -> AbstractContextManager[None]:
        return nullcontext()

    def offers(self, names: Sequence[str], years: int = 1) -> list[ports.Offer]:
        return self.accidents.around("offers", lambda: [self._offer(n, years) for n in names])

    def _offer(self, name: str, years: int) -> ports.Offer:
        free = name not in self.ours and name not in self.others
        price = self.prices.get(name, 1148) * years
        return ports.Offer(
            domain_name=name,
            available=free,
            premium=name in self.premium,
            price_cents=price if free else None,
            renewal_cents=1518 if free else None,
            currency=self.currency,
        )

    def register(
        self,
        domain_name: str,
        years: int,
        *,
        cost_ceiling_cents: int,
        premium: bool = False,
        registrant: Mapping[str, str] | None = None,
    ) -> ports.Registration:
        self.registrants[domain_name] = registrant
        return self.accidents.around(
            "register", lambda: self._register(domain_name, years, cost_ceiling_cents)
        )

    def _register(self, name: str, years: int, ceiling: int) -> ports.Registration:
        with self._lock:
            offer = self._offer(name, years)
            if offer.price_cents is None:
                raise refused("Domain not available")
            if offer.price_cents > ceiling:
                raise refused("Prices do not match")
            now = clock.now()
            self.bought[name] += 1
            self.ours[name] = ports.Registration(
                domain_name=name,
                registrar_id=str(10_000 + len(self.ours)),
                order_id=str(20_000 + len(self.ours)),
                charged_cents=offer.price_cents,
                # A date without a time, as registrars give it.
                created_at=now.replace(hour=0, minute=0, second=0, microsecond=0),
                expires_at=now + timedelta(days=365 * years),
            )
            return self.ours[name]

    def renewal_cents(self, domain_name: str, *, lapsed: bool = False) -> int | None:
        """Another 80 dollars for having it back."""
        if domain_name not in self.ours:
            return None
        return self.prices.get(domain_name, 1518) + (8000 if lapsed else 0)

    def renew(
        self, domain_name: str, *, cost_ceiling_cents: int, lapsed: bool = False
    ) -> ports.Registration:
        def effect() -> ports.Registration:
            price = self.renewal_cents(domain_name, lapsed=lapsed)
            held = self.ours.get(domain_name)
            if price is None or held is None or held.expires_at is None:
                raise refused("Domain not found")
            if price > cost_ceiling_cents:
                raise refused("it costs more than was agreed")
            if lapsed is not (held.expires_at <= clock.now()):
                raise refused("it is over, or not over yet")
            self.renewed[domain_name] += 1
            later = held.expires_at + timedelta(days=365)
            self.ours[domain_name] = replace(held, expires_at=later, charged_cents=price)
            return self.ours[domain_name]

        return self.accidents.around("renew", effect)

    def set_registrant(self, domain_name: str, registrant: Mapping[str, str]) -> None:
        self.accidents.around(
            "set_registrant", lambda: self.registrants.__setitem__(domain_name, registrant)
        )

    def protect(self, domain_name: str) -> None:
        self.accidents.around("protect", lambda: self.protected.add(domain_name))

    def unlock(self, domain_name: str) -> None:
        self.accidents.around("unlock", lambda: self.protected.discard(domain_name))

    def auth_code(self, domain_name: str) -> str | None:
        return self.codes.get(domain_name)

    def find(self, domain_name: str) -> ports.Registration | None:
        return self.accidents.around("find", lambda: self.ours.get(domain_name))

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None:
        def effect() -> None:
            if domain_name not in self.ours:
                raise refused("Domain not found")
            self.name_servers[domain_name] = tuple(name_servers)

        self.accidents.around("set_nameservers", effect)

    def balance_cents(self) -> int:
        return 1_000_000


@dataclass
class FakeDNS:
    accidents: Accidents
    zones: dict[str, ports.Zone] = field(default_factory=dict)
    records: dict[str, list[ports.DNSRecord]] = field(default_factory=dict)
    """Zone id -> what we published."""
    made: int = -1

    def ensure_zone(self, domain_name: str) -> ports.Zone:
        def effect() -> ports.Zone:
            number = self.made = self.made + 1
            return self.zones.setdefault(
                domain_name,
                ports.Zone(
                    f"zone-{number}",
                    domain_name,
                    "pending",
                    (f"a{number}.ns.test", f"b{number}.ns.test"),
                ),
            )

        return self.accidents.around("ensure_zone", effect)

    def get_zone(self, zone_id: str) -> ports.Zone:
        return next(zone for zone in self.zones.values() if zone.id == zone_id)

    def apply(self, zone_id: str, wanted: Sequence[ports.DNSRecord]) -> int:
        def effect() -> int:
            before, self.records[zone_id] = self.records.get(zone_id, []), list(wanted)
            return len(set(wanted) ^ set(before))

        return self.accidents.around("apply", effect)

    def remove_zone(self, zone_id: str) -> bool:
        def effect() -> bool:
            self.records.pop(zone_id, None)
            for name in [name for name, zone in self.zones.items() if zone.id == zone_id]:
                del self.zones[name]
            return True

        return self.accidents.around("remove_zone", effect)


@dataclass
class FakeResolver:
    """Shows a zone once the registrar names its servers, after `lag` lookups of that name."""

    accidents: Accidents
    dns: FakeDNS
    registrar: FakeRegistrar
    hidden: set[tuple[str, str]] = field(default_factory=set)
    """(type, name) that has not spread yet."""

    def lookup(self, name: str, record_type: str) -> list[str]:
        return self.accidents.around("lookup", lambda: self._answer(name, record_type))

    def views(self) -> dict[str, FakeResolver]:
        return {"192.0.2.53": self}

    def _answer(self, name: str, record_type: str) -> list[str]:
        if record_type == "NS" and name in self.registrar.name_servers:
            hidden = ("NS", name) in self.hidden
            return [] if hidden else list(self.registrar.name_servers[name])
        zone = next(
            (z for z in self.dns.zones.values() if name == z.name or name.endswith(f".{z.name}")),
            None,
        )
        if zone is None or self.registrar.name_servers.get(zone.name) != zone.name_servers:
            return []
        if (record_type, name) in self.hidden:
            return []
        return [
            record.content if record.priority is None else f"{record.priority} {record.content}"
            for record in self.dns.records.get(zone.id, [])
            if (record.type, record.name) == (record_type, name)
        ]


@dataclass
class FakeMail:
    accidents: Accidents
    relays: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Domain -> (tenant, selector)."""
    loaded: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add_relay(self, domain: str, *, tenant_id: str, selector: str) -> None:
        self.accidents.around(
            "add_relay", lambda: self.relays.__setitem__(domain, (tenant_id, selector))
        )

    def remove_relay(self, domain: str) -> None:
        self.relays.pop(domain, None)

    def reload(self) -> None:
        self.accidents.around("reload", lambda: self.loaded.update(self.relays))

    def publish_inboxes(self, entries: Sequence[ports.InboxEntry]) -> None:
        raise AssertionError("no inbox is made here")

    def remove_inboxes(self, usernames: Sequence[str]) -> None:
        raise AssertionError("no inbox is made here")

    def suppress(self, tenant_id: str, targets: Sequence[str]) -> None:
        raise AssertionError("nothing is suppressed here")

    def unsuppress(self, tenant_id: str, targets: Sequence[str]) -> None:
        raise AssertionError("nothing is suppressed here")

    def kill_tenant(self, tenant_id: str, *, reason: str) -> None:
        raise AssertionError("nobody is killed here")

    def revive_tenant(self, tenant_id: str) -> None:
        raise AssertionError("nobody is killed here")

    def directory(self, usernames: Sequence[str]) -> dict[str, ports.InboxEntry]:
        return {}

    def killed_tenants(self) -> set[str]:
        return set()


@dataclass
class FakePayments:
    """Holds: placed by confirm(), captured or released once."""

    accidents: Accidents
    intents: dict[str, ports.Intent] = field(default_factory=dict)
    captures: Counter[str] = field(default_factory=Counter)
    declines: str | None = None
    """What the saved card says while it says no."""
    charged: list[str] = field(default_factory=list)
    """Keys with which the saved card was asked."""

    def create_payment_intent(
        self,
        *,
        customer: str,
        amount: int,
        currency: str,
        description: str,
        metadata: Mapping[str, str],
        key: str,
        automatic: bool = False,
    ) -> ports.Intent:
        made = ports.Intent(
            f"pi_{key}",
            "requires_payment_method",
            client_secret="secret",
            customer=customer,
            amount=amount,
            currency=currency,
            metadata=metadata,
        )
        return self.accidents.around(
            "create_payment_intent", lambda: self.intents.setdefault(made.id, made)
        )

    def charge_saved_card(self, intent_id: str, *, payment_method: str, key: str) -> ports.Intent:
        def effect() -> ports.Intent:
            self.charged.append(key)
            if self.declines is not None:
                raise errors.PaymentRequired(f"The card was declined: {self.declines}.")
            if self.intents[intent_id].status not in {"requires_payment_method"}:
                raise refused(f"the intent is {self.intents[intent_id].status}")
            self.confirm(intent_id)
            return self.intents[intent_id]

        return self.accidents.around("charge_saved_card", effect)

    def confirm(self, intent_id: str) -> None:
        """What the browser does with the customer's card."""
        intent = self.intents[intent_id]
        self.change(intent_id, status="requires_capture", amount_capturable=intent.amount)

    def change(self, intent_id: str, **fields: Any) -> None:
        self.intents[intent_id] = replace(self.intents[intent_id], **fields)

    def get_payment_intent(self, intent_id: str) -> ports.Intent:
        return self.accidents.around("get_payment_intent", lambda: self.intents[intent_id])

    def capture(self, intent_id: str, *, key: str) -> ports.Intent:
        def effect() -> ports.Intent:
            intent = self.intents[intent_id]
            if intent.status == "requires_capture":
                self.captures[intent_id] += 1
                self.change(
                    intent_id,
                    status="succeeded",
                    amount_capturable=0,
                    amount_received=intent.amount,
                )
            elif intent.status != "succeeded":
                raise refused(f"the intent is {intent.status}")
            return self.intents[intent_id]

        return self.accidents.around("capture", effect)

    def release(self, intent_id: str, *, key: str) -> ports.Intent:
        def effect() -> ports.Intent:
            if self.intents[intent_id].status == "succeeded":
                raise refused("the intent is succeeded")
            self.change(intent_id, status="canceled", amount_capturable=0)
            return self.intents[intent_id]

        return self.accidents.around("release", effect)


class FakeHooks:
    """Everybody's server is well."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> ports.HookAnswer:
        return ports.HookAnswer(200, "", 1)


@dataclass
class FakeMailer:
    """Keeps what was written to people."""

    accidents: Accidents
    sent: list[tuple[str, str]] = field(default_factory=list)
    """(to, subject)"""

    def send(self, *, to: str, subject: str, text: str, html: str, key: str) -> None:
        self.accidents.around("send", lambda: self.sent.append((to, subject)))


@dataclass
class FakeWorld:
    """All of it, and the bundle that services receive."""

    accidents: Accidents = field(default_factory=Accidents)

    def __post_init__(self) -> None:
        self.registrar = FakeRegistrar(self.accidents)
        self.dns = FakeDNS(self.accidents)
        self.resolver = FakeResolver(self.accidents, self.dns, self.registrar)
        self.mail = FakeMail(self.accidents)
        self.payments = FakePayments(self.accidents)
        self.mailer = FakeMailer(self.accidents)
        self.providers = ports.Providers(
            platform=PLATFORM,
            payments=self.payments,  # type: ignore[arg-type]  # Cards and plans play no part here.
            registrar=self.registrar,
            dns=self.dns,
            resolver=self.resolver,
            mail=self.mail,
            mailer=self.mailer,
            hooks=FakeHooks(),
        )


def refused(reason: str) -> errors.ProviderFailed:
    return errors.ProviderFailed(provider="The provider", reason=reason)


def away() -> errors.ProviderUnavailable:
    return errors.ProviderUnavailable(provider="The provider")


def lost() -> errors.OutcomeUnknown:
    return errors.OutcomeUnknown(provider="The provider")


def days_ago(days: int) -> datetime:
    return clock.now() - timedelta(days=days)
