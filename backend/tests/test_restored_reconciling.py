"""What a comparison after a restore finds that only a person can settle; and that it may be run twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app import errors
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import restored_findings, restored_mode, restored_reconciling
from tests.fixtures.customer import Customer
from tests.fixtures.money import audit, customer_id, quiet


def compare(*customers: Customer) -> dict[str, Any]:
    """What the command does."""
    found = []
    for customer in customers:
        with transaction(tenant=ALL_TENANTS) as db:
            done = restored_reconciling.account(UUID(customer.tenant_id), db)
        if done is not None:
            found.append(done)
    with transaction(tenant=ALL_TENANTS) as db:
        return restored_findings.finish(found, db)


def pay(customer: Customer, domain: str) -> str:
    """A payment for a name, of which this database knows nothing."""
    metadata = {
        "tenant_id": customer.tenant_id,
        "order_id": str(uuid4()),
        "domain": domain,
        "kind": "registration",
        "years": "1",
        "registrar": "namecheap",
    }
    payments, id_ = ports.current().payments, customer_id(customer)
    intent = payments.create_payment_intent(
        customer=id_, amount=1_500, currency="usd", description="Domain", metadata=metadata,
        key=f"pi:{uuid4()}",
    )  # fmt: skip
    (card,) = payments.list_cards(id_)
    payments.charge_saved_card(
        intent.id, payment_method=card.payment_method, key=f"conf:{intent.id}"
    )
    payments.capture(intent.id, key=f"cap:{intent.id}")
    return intent.id


@pytest.fixture
def held(signed_in: Customer) -> Customer:
    signed_in.add_card()
    quiet(signed_in)
    with transaction(tenant=ALL_TENANTS) as db:
        restored_mode.hold(db, "A test.", None)
    return signed_in


def test_a_payment_for_a_name_that_nobody_has_is_for_a_person(held: Customer) -> None:
    name = f"gone-{held.tag}.com"
    intent = pay(held, domain=name)
    balance = ports.current().registrar.balance_cents()
    for _ in range(2):
        found = compare(held)
        (account,) = found["accounts"]
        assert account["names"] == []
        assert account["unexplained"] == [
            f"{name}: 15.00 USD, {intent}: the name is not in our account"
        ]
    assert ports.current().registrar.balance_cents() == balance
    # The books go on telling of it until it is given back.
    assert audit(held).unpaid_difference_cents == 1_500


def test_a_name_that_somebody_else_has_here_is_for_a_person(
    held: Customer, other: Customer
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        restored_mode.release(db, unseen=True)
    other.add_card()
    other.upgrade("starter")
    name = other.buy_domain()["domain_name"]
    with transaction(tenant=ALL_TENANTS) as db:
        restored_mode.hold(db, "A test.", None)
    intent = pay(held, domain=name)
    (account,) = [row for row in compare(held, other)["accounts"] if row["unexplained"]]
    assert account["tenant_id"] == held.tenant_id
    assert account["unexplained"][0].startswith(f"{name}: 15.00 USD, {intent}: ")


def test_nothing_is_compared_where_nothing_is_held(signed_in: Customer) -> None:
    signed_in.drain()
    with pytest.raises(errors.Conflict, match="Nothing is held"):
        compare(signed_in)
