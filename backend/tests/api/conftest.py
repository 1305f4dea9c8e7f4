"""Customers that have signed up, and the rows that a test wants them to own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import SECRET, Running


@pytest.fixture
def signed_in(customer: Customer) -> Customer:
    """An owner on trial."""
    return customer.sign_up()


@pytest.fixture
def paying(signed_in: Customer) -> Customer:
    """An owner who pays for Growth."""
    from app.database.models import Plan, SubscriptionStatus, Tenant
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(signed_in.tenant_id))
        tenant.subscription_tier = Plan.GROWTH
        tenant.subscription_status = SubscriptionStatus.ACTIVE
    return signed_in


@pytest.fixture
def other(world: Running, drain: Callable[..., list[str]]) -> Customer:
    """Another tenant's owner."""
    return Customer(world, drain).sign_up()


@pytest.fixture
def own_domain(make_domain: Callable[..., Any]) -> Callable[..., str]:
    """`own_domain(customer)`: the id of a name of theirs that is ready for inboxes."""
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction

    def own(customer: Customer, **fields: Any) -> str:
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get_one(Tenant, UUID(customer.tenant_id))
            return str(make_domain(db, tenant, **fields).id)

    return own


@pytest.fixture
def node(world: Running) -> Iterator[httpx.Client]:
    """A relay node's HTTP client."""
    headers = {"Authorization": f"Bearer {SECRET}"}
    with httpx.Client(base_url=world.api_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def set_role() -> Callable[[Customer, str], None]:
    def change(customer: Customer, role: str) -> None:
        from app.database.models import Role, User
        from app.database.session import ALL_TENANTS, transaction

        with transaction(tenant=ALL_TENANTS) as db:
            db.query(User).filter(User.tenant_id == UUID(customer.tenant_id)).update(
                {"role": Role(role)}
            )

    return change
