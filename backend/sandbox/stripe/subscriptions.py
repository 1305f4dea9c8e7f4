"""Subscriptions: create, read, cancel, resume. Changes are in `changes`."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import billing, collection, drafts, lines, payment_methods, standing, values
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.listing import envelope, page

Params = dict[str, Any]
MAX_TRIAL_SECONDS = 730 * 86_400


def create(account: Account, params: Params) -> Object:
    """Raises StripeError 400 for what cannot be, 402 only with `error_if_incomplete`."""
    customer = account.find("customer", params["customer"], "customer")
    identifier, now = new_id("sub"), account.now()
    items = [
        lines.new_item(account, identifier, given, n)
        for n, given in enumerate(params.get("items") or [])
    ]
    if not items:
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    trial_end = _trial_end(params, now)
    subscription = _blank(account, identifier, customer["id"], items, params)
    subscription["billing_cycle_anchor"] = trial_end or now
    end = trial_end or lines.next_end(subscription, now)
    lines.set_period(subscription, now, end)
    if trial_end is not None:
        subscription |= {"status": "trialing", "trial_start": now, "trial_end": trial_end}
    set_cancellation(account, subscription, params)
    behaviour = params.get("payment_behavior", "allow_incomplete")
    has_method = standing.default_method(account, subscription) is not None
    if trial_end is None and not has_method and behaviour != "default_incomplete":
        raise invalid(
            "This customer has no attached payment source or default payment method. Please"
            " consider adding a default payment method.",
            code="resource_missing",
        )
    account.save(subscription)
    if trial_end is None and behaviour == "error_if_incomplete":
        decline = collection.payable(account, _first_invoice(account, subscription), None)
        if decline is not None:
            del account.objects("subscription")[identifier]
            raise decline.error()
    _start(account, subscription, behaviour)
    return subscription


def _start(account: Account, subscription: Object, behaviour: str) -> None:
    trialing = subscription["status"] == "trialing"
    if trialing and not account.settings["zero_trial_invoice"]:
        account.emit("customer.subscription.created", subscription)
        standing.plan_ahead(account, subscription)
        return
    invoice = _first_invoice(account, subscription)
    subscription["latest_invoice"] = invoice["id"]
    account.save(subscription)
    account.created(invoice)
    account.emit("customer.subscription.created", subscription)
    standing.plan_ahead(account, subscription)
    billing.finalize(account, invoice)
    if invoice["status"] == "paid":
        standing.paid(account, invoice)
        return
    account.agenda.set(
        "incomplete_expires", subscription["id"], account.now() + standing.PENDING_SECONDS
    )
    if behaviour != "default_incomplete":
        collection.collect(account, invoice, automatic=True)


def _first_invoice(account: Account, subscription: Object) -> Object:
    trialing = subscription["status"] == "trialing"
    rows = (lines.trial if trialing else lines.full_period)(account, subscription)
    now = account.now()
    return drafts.draft(account, subscription, rows, "subscription_create", (now, now))


def _trial_end(params: Params, now: int) -> int | None:
    wanted = params.get("trial_end")
    if wanted is None and params.get("trial_period_days"):
        wanted = now + params["trial_period_days"] * 86_400
    if wanted is None or wanted == "now":
        return None
    check_trial_end(wanted, now)
    return int(wanted)


def check_trial_end(wanted: int, now: int) -> None:
    if wanted <= now:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", "trial_end"
        )
    if wanted > now + MAX_TRIAL_SECONDS:
        raise invalid(
            "Invalid timestamp: can be no more than two years in the future.", "trial_end"
        )


def _blank(
    account: Account, identifier: str, customer: str, items: list[Object], params: Params
) -> Object:
    currencies = {item["price"]["currency"] for item in items}
    rules = {str(item["price"]["recurring"]) for item in items}
    if len(currencies) > 1 or len(rules) > 1:
        raise invalid("All prices on a subscription must have the same currency and interval.")
    payment = params.get("payment_settings") or {}
    mode = (params.get("billing_mode") or {}).get("type", "flexible")
    return {
        "id": identifier,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": 0,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"} if mode == "flexible" else None,
            "type": mode,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": account.now(),
        "currency": items[0]["price"]["currency"],
        "customer": customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": payment_methods.of_customer(
            account, params.get("default_payment_method", ""), customer, "default_payment_method"
        ),
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": envelope(items, f"/v1/subscription_items?subscription={identifier}"),
        "latest_invoice": None,
        "livemode": False,
        "metadata": values.metadata({}, params.get("metadata")),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": payment.get("save_default_payment_method", "off"),
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": account.now(),
        "status": "incomplete",
        "status_details": None,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": trial_settings(params),
        "trial_start": None,
    }


def trial_settings(params: Params) -> Object:
    given = (params.get("trial_settings") or {}).get("end_behavior") or {}
    return {
        "end_behavior": {
            "billing_cycle_anchor": given.get("billing_cycle_anchor"),
            "missing_payment_method": given.get("missing_payment_method", "create_invoice"),
        }
    }


def set_cancellation(account: Account, subscription: Object, params: Params) -> None:
    """`cancel_at_period_end` and `cancel_at`; undoing either takes back the reason."""
    _, end = lines.period(subscription)
    if "cancel_at_period_end" in params:
        wanted = params["cancel_at_period_end"]
        subscription["cancel_at_period_end"] = wanted
        subscription["cancel_at"] = end if wanted else None
    elif "cancel_at" in params:
        at = {"min_period_end": end, "max_period_end": end, "": None}.get(
            params["cancel_at"], params["cancel_at"]
        )
        if at is not None and at < account.now():
            raise invalid("Invalid timestamp: cancel_at must be in the future.", "cancel_at")
        subscription["cancel_at"] = at
        subscription["cancel_at_period_end"] = False
    else:
        return
    planned = subscription["cancel_at"] is not None
    subscription["canceled_at"] = account.now() if planned else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if planned else None


def get(account: Account, _: Params, subscription: str) -> Object:
    return account.find("subscription", subscription)


def list_(account: Account, params: Params) -> Object:
    """Without `status` the cancelled ones are left out, as at Stripe."""
    wanted = {key: params[key] for key in ("customer", "collection_method") if key in params}
    status = params.get("status")
    found = [
        one
        for one in account.all("subscription", **wanted)
        if status == "all"
        or one["status"] == status
        or (status is None and one["status"] != "canceled")
        or (status == "ended" and one["status"] in standing.ENDED)
    ]
    if "price" in params:
        found = [
            one
            for one in found
            if any(item["price"]["id"] == params["price"] for item in lines.items(one))
        ]
    return page(found, params, "/v1/subscriptions")


def cancel(account: Account, params: Params, subscription: str) -> Object:
    """At once and without proration."""
    found = account.find("subscription", subscription)
    if found["status"] in standing.ENDED:
        raise StripeError(
            f"No such subscription: '{subscription}'",
            status=404,
            code="resource_missing",
            param="id",
        )
    for name, value in (params.get("cancellation_details") or {}).items():
        found["cancellation_details"][name] = value or None
    return standing.cancel(account, found, "cancellation_requested")


def cancel_all(account: Account, customer: str) -> None:
    for found in account.all("subscription", customer=customer):
        if found["status"] not in standing.ENDED:
            standing.cancel(account, found, "cancellation_requested")


def resume(account: Account, _: Params, subscription: str) -> Object:
    """A paused subscription starts a period now; it is active when its invoice is paid."""
    found = account.find("subscription", subscription)
    if found["status"] != "paused":
        raise invalid("Only a paused subscription can be resumed.")
    before, now = snapshot(found), account.now()
    found["billing_cycle_anchor"] = now
    lines.set_period(found, now, lines.next_end(found, now))
    rows = lines.full_period(account, found)
    invoice = drafts.draft(account, found, rows, "subscription_cycle", (now, now))
    found["latest_invoice"] = invoice["id"]
    account.note(subscription, resumes=invoice["id"])
    account.created(invoice)
    standing.tell(account, found, before)
    billing.finalize(account, invoice)
    if invoice["status"] == "paid":
        standing.paid(account, invoice)
    else:
        collection.collect(account, invoice, automatic=True)
    return found
