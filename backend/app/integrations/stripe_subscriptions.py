"""Subscriptions, their invoices, and the pages that Stripe hosts for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import stripe

from app.integrations import stripe_objects
from app.integrations.payments import CheckoutState, InvoiceState, Preview, SubscriptionState
from app.integrations.stripe_calls import StripeCalls, paged, reading, writing

TRIAL_WITHOUT_CARD = {"end_behavior": {"missing_payment_method": "pause"}}


class StripeSubscriptions(StripeCalls):
    """What repeats every month."""

    @writing
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
        subscription = self._client.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [{"price": self._price(plan)}],
                "default_payment_method": payment_method,
                "trial_end": "now" if trial_end is None else int(trial_end.timestamp()),
                "trial_settings": cast("Any", TRIAL_WITHOUT_CARD),
                "payment_settings": {"save_default_payment_method": "on_subscription"},
                "collection_method": "charge_automatically",
                "billing_mode": {"type": "flexible"},
                "payment_behavior": "error_if_incomplete" if or_nothing else "allow_incomplete",
                "off_session": True,
                "metadata": {"tenant_id": tenant_id, "plan": plan},
            },
            {"idempotency_key": key},
        )
        return stripe_objects.subscription(subscription)

    @reading
    def get_subscription(self, subscription_id: str) -> SubscriptionState:
        return stripe_objects.subscription(self._client.v1.subscriptions.retrieve(subscription_id))

    def list_subscriptions(self, customer: str) -> list[SubscriptionState]:
        found = paged(
            lambda page: self._client.v1.subscriptions.list(cast("Any", page)),
            {"customer": customer, "status": "all"},
        )
        return [stripe_objects.subscription(one) for one in found]

    @writing
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
        params: dict[str, Any] = {
            **self._change(subscription_id, plan, end_trial, proration_date),
            "payment_behavior": (
                "pending_if_incomplete" if wait_for_customer else "error_if_incomplete"
            ),
        }
        changed = self._client.v1.subscriptions.update(
            subscription_id, cast("Any", params), {"idempotency_key": key}
        )
        return stripe_objects.subscription(changed)

    def _change(
        self, subscription_id: str, plan: str, end_trial: bool, at: datetime | None
    ) -> dict[str, Any]:
        return {
            # Without the item's id a second item would be added.
            "items": [{"id": self._item(subscription_id), "price": self._price(plan)}],
            # A trial has cost nothing, so there is nothing to give back.
            "proration_behavior": "none" if end_trial else "always_invoice",
            **({"trial_end": "now"} if end_trial else {}),
            **({"proration_date": int(at.timestamp())} if at and not end_trial else {}),
        }

    def _item(self, subscription_id: str) -> str:
        subscription = self._client.v1.subscriptions.retrieve(subscription_id)
        return subscription.items.data[0].id

    @writing
    def set_plan_quietly(self, subscription_id: str, *, plan: str, key: str) -> SubscriptionState:
        item = {"id": self._item(subscription_id), "price": self._price(plan)}
        changed = self._client.v1.subscriptions.update(
            subscription_id,
            {"items": [cast("Any", item)], "proration_behavior": "none"},
            {"idempotency_key": key},
        )
        return stripe_objects.subscription(changed)

    @reading
    def preview_plan(
        self, subscription_id: str, *, plan: str, end_trial: bool, at: datetime
    ) -> Preview:
        details = self._change(subscription_id, plan, end_trial, at)
        invoice = self._client.v1.invoices.create_preview(
            {"subscription": subscription_id, "subscription_details": cast("Any", details)}
        )
        return stripe_objects.preview(invoice)

    @writing
    def set_cancellation(
        self, subscription_id: str, *, at_period_end: bool, comment: str | None, key: str
    ) -> SubscriptionState:
        params: dict[str, Any] = {"cancel_at_period_end": at_period_end}
        if comment is not None:
            params["cancellation_details"] = {"comment": comment}
        changed = self._client.v1.subscriptions.update(
            subscription_id, cast("Any", params), {"idempotency_key": key}
        )
        return stripe_objects.subscription(changed)

    @writing
    def end_subscription(self, subscription_id: str) -> SubscriptionState:
        found = stripe_objects.subscription(self._client.v1.subscriptions.retrieve(subscription_id))
        if found.is_over:
            return found
        return stripe_objects.subscription(self._client.v1.subscriptions.cancel(subscription_id))

    @writing
    def resume_subscription(self, subscription_id: str, *, key: str) -> SubscriptionState:
        resumed = self._client.v1.subscriptions.resume(
            subscription_id, {}, {"idempotency_key": key}
        )
        return stripe_objects.subscription(resumed)

    @reading
    def get_invoice(self, invoice_id: str) -> InvoiceState:
        return stripe_objects.invoice(self._client.v1.invoices.retrieve(invoice_id))

    @writing
    def pay_invoice(self, invoice_id: str, *, payment_method: str | None, key: str) -> InvoiceState:
        found = self._client.v1.invoices.retrieve(invoice_id)
        if found.status in {"open", "uncollectible"}:
            params: dict[str, Any] = {}
            if payment_method is not None:
                params["payment_method"] = payment_method
            try:
                found = self._client.v1.invoices.pay(
                    invoice_id, cast("Any", params), {"idempotency_key": key}
                )
            except stripe.InvalidRequestError as error:
                if error.code != "invoice_already_paid":
                    raise
                # Stripe's own attempt came between the look and ours.
                found = self._client.v1.invoices.retrieve(invoice_id)
        return stripe_objects.invoice(found)

    def invoices_of(self, customer: str) -> Iterator[InvoiceState]:
        found = paged(
            lambda page: self._client.v1.invoices.list(cast("Any", page)), {"customer": customer}
        )
        return (stripe_objects.invoice(one) for one in found)

    @writing
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
    ) -> CheckoutState:
        # A session's metadata is not copied to the subscription, so it is said twice.
        metadata = {"tenant_id": tenant_id, "plan": plan}
        subscription: dict[str, Any] = {
            "billing_mode": {"type": "flexible"},
            "metadata": metadata,
        }
        if trial_end is not None:
            subscription["trial_end"] = int(trial_end.timestamp())
            subscription["trial_settings"] = TRIAL_WITHOUT_CARD
        session = self._client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer,
                "client_reference_id": tenant_id,
                "line_items": [{"price": self._price(plan), "quantity": 1}],
                "payment_method_collection": "always",
                "success_url": success_url,
                "cancel_url": cancel_url,
                "subscription_data": cast("Any", subscription),
                "metadata": metadata,
            },
            {"idempotency_key": key},
        )
        return stripe_objects.checkout(session)

    @reading
    def get_checkout(self, session_id: str) -> CheckoutState:
        return stripe_objects.checkout(self._client.v1.checkout.sessions.retrieve(session_id))

    @writing
    def create_portal(self, *, customer: str, return_url: str, key: str) -> str:
        session = self._client.v1.billing_portal.sessions.create(
            {"customer": customer, "return_url": return_url}, {"idempotency_key": key}
        )
        return session.url
