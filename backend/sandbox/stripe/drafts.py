"""Invoices before they are numbered."""

from __future__ import annotations

import copy

from sandbox.stripe.account import Account, Object, new_id
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


def copy_lines(lines: list[Object]) -> list[Object]:
    return copy.deepcopy(lines)
