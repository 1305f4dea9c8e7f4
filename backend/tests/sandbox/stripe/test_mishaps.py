"""What goes wrong by itself at Stripe: refunds that fail, drafts that stay, cards that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from sandbox.stripe.deliveries import SPOILT
from tests.sandbox.stripe.tools import SECRET, Receiver, Sandbox, until


def paid(sandbox: Sandbox, cents: int = 500) -> stripe.PaymentIntent:
    return sandbox.v1.payment_intents.create(
        {
            "amount": cents,
            "currency": "usd",
            "customer": sandbox.customer().id,
            "payment_method": "pm_card_visa",
            "confirm": True,
        }
    )


def charge_of(sandbox: Sandbox, intent: stripe.PaymentIntent) -> stripe.Charge:
    return sandbox.v1.charges.retrieve(str(intent.latest_charge))


def asked(sandbox: Sandbox, path: str) -> Any:
    return httpx.get(f"{sandbox.url}/control/stripe/{path}", timeout=10).json()


def test_a_refund_may_be_under_way_and_arrive_later(sandbox: Sandbox) -> None:
    sandbox.control("stripe/settings", refunds="pending")
    intent = paid(sandbox)
    refund = sandbox.v1.refunds.create({"payment_intent": intent.id})
    assert (refund.status, refund.pending_reason) == ("pending", "insufficient_funds")
    assert charge_of(sandbox, intent).refunded
    sandbox.control("stripe/refunds", refund=refund.id, status="succeeded")
    assert sandbox.v1.refunds.retrieve(refund.id).status == "succeeded"
    assert sandbox.types(object=refund.id) == ["refund.created", "refund.updated"]


def test_a_refund_that_failed_is_not_refunded(sandbox: Sandbox) -> None:
    intent = paid(sandbox)
    refund = sandbox.v1.refunds.create({"payment_intent": intent.id, "amount": 200})
    sandbox.control("stripe/refunds", refund=refund.id, status="failed", reason="declined")
    found = sandbox.v1.refunds.retrieve(refund.id)
    assert (found.status, found.failure_reason) == ("failed", "declined")
    charge = charge_of(sandbox, intent)
    assert (charge.refunded, charge.amount_refunded) == (False, 0)
    assert sandbox.types(object=refund.id) == ["refund.created", "refund.failed", "refund.updated"]
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.control("stripe/refunds", refund=refund.id, status="succeeded")


def test_an_issuer_warns_once_of_a_charge_that_took_money(sandbox: Sandbox) -> None:
    intent = paid(sandbox)
    warning = sandbox.control("stripe/warnings", charge=intent.latest_charge)
    assert warning["actionable"]
    (listed,) = sandbox.v1.radar.early_fraud_warnings.list({"charge": warning["charge"]}).data
    assert listed.id == warning["id"]
    assert sandbox.types(object=warning["id"]) == ["radar.early_fraud_warning.created"]
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.control("stripe/warnings", charge=intent.latest_charge)


def test_a_draft_that_cannot_be_finalised_charges_nothing_until_somebody_acts(
    sandbox: Sandbox,
) -> None:
    subscription = sandbox.subscribe()
    customer = str(subscription.customer)
    sandbox.control(
        "stripe/invoices", customer=customer, finalization="customer_tax_location_invalid"
    )
    sandbox.advance(days=32)
    draft = sandbox.v1.invoices.list({"customer": customer}).data[0]
    assert draft.status == "draft"
    assert draft.last_finalization_error is not None
    assert draft.last_finalization_error.code == "customer_tax_location_invalid"
    assert "invoice.finalization_failed" in sandbox.types(object=draft.id)
    assert len(sandbox.v1.charges.list({"customer": customer}).data) == 1
    sandbox.control("stripe/invoices", customer=customer, finalization="ok")
    assert sandbox.v1.invoices.retrieve(str(draft.id)).status == "paid"
    assert len(sandbox.v1.charges.list({"customer": customer}).data) == 2


def test_the_network_renews_a_card(sandbox: Sandbox) -> None:
    customer = sandbox.customer()
    (card,) = sandbox.v1.customers.payment_methods.list(customer.id).data
    assert card.card is not None
    sandbox.control("stripe/cards", payment_method=card.id, renewed=True)
    renewed = sandbox.v1.payment_methods.retrieve(card.id).card
    assert renewed is not None
    assert (renewed.exp_year, renewed.last4) == (card.card.exp_year + 3, "4243")
    (event,) = sandbox.events(type="payment_method.automatically_updated")
    assert event["data"]["previous_attributes"]["card"] == {
        "exp_year": card.card.exp_year,
        "last4": "4242",
    }


@pytest.mark.parametrize("how", sorted(SPOILT))
def test_a_spoilt_delivery_is_one_that_the_sdk_or_we_refuse(
    sandbox: Sandbox, receiver: Receiver, how: str
) -> None:
    customer = sandbox.v1.customers.create({})
    until(lambda: len(receiver.requests) == 1, "the good one")
    (event,) = sandbox.events(object=customer.id)
    sandbox.control("stripe/redeliver", event=event["id"], signature=how)
    until(lambda: len(receiver.requests) == 2, "the spoilt one")
    header, body = receiver.requests[1]
    if how == "future":
        # The SDK takes these; the receiver must look at the moment itself.
        sandbox.client.construct_event(body, header, SECRET)
        assert int(header.split(",")[0].removeprefix("t=")) > sandbox.now() + 3000
        return
    with pytest.raises(stripe.SignatureVerificationError):
        sandbox.client.construct_event(body, header, SECRET)


def test_every_request_is_counted_and_those_that_do_not_fit_are_kept(sandbox: Sandbox) -> None:
    sandbox.customer()
    wrong: Any = {"astrology": "virgo"}
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.customers.create(wrong)
    found = asked(sandbox, "requests")
    assert found["fitted"]["POST /v1/customers"] == 1
    (misfit,) = found["misfits"]
    assert (misfit["operation"], misfit["param"]) == ("POST /v1/customers", "astrology")


def test_the_agenda_names_the_next_moment(sandbox: Sandbox, start: Callable[..., Sandbox]) -> None:
    assert asked(sandbox, "agenda")["next"] is None
    subscription = sandbox.trial(days=7)
    assert asked(sandbox, "agenda")["next"] == subscription.trial_end - 3 * 86_400
