"""Finding names, pricing them, and the moment at which a purchase begins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import errors
from app.database.models import (
    AuditLog,
    Domain,
    DomainPurchase,
    DomainStatus,
    OutboxEvent,
    PurchaseState,
    SubscriptionStatus,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.domain_service import DomainService
from app.services.registrar_service import RegistrarService
from tests.fakes import FakeWorld, away

NAME = "acme-mail.com"
Quote = Callable[..., UUID]


def request(db: Session, purchase_id: UUID) -> Domain:
    purchase = db.get_one(DomainPurchase, purchase_id)
    return DomainService.request_purchase(db.get_one(Tenant, purchase.tenant_id), purchase, db)


def order(purchase_id: UUID) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        return request(db, purchase_id).id


def intent_of(purchase_id: UUID) -> str:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(DomainPurchase, purchase_id).stripe_payment_intent_id or ""


def change_tenant(purchase_id: UUID, **fields: object) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, db.get_one(DomainPurchase, purchase_id).tenant_id)
        for name, value in fields.items():
            setattr(tenant, name, value)


def assert_nothing_was_kept(purchase_id: UUID) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        purchase = db.get_one(DomainPurchase, purchase_id)
        assert purchase.domain_id is None
        assert purchase.state == PurchaseState.QUOTED
        assert db.scalar(select(func.count()).select_from(OutboxEvent)) == 0


# Searching --------------------------------------------------------------------------------------


def test_a_word_is_searched_below_the_usual_endings(outside: FakeWorld) -> None:
    found = DomainService.search_domain_availability("Acme Mail")
    assert [listing.domain_name for listing in found] == [
        "acme-mail.com",
        "acme-mail.net",
        "acme-mail.org",
        "acme-mail.io",
        "acme-mail.co",
    ]
    # 11.48 with a fifth on top and fifty cents; the renewal 15.18 alike.
    assert {(f.price_cents, f.renewal_cents, f.currency, f.years) for f in found} == {
        (1428, 1872, "usd", 1)
    }
    assert all(listing.available and not listing.suggested for listing in found)
    assert outside.accidents.calls["offers"] == 1


def test_a_taken_name_brings_others_that_are_free(outside: FakeWorld) -> None:
    outside.registrar.others |= {"acme.com", "getacme.com"}
    found = DomainService.search_domain_availability("acme.com", ["com", "net"])
    assert [(f.domain_name, f.available) for f in found[:2]] == [
        ("acme.com", False),
        ("acme.net", True),
    ]
    others = found[2:]
    assert len(others) >= 5
    assert all(listing.suggested and listing.available for listing in others)
    assert "getacme.com" not in {listing.domain_name for listing in others}


def test_a_premium_name_is_sold_to_whoever_confirms_its_price(outside: FakeWorld) -> None:
    outside.registrar.premium.add(NAME)
    (listing,) = DomainService.search_domain_availability(NAME, ["com"])[:1]
    assert (listing.premium, listing.available) == (True, False)
    assert listing.reason == "it is a premium name"
    with pytest.raises(errors.PremiumNotConfirmed) as refused:
        RegistrarService.quote(NAME)
    quote = RegistrarService.quote(NAME, premium_confirmed=True)
    assert quote.premium
    assert refused.value.details["price_cents"] == quote.price_cents
    with pytest.raises(errors.Invalid, match="one year"):
        RegistrarService.quote(NAME, 2, premium_confirmed=True)


@pytest.mark.parametrize(
    ("query", "tlds", "says"),
    [
        ("", None, "letters, digits"),
        ("paypa1", None, "paypal"),
        ("acme", ["c_m"], "letters only"),
        ("acme", ["com"] * 21, "at most 20"),
    ],
)
def test_searches_that_lead_nowhere_ask_nobody(
    outside: FakeWorld, query: str, tlds: list[str] | None, says: str
) -> None:
    with pytest.raises(errors.Invalid, match=says):
        DomainService.search_domain_availability(query, tlds)
    assert not outside.accidents.calls


def test_a_search_without_a_registrar_says_so(outside: FakeWorld) -> None:
    outside.accidents.plan("offers", away())
    with pytest.raises(errors.ProviderUnavailable):
        DomainService.search_domain_availability("acme")


# Pricing ----------------------------------------------------------------------------------------


def test_a_quote_is_for_all_its_years(outside: FakeWorld) -> None:
    quote = RegistrarService.quote("ACME-mail.com", 2)
    assert (quote.domain_name, quote.cost_cents, quote.price_cents) == (NAME, 2296, 2806)


@pytest.mark.parametrize(
    ("price", "currency", "says"),
    [
        (50_001, "usd", "too dear"),  # Above what we buy without asking a person.
        (0, "usd", "no price"),  # A registrar's mistake is no gift.
        (1_000, "eur", "EUR"),
    ],
)
def test_prices_that_are_not_believed(
    outside: FakeWorld, price: int, currency: str, says: str
) -> None:
    outside.registrar.prices[NAME], outside.registrar.currency = price, currency
    with pytest.raises(errors.Invalid, match=says):
        RegistrarService.quote(NAME)


@pytest.mark.parametrize("years", [0, -1, 11])
def test_years_have_limits(outside: FakeWorld, years: int) -> None:
    with pytest.raises(errors.Invalid, match="years"):
        RegistrarService.quote(NAME, years)


def test_a_taken_name_has_no_price(outside: FakeWorld) -> None:
    outside.registrar.others.add(NAME)
    with pytest.raises(errors.DomainTaken, match=NAME):
        RegistrarService.quote(NAME)


# Beginning to buy -------------------------------------------------------------------------------


def test_a_purchase_makes_the_name_and_starts_the_chain(outside: FakeWorld, quote: Quote) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, domain_id)
        purchase = db.get_one(DomainPurchase, purchase_id)
        assert domain.status == DomainStatus.REGISTERING
        assert purchase.domain_id == domain_id
        assert purchase.state == PurchaseState.AUTHORISED
        assert db.get_one(Tenant, domain.tenant_id).domains_count == 1
        events = db.scalars(select(OutboxEvent)).all()
        assert [(e.event, e.payload["purchase_id"]) for e in events] == [
            ("DomainPurchaseAuthorised", str(purchase_id))
        ]
        audit = db.scalars(select(AuditLog).where(AuditLog.resource_id == domain_id)).one()
        assert audit.action == "domain_purchase_requested"
    # Nothing has been bought or captured by the request itself.
    asked = {"offers", "create_payment_intent", "get_payment_intent"}
    assert outside.accidents.calls.keys() == asked


def test_a_repeat_gives_the_same_name(outside: FakeWorld, quote: Quote) -> None:
    purchase_id = quote()
    assert order(purchase_id) == order(purchase_id)
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalar(select(func.count()).select_from(OutboxEvent)) == 1


def test_browser_and_event_at_once(outside: FakeWorld, quote: Quote) -> None:
    purchase_id = quote()
    got: list[UUID] = []
    barrier = threading.Barrier(6)

    def go() -> None:
        barrier.wait(10)
        got.append(order(purchase_id))

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 6
    assert len(set(got)) == 1
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalar(select(func.count()).select_from(OutboxEvent)) == 1
        assert db.get_one(Tenant, db.get_one(Domain, got[0]).tenant_id).domains_count == 1


@pytest.mark.parametrize(
    "status",
    ["requires_payment_method", "requires_confirmation", "requires_action", "processing",
     "canceled", "succeeded"],
)  # fmt: skip
def test_only_a_held_payment_counts(outside: FakeWorld, quote: Quote, status: str) -> None:
    purchase_id = quote()
    outside.payments.change(intent_of(purchase_id), status=status)
    with pytest.raises(errors.PaymentNotCompleted, match=status):
        order(purchase_id)
    assert_nothing_was_kept(purchase_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": 1},  # A cheaper intent,
        {"amount_capturable": 1427},  # or one that holds a cent less,
        {"currency": "jpy"},  # 1428 yen are not 14.28 dollars,
        {"customer": "cus_other"},  # somebody else's card,
        {"customer": None},
    ],
)
def test_the_payment_must_be_this_purchases(
    outside: FakeWorld, quote: Quote, fields: dict[str, object]
) -> None:
    purchase_id = quote()
    outside.payments.change(intent_of(purchase_id), **fields)
    with pytest.raises(errors.Conflict, match="does not belong"):
        order(purchase_id)
    assert_nothing_was_kept(purchase_id)


def test_an_offer_runs_out(outside: FakeWorld, quote: Quote, travel: Callable[..., None]) -> None:
    purchase_id = quote()
    travel(minutes=14, seconds=50)
    order(purchase_id)
    late = quote("other-mail.com")
    travel(minutes=15)
    with pytest.raises(errors.QuoteExpired):
        order(late)


def test_the_plans_room_is_kept(outside: FakeWorld, quote: Quote) -> None:
    purchase_id = quote()
    change_tenant(purchase_id, domains_count=10)
    with pytest.raises(errors.DomainLimitExceeded) as denied:
        order(purchase_id)
    assert denied.value.details == {"limit": 10, "used": 10, "requested": 1}
    assert denied.value.message == "Domain limit (10) reached. Upgrade to add more domains."
    assert_nothing_was_kept(purchase_id)


def test_parallel_purchases_cannot_pass_the_limit(outside: FakeWorld, quote: Quote) -> None:
    first = quote("n0-mail.com")
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = db.get_one(DomainPurchase, first).tenant_id
    purchases = [first, *(quote(f"n{i}-mail.com", tenant_id=tenant_id) for i in range(1, 8))]
    change_tenant(first, domains_count=7)
    outcomes: list[str] = []

    def go(purchase_id: UUID) -> None:
        try:
            order(purchase_id)
            outcomes.append("bought")
        except errors.DomainLimitExceeded:
            outcomes.append("denied")

    threads = [threading.Thread(target=go, args=(p,)) for p in purchases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["bought"] * 3 + ["denied"] * 5
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Tenant, tenant_id).domains_count == 10


def test_two_tenants_want_one_name(outside: FakeWorld, quote: Quote) -> None:
    purchases = [quote(NAME) for _ in range(5)]
    outcomes: list[str] = []

    def go(purchase_id: UUID) -> None:
        try:
            order(purchase_id)
            outcomes.append("bought")
        except errors.DomainTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=go, args=(p,)) for p in purchases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["bought"] + ["taken"] * 4
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalar(select(func.sum(Tenant.domains_count))) == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"is_suspended": True}, errors.TenantSuspended),
        ({"subscription_status": SubscriptionStatus.TRIAL_EXPIRED}, errors.TrialExpired),
        ({"subscription_status": SubscriptionStatus.CANCELED}, errors.PaymentRequired),
    ],
)
def test_who_may_not_act_may_not_buy(
    outside: FakeWorld, quote: Quote, fields: dict[str, object], error: type[Exception]
) -> None:
    purchase_id = quote()
    change_tenant(purchase_id, **fields)
    with pytest.raises(error):
        order(purchase_id)
    assert_nothing_was_kept(purchase_id)


def test_a_released_purchase_cannot_be_revived(outside: FakeWorld, quote: Quote) -> None:
    from app.services.billing_service import BillingService

    purchase_id = quote()
    with transaction(tenant=ALL_TENANTS) as db:
        BillingService.release_purchase(purchase_id, db)
    with pytest.raises(errors.PaymentNotCompleted, match="canceled"):
        order(purchase_id)


def test_a_slow_payment_provider_holds_nobody_up(outside: FakeWorld, quote: Quote) -> None:
    """While it is asked, the tenant's other requests go on: nothing is locked."""
    purchase_id = quote()
    touched: list[int] = []

    def meanwhile() -> None:
        change_tenant(purchase_id, company_name="Renamed")
        touched.append(1)

    outside.accidents.plan("get_payment_intent", then=meanwhile)
    order(purchase_id)
    assert touched == [1]


