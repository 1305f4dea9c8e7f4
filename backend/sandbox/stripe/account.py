"""The one Stripe account of the sandbox: its objects, its time, its events."""

from __future__ import annotations

import copy
import secrets
import string
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.store import Collection
from sandbox.stripe.agenda import Agenda
from sandbox.stripe.errors import missing
from sandbox.world import World

API_VERSION = "2026-10-28.endive"
Object = dict[str, Any]

FORGOTTEN = (
    "agenda",
    "billing_portal.session",
    "charge",
    "checkout.session",
    "customer",
    "deliveries",
    "dispute",
    "event",
    "idempotency",
    "invoice",
    "invoice_payment",
    "payment_intent",
    "payment_method",
    "radar.early_fraud_warning",
    "refund",
    "setup_intent",
    "subscription",
)
NOBODY: dict[str, str | None] = {"id": None, "idempotency_key": None}
_ALPHABET = string.ascii_letters + string.digits
DEFAULTS: dict[str, Any] = {
    "retry_days": [3, 5],  # Days after each failed attempt: three attempts in all.
    "after_retries": "mark_unpaid",  # or "cancel", "leave_past_due"
    "zero_trial_invoice": True,  # Whether the start of a trial makes an invoice of 0.
    "hold_invoices_until_acknowledged": False,  # Finalise only after invoice.created got its 2xx.
    "refunds": "succeeded",  # or "pending": they arrive when /control says so.
    "latency_seconds": 0.0,  # How long a request is under way.
}


class Account:
    """Documents by kind, each in a collection of the store, as Stripe shows them.

    What Stripe keeps to itself (which invoice a PaymentIntent pays, how a card will behave) is
    kept apart in notes, so that an object can be answered as it is stored.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.agenda = Agenda(self.objects("agenda"))
        self._notes = self.objects("notes")
        self._moment: int | None = None
        # Who asks just now: events name the request that caused them.
        self.request: dict[str, str | None] = dict(NOBODY)
        self.publishable = False
        self.on_queued: Callable[[], None] = lambda: None
        self.requests: Counter[str] = Counter()
        """Requests that fitted the SDK's types, by method and address."""
        self.misfits: list[Object] = []
        """And those that did not, with the reason."""

    # Time -----------------------------------------------------------------------------------

    def now(self) -> int:
        """Seconds since 1970; while due work runs, the moment at which it was due."""
        return self.world.clock.timestamp() if self._moment is None else self._moment

    @contextmanager
    def at(self, moment: int) -> Iterator[None]:
        self._moment = moment
        try:
            yield
        finally:
            self._moment = None

    def forget(self) -> None:
        """Empty but for the catalogue, the endpoints and the settings."""
        for kind in FORGOTTEN:
            collection = self.objects(kind)
            for key in list(collection):
                del collection[key]
        self.agenda = Agenda(self.objects("agenda"))
        self.requests.clear()
        self.misfits.clear()

    # Objects --------------------------------------------------------------------------------

    def objects(self, kind: str) -> Collection:
        return self.world.store.collection(f"stripe.{kind}")

    def find(self, kind: str, wanted: str, param: str = "id") -> Object:
        """The live document. Raises StripeError resource_missing, also for a deleted one."""
        found = self.objects(kind).get(wanted)
        if found is None or (found.get("deleted") and param != "id"):
            raise missing(kind, wanted, param)
        return found

    def all(self, kind: str, **equal: Any) -> list[Object]:
        """Oldest first."""
        return [
            item
            for item in self.objects(kind).values()
            if all(item.get(name) == value for name, value in equal.items())
        ]

    def save(self, item: Object) -> Object:
        self.objects(item["object"])[item["id"]] = item
        return item

    def note(self, about: str, **facts: Any) -> None:
        self._notes[about] = {**self._notes.get(about, {}), **facts}

    def noted(self, about: str, fact: str) -> Any:
        return self._notes.get(about, {}).get(fact)

    @property
    def settings(self) -> dict[str, Any]:
        return {**DEFAULTS, **self.objects("settings").get("account", {})}

    def configure(self, **changes: Any) -> None:
        known = self.objects("settings").get("account", {})
        self.objects("settings")["account"] = {**known, **changes}

    def url(self, path: str) -> str:
        """An address of this part as a browser on this machine reaches it."""
        host = self.world.config.host
        host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
        return f"http://{host}:{self.world.ports.get('http', 0)}/stripe{path}"

    # Events ---------------------------------------------------------------------------------

    def emit(self, kind: str, item: Object, before: Object | None = None) -> None:
        """Record an event about `item` and queue it for every endpoint that wants it.

        With `before` it tells what changed, and nothing is recorded when nothing did.
        """
        data: dict[str, Any] = {"object": copy.deepcopy(item)}
        if before is not None:
            changed = difference(before, item)
            if not changed:
                return
            data["previous_attributes"] = changed
        wanting = [
            endpoint
            for endpoint in self.all("webhook_endpoint", status="enabled")
            if "*" in endpoint["enabled_events"] or kind in endpoint["enabled_events"]
        ]
        event: Object = {
            "id": new_id("evt"),
            "object": "event",
            "account": None,
            "api_version": API_VERSION,
            "context": None,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": len(wanting),
            "request": dict(self.request),
            "type": kind,
        }
        self.save(event)
        for endpoint in wanting:
            self.queue_delivery(event["id"], endpoint["id"])

    def queue_delivery(self, event: str, endpoint: str, signature: str = "good") -> None:
        """`signature` other than "good" is one of deliveries.SPOILT, to see it refused."""
        deliveries = self.objects("deliveries")
        now = self.world.clock.now().timestamp()
        wanted = self.world.faults.deliveries("stripe")
        for copy_ in range(1 + wanted.duplicate):
            deliveries[f"{deliveries.next_id()}"] = {
                "event": event,
                "endpoint": endpoint,
                "signature": signature,
                "attempts": 0,
                "queued": now,
                "next_at": now + wanted.delay_seconds,
                "extra": copy_ > 0,
            }
        self.on_queued()

    def created(self, item: Object, kind: str | None = None) -> Object:
        """Save a new object and tell of it."""
        self.save(item)
        self.emit(kind or f"{item['object']}.created", item)
        return item

    def updated(self, item: Object, before: Object, kind: str | None = None) -> Object:
        """Save a changed object and tell what it was before."""
        self.save(item)
        self.emit(kind or f"{item['object']}.updated", item, before)
        return item


def new_id(prefix: str, length: int = 24) -> str:
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(length))}"


def snapshot(item: Object) -> Object:
    return copy.deepcopy(item)


def difference(before: Object, after: Object) -> Object:
    """The former values of what changed; of a list the whole former list, as Stripe does."""
    changed: Object = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old and new:
            changed[name] = difference(old, new)
        else:
            changed[name] = copy.deepcopy(old)
    return changed
