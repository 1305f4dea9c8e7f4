"""Stripe, by its own SDK, pinned to one API version: customers, cards, one-time payments, events.

Payment method types are never sent (removed from writes in endive); cards only are asked for by
`allowed_payment_method_types`. Idempotency keys come from our rows; Stripe keeps them for at least
24 hours, after which callers look before they repeat.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import stripe

from app.integrations import stripe_objects, stripe_webhooks
from app.integrations.payments import (
    Card,
    ChargeState,
    CustomerState,
    DisputeState,
    Intent,
    RefundState,
    WebhookEvent,
)
from app.integrations.stripe_calls import CARD_ONLY, paged, reading, writing
from app.integrations.stripe_subscriptions import StripeSubscriptions


class StripeGateway(StripeSubscriptions):
    """The PaymentGateway of ports."""

    @writing
    def create_customer(self, *, email: str, name: str, tenant_id: str, key: str) -> str:
        customer = self._client.v1.customers.create(
            {"email": email, "name": name, "metadata": {"tenant_id": tenant_id}},
            {"idempotency_key": key},
        )
        return customer.id

    @reading
    def get_customer(self, customer: str) -> CustomerState:
        return stripe_objects.customer(self._client.v1.customers.retrieve(customer))

    @writing
    def delete_customer(self, customer: str) -> None:
        # An object that was deleted already can still be retrieved, and says so.
        if not stripe_objects.customer(self._client.v1.customers.retrieve(customer)).deleted:
            self._client.v1.customers.delete(customer)

    @writing
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
        return stripe_objects.setup_intent(intent)

    @reading
    def get_setup_intent(self, intent_id: str) -> Intent:
        return stripe_objects.setup_intent(self._client.v1.setup_intents.retrieve(intent_id))

    @writing
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

    @reading
    def get_card(self, payment_method: str) -> Card:
        return stripe_objects.card(self._client.v1.payment_methods.retrieve(payment_method))

    def list_cards(self, customer: str) -> list[Card]:
        found = paged(
            lambda page: self._client.v1.customers.payment_methods.list(
                customer, cast("Any", page)
            ),
            {"type": "card"},
        )
        return [stripe_objects.card(one) for one in found]

    @writing
    def remove_card(self, payment_method: str) -> None:
        if self._client.v1.payment_methods.retrieve(payment_method).customer is not None:
            self._client.v1.payment_methods.detach(payment_method)

    @writing
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
        intent = self._client.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": currency,
                "customer": customer,
                "capture_method": "automatic" if automatic else "manual",
                "allowed_payment_method_types": cast("Any", CARD_ONLY),
                "description": description,
                "metadata": dict(metadata),
            },
            {"idempotency_key": key},
        )
        return stripe_objects.payment_intent(intent)

    @writing
    def charge_saved_card(self, intent_id: str, *, payment_method: str, key: str) -> Intent:
        confirmed = self._client.v1.payment_intents.confirm(
            intent_id,
            {"payment_method": payment_method, "off_session": True},
            {"idempotency_key": key},
        )
        return stripe_objects.payment_intent(confirmed)

    @reading
    def get_payment_intent(self, intent_id: str) -> Intent:
        return stripe_objects.payment_intent(self._client.v1.payment_intents.retrieve(intent_id))

    @writing
    def capture(self, intent_id: str, *, key: str) -> Intent:
        captured = self._client.v1.payment_intents.capture(intent_id, {}, {"idempotency_key": key})
        return stripe_objects.payment_intent(captured)

    @writing
    def release(self, intent_id: str, *, key: str) -> Intent:
        intent = self._client.v1.payment_intents.retrieve(intent_id)
        if intent.status != "canceled":
            intent = self._client.v1.payment_intents.cancel(
                intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": key}
            )
        return stripe_objects.payment_intent(intent)

    @writing
    def refund(
        self, intent_id: str, *, amount: int | None, metadata: Mapping[str, str], key: str
    ) -> RefundState:
        params: dict[str, Any] = {
            "payment_intent": intent_id,
            "reason": "requested_by_customer",
            "metadata": dict(metadata),
            **({} if amount is None else {"amount": amount}),
        }
        made = self._client.v1.refunds.create(cast("Any", params), {"idempotency_key": key})
        return stripe_objects.refund(made)

    @reading
    def get_refund(self, refund_id: str) -> RefundState:
        return stripe_objects.refund(self._client.v1.refunds.retrieve(refund_id))

    @reading
    def get_charge(self, charge_id: str) -> ChargeState:
        return stripe_objects.charge(self._client.v1.charges.retrieve(charge_id))

    @reading
    def get_dispute(self, dispute_id: str) -> DisputeState:
        return stripe_objects.dispute(self._client.v1.disputes.retrieve(dispute_id))

    def charges_of(self, customer: str) -> Iterator[ChargeState]:
        found = paged(
            lambda page: self._client.v1.charges.list(cast("Any", page)), {"customer": customer}
        )
        return (stripe_objects.charge(one) for one in found)

    def refunds_of(self, charge_id: str) -> Iterator[RefundState]:
        found = paged(
            lambda page: self._client.v1.refunds.list(cast("Any", page)), {"charge": charge_id}
        )
        return (stripe_objects.refund(one) for one in found)

    def disputes_of(self, charge_id: str) -> Iterator[DisputeState]:
        found = paged(
            lambda page: self._client.v1.disputes.list(cast("Any", page)), {"charge": charge_id}
        )
        return (stripe_objects.dispute(one) for one in found)

    def read_webhook(self, payload: bytes, signature: str) -> WebhookEvent:
        return stripe_webhooks.read(payload, signature, self._webhook_secret)

    @reading
    def get_event(self, event_id: str) -> WebhookEvent:
        return _event(self._client.v1.events.retrieve(event_id))

    def events_since(self, since: datetime, types: Sequence[str]) -> Iterator[WebhookEvent]:
        # No more than twenty types may be named in one question.
        for start in range(0, len(types), TYPES_AT_ONCE):
            chosen = list(types[start : start + TYPES_AT_ONCE])
            found = paged(
                lambda page: self._client.v1.events.list(cast("Any", page)),
                {"types": chosen, "created": {"gte": int(since.timestamp())}},
            )
            yield from (_event(one) for one in found)


TYPES_AT_ONCE = 20


def _event(event: stripe.Event) -> WebhookEvent:
    # Through JSON text, because the SDK's objects hold Decimals, which no JSON column takes.
    return stripe_webhooks.parse(json.loads(str(event)))
