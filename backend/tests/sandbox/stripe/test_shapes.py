"""Everything the part keeps looks as the SDK's own classes say."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import stripe

from tests.sandbox.stripe.shapes import complaints
from tests.sandbox.stripe.tools import Sandbox

KINDS = (
    "charge",
    "checkout.session",
    "billing_portal.session",
    "customer",
    "dispute",
    "event",
    "invoice",
    "invoice_payment",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "radar.early_fraud_warning",
    "refund",
    "setup_intent",
    "subscription",
    "webhook_endpoint",
)


@pytest.fixture
def lived(sandbox: Sandbox) -> Sandbox:
    """A little of everything happened."""
    sandbox.trial()
    paying = sandbox.subscribe()
    sandbox.subscribe("pm_card_authenticationRequired")
    declined = sandbox.trial("pm_card_chargeCustomerFail")
    sandbox.trial(None, trial_settings={"end_behavior": {"missing_payment_method": "pause"}})
    upgrade: Any = {
        "items": [
            {"id": declined["items"].data[0].id, "price": sandbox.price("growth")},
        ],
        "trial_end": "now",
        "payment_behavior": "pending_if_incomplete",
    }
    sandbox.v1.subscriptions.update(declined.id, upgrade)
    customer = str(paying.customer)
    for card in ("pm_card_visa", "pm_card_authenticationRequired", "pm_card_chargeDeclined"):
        setup = sandbox.v1.setup_intents.create({"customer": customer})
        hold = sandbox.v1.payment_intents.create(
            {"amount": 500, "currency": "usd", "customer": customer, "capture_method": "manual"}
        )
        for kind, intent in (("setup_intents", setup), ("payment_intents", hold)):
            sandbox.browser(
                f"{kind}/{intent.id}/confirm",
                client_secret=str(intent.client_secret),
                payment_method=card,
            )
    session: Any = {
        "mode": "subscription",
        "customer": customer,
        "line_items": [{"price": sandbox.price(), "quantity": 1}],
        "success_url": "http://shop.test/",
    }
    sandbox.v1.checkout.sessions.create(session)
    sandbox.v1.billing_portal.sessions.create({"customer": customer})
    sandbox.advance(days=10)
    charge = next(one for one in sandbox.v1.charges.list().data if one.captured)
    dispute = sandbox.control("stripe/disputes", charge=charge.id)
    sandbox.control("stripe/disputes", dispute=dispute["id"], status="lost")
    other = sandbox.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    warned = str(sandbox.v1.payment_intents.retrieve(other.id).latest_charge)
    sandbox.control("stripe/warnings", charge=warned)
    back = sandbox.v1.refunds.create({"payment_intent": other.id})
    sandbox.control("stripe/refunds", refund=back.id, status="failed", reason="declined")
    method = str(sandbox.v1.subscriptions.retrieve(paying.id).customer)
    (card, *_) = sandbox.v1.customers.payment_methods.list(method).data
    sandbox.control("stripe/cards", payment_method=card.id, renewed=True)
    sandbox.control("stripe/invoices", customer=customer, finalization="tax_id_invalid")
    sandbox.advance(days=31)
    return sandbox


def test_objects_have_the_shape_of_the_sdk(lived: Sandbox) -> None:
    found: list[str] = []
    for kind in KINDS:
        items = list(lived.world.store.collection(f"stripe.{kind}").values())
        assert items, kind
        for item in items:
            found += complaints(item)
    assert sorted(set(found)) == []


def test_events_are_events_of_the_sdk_and_carry_well_shaped_objects(lived: Sandbox) -> None:
    [known] = [
        get_args(hint) for name, hint in stripe.Event.__annotations__.items() if name == "type"
    ]
    for event in lived.events():
        assert event["type"] in known
        assert complaints(event["data"]["object"]) == [], event["type"]


def test_the_check_notices_what_is_wrong(lived: Sandbox) -> None:
    [price, *_] = lived.world.store.collection("stripe.price").values()
    assert complaints(price) == []
    assert complaints({**price, "astrology": 1}) == ["price.astrology is unknown"]
    assert complaints({**price, "type": "sometimes"}) != []
    [invoice, *_] = lived.world.store.collection("stripe.invoice").values()
    strange = {**invoice, "parent": {**invoice["parent"], "astrology": 1}}
    assert complaints(strange) == ["invoice.parent.astrology is unknown"]
    assert complaints({key: value for key, value in price.items() if key != "product"}) != []
