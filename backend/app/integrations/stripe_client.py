"""Stripe, by its own SDK, pinned to one API version.

Payment method types are never sent (removed from writes in endive); cards only are asked for by
`allowed_payment_method_types`. Idempotency keys come from our rows; Stripe keeps them for at least
24 hours, after which callers look before they repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import requests
import stripe
from stripe import StripeClient

from app.errors import OutcomeUnknown, PaymentRequired, ProviderFailed, ProviderUnavailable
from app.integrations import stripe_objects, stripe_webhooks
from app.integrations.ports import (
    Card,
    ChargeState,
    Intent,
    InvoiceState,
    SubscriptionState,
    WebhookEvent,
)

PROVIDER = "Stripe"
CARD_ONLY = ["card"]
P = ParamSpec("P")
R = TypeVar("R")


def _mapped(call: Callable[P, R], lost: type[ProviderUnavailable]) -> Callable[P, R]:
    """Stripe's exceptions stop here; `lost` is what an answer that never came means."""

    @wraps(call)
    def mapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except stripe.CardError as error:
            reason = error.user_message or "The card was declined."
            raise PaymentRequired(reason, decline_code=_decline(error)) from error
        except stripe.APIConnectionError as error:
            raise lost(provider=PROVIDER, reason="no answer") from error
        except stripe.StripeError as error:
            # Cut, because an answer that is not Stripe's is quoted whole.
            told = f"{error.http_status} {error.code or ''} {error.user_message or error}"[:300]
            if error.http_status == 429:
                # The limiter answers before anything is done.
                raise ProviderUnavailable(provider=PROVIDER, reason="rate limit") from error
            # APIError is an answer of 5xx or one that is no JSON; 409 means that the same key is
            # still being worked on.
            if isinstance(error, stripe.APIError) or error.http_status == 409:
                raise lost(provider=PROVIDER, reason=told) from error
            raise ProviderFailed(provider=PROVIDER, reason=told, stripe_code=error.code) from error

    return mapped


def _reading(call: Callable[P, R]) -> Callable[P, R]:
    return _mapped(call, ProviderUnavailable)


def _writing(call: Callable[P, R]) -> Callable[P, R]:
    return _mapped(call, OutcomeUnknown)


def _decline(error: stripe.CardError) -> str | None:
    """The bank's own reason where there is one, such as insufficient_funds."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    return body.get("error", {}).get("decline_code") or error.code


def _session() -> requests.Session:
    """Never follows a redirect: Stripe sends none, and the key must not travel elsewhere."""
    session = requests.Session()
    session.max_redirects = 0
    # Shared by all threads of a process: as many connections are kept as an API process has.
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=40))
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=40))
    return session


class StripeGateway:
    def __init__(
        self, *, secret_key: str, webhook_secret: str, api_base: str, timeout_seconds: float
    ) -> None:
        self._session = _session()
        self._client = StripeClient(
            secret_key,
            base_addresses={"api": api_base.rstrip("/")},
            max_network_retries=2,
            # The library's own read timeout is 80 s, longer than anybody waits.
            http_client=stripe.RequestsClient(timeout=(3, timeout_seconds), session=self._session),
        )
        self._webhook_secret = webhook_secret
        self._prices: dict[str, str] = {}

    def close(self) -> None:
        """Give the kept connections back."""
        self._session.close()

    @_writing
    def create_customer(self, *, email: str, name: str, tenant_id: str, key: str) -> str:
        customer = self._client.v1.customers.create(
            {"email": email, "name": name, "metadata": {"tenant_id": tenant_id}},
            {"idempotency_key": key},
        )
        return customer.id

    @_writing
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

    @_reading
    def get_setup_intent(self, intent_id: str) -> Intent:
        return stripe_objects.setup_intent(self._client.v1.setup_intents.retrieve(intent_id))

    @_writing
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

    @_reading
    def get_card(self, payment_method: str) -> Card:
        return stripe_objects.card(self._client.v1.payment_methods.retrieve(payment_method))

    @_writing
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
        return stripe_objects.payment_intent(intent)

    @_reading
    def get_payment_intent(self, intent_id: str) -> Intent:
        return stripe_objects.payment_intent(self._client.v1.payment_intents.retrieve(intent_id))

    @_writing
    def capture(self, intent_id: str, *, key: str) -> Intent:
        captured = self._client.v1.payment_intents.capture(intent_id, {}, {"idempotency_key": key})
        return stripe_objects.payment_intent(captured)

    @_writing
    def release(self, intent_id: str, *, key: str) -> Intent:
        intent = self._client.v1.payment_intents.retrieve(intent_id)
        if intent.status != "canceled":
            intent = self._client.v1.payment_intents.cancel(
                intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": key}
            )
        return stripe_objects.payment_intent(intent)

    @_writing
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
        return stripe_objects.subscription(subscription)

    @_reading
    def get_subscription(self, subscription_id: str) -> SubscriptionState:
        return stripe_objects.subscription(self._client.v1.subscriptions.retrieve(subscription_id))

    @_writing
    def change_plan(
        self, subscription_id: str, *, plan: str, end_trial: bool, key: str
    ) -> SubscriptionState:
        subscription = self._client.v1.subscriptions.retrieve(subscription_id)
        item = subscription.items.data[0]
        params: dict[str, Any] = {
            # Without the item's id a second item would be added.
            "items": [{"id": item.id, "price": self._price(plan)}],
            # A trial has cost nothing, so there is nothing to give back.
            "proration_behavior": "none" if end_trial else "always_invoice",
            "payment_behavior": "error_if_incomplete",
            **({"trial_end": "now"} if end_trial else {}),
        }
        changed = self._client.v1.subscriptions.update(
            subscription_id, cast("Any", params), {"idempotency_key": key}
        )
        return stripe_objects.subscription(changed)

    @_reading
    def get_invoice(self, invoice_id: str) -> InvoiceState:
        return stripe_objects.invoice(self._client.v1.invoices.retrieve(invoice_id))

    @_reading
    def get_charge(self, charge_id: str) -> ChargeState:
        return stripe_objects.charge(self._client.v1.charges.retrieve(charge_id))

    def read_webhook(self, payload: bytes, signature: str) -> WebhookEvent:
        return stripe_webhooks.read(payload, signature, self._webhook_secret)

    def _price(self, plan: str) -> str:
        if plan not in self._prices:
            found = self._client.v1.prices.list({"lookup_keys": [f"{plan}_monthly"]}).data
            if not found:
                raise ProviderFailed(provider=PROVIDER, reason=f"no price {plan}_monthly")
            self._prices[plan] = found[0].id
        return self._prices[plan]
