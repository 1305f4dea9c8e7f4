"""Stripe, by its own SDK, pinned to one API version.

Payment method types are never sent (removed from writes in endive); cards only are asked for by
`allowed_payment_method_types`. Idempotency keys come from our rows; Stripe keeps them for at least
24 hours, after which callers look before they repeat.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import stripe
from stripe import StripeClient

from app import clock
from app.errors import Invalid, OutcomeUnknown, PaymentRequired, ProviderFailed, ProviderUnavailable
from app.integrations.ports import (
    Card,
    ChargeState,
    Intent,
    InvoiceState,
    SubscriptionState,
    WebhookEvent,
)

PROVIDER = "Stripe"
TOLERANCE_SECONDS = 300
"""How far the timestamp of a webhook may be off, to either side."""

CARD_ONLY = ["card"]
P = ParamSpec("P")
R = TypeVar("R")


def _mapped(call: Callable[P, R]) -> Callable[P, R]:
    """Stripe's exceptions stop here."""

    @wraps(call)
    def mapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except stripe.CardError as error:
            reason = error.user_message or "The card was declined."
            raise PaymentRequired(reason, decline_code=error.code) from error
        except stripe.APIConnectionError as error:
            raise OutcomeUnknown(provider=PROVIDER, reason="no answer") from error
        except stripe.RateLimitError as error:
            raise ProviderUnavailable(provider=PROVIDER, reason="rate limit") from error
        except stripe.StripeError as error:
            reason = f"{error.http_status} {error.code or ''} {error.user_message or error}".strip()
            if (error.http_status or 500) >= 500 or error.http_status == 409:
                raise ProviderUnavailable(provider=PROVIDER, reason=reason) from error
            raise ProviderFailed(provider=PROVIDER, reason=reason) from error

    return mapped


