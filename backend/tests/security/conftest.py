"""Tenants of the walks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

# This is read before there is a database, and whatever imports the product binds itself to one.
if TYPE_CHECKING:
    from tests.security.estate import Estate


@pytest.fixture
def estate(world: Running, make_tenant: Callable[..., Any]) -> Estate:
    """Of a paying tenant that no provider knows of."""
    from app.database.session import ALL_TENANTS, transaction
    from tests.security.estate import Estate

    with transaction(tenant=ALL_TENANTS) as db:
        return Estate(str(make_tenant(db, plan="enterprise").id))


@pytest.fixture
def estates(world: Running, drain: Callable[..., list[str]]) -> Callable[[str], Estate]:
    """`estates("suspended")`: a tenant of its own, known to the payment provider.

    "paying", "suspended", "over" (its trial), or "strict" (it requires second factors).
    """
    from app import clock
    from app.database.models import Plan, SubscriptionStatus, SuspensionReason, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.services import kill_switch
    from tests.security.estate import Estate

    def make(state: str) -> Estate:
        owner = Customer(world, drain).sign_up()
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get_one(Tenant, UUID(owner.tenant_id))
            tenant.subscription_tier = Plan.ENTERPRISE
            tenant.subscription_status = SubscriptionStatus.ACTIVE
            tenant.trial_converted = True
            if state == "suspended":
                kill_switch.turn_on(tenant, SuspensionReason.SPAM_COMPLAINT, db)
            elif state == "over":
                tenant.subscription_status = SubscriptionStatus.TRIALING
                tenant.trial_ends_at = clock.now() - timedelta(days=1)
            elif state == "strict":
                tenant.requires_two_factor = True
        return Estate(owner.tenant_id)

    return make
