"""What services may ask of Stripe, in our words.

Every method may raise ProviderUnavailable (away, slow: asking again is safe), ProviderFailed (a
clear no), PaymentRequired (the card said no) and, when it changes something, OutcomeUnknown.
Money is integer cents, instants are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


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
    latest_charge: str | None = None
    failure: str | None = None
    """Why the last attempt was refused, in Stripe's words for customers."""


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
class CustomerState:
    id: str
    deleted: bool
    default_payment_method: str | None


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
    created: datetime | None = None
    latest_invoice: str | None = None
    pending_update: bool = False
    """A change of plan waits until its invoice is paid."""

    @property
    def is_over(self) -> bool:
        """It will never live again; a new one would have to be made."""
        return self.status in {"canceled", "incomplete_expired"}


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
    total: int = 0
    tax: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None
    created: datetime | None = None
    starting_balance: int = 0
    ending_balance: int | None = None
    """The customer's balance around finalisation: negative is credit. None on a draft."""


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
    refunded: bool = False
    amount_refunded: int = 0


@dataclass(frozen=True)
class RefundState:
    id: str
    charge: str | None
    payment_intent: str | None
    amount: int
    currency: str
    status: str
    """pending, requires_action, succeeded, failed or canceled."""
    failure_reason: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DisputeState:
    id: str
    charge: str
    payment_intent: str | None
    amount: int
    currency: str
    status: str
    """needs_response, under_review, won, lost, prevented, or a warning_… of an inquiry."""
    reason: str
    due_by: datetime | None


@dataclass(frozen=True)
class CheckoutState:
    id: str
    status: str
    mode: str
    customer: str | None
    subscription: str | None
    payment_status: str
    url: str | None


@dataclass(frozen=True)
class PreviewLine:
    description: str
    amount: int
    proration: bool


@dataclass(frozen=True)
class Preview:
    """What a change of plan would cost now, to the cent."""

    amount_due: int
    total: int
    """Negative when it gives something back, which becomes credit."""
    currency: str
    lines: Sequence[PreviewLine]


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

    api_version: str
    livemode: bool

    # Customers and cards

    def create_customer(self, *, email: str, name: str, tenant_id: str, key: str) -> str: ...
    def get_customer(self, customer: str) -> CustomerState: ...
    def delete_customer(self, customer: str) -> None:
        """Have Stripe forget a person, with cards and subscriptions; payments stay. Repeatable."""
        ...

    def create_setup_intent(self, *, customer: str, tenant_id: str, key: str) -> Intent: ...
    def get_setup_intent(self, intent_id: str) -> Intent: ...
    def set_default_payment_method(
        self, *, customer: str, payment_method: str, subscription: str | None
    ) -> None: ...
    def get_card(self, payment_method: str) -> Card: ...
    def list_cards(self, customer: str) -> list[Card]: ...
    def remove_card(self, payment_method: str) -> None:
        """Detach; one that is detached already stays so."""
        ...

    # One-time payments

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
    ) -> Intent:
        """A hold to be captured later; with `automatic` a charge. Nothing moves yet."""
        ...

    def charge_saved_card(self, intent_id: str, *, payment_method: str, key: str) -> Intent:
        """Confirm an intent while nobody is there to answer the bank's questions.

        Raises PaymentRequired when the card says no or the bank wants its holder; the intent can be
        tried again, also in a browser.
        """
        ...

    def get_payment_intent(self, intent_id: str) -> Intent: ...
    def capture(self, intent_id: str, *, key: str) -> Intent: ...
    def release(self, intent_id: str, *, key: str) -> Intent:
        """Cancel the hold; asking again for a cancelled one returns it as it is."""
        ...

    def refund(
        self, intent_id: str, *, amount: int | None, metadata: Mapping[str, str], key: str
    ) -> RefundState:
        """Give back `amount`, or all that is left."""
        ...

    def get_refund(self, refund_id: str) -> RefundState: ...
    def get_charge(self, charge_id: str) -> ChargeState: ...
    def get_dispute(self, dispute_id: str) -> DisputeState: ...

    # Subscriptions and invoices

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
        """`trial_end` None starts charging at once.

        With `or_nothing` a declined first payment raises PaymentRequired and leaves nothing.
        """
        ...

    def get_subscription(self, subscription_id: str) -> SubscriptionState: ...
    def list_subscriptions(self, customer: str) -> list[SubscriptionState]:
        """All of them, also ended ones, the newest first."""
        ...

    def change_plan(
        self,
        subscription_id: str,
        *,
        plan: str,
        end_trial: bool,
        key: str,
        proration_date: datetime | None = None,
        wait_for_customer: bool = False,
    ) -> SubscriptionState:
        """Upgrade now, prorated and invoiced at once; `end_trial` starts the paid time now.

        Raises PaymentRequired when the card says no, and changes nothing then. With
        `wait_for_customer` the change waits for its invoice instead, at most 23 hours.
        """
        ...

    def set_plan_quietly(self, subscription_id: str, *, plan: str, key: str) -> SubscriptionState:
        """Change the price from the next period on: nothing is prorated, nothing invoiced."""
        ...

    def preview_plan(
        self, subscription_id: str, *, plan: str, end_trial: bool, at: datetime
    ) -> Preview: ...
    def set_cancellation(
        self, subscription_id: str, *, at_period_end: bool, comment: str | None, key: str
    ) -> SubscriptionState: ...
    def end_subscription(self, subscription_id: str) -> SubscriptionState:
        """Now, without proration; one that is over already stays as it is."""
        ...

    def resume_subscription(self, subscription_id: str, *, key: str) -> SubscriptionState:
        """Start the paid time of a subscription that was paused for want of a card."""
        ...

    def get_invoice(self, invoice_id: str) -> InvoiceState: ...
    def pay_invoice(self, invoice_id: str, *, payment_method: str | None, key: str) -> InvoiceState:
        """Try to collect now. Raises PaymentRequired; one that is paid already stays so."""
        ...

    # Pages that Stripe hosts

    def create_checkout(
        self,
        *,
        customer: str,
        plan: str,
        trial_end: datetime | None,
        success_url: str,
        cancel_url: str,
        tenant_id: str,
        key: str,
    ) -> CheckoutState: ...
    def get_checkout(self, session_id: str) -> CheckoutState: ...
    def create_portal(self, *, customer: str, return_url: str, key: str) -> str:
        """The short-lived address of the page."""
        ...

    # Books, for audits and reconciliation: every object of a customer, the newest first

    def charges_of(self, customer: str) -> Iterator[ChargeState]: ...
    def refunds_of(self, charge_id: str) -> Iterator[RefundState]: ...
    def disputes_of(self, charge_id: str) -> Iterator[DisputeState]: ...
    def invoices_of(self, customer: str) -> Iterator[InvoiceState]: ...

    # Events

    def read_webhook(self, payload: bytes, signature: str) -> WebhookEvent:
        """Verify and parse. Raises Invalid for a bad signature or a timestamp off by > 300 s."""
        ...

    def get_event(self, event_id: str) -> WebhookEvent: ...
    def events_since(self, since: datetime, types: Sequence[str]) -> Iterator[WebhookEvent]:
        """Whatever happened since then, delivered or not; Stripe keeps 30 days."""
        ...
