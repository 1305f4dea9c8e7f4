"""Changing a subscription: items, prorations, the end of a trial, pending updates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe import billing, collection, drafts, lines, standing, subscriptions, values
from sandbox.stripe.account import Account, Object, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.payment_methods import of_customer

Params = dict[str, Any]
_PENDING_ALLOWED = frozenset(
    {
        "billing_cycle_anchor",
        "expand",
        "items",
        "off_session",
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "trial_end",
    }
)
"""What `pending_if_incomplete` supports (docs.stripe.com, "Pending updates reference")."""
_BILLED = ("items", "billing_cycle_anchor", "trial_end", "trial_start", "status")


@dataclass
class Change:
    """The subscription as it will be, and what it costs to get there."""

    proposed: Object
    rows: list[Object] = field(default_factory=list)
    invoice_now: bool = False


def update(account: Account, params: Params, subscription: str) -> Object:
    """Raises StripeError 400 for what cannot be, 402 only with `error_if_incomplete`."""
    found = account.find("subscription", subscription)
    if found["status"] in standing.ENDED:
        raise invalid("A canceled subscription can only update its cancellation_details.")
    behaviour = params.get("payment_behavior", "allow_incomplete")
    if behaviour == "pending_if_incomplete" and set(params) - _PENDING_ALLOWED:
        name = min(set(params) - _PENDING_ALLOWED)
        raise invalid(
            "When `payment_behavior` is set to `pending_if_incomplete`, you can only update"
            f" supported attributes; {name} is not one of them.",
            name,
        )
    change = plan(account, found, params)
    _plain(account, change.proposed, params)
    before = snapshot(found)
    if not change.invoice_now:
        _keep_for_later(account, found, change.rows)
        _apply(account, found, change.proposed)
        return standing.tell(account, found, before)
    return _bill(account, found, change, params, behaviour)


def plan(account: Account, subscription: Object, params: Params) -> Change:
    """Work out a change without making it; a preview uses it too."""
    now = params.get("proration_date", account.now())
    start, end = lines.period(subscription)
    if "proration_date" in params and not start <= now <= end:
        raise invalid(
            "Invalid proration_date: must be within the current period.", "proration_date"
        )
    change = Change(snapshot(subscription))
    proposed, behaviour = change.proposed, params.get("proration_behavior", "create_prorations")
    # Nothing is owed for a trial, nor for a pause, so nothing is prorated in either.
    trialing = subscription["status"] in {"trialing", "paused"}
    gone, come = _items(account, proposed, params.get("items") or [])
    trial_end = params.get("trial_end")
    if trial_end not in {None, "now"}:
        subscriptions.check_trial_end(trial_end, account.now())
        if behaviour != "none" and not trialing:
            change.rows = [lines.unused(account, item, now) for item in lines.items(subscription)]
        proposed |= {
            "status": "trialing",
            "trial_end": trial_end,
            "billing_cycle_anchor": trial_end,
        }
        proposed["trial_start"] = proposed["trial_start"] or now
        lines.set_period(proposed, start if trialing else now, trial_end)
        return change
    ends_trial = subscription["status"] == "trialing" and trial_end == "now"
    anchor = (params.get("billing_cycle_anchor") or {}).get("type") == "now"
    interval = _rule(proposed) != _rule(subscription)
    if ends_trial or ((anchor or interval) and not trialing):
        if not trialing and behaviour != "none":
            change.rows = [lines.unused(account, item, now) for item in lines.items(subscription)]
        proposed["billing_cycle_anchor"] = now
        lines.set_period(proposed, now, lines.next_end(proposed, now))
        if ends_trial:
            proposed |= {"status": "active", "trial_end": now}
        change.rows += lines.full_period(account, proposed)
        change.invoice_now = True
    elif not trialing and behaviour != "none":
        change.rows = [lines.unused(account, item, now) for item in gone]
        change.rows += [lines.remaining(account, item, now) for item in come]
        change.invoice_now = behaviour == "always_invoice" and bool(change.rows)
    return change


def _rule(subscription: Object) -> tuple[str, int]:
    rule = lines.items(subscription)[0]["price"]["recurring"]
    return rule["interval"], rule["interval_count"]


def _items(
    account: Account, proposed: Object, given: list[Params]
) -> tuple[list[Object], list[Object]]:
    """Change the items of `proposed`; returns what was before and what is after, as changed."""
    data = lines.items(proposed)
    start, end = lines.period(proposed)
    gone: list[Object] = []
    come: list[Object] = []
    for n, wanted in enumerate(given):
        old = next((item for item in data if item["id"] == wanted.get("id")), None)
        if "id" in wanted and old is None:
            raise invalid(
                f"No such subscription item: '{wanted['id']}'",
                f"items[{n}][id]",
                "resource_missing",
            )
        if wanted.get("deleted"):
            if old is None:
                raise invalid("An item to delete is named by its id.", f"items[{n}][id]")
            data.remove(old)
            gone.append(old)
            continue
        made = _changed_item(account, proposed, old, wanted, n)
        made |= {"current_period_start": start, "current_period_end": end}
        if old is None:
            data.append(made)
            come.append(made)
            continue
        data[data.index(old)] = made
        if (old["price"]["id"], old["quantity"]) != (made["price"]["id"], made["quantity"]):
            gone.append(old)
            come.append(made)
    if not data:
        raise invalid("A subscription must have at least one active item.", "items")
    if len({str(item["price"]["recurring"]) for item in data}) > 1:
        raise invalid("All prices on a subscription must have the same interval.", "items")
    return gone, come


def _changed_item(
    account: Account, proposed: Object, old: Object | None, wanted: Params, n: int
) -> Object:
    if old is None:
        taken = {item["price"]["id"] for item in lines.items(proposed)}
        if wanted.get("price") in taken:
            raise invalid(
                f"Cannot add multiple subscription items with the same price: {wanted['price']}.",
                f"items[{n}][price]",
            )
        return lines.new_item(account, proposed["id"], wanted, n)
    made = snapshot(old)
    if "price" in wanted:
        fresh = lines.new_item(account, proposed["id"], {"price": wanted["price"]}, n)
        made |= {"price": fresh["price"], "plan": fresh["plan"]}
    made["quantity"] = wanted.get("quantity", made["quantity"])
    made["metadata"] = values.metadata(made["metadata"], wanted.get("metadata"))
    return made


def _plain(account: Account, proposed: Object, params: Params) -> None:
    values.merge(proposed, params, "description", "collection_method")
    proposed["metadata"] = values.metadata(proposed["metadata"], params.get("metadata"))
    if "default_payment_method" in params:
        proposed["default_payment_method"] = of_customer(
            account,
            params["default_payment_method"],
            proposed["customer"],
            "default_payment_method",
        )
    if "trial_settings" in params:
        proposed["trial_settings"] = subscriptions.trial_settings(params)
    if "payment_settings" in params:
        values.merge(
            proposed["payment_settings"], params["payment_settings"], "save_default_payment_method"
        )
    subscriptions.set_cancellation(account, proposed, params)
    for name, value in (params.get("cancellation_details") or {}).items():
        proposed["cancellation_details"][name] = value or None
    if proposed["cancel_at_period_end"]:
        proposed["cancel_at"] = lines.period(proposed)[1]


def _bill(
    account: Account, found: Object, change: Change, params: Params, behaviour: str
) -> Object:
    """Apply the change and invoice it at once, or keep it pending until that is paid."""
    rows = _take_kept(account, found) + change.rows
    now = account.now()
    invoice = drafts.draft(
        account,
        change.proposed,
        rows,
        "subscription_update",
        (now, now),
        params.get("proration_date", now),
    )
    if behaviour == "error_if_incomplete" and invoice["amount_due"] > 0:
        decline = collection.payable(account, invoice, None)
        if decline is not None:
            _keep_for_later(account, found, [row for row in rows if row not in change.rows])
            raise decline.error()
    before = snapshot(found)
    change.proposed["latest_invoice"] = found["latest_invoice"] = invoice["id"]
    if behaviour == "pending_if_incomplete":
        return _bill_first(account, found, before, change.proposed, invoice)
    _apply(account, found, change.proposed)
    account.created(invoice)
    standing.tell(account, found, before)
    billing.finalize(account, invoice)
    if invoice["status"] == "open" and behaviour != "default_incomplete":
        collection.collect(account, invoice, automatic=True)
    return found


def _bill_first(
    account: Account, found: Object, before: Object, proposed: Object, invoice: Object
) -> Object:
    """The change waits for the money, for 23 hours; nothing is different until then."""
    expires = account.now() + standing.PENDING_SECONDS
    account.note(
        found["id"],
        pending={"invoice": invoice["id"], "fields": {name: proposed[name] for name in _BILLED}},
    )
    account.created(invoice)
    billing.finalize(account, invoice)
    if invoice["status"] == "paid":
        standing.paid(account, invoice)
        return found
    collection.collect(account, invoice, automatic=True)
    if invoice["status"] == "paid":
        return found
    found["pending_update"] = {
        "billing_cycle_anchor": None,
        "expires_at": expires,
        "subscription_items": snapshot(proposed["items"])["data"],
        "trial_end": None,
        "trial_from_plan": None,
    }
    for name in ("billing_cycle_anchor", "trial_end"):
        if proposed[name] != found[name]:
            found["pending_update"][name] = proposed[name]
    account.agenda.set("pending_expires", found["id"], expires)
    standing.tell(account, found, before)
    return found


def expire_pending(account: Account, identifier: str) -> None:
    """Nobody paid for the change: it is forgotten and its invoice void."""
    found = account.find("subscription", identifier)
    pending = account.noted(identifier, "pending")
    if pending is None:
        return
    before = snapshot(found)
    account.note(identifier, pending=None)
    found["pending_update"] = None
    invoice = account.find("invoice", pending["invoice"])
    if invoice["status"] == "open":
        billing.void(account, invoice)
    account.save(found)
    account.emit("customer.subscription.pending_update_expired", found)
    standing.tell(account, found, before)


def _apply(account: Account, found: Object, proposed: Object) -> None:
    found |= proposed
    account.save(found)
    standing.plan_ahead(account, found)


def _keep_for_later(account: Account, found: Object, rows: list[Object]) -> None:
    """Prorations that go on the next invoice."""
    if rows:
        kept = account.noted(found["id"], "kept_lines") or []
        account.note(found["id"], kept_lines=kept + rows)


def _take_kept(account: Account, found: Object) -> list[Object]:
    kept = account.noted(found["id"], "kept_lines") or []
    account.note(found["id"], kept_lines=[])
    return list(kept)
