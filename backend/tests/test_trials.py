"""One trial for each company, each mailbox and each card; whoever had theirs may pay at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.database.models import AuditLog, Tenant, TrialClaim
from app.database.session import ALL_TENANTS, transaction
from app.services.trial_service import TrialService
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running
from tests.people import bearer, forgive, outcome, sign_up

Make = Callable[..., Any]


def tenant_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    tenant: dict[str, Any] = answer.json()["data"]["tenant"]
    return tenant


@pytest.mark.parametrize(
    "email",
    ["ann@mailinator.com", "Ann@Any.Host.Mailinator.com", "ann+tag@yopmail.com"],
)
def test_throw_away_addresses_are_refused(api: httpx.Client, email: str) -> None:
    answer = sign_up(api, email)
    assert outcome(answer) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"]["fields"][0]["field"] == "email"
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(Tenant)).all() == []


def test_a_company_has_one_trial(api: httpx.Client) -> None:
    first = tenant_of(sign_up(api, "ann@acme.example"))
    assert (first["subscription_status"], first["trial_refused_for"]) == ("trialing", None)
    answer = sign_up(api, "bob@sales.acme.example")
    second = tenant_of(answer)
    assert second["subscription_status"] == "trial_expired"
    assert second["trial_refused_for"] == "company_domain"
    assert second["trial_ends_at"] < first["trial_ends_at"]
    data = answer.json()["data"]
    assert data["setup_intent"]["client_secret"], "a card can be added at once"
    headers = bearer(data["access_token"])
    me = api.get("/api/v1/auth/me", headers=headers).json()["data"]
    assert (me["tenant"]["trial_refused_for"], me["trial_days_remaining"]) == ("company_domain", 0)
    offer = api.post(
        "/api/v1/billing/domain-purchase-intent",
        json={"domain_name": "acme-mail.com"},
        headers=headers,
    )
    assert outcome(offer) == (402, "TRIAL_EXPIRED")
    assert offer.json()["details"]["trial_refused_for"] == "company_domain"
    assert tenant_of(sign_up(api, "cat@other.example"))["subscription_status"] == "trialing"
    with transaction(tenant=ALL_TENANTS) as db:
        (entry,) = db.scalars(select(AuditLog).where(AuditLog.action == "trial_refused"))
        assert str(entry.tenant_id) == second["id"]
        assert set(db.scalars(select(Tenant.company_domain))) == {"acme.example", "other.example"}


def test_at_a_provider_of_free_mail_each_mailbox_has_one_trial(api: httpx.Client) -> None:
    assert tenant_of(sign_up(api, "ann.bell@gmail.com"))["trial_refused_for"] is None
    for variant in ("annbell@gmail.com", "a.nnbell+2@googlemail.com"):
        assert tenant_of(sign_up(api, variant))["trial_refused_for"] == "mailbox"
    assert tenant_of(sign_up(api, "bob@gmail.com"))["subscription_status"] == "trialing"


def test_one_of_twenty_parallel_sign_ups_of_one_company_has_the_trial(api: httpx.Client) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: sign_up(api, f"person{n}@acme.example"), range(20)))
    made = [tenant_of(answer) for answer in answers if answer.status_code != 503]
    assert len(made) >= 10
    statuses = [tenant["subscription_status"] for tenant in made]
    assert statuses.count("trialing") == 1
    assert statuses.count("trial_expired") == len(made) - 1
    with transaction(tenant=ALL_TENANTS) as db:
        (claim,) = db.scalars(select(TrialClaim))
        assert str(claim.tenant_id) == made[statuses.index("trialing")]["id"]


def test_a_sign_up_that_failed_leaves_the_trial_to_the_next(
    api: httpx.Client, world: Running
) -> None:
    world.fault("stripe", "setup_intents", "fail_before", times=9, status=500)
    assert sign_up(api, "ann@acme.example").status_code == 503
    httpx.delete(f"{world.sandbox_url}/control/faults", timeout=10)
    assert tenant_of(sign_up(api, "bob@acme.example"))["trial_refused_for"] is None


def test_sign_ups_of_one_address_are_counted(api: httpx.Client) -> None:
    statuses = [sign_up(api, f"ann@company-{n}.example").status_code for n in range(22)]
    assert statuses == [201] * 20 + [429] * 2
    forgive()
    # Asking after addresses counts like signing up.
    statuses = [sign_up(api, "ann@company-1.example").status_code for _ in range(21)]
    assert statuses == [409] * 20 + [429]


# Cards ------------------------------------------------------------------------------------------


def test_a_card_has_one_trial(signed_in: Customer, other: Customer) -> None:
    signed_in.add_card()
    signed_in.settle(
        lambda: signed_in.get("/billing/subscription")["status"] == "trialing", why="on trial"
    )
    other.add_card()
    tenant = other.get("/auth/me")["tenant"]
    assert tenant["subscription_status"] == "trial_expired"
    assert tenant["trial_refused_for"] == "card"
    # The first one's trial goes on, and a second card of its own does it no harm.
    assert signed_in.get("/auth/me")["tenant"]["trial_refused_for"] is None
    # Nothing was bought for the second one, and nothing is charged before a plan is chosen.
    with transaction(tenant=ALL_TENANTS) as db:
        rows = {str(row.id): row.stripe_subscription_id for row in db.scalars(select(Tenant))}
    assert rows[signed_in.tenant_id]
    assert rows[other.tenant_id] is None
    assert other.get("/billing/transactions") == []
    assert other.get("/billing/payment-methods")[0]["is_default"]


@pytest.mark.parametrize("plan", ["starter", "growth"])
def test_whoever_had_a_trial_pays_at_once(signed_in: Customer, other: Customer, plan: str) -> None:
    signed_in.add_card()
    early = other.try_post("/billing/upgrade", plan=plan)
    assert outcome(early) == (402, "PAYMENT_REQUIRED")
    other.add_card()
    bought = other.post("/billing/upgrade", key=f"buy-{plan}", plan=plan)
    assert (bought["status"], bought["plan"]) == ("active", plan)
    other.settle(
        lambda: any(
            row["transaction_type"] == "charge" for row in other.get("/billing/transactions")
        ),
        why="the plan is paid for",
    )
    other.settle(lambda: other.get("/auth/me")["tenant"]["trial_converted"], why="it pays")
    assert other.get("/auth/me")["tenant"]["subscription_status"] == "active"
    assert other.offer()["purchase_id"]


def test_two_upgrades_at_once_buy_one_subscription(signed_in: Customer, other: Customer) -> None:
    signed_in.add_card()
    other.add_card()
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda key: other.try_post("/billing/upgrade", key=key, plan="starter"), "ab")
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    other.settle(lambda: other.get("/billing/invoices"), why="an invoice arrives")
    other.drain(due_too=True)
    assert len(other.get("/billing/invoices")) == 1


def test_a_declined_card_buys_nothing(signed_in: Customer, other: Customer) -> None:
    signed_in.add_card("pm_card_chargeCustomerFail")
    other.add_card("pm_card_chargeCustomerFail")
    answer = other.try_post("/billing/upgrade", plan="starter")
    assert outcome(answer) == (402, "PAYMENT_REQUIRED")
    # Whatever Stripe tells about the attempt changes nothing; another card is as good as ever.
    other.drain(due_too=True)
    tenant = other.get("/auth/me")["tenant"]
    assert (tenant["subscription_status"], tenant["is_suspended"]) == ("trial_expired", False)
    better = other.post("/billing/setup-intent")
    assert other.confirm("setup_intent", better, "pm_card_mastercard").is_success
    other.settle(lambda: len(other.get("/billing/payment-methods")) == 2, why="both are on file")
    assert other.post("/billing/upgrade", plan="starter")["status"] == "active"


def test_one_of_twenty_parallel_claims_of_a_card_wins(make_tenant: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        ids = [make_tenant(db, plan=None).id for _ in range(20)]

    def claim(tenant_id: Any) -> bool:
        with transaction(tenant=ALL_TENANTS) as db:
            return TrialService.claim_for_card(db.get_one(Tenant, tenant_id), "fp_1", db)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(claim, ids)) == 1
    with transaction(tenant=ALL_TENANTS) as db:
        refused = select(Tenant.id).where(Tenant.trial_refused_for == "card")
        assert len(db.scalars(refused).all()) == 19


def test_a_claim_outlives_its_tenant_and_is_a_hash(make_tenant: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        first, second = make_tenant(db, plan=None), make_tenant(db, plan=None)
        assert TrialService.claim_for_card(first, "fp_1", db)
        assert TrialService.claim_for_card(first, "fp_1", db), "its own card, once more"
        assert TrialService.claim_for_card(first, None, db), "a card that Stripe cannot tell apart"
        (row,) = db.scalars(select(TrialClaim))
        assert len(row.value_hash) == 32
        assert b"fp_1" not in bytes(row.value_hash)
        row.tenant_id = None
        db.flush()
        assert not TrialService.claim_for_card(second, "fp_1", db)


def test_a_paying_tenant_loses_nothing_by_a_known_card(make_tenant: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        assert TrialService.claim_for_card(make_tenant(db, plan=None), "fp_1", db)
        paying = make_tenant(db, plan="growth")
        assert not TrialService.claim_for_card(paying, "fp_1", db)
        assert (str(paying.subscription_status), paying.trial_refused_for) == ("active", None)
