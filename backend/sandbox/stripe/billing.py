"""The life of an invoice after its draft: open, paid, void, uncollectible."""

from __future__ import annotations

from sandbox.stripe import payments
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid


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
        "last_finalization_error": None,
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


def refuse_to_finalize(account: Account, invoice: Object, code: str) -> None:
    """The draft cannot become an invoice, for want of a tax address for example.

    It stays a draft, nothing is charged, and somebody must act (docs.stripe.com/billing/invoices,
    "Finalization failures").
    """
    before = snapshot(invoice)
    invoice["last_finalization_error"] = {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": "The invoice cannot be finalized: " + code.replace("_", " ") + ".",
        "type": "invalid_request_error",
    }
    invoice |= {"auto_advance": False, "automatically_finalizes_at": None}
    account.updated(invoice, before)
    account.emit("invoice.finalization_failed", invoice)


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