# Looking at the DNS -----------------------------------------------------------------------------


def test_the_report_and_the_zone_file(
    outside: FakeWorld, quote: Quote, settle: Callable[..., list[str]]
) -> None:
    domain_id = order(quote())
    with transaction(tenant=ALL_TENANTS) as db:
        assert DomainService.dns_report(db.get_one(Domain, domain_id)) == ()
    settle(hours=1)
    outside.resolver.hidden.add(("TXT", NAME))
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, domain_id)
        report = DomainService.dns_report(domain)
        assert [v.record.purpose for v in report if not v.ok] == ["spf"]
        text = DomainService.zone_file(domain)
    assert text.startswith(f"$ORIGIN {NAME}.\n")
    assert '"v=spf1 include:_spf.mta.inboxgrove.test -all"' in text


def test_configure_dns_takes_one_step_at_a_time(outside: FakeWorld, quote: Quote) -> None:
    """The named entry point does what is next, whatever that is, and then nothing more."""
    from app.services import domain_registration

    purchase_id = quote()
    domain_id = order(purchase_id)
    with transaction(tenant=ALL_TENANTS) as db:
        domain_registration.submit(purchase_id, db)
    with transaction(tenant=ALL_TENANTS) as db:
        DomainService.purchase_domain(domain_id, db)
    made = []
    for _ in range(4):
        before = outside.accidents.calls.copy()
        with transaction(tenant=ALL_TENANTS) as db:
            DomainService.configure_dns(domain_id, db)
        made.append(sorted((outside.accidents.calls - before).keys()))
    assert made == [["ensure_zone"], ["apply"], ["set_nameservers"], []]
    with transaction(tenant=ALL_TENANTS) as db:
        assert DomainService.verify_dns(domain_id, db) is None
    with transaction(tenant=ALL_TENANTS) as db:
        DomainService.authorize_in_kumo(domain_id, db)
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Domain, domain_id).status == DomainStatus.ACTIVE
