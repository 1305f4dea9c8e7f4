"""Each invariant finds what is planted for it, and nothing in an orderly database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    AuditLog,
    DeliveryEvent,
    DomainPurchase,
    DomainStatus,
    OutboxEvent,
    ProviderEvent,
    PurchaseKind,
    PurchaseState,
    Transaction,
    TransactionType,
    new_id,
)
from app.database.queries import invariants

LONG_AGO = timedelta(hours=2)


def purchase(db: Session, tenant: Any, domain: Any, state: PurchaseState) -> DomainPurchase:
    row = DomainPurchase(
        id=new_id(), tenant_id=tenant.id, domain_name=domain.domain_name, years=1,
        registrar="namecheap", cost_cents=1148, price_cents=1428, state=state,
        expires_at=clock.now(), domain_id=domain.id,
    )  # fmt: skip
    db.add(row)
    db.flush()
    return row


def plant(name: str, db: Session, tenant: Any, domain: Any) -> None:
    now = clock.now()
    if name.startswith("I1_"):
        domain.purchase_date = now
        order = purchase(db, tenant, domain, PurchaseState.CAPTURED)
        for stripe_id in ("pi_1", "pi_2"):
            db.add(Transaction(
                tenant_id=tenant.id, transaction_type=TransactionType.CAPTURE,
                amount=Decimal("14.28"), currency="usd", status="succeeded",
                stripe_transaction_id=stripe_id, purchase_id=order.id,
            ))  # fmt: skip
    elif name.startswith("I3_"):
        purchase(db, tenant, domain, PurchaseState.CAPTURED)
    elif name.startswith("I4_"):
        domain.purchase_date = now - LONG_AGO
        purchase(db, tenant, domain, PurchaseState.AUTHORISED)
    elif name.startswith("I5_"):
        domain.status, domain.updated_at = DomainStatus.FAILED, now - LONG_AGO
        tenant.domains_count = 0
        purchase(db, tenant, domain, PurchaseState.AUTHORISED)
    elif name.startswith("I6_"):
        domain.status, domain.updated_at = DomainStatus.VERIFYING_DNS, now - LONG_AGO
    elif name.startswith("I7_"):
        db.add(OutboxEvent(event="TrialsDue", payload={}, created_at=now - LONG_AGO))
    elif name.startswith("I9_"):
        tenant.inboxes_count = 1
    elif name.startswith("I10_"):
        tenant.is_suspended, tenant.suspended_at = True, now - LONG_AGO
        db.add(DeliveryEvent(
            tenant_id=tenant.id, natural_key=b"k" * 32, event_type="Reception", occurred_at=now,
            message_id="m", recipient="a@b.test", recipient_domain="b.test", record={},
        ))  # fmt: skip
    elif name.startswith("I12_"):
        db.add(AuditLog(
            tenant_id=tenant.id, seq=1, previous_hash=bytes(32), hash=b"h" * 32, action="forged",
            resource_type="tenant", actor_type="system",
        ))  # fmt: skip
    elif name.startswith("I13_"):
        db.add(ProviderEvent(
            provider="stripe", provider_id="evt_1", event_type="x", occurred_at=now, payload={},
            created_at=now - LONG_AGO,
        ))  # fmt: skip


@pytest.mark.parametrize("number", ["I1", "I3", "I4", "I5", "I6", "I7", "I9", "I10", "I12", "I13"])
def test_a_planted_violation_is_found_by_its_check_alone(
    db: Session, make_tenant: Callable[..., Any], make_domain: Callable[..., Any], number: str
) -> None:
    tenant = make_tenant(db)
    domain = make_domain(db, tenant)
    for event in db.query(OutboxEvent):
        event.routed_at = clock.now()
    db.flush()
    assert not any(invariants.run(db).values())
    name = next(check for check in invariants.CHECKS if check.startswith(f"{number}_"))
    plant(name, db, tenant, domain)
    db.flush()
    assert {check for check, ids in invariants.run(db).items() if ids} == {name}


@pytest.mark.parametrize("state", [PurchaseState.CAPTURED, PurchaseState.AUTHORISED])
def test_a_year_that_was_paid_and_not_had_is_found(
    db: Session, make_tenant: Callable[..., Any], make_domain: Callable[..., Any], state: str
) -> None:
    tenant = make_tenant(db)
    domain = make_domain(db, tenant)
    for event in db.query(OutboxEvent):
        event.routed_at = clock.now()
    order = purchase(db, tenant, domain, PurchaseState(state))
    order.kind, order.renews_from = PurchaseKind.RENEWAL, clock.now()
    order.updated_at, domain.purchase_date = clock.now() - LONG_AGO, clock.now()
    db.flush()
    broken = {check: ids for check, ids in invariants.run(db).items() if ids}
    assert broken == {"I4_registered_means_captured": [str(order.id)]}
