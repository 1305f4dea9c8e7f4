"""Holds, captures and webhooks: each movement of money once, whatever comes in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import stripe
from sqlalchemy import select

from app import clock, errors
from app.database.models import (
    DomainPurchase,
    OutboxEvent,
    ProviderEvent,
    PurchaseState,
    Tenant,
    Transaction,
    TransactionType,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations.stripe_client import StripeGateway
from app.services import ledger
from app.services.billing_service import BillingService
from app.tasks.billing_tasks import release_stale_holds
from tests.fakes import FakeWorld

Quote = Callable[..., UUID]
SECRET = "whsec_of_the_test"


def in_transaction(work: Callable[..., Any], *args: Any) -> Any:
    with transaction(tenant=ALL_TENANTS) as db:
        return work(*args, db)


def state_of(purchase_id: UUID) -> PurchaseState:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(DomainPurchase, purchase_id).state


def movements() -> list[tuple[str, int]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(Transaction).order_by(Transaction.id)).all()
        return [(str(row.transaction_type), int(row.amount * 100)) for row in rows]


@pytest.fixture
def authorised(outside: FakeWorld, quote: Quote) -> UUID:
    """A purchase whose hold is placed and whose domain is on its way."""
    purchase_id = quote("acme-mail.com")
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(DomainPurchase, purchase_id).state = PurchaseState.AUTHORISED
    return purchase_id


# Quotes -----------------------------------------------------------------------------------------


def request(tenant_id: UUID, name: str, years: int = 1) -> tuple[DomainPurchase, Any]:
    with transaction(tenant=tenant_id) as db:
        tenant = db.get_one(Tenant, tenant_id)
        return BillingService.request_domain_purchase(tenant, name, years, db)


@pytest.fixture
def buyer(outside: FakeWorld, make_tenant: Callable[..., Any]) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        return UUID(str(make_tenant(db, plan="starter").id))


def test_a_quote_names_price_and_end(buyer: UUID, outside: FakeWorld) -> None:
    purchase, intent = request(buyer, "Acme-Mail.com")
    assert purchase.domain_name == "acme-mail.com"
    assert purchase.price_cents > purchase.cost_cents > 0
    assert purchase.expires_at > clock.now()
    assert (intent.amount, intent.status) == (purchase.price_cents, "requires_payment_method")
    # Nothing about the person goes to the provider.
    assert set(intent.metadata) == {
        *("tenant_id", "order_id", "domain"),
        *("kind", "years", "registrar"),
    }
    assert movements() == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("not a name", errors.Invalid),
        ("-acme.com", errors.Invalid),
        ("acme", errors.Invalid),
        ("paypa1.com", errors.Invalid),  # A look-alike of a brand.
    ],
)
def test_a_bad_name_is_never_quoted(
    buyer: UUID, outside: FakeWorld, name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        request(buyer, name)
    assert outside.payments.intents == {}


def test_beyond_the_plan_nothing_is_quoted(buyer: UUID, outside: FakeWorld) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Tenant, buyer).domains_count = 10
    with pytest.raises(errors.DomainLimitExceeded, match=r"Domain limit \(10\) reached"):
        request(buyer, "acme-mail.com")
    assert outside.payments.intents == {}


# Capture and release ----------------------------------------------------------------------------


def test_a_hold_is_captured_once(authorised: UUID, outside: FakeWorld) -> None:
    for _ in range(3):
        in_transaction(BillingService.charge_for_domain, authorised)
    assert state_of(authorised) == PurchaseState.CAPTURED
    assert list(outside.payments.captures.values()) == [1]
    assert [kind for kind, _ in movements()] == ["capture"]


def test_eight_workers_capture_once(authorised: UUID, outside: FakeWorld) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda _: in_transaction(BillingService.charge_for_domain, authorised), range(8)
            )
        )
    assert list(outside.payments.captures.values()) == [1]
    assert [kind for kind, _ in movements()] == ["capture"]


def test_an_answer_that_was_lost_is_looked_up(authorised: UUID, outside: FakeWorld) -> None:
    outside.accidents.plan("capture", errors.OutcomeUnknown(provider="Stripe"), after=True)
    with pytest.raises(errors.ProviderUnavailable):
        in_transaction(BillingService.charge_for_domain, authorised)
    assert state_of(authorised) == PurchaseState.AUTHORISED
    in_transaction(BillingService.charge_for_domain, authorised)
    assert state_of(authorised) == PurchaseState.CAPTURED
    assert list(outside.payments.captures.values()) == [1]


def test_a_hold_that_is_gone_is_a_loss_and_never_a_second_charge(
    authorised: UUID, outside: FakeWorld
) -> None:
    (intent_id,) = outside.payments.intents
    outside.payments.change(intent_id, status="canceled")
    in_transaction(BillingService.charge_for_domain, authorised)
    assert state_of(authorised) == PurchaseState.LOSS
    in_transaction(BillingService.charge_for_domain, authorised)
    assert outside.payments.captures == {}
    assert movements() == []


def test_a_release_is_written_once(authorised: UUID, outside: FakeWorld) -> None:
    for _ in range(3):
        in_transaction(BillingService.release_purchase, authorised)
    assert state_of(authorised) == PurchaseState.VOIDED
    assert [kind for kind, _ in movements()] == ["release"]
    assert [intent.status for intent in outside.payments.intents.values()] == ["canceled"]


def test_what_is_captured_is_not_released(authorised: UUID, outside: FakeWorld) -> None:
    in_transaction(BillingService.charge_for_domain, authorised)
    in_transaction(BillingService.release_purchase, authorised)
    assert state_of(authorised) == PurchaseState.CAPTURED


def test_quotes_that_nobody_took_up_are_cancelled(
    buyer: UUID,
    outside: FakeWorld,
    travel: Callable[..., None],
    drain: Callable[..., list[str]],
) -> None:
    old = [request(buyer, f"acme-{n}.com")[0].id for n in range(3)]
    travel(hours=2)
    fresh = request(buyer, "acme-fresh.com")[0].id
    in_transaction(release_stale_holds)
    assert drain().count("billing.release_quote") == 3
    assert [state_of(id_) for id_ in old] == [PurchaseState.VOIDED] * 3
    assert state_of(fresh) == PurchaseState.QUOTED
    assert movements() == []


def test_a_movement_is_written_once(buyer: UUID) -> None:
    def post(_: int) -> bool:
        with transaction(tenant=buyer) as db:
            return ledger.post(
                db, buyer, TransactionType.CHARGE, stripe_id="ch_1", cents=9_700, currency="usd"
            )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(post, range(8))) == 1
    assert movements() == [("charge", 9_700)]


# Webhooks ---------------------------------------------------------------------------------------


@pytest.fixture
def gateway(clean: None) -> StripeGateway:
    """The real reader of webhooks; it is never connected."""
    return StripeGateway(
        secret_key="sk_test_x",
        webhook_secret=SECRET,
        api_base="http://127.0.0.1:9",
        timeout_seconds=1,
    )


def event(event_id: str = "evt_1", kind: str = "charge.succeeded") -> bytes:
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": kind,
            "created": int(clock.now().timestamp()),
            "api_version": "2026-10-28.endive",
            "data": {"object": {"id": "ch_1", "object": "charge"}},
        }
    ).encode()


def signed(payload: bytes, *, secret: str = SECRET, offset: int = 0) -> str:
    at = int(clock.now().timestamp()) + offset
    header: str = stripe.WebhookSignature.generate_signature_header(
        payload.decode(), secret, timestamp=at
    )
    return header


def stored() -> tuple[int, int]:
    """Events kept, and outbox rows about them."""
    with transaction(tenant=ALL_TENANTS) as db:
        told = select(OutboxEvent).where(OutboxEvent.event == "ProviderEventReceived")
        return len(db.scalars(select(ProviderEvent)).all()), len(db.scalars(told).all())


def test_an_event_is_stored_once_however_often_it_comes(gateway: StripeGateway) -> None:
    payload = event()
    header = signed(payload)

    def deliver(_: int) -> UUID | None:
        return BillingService.handle_webhook(payload, header, payments=gateway)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, range(16)))
    assert len([answer for answer in answers if answer is not None]) == 1
    assert stored() == (1, 1)


@pytest.mark.parametrize(
    "header",
    [
        "",  # Nothing.
        "t=1,v1=00",  # Nonsense.
        "v1=00",  # No timestamp.
        pytest.param(lambda p: signed(p, secret="whsec_other"), id="another secret"),
        pytest.param(lambda p: signed(p, offset=-301), id="stale"),
        pytest.param(lambda p: signed(p, offset=301), id="from the future"),
        pytest.param(lambda p: signed(p + b" "), id="another body"),
        pytest.param(lambda p: signed(p).replace("v1=", "v0="), id="an old scheme only"),
    ],
)
def test_what_is_not_stripes_is_refused(
    gateway: StripeGateway, header: str | Callable[[bytes], str]
) -> None:
    payload = event()
    with pytest.raises(errors.Invalid):
        BillingService.handle_webhook(
            payload, header if isinstance(header, str) else header(payload), payments=gateway
        )
    assert stored() == (0, 0)


@pytest.mark.parametrize("offset", [-299, 299])
def test_clocks_may_differ_a_little(gateway: StripeGateway, offset: int) -> None:
    payload = event()
    header = signed(payload, offset=offset)
    assert BillingService.handle_webhook(payload, header, payments=gateway) is not None


def test_an_unknown_event_is_kept_and_changes_nothing(
    gateway: StripeGateway, outside: FakeWorld, drain: Callable[..., list[str]]
) -> None:
    payload = event(kind="balance.available")
    BillingService.handle_webhook(payload, signed(payload), payments=gateway)
    drain()
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(ProviderEvent)).one().handled_at is not None
    assert movements() == []
