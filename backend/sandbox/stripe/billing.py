"""The life of an invoice: draft, open, paid, void, uncollectible."""

from __future__ import annotations

import copy

from sandbox.stripe import payments
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import envelope

DRAFT_SECONDS = 3600
"""How long the invoice of a renewal stays a draft (docs.stripe.com/invoicing/integration)."""
_AUTOMATIC_TAX = {
    "disabled_reason": None,
    "enabled": False,
    "liability": None,
    "provider": None,
    "status": None,
}


def draft(
    account: Account,
    subscription: Object,
    lines: list[Object],
    reason: str,
    period: tuple[int, int],
    proration_date: int | None = None,
) -> Object:
    """A draft of `lines`; not saved and nobody told: a preview goes no further."""
    customer = account.find("customer", subscription["customer"])
    total = sum(line["amount"] for line in lines)
    identifier, now = new_id("in"), account.now()
    for line in lines:
        line["invoice"] = identifier
    invoice: Object = {
        "id": identifier,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "amount_due": max(0, total),
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": max(0, total),
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": dict(_AUTOMATIC_TAX),
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": now,
        "currency": subscription["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": subscription["description"],
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": envelope(lines, f"/v1/invoices/{identifier}/lines"),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": period[1],
        "period_start": period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": customer["balance"],
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": None,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }
    if proration_date is not None:
        details = invoice["parent"]["subscription_details"]
        details["subscription_proration_date"] = proration_date
    return invoice


def wait_as_draft(account: Account, invoice: Object) -> None:
    """Finalise by itself an hour from now."""
    at = account.now() + DRAFT_SECONDS
    invoice |= {"automatically_finalizes_at": at, "next_payment_attempt": at}
    account.agenda.set("finalize", invoice["id"], at)


def finalize(account: Account, invoice: Object) -> Object:
    """Number the draft, settle it with the customer's balance, make its PaymentIntent."""
    if invoice["status"] != "draft":
        raise invalid(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    account.agenda.clear("finalize", invoice["id"])
    customer = account.find("customer", invoice["customer"])
    now, number = account.now(), customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    # A negative balance is credit; what an invoice gives back becomes credit for the next ones.
    credit = -min(0, customer["balance"])
    used = min(credit, max(0, invoice["total"]))
    customer["balance"] += used + min(0, invoice["total"])
    customer["currency"] = customer["currency"] or invoice["currency"]
    account.save(customer)
    due = max(0, invoice["total"] - used)
    page = account.url(f"/hosted/invoices/{invoice['id']}")
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "automatically_finalizes_at": None,
        "next_payment_attempt": None,
        "effective_at": now,
        "ending_balance": customer["balance"],
        "hosted_invoice_url": page,
        "invoice_pdf": f"{page}/pdf",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "status": "open",
        "webhooks_delivered_at": invoice["created"],
    }
    invoice["status_transitions"]["finalized_at"] = now
    account.save(invoice)
    if due > 0:
        _ask_for_payment(account, invoice)
    account.emit("invoice.finalized", invoice)
    if due == 0:
        mark_paid(account, invoice)
    return invoice


def _ask_for_payment(account: Account, invoice: Object) -> None:
    reason = str(invoice["billing_reason"]).replace("_", " ")
    intent = payments.new_intent(
        account,
        invoice["amount_due"],
        invoice["currency"],
        customer=invoice["customer"],
        description=reason.capitalize(),
        setup_future_usage="off_session",
    )
    account.note(intent["id"], invoice=invoice["id"])
    account.created(intent)
    account.save(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": account.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def payment_of(account: Account, invoice: Object) -> Object | None:
    """The invoice_payment that is open or was paid."""
    for payment in account.all("invoice_payment", invoice=invoice["id"]):
        if payment["status"] != "canceled":
            return payment
    return None


def intent_of(account: Account, invoice: Object) -> Object | None:
    payment = payment_of(account, invoice)
    if payment is None:
        return None
    return account.find("payment_intent", payment["payment"]["payment_intent"])


def mark_paid(account: Account, invoice: Object) -> None:
    now = account.now()
    invoice |= {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = now
    account.agenda.clear("retry", invoice["id"])
    account.save(invoice)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    payment = payment_of(account, invoice)
    if payment is not None:
        payment |= {"amount_paid": invoice["amount_paid"], "status": "paid"}
        payment["status_transitions"]["paid_at"] = now
        account.save(payment)
        account.emit("invoice_payment.paid", payment)


def void(account: Account, invoice: Object) -> Object:
    """Raises StripeError 400 unless the invoice is open or uncollectible."""
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(
            f"You can only pass in open or uncollectible invoices; this one is"
            f" {invoice['status']}.",
            code="invoice_not_editable",
        )
    stop_collecting(account, invoice)
    _cancel_payment(account, invoice)
    invoice["status"] = "void"
    invoice["status_transitions"]["voided_at"] = account.now()
    account.save(invoice)
    account.emit("invoice.voided", invoice)
    return invoice


def _cancel_payment(account: Account, invoice: Object) -> None:
    payment, intent = payment_of(account, invoice), intent_of(account, invoice)
    if payment is None or intent is None:
        return
    payments.cancel(account, intent, "void_invoice")
    payment["status"] = "canceled"
    payment["status_transitions"]["canceled_at"] = account.now()
    account.save(payment)


def mark_uncollectible(account: Account, invoice: Object) -> Object:
    if invoice["status"] != "open":
        raise invalid("You can only mark open invoices as uncollectible.")
    stop_collecting(account, invoice)
    invoice["status"] = "uncollectible"
    invoice["status_transitions"]["marked_uncollectible_at"] = account.now()
    account.save(invoice)
    account.emit("invoice.marked_uncollectible", invoice)
    return invoice


def stop_collecting(account: Account, invoice: Object) -> None:
    """Nothing happens to it by itself any more."""
    account.agenda.clear("finalize", invoice["id"])
    account.agenda.clear("retry", invoice["id"])
    before = snapshot(invoice)
    invoice |= {"auto_advance": False, "next_payment_attempt": None}
    invoice["automatically_finalizes_at"] = None
    account.updated(invoice, before)


def of_subscription(account: Account, subscription: str) -> list[Object]:
    """Oldest first."""
    return [
        one
        for one in account.all("invoice")
        if one["parent"]["subscription_details"]["subscription"] == subscription
    ]


def copy_lines(lines: list[Object]) -> list[Object]:
    return copy.deepcopy(lines)
