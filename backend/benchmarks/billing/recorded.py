"""Stripe as a recording shows it: every object as it was after a given event of a life."""

# ruff: noqa: ARG002  # A recording answers by what was asked about, whatever else was said.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import stripe

from app.errors import ProviderFailed
from app.integrations import stripe_objects
from app.integrations.payments import (
    Card,
    ChargeState,
    CheckoutState,
    CustomerState,
    DisputeState,
    Intent,
    InvoiceState,
    RefundState,
    SubscriptionState,
)

_READ: dict[str, Callable[[Any], Any]] = {
    "setup_intent": stripe_objects.setup_intent,
    "customer": stripe_objects.customer,
    "payment_intent": stripe_objects.payment_intent,
    "payment_method": stripe_objects.card,
    "subscription": stripe_objects.subscription,
    "invoice": stripe_objects.invoice,
    "charge": stripe_objects.charge,
    "refund": stripe_objects.refund,
    "dispute": stripe_objects.dispute,
    "checkout.session": stripe_objects.checkout,
}
"""The product's own reading of Stripe's objects, so that it is tested as well."""


class RecordedStripe:
    """The questions of a PaymentGateway, and the few orders that handlers of events give.

    What was ordered in the recorded life has happened there: an order moves the present on to the
    moment at which its effect was to be seen, if that is still to come.
    """

    api_version = stripe.api_version
    livemode = False

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.present = 0
        # Of each object every version, as (number of the event, what it was then).
        self._versions: dict[str, dict[str, list[tuple[int, Any]]]] = {kind: {} for kind in _READ}
        for number, event in enumerate(events):
            body = event["data"]["object"]
            kind = body["object"]
            # The invoice that is announced is none yet: it has no id that one could ask for.
            if kind not in _READ or event["type"] == "invoice.upcoming":
                continue
            if event["type"] == "customer.deleted":
                body = {"id": body["id"], "object": "customer", "deleted": True}
            seen = _READ[kind](stripe.StripeObject.construct_from(body, "sk_test_recorded"))
            if kind == "subscription":
                seen = _READ[kind](stripe.Subscription.construct_from(body, "sk_test_recorded"))
            self._versions[kind].setdefault(body["id"], []).append((number, seen))

    def _now(self, kind: str, wanted: str) -> Any:
        for number, seen in reversed(self._versions[kind].get(wanted, [])):
            if number <= self.present:
                return seen
        raise ProviderFailed(provider="Stripe", reason=f"404 no {kind} {wanted} yet")

    def _all(self, kind: str) -> list[Any]:
        """The newest first."""
        found = []
        for versions in self._versions[kind].values():
            past = [seen for number, seen in versions if number <= self.present]
            if past:
                found.append(past[-1])
        return found[::-1]

    # Questions

    def get_customer(self, customer: str) -> CustomerState:
        found: CustomerState = self._now("customer", customer)
        return found

    def get_setup_intent(self, intent_id: str) -> Intent:
        found: Intent = self._now("setup_intent", intent_id)
        return found

    def get_payment_intent(self, intent_id: str) -> Intent:
        found: Intent = self._now("payment_intent", intent_id)
        return found

    def list_cards(self, customer: str) -> list[Card]:
        return [card for card in self._all("payment_method") if card.customer == customer]

    def get_subscription(self, subscription_id: str) -> SubscriptionState:
        found: SubscriptionState = self._now("subscription", subscription_id)
        return found

    def list_subscriptions(self, customer: str) -> list[SubscriptionState]:
        return [one for one in self._all("subscription") if one.customer == customer]

    def get_invoice(self, invoice_id: str) -> InvoiceState:
        found: InvoiceState = self._now("invoice", invoice_id)
        return found

    def get_charge(self, charge_id: str) -> ChargeState:
        found: ChargeState = self._now("charge", charge_id)
        return found

    def get_refund(self, refund_id: str) -> RefundState:
        found: RefundState = self._now("refund", refund_id)
        return found

    def get_dispute(self, dispute_id: str) -> DisputeState:
        found: DisputeState = self._now("dispute", dispute_id)
        return found

    def get_checkout(self, session_id: str) -> CheckoutState:
        found: CheckoutState = self._now("checkout.session", session_id)
        return found

    def refunds_of(self, charge_id: str) -> Iterator[RefundState]:
        return (one for one in self._all("refund") if one.charge == charge_id)

    def disputes_of(self, charge_id: str) -> Iterator[DisputeState]:
        return (one for one in self._all("dispute") if one.charge == charge_id)

    def charges_of(self, customer: str) -> Iterator[ChargeState]:
        return (one for one in self._all("charge") if one.customer == customer)

    def invoices_of(self, customer: str) -> Iterator[InvoiceState]:
        return (one for one in self._all("invoice") if one.customer == customer)

    # Orders

    def set_default_payment_method(
        self, *, customer: str, payment_method: str, subscription: str | None
    ) -> None:
        """It was the customer's default soon after, in the recording."""
        for number, seen in self._versions["customer"].get(customer, []):
            if number >= self.present and seen.default_payment_method == payment_method:
                self.present = number
                return

    def create_subscription(
        self,
        *,
        customer: str,
        plan: str,
        payment_method: str,
        trial_end: datetime | None,
        tenant_id: str,
        key: str,
        or_nothing: bool = False,
    ) -> SubscriptionState:
        """The next one that began in the recording."""
        begun = [
            versions[0]
            for versions in self._versions["subscription"].values()
            if versions[0][0] > self.present and versions[0][1].customer == customer
        ]
        if not begun:
            raise ProviderFailed(provider="Stripe", reason="no subscription began any more")
        number, seen = min(begun, key=lambda one: one[0])
        self.present = number
        found: SubscriptionState = seen
        return found

    def end_subscription(self, subscription_id: str) -> SubscriptionState:
        number, seen = self._versions["subscription"][subscription_id][-1]
        self.present = max(self.present, number)
        found: SubscriptionState = seen
        return found

    def resume_subscription(self, subscription_id: str, *, key: str) -> SubscriptionState:
        for number, seen in self._versions["subscription"][subscription_id]:
            if number > self.present and seen.status == "active":
                self.present = number
                break
        found: SubscriptionState = self._now("subscription", subscription_id)
        return found

    def release(self, intent_id: str, *, key: str) -> Intent:
        number, seen = self._versions["payment_intent"][intent_id][-1]
        self.present = max(self.present, number)
        found: Intent = seen
        return found

    def refund(
        self, intent_id: str, *, amount: int | None, metadata: Mapping[str, str], key: str
    ) -> RefundState:
        raise ProviderFailed(provider="Stripe", reason="no handler of events gives money back")