class StripeGateway:
    def __init__(
        self, *, secret_key: str, webhook_secret: str, api_base: str, timeout_seconds: float
    ) -> None:
        self._client = StripeClient(
            secret_key,
            base_addresses={"api": api_base.rstrip("/")},
            max_network_retries=2,
            # The library's own read timeout is 80 s, longer than anybody waits.
            http_client=stripe.RequestsClient(timeout=(3, timeout_seconds)),
        )
        self._webhook_secret = webhook_secret
        self._prices: dict[str, str] = {}

    @_mapped
    def create_customer(self, *, email: str, name: str, tenant_id: str, key: str) -> str:
        customer = self._client.v1.customers.create(
            {"email": email, "name": name, "metadata": {"tenant_id": tenant_id}},
            {"idempotency_key": key},
        )
        return customer.id

    @_mapped
    def create_setup_intent(self, *, customer: str, tenant_id: str, key: str) -> Intent:
        intent = self._client.v1.setup_intents.create(
            {
                "customer": customer,
                "usage": "off_session",
                "allowed_payment_method_types": cast("Any", CARD_ONLY),
                "metadata": {"tenant_id": tenant_id, "purpose": "card"},
            },
            {"idempotency_key": key},
        )
        return _setup_intent(intent)

    @_mapped
    def get_setup_intent(self, intent_id: str) -> Intent:
        return _setup_intent(self._client.v1.setup_intents.retrieve(intent_id))

    @_mapped
    def set_default_payment_method(
        self, *, customer: str, payment_method: str, subscription: str | None
    ) -> None:
        self._client.v1.customers.update(
            customer, {"invoice_settings": {"default_payment_method": payment_method}}
        )
        # Renewals look at the subscription's method first.
        if subscription is not None:
            self._client.v1.subscriptions.update(
                subscription, {"default_payment_method": payment_method}
            )

    @_mapped
    def get_card(self, payment_method: str) -> Card:
        method = self._client.v1.payment_methods.retrieve(payment_method)
        card = method.card
        return Card(
            payment_method=method.id,
            customer=_id(method.customer),
            brand=card.brand if card else method.type,
            last_four=(card.last4 or "") if card else "",
            expiry=f"{card.exp_month:02d}/{card.exp_year}" if card else "",
            fingerprint=card.fingerprint if card else None,
        )

    @_mapped
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
        intent = self._client.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": currency,
                "customer": customer,
                "capture_method": "manual",
                "allowed_payment_method_types": cast("Any", CARD_ONLY),
                "description": description,
                "metadata": dict(metadata),
            },
            {"idempotency_key": key},
        )
        return _payment_intent(intent)

    @_mapped
    def get_payment_intent(self, intent_id: str) -> Intent:
        return _payment_intent(self._client.v1.payment_intents.retrieve(intent_id))

    @_mapped
    def capture(self, intent_id: str, *, key: str) -> Intent:
        captured = self._client.v1.payment_intents.capture(intent_id, {}, {"idempotency_key": key})
        return _payment_intent(captured)

    @_mapped
    def release(self, intent_id: str, *, key: str) -> Intent:
        intent = self._client.v1.payment_intents.retrieve(intent_id)
        if intent.status != "canceled":
            intent = self._client.v1.payment_intents.cancel(
                intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": key}
            )
        return _payment_intent(intent)

    @_mapped
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
        subscription = self._client.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [{"price": self._price(plan)}],
                "default_payment_method": payment_method,
                "trial_end": "now" if trial_end is None else int(trial_end.timestamp()),
                "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
                "payment_settings": {"save_default_payment_method": "on_subscription"},
                "collection_method": "charge_automatically",
                "billing_mode": {"type": "flexible"},
                "off_session": True,
                "metadata": {"tenant_id": tenant_id, "plan": plan},
            },
            {"idempotency_key": key},
        )
        return _subscription(subscription)

    @_mapped
    def get_subscription(self, subscription_id: str) -> SubscriptionState:
        return _subscription(self._client.v1.subscriptions.retrieve(subscription_id))

    @_mapped
    def change_plan(
        self, subscription_id: str, *, plan: str, end_trial: bool, key: str
    ) -> SubscriptionState:
        subscription = self._client.v1.subscriptions.retrieve(subscription_id)
        item = subscription.items.data[0]
        params: dict[str, Any] = {
            # Without the item's id a second item would be added.
            "items": [{"id": item.id, "price": self._price(plan)}],
            "proration_behavior": "none" if end_trial else "always_invoice",
        }
        if end_trial:
            params |= {"trial_end": "now", "payment_behavior": "error_if_incomplete"}
        else:
            params |= {"payment_behavior": "error_if_incomplete"}
        changed = self._client.v1.subscriptions.update(
            subscription_id, cast("Any", params), {"idempotency_key": key}
        )
        return _subscription(changed)

    @_mapped
    def get_invoice(self, invoice_id: str) -> InvoiceState:
        invoice = self._client.v1.invoices.retrieve(invoice_id)
        details = invoice.parent.subscription_details if invoice.parent else None
        return InvoiceState(
            id=str(invoice.id),
            customer=_id(invoice.customer) or "",
            subscription=_id(details.subscription) if details else None,
            number=invoice.number,
            status=invoice.status or "draft",
            billing_reason=invoice.billing_reason,
            amount_due=invoice.amount_due,
            amount_paid=invoice.amount_paid,
            currency=invoice.currency,
            attempt_count=invoice.attempt_count,
            next_payment_attempt=_instant(invoice.next_payment_attempt),
            hosted_invoice_url=invoice.hosted_invoice_url,
            invoice_pdf=invoice.invoice_pdf,
        )

    @_mapped
    def get_charge(self, charge_id: str) -> ChargeState:
        charge = self._client.v1.charges.retrieve(charge_id)
        return ChargeState(
            id=charge.id,
            customer=_id(charge.customer),
            payment_intent=_id(charge.payment_intent),
            amount=charge.amount,
            amount_captured=charge.amount_captured,
            currency=charge.currency,
            status=charge.status,
            captured=charge.captured,
            description=charge.description,
            failure_code=charge.failure_code,
            receipt_url=charge.receipt_url,
        )

    def read_webhook(self, payload: bytes, signature: str) -> WebhookEvent:
        try:
            text = payload.decode()
            # Tolerance is ours to judge: the SDK knows real time only and lets the future pass.
            stripe.WebhookSignature.verify_header(
                text, signature, self._webhook_secret, tolerance=None
            )
            event = self._client.construct_event_without_verification(text)
        except (stripe.SignatureVerificationError, ValueError) as error:
            raise Invalid("The signature does not belong to this body.") from error
        sent = next((v for k, _, v in _pairs(signature) if k == "t" and v.isdigit()), "0")
        if abs(clock.now().timestamp() - int(sent)) > TOLERANCE_SECONDS:
            raise Invalid("The signature's timestamp is too far from now.")
        # The body as it came: the SDK's objects hold Decimals, which no JSON column takes.
        body: dict[str, Any] = json.loads(text)
        return WebhookEvent(
            id=event.id,
            type=event.type,
            created=datetime.fromtimestamp(event.created, UTC),
            object=body["data"]["object"],
            payload=body,
        )

    def _price(self, plan: str) -> str:
        if plan not in self._prices:
            found = self._client.v1.prices.list({"lookup_keys": [f"{plan}_monthly"]}).data
            if not found:
                raise ProviderFailed(provider=PROVIDER, reason=f"no price {plan}_monthly")
            self._prices[plan] = found[0].id
        return self._prices[plan]


def _pairs(header: str) -> list[tuple[str, str, str]]:
    return [part.strip().partition("=") for part in header.split(",")]


def _id(reference: Any) -> str | None:
    """Stripe gives an id or, when expanded, the object."""
    if reference is None or isinstance(reference, str):
        return reference
    return str(reference.id)


def _texts(metadata: Any) -> dict[str, str]:
    return {} if metadata is None else dict(metadata.to_dict())


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _setup_intent(intent: stripe.SetupIntent) -> Intent:
    return Intent(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret,
        customer=_id(intent.customer),
        payment_method=_id(intent.payment_method),
        metadata=_texts(intent.metadata),
    )


def _payment_intent(intent: stripe.PaymentIntent) -> Intent:
    return Intent(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret,
        customer=_id(intent.customer),
        payment_method=_id(intent.payment_method),
        amount=intent.amount,
        amount_capturable=intent.amount_capturable,
        amount_received=intent.amount_received,
        currency=intent.currency,
        metadata=_texts(intent.metadata),
    )


def _subscription(subscription: stripe.Subscription) -> SubscriptionState:
    item = subscription.items.data[0]
    lookup_key = item.price.lookup_key or ""
    return SubscriptionState(
        id=subscription.id,
        customer=_id(subscription.customer) or "",
        status=subscription.status,
        plan=lookup_key.removesuffix("_monthly") or None,
        item_id=item.id,
        # Periods belong to items; we have one.
        current_period_end=_instant(item.current_period_end),
        trial_end=_instant(subscription.trial_end),
        cancel_at_period_end=subscription.cancel_at_period_end,
        default_payment_method=_id(subscription.default_payment_method),
    )
