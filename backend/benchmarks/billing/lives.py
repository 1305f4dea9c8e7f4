"""Ten lives of tenants, lived through the product once and recorded with every event of Stripe.

`python -m benchmarks.billing.lives` records them anew into tests/journeys/lives.json.gz.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.billing.stage import newcomer, stage
from tests.fixtures.customer import Customer

RECORDING = Path(__file__).parents[2] / "tests/journeys/lives.json.gz"
Life = dict[str, Any]


def main() -> None:
    with stage() as world:
        lives = []
        for name, live in LIVES.items():
            somebody = newcomer(world)
            live(somebody)
            lives.append(recorded(name, somebody))
            print(f"{name}: {len(lives[-1]['events'])} events")
    with gzip.GzipFile(RECORDING, "wb", mtime=0) as file:
        file.write(json.dumps(lives, sort_keys=True).encode())
    print(f"{RECORDING.name}: {RECORDING.stat().st_size:,} bytes")


def read() -> list[Life]:
    with gzip.open(RECORDING) as file:
        found: list[Life] = json.loads(file.read())
    return found


def recorded(name: str, customer: Customer) -> Life:
    """Who lived, what they had been offered, what Stripe told, and the books at the end."""
    from sqlalchemy import select

    from app.database.models import DomainPurchase, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.services import ledger
    from tests.fixtures.money import quiet, stripe_control

    quiet(customer)
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        mine = select(DomainPurchase).where(DomainPurchase.tenant_id == tenant.id)
        offers = [
            {
                **{column: getattr(row, column) for column in OFFER},
                "id": str(row.id),
                "expires_at": row.expires_at.timestamp(),
            }
            for row in db.scalars(mine.order_by(DomainPurchase.id))
        ]
        movements = ledger.read(tenant.id, db)
        return {
            "name": name,
            "tenant": {
                "id": str(tenant.id),
                "stripe_customer_id": tenant.stripe_customer_id,
                "trial_ends_at": tenant.trial_ends_at.timestamp(),
            },
            "offers": offers,
            "events": _events(stripe_control(customer, "events")["events"], tenant),
            "movements": len(movements),
            "fingerprint": ledger.fingerprint(movements),
            "standing": [
                str(tenant.subscription_status),
                str(tenant.subscription_tier),
                tenant.trial_converted,
                tenant.suspension_reason,
            ],
        }


OFFER = (
    "domain_name",
    "years",
    "registrar",
    "cost_cents",
    "price_cents",
    "currency",
    "premium",
    "automatic_capture",
    "stripe_payment_intent_id",
)


def _events(events: list[dict[str, Any]], tenant: Any) -> list[dict[str, Any]]:
    """Those of one customer, in the order in which they happened."""
    customer = str(tenant.stripe_customer_id)
    mine: set[str] = {customer}
    found = []
    for event in events:
        body = event["data"]["object"]
        about = {body["id"], body.get("customer"), body.get("charge"), body.get("invoice")}
        before = (event["data"].get("previous_attributes") or {}).get("customer")
        if mine & {one for one in (*about, before) if isinstance(one, str)}:
            mine.add(body["id"])
            found.append(event)
    return found


# The lives ----------------------------------------------------------------------------------------


def _steps() -> Any:
    from tests.fixtures import money

    return money


def steady(customer: Customer) -> None:
    """Converts on day 8 and pays every month."""
    money = _steps()
    customer.add_card()
    money.later(customer, days=7, hours=2)
    for _ in range(3):
        money.renew(customer)


def late(customer: Customer) -> None:
    """Has no card when the trial ends, and adds one two weeks later."""
    money = _steps()
    money.later(customer, days=8)
    money.tick(customer)
    money.later(customer, days=14)
    another_card(customer, "pm_card_visa")
    money.renew(customer)


def dunned(customer: Customer) -> None:
    """Three refusals, a suspension, five clicks, another card, and peace."""
    money = _steps()
    customer.add_card()
    customer.upgrade("starter")
    money.quiet(customer)
    money.set_bank(customer, "generic_decline")
    money.renew(customer)
    money.later(customer, days=3, hours=1)
    (owed,) = [row for row in customer.get("/billing/invoices") if row["status"] == "open"]
    for click in range(5):
        customer.try_post(f"/billing/invoices/{owed['id']}/pay", key=f"click-{click}")
    money.later(customer, days=5, hours=1)
    another_card(customer, "pm_card_mastercard")
    money.renew(customer)


def hard(customer: Customer) -> None:
    """A lost card on day 8: three attempts, one charge; then another card."""
    money = _steps()
    customer.add_card("pm_card_chargeCustomerFailLostCard")
    money.later(customer, days=7, hours=2)
    money.later(customer, days=3, hours=1)
    money.later(customer, days=5, hours=1)
    another_card(customer, "pm_card_visa")


def climbing(customer: Customer) -> None:
    """Up in the middle of a month, up again, down at the end of the period."""
    money = _steps()
    customer.add_card()
    customer.upgrade("starter")
    money.later(customer, days=9)
    customer.upgrade("growth")
    money.later(customer, days=9)
    customer.upgrade("enterprise")
    money.quiet(customer)
    customer.upgrade("growth")
    money.renew(customer)
    money.renew(customer)


def returning(customer: Customer) -> None:
    """Cancels, undoes it, cancels for good, and comes back without a trial."""
    money = _steps()
    customer.add_card()
    customer.upgrade("growth")
    money.quiet(customer)
    customer.post("/billing/cancel", comment="too quiet")
    customer.post("/billing/resume")
    money.renew(customer)
    customer.post("/billing/cancel")
    money.renew(customer)
    customer.post("/billing/resume", key="back")
    money.renew(customer)


def shopping(customer: Customer) -> None:
    """Two names: one bought, one gone when we came; two declined tries; a partial refund."""
    money = _steps()
    customer.add_card()
    customer.upgrade("growth")
    bought = customer.buy_domain()
    for number in range(2):
        offer = customer.offer(f"declined{number}-{customer.tag}.com")
        customer.confirm("payment_intent", offer, "pm_card_chargeDeclined")
    offer = customer.offer(f"gone-{customer.tag}.com")
    customer.confirm("payment_intent", offer).raise_for_status()
    lost = customer.post("/domains/purchase", purchase_id=offer["purchase_id"])["domain"]["id"]

    def failed() -> bool:
        # Whether the registrar really has nothing of ours is looked into over hours.
        customer.world.advance(hours=0.3)
        customer.sign_in_again()
        return bool(customer.get(f"/domains/{lost}")["status"] == "failed")

    customer.settle(failed, why="the name is given up")
    money.quiet(customer)
    captured = next(
        one
        for one in at_stripe(customer, "charges")
        if one["captured"] and bought["domain_name"] in str(one["description"])
    )
    give_back(customer, captured["payment_intent"], 300)
    money.renew(customer)


def disputed(customer: Customer) -> None:
    """Disputes a payment, is frozen, loses nothing: we win, and life goes on."""
    money = _steps()
    customer.add_card()
    customer.upgrade("starter")
    money.renew(customer)
    (charge, *_) = at_stripe(customer, "charges")
    made = customer.world.control("stripe/disputes", charge=charge["id"])
    money.later(customer, days=5)
    customer.world.control("stripe/disputes", dispute=made["id"], status="won")
    money.renew(customer)


def suspicious(customer: Customer) -> None:
    """A fraud warning, a refund that arrives and one that comes back, a draft that is stuck."""
    money = _steps()
    customer.add_card()
    customer.upgrade("starter")
    money.renew(customer)
    newest, oldest = at_stripe(customer, "charges")
    customer.world.control("stripe/warnings", charge=newest["id"])
    customer.world.control("stripe/settings", refunds="pending")
    give_back(customer, newest["payment_intent"], None)
    give_back(customer, oldest["payment_intent"], 500)
    customer.world.control("stripe/settings", refunds="succeeded")
    for refund in at_stripe(customer, "refunds", charge=newest["id"]):
        customer.world.control("stripe/refunds", refund=refund["id"], status="succeeded")
    for refund in at_stripe(customer, "refunds", charge=oldest["id"]):
        customer.world.control(
            "stripe/refunds", refund=refund["id"], status="failed", reason="declined"
        )
    identity = money.customer_id(customer)
    customer.world.control(
        "stripe/invoices", customer=identity, finalization="customer_tax_location_invalid"
    )
    money.renew(customer)
    customer.world.control("stripe/invoices", customer=identity, finalization="ok")


def hosted(customer: Customer) -> None:
    """Everything on Stripe's own pages: checkout, portal, cards that come, change and go."""
    money = _steps()
    back = "https://shop.example/back"
    session = customer.post(
        "/billing/checkout-session", plan="growth", success_url=back, cancel_url=back
    )
    httpx.post(session["url"], data={"card": "pm_card_visa"}, timeout=20)
    money.later(customer, days=7, hours=2)
    page = customer.post("/billing/portal-session", return_url=back)["url"]
    for form in (
        {"action": "cancel"},
        {"action": "keep"},
        {"action": "card", "card": "pm_card_mastercard"},
    ):
        httpx.post(page, data=form, timeout=20)
        money.quiet(customer)
    for card in customer.get("/billing/payment-methods"):
        if not card["is_default"]:
            customer.ok(customer.http.delete(f"/billing/payment-methods/{card['id']}"))
    (left,) = at_stripe(customer, "payment_methods")
    customer.world.control("stripe/cards", payment_method=left["id"], renewed=True)
    money.renew(customer)


def another_card(customer: Customer, card: str) -> None:
    intent = customer.post("/billing/setup-intent")
    customer.confirm("setup_intent", intent, card).raise_for_status()
    _steps().quiet(customer)


def at_stripe(customer: Customer, kind: str, **query: str) -> list[dict[str, Any]]:
    """Of this customer, the newest first."""
    money = _steps()
    if kind != "refunds":
        query["customer"] = money.customer_id(customer)
    found: list[dict[str, Any]] = money.at_stripe(customer, kind, **query)["data"]
    return found


def give_back(customer: Customer, intent: str, cents: int | None) -> None:
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.services import refunds

    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        refunds.request(tenant, intent, db, cause="by agreement", cents=cents)
    _steps().quiet(customer)


LIVES: dict[str, Callable[[Customer], None]] = {
    live.__name__: live
    for live in (
        steady,
        late,
        dunned,
        hard,
        climbing,
        returning,
        shopping,
        disputed,
        suspicious,
        hosted,
    )
}

if __name__ == "__main__":
    main()
