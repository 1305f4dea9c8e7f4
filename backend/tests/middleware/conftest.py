"""Somebody who has signed up."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.fixtures.customer import Customer


@pytest.fixture
def signed_in(customer: Customer) -> Customer:
    return customer.sign_up()


@pytest.fixture
def in_plan() -> Callable[[Customer, str], None]:
    def change(customer: Customer, plan: str) -> None:
        from app.database.models import Plan, Tenant
        from app.database.session import ALL_TENANTS, transaction

        with transaction(tenant=ALL_TENANTS) as db:
            db.get_one(Tenant, UUID(customer.tenant_id)).subscription_tier = Plan(plan)

    return change
