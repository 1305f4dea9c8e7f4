"""The Magic Button: exactly N inboxes, or none."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from app import errors
from app.database.models import (
    AuditLog,
    Domain,
    DomainStatus,
    Inbox,
    OutboxEvent,
    Provision,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations.ports import Platform
from app.services.inbox_batch import password_context
from app.services.provisioning_service import ProvisioningService
from app.services.subscription_service import SubscriptionService
from app.utils import security

Make = Callable[..., Any]
PEPPER = "pepper-of-the-test-that-is-long-enough"
PLATFORM = Platform("mta.x.test", "smtp.x.test", 587, 20, 50, 15, "http://x.test")


@pytest.fixture(autouse=True)
def secrets_are_set() -> None:
    security.configure(
        signing_keys=["k" * 40],
        encryption_keys=["ZGV2ZWxvcG1lbnQta2V5LWRvLW5vdC11c2UtaXQhISE="],
        inbox_pepper=PEPPER,
    )


@pytest.fixture
def ready(make_tenant: Make, make_domain: Make) -> tuple[UUID, UUID]:
    """A tenant on Starter with one active domain."""
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db, plan="starter")
        return tenant.id, make_domain(db, tenant).id


def provision(ids: tuple[UUID, UUID], count: int = 50, **more: Any) -> Any:
    return ProvisioningService.provision_inboxes(
        tenant_id=ids[0], domain_id=ids[1], inbox_count=count, platform=PLATFORM, **more
    )


def totals(tenant_id: UUID) -> tuple[int, int]:
    """Inboxes there are, and what the tenant's counter says."""
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalar(
            select(func.count()).select_from(Inbox).where(Inbox.tenant_id == tenant_id)
        )
        return int(rows or 0), db.get_one(Tenant, tenant_id).inboxes_count


def test_fifty_inboxes(ready: tuple[UUID, UUID]) -> None:
    result = provision(ready)
    assert result.inboxes_created == 50
    assert totals(ready[0]) == (50, 50)
    rows = list(csv.DictReader(io.StringIO(result.csv_data)))
    assert len({row["email"] for row in rows}) == 50
    assert all(row["username"] == row["email"] for row in rows)
    assert {(row["smtp_host"], row["smtp_port"]) for row in rows} == {("smtp.x.test", "587")}


def test_everything_is_written_in_one_transaction(ready: tuple[UUID, UUID]) -> None:
    result = provision(ready, 7)
    with transaction(tenant=ALL_TENANTS) as db:
        audited = db.scalars(select(AuditLog).where(AuditLog.action == "inbox_provisioned")).all()
        assert {row.resource_id for row in audited} == {inbox.id for inbox in result.inboxes}
        event = db.scalars(
            select(OutboxEvent).where(OutboxEvent.event == "InboxesProvisioned")
        ).one()
        assert event.payload["provision_id"] == str(result.provision_id)
        # The insert's own transaction id stands on every row.
        made = db.execute(
            select(func.count(func.distinct(Inbox.__table__.c.created_at)))
        ).scalar_one()
        assert made == 1


def test_passwords(ready: tuple[UUID, UUID]) -> None:
    rows = list(csv.DictReader(io.StringIO(provision(ready, 20).csv_data)))
    assert len({row["password"] for row in rows}) == 20
    with transaction(tenant=ready[0]) as db:
        stored = {inbox.full_email: inbox for inbox in db.scalars(select(Inbox))}
    for row in rows:
        password = row["password"]
        inbox = stored[row["email"]]
        assert len(password) == 32
        assert password[0] not in "=+-@'"
        expected = hmac.new(PEPPER.encode(), password.encode(), hashlib.sha256).hexdigest()
        assert inbox.password_hmac == expected
        assert password.encode() not in inbox.password
        assert security.decrypt(inbox.password, password_context(inbox.id)) == password.encode()


@pytest.mark.parametrize(
    ("convention", "pattern"),
    [
        ("firstname", r"[a-z]+\d*"),
        ("firstname.lastname", r"[a-z]+\.[a-z]+\d*"),
        ("f.lastname", r"[a-z]\.[a-z]+\d*"),
        ("role", r"[a-z-]+\d*"),
    ],
)
def test_conventions(ready: tuple[UUID, UUID], convention: str, pattern: str) -> None:
    import re

    result = provision(ready, 30, naming_convention=convention)
    for inbox in result.inboxes:
        assert re.fullmatch(pattern, inbox.full_email.partition("@")[0])


def test_custom_names(ready: tuple[UUID, UUID]) -> None:
    result = provision(ready, 2, naming_convention="custom", names=["Zoe", "adam.k"])
    local_parts = [inbox.full_email.partition("@")[0] for inbox in result.inboxes]
    assert local_parts == ["zoe", "adam.k"]


def test_a_second_press_gives_other_addresses(ready: tuple[UUID, UUID]) -> None:
    first = {inbox.full_email for inbox in provision(ready, 40).inboxes}
    second = {inbox.full_email for inbox in provision(ready, 40).inboxes}
    assert not first & second


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"count": 0}, errors.Invalid),  # Nothing asked.
        ({"count": -1}, errors.Invalid),
        ({"count": 25_001}, errors.Invalid),  # More than one call takes.
        ({"count": 101}, errors.InboxLimitExceeded),  # One over Starter's hundred.
        ({"naming_convention": "emperor"}, errors.Invalid),  # Unknown convention.
        ({"count": 2, "naming_convention": "custom"}, errors.Invalid),  # No names given.
        ({"count": 2, "names": ["a", "b"]}, errors.Invalid),  # Names without the convention.
        ({"count": 3, "naming_convention": "custom", "names": ["a", "b"]}, errors.Invalid),
        ({"count": 1, "naming_convention": "custom", "names": ["=cmd"]}, errors.Invalid),
        ({"count": 1, "naming_convention": "custom", "names": ["postmaster"]}, errors.Invalid),
    ],
)
def test_bad_input_leaves_nothing(
    ready: tuple[UUID, UUID], arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        provision(ready, **arguments)
    assert totals(ready[0]) == (0, 0)
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(Provision)).all() == []


def test_the_limit_is_told(ready: tuple[UUID, UUID]) -> None:
    provision(ready, 60)
    with pytest.raises(errors.InboxLimitExceeded) as caught:
        provision(ready, 41)
    assert caught.value.details == {"limit": 100, "used": 60, "requested": 41}
    provision(ready, 40)
    assert totals(ready[0]) == (100, 100)


@pytest.mark.parametrize(
    "status", [s for s in DomainStatus if s not in {DomainStatus.ACTIVE, DomainStatus.FAILED}]
)
def test_a_domain_that_is_not_ready(
    make_tenant: Make, make_domain: Make, status: DomainStatus
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db)
        domain = make_domain(db, tenant, status=status, kumo_authorized=False)
        ids = (tenant.id, domain.id)
    with pytest.raises(errors.DomainNotReady):
        provision(ids)
    assert totals(ids[0]) == (0, 0)


def test_a_domain_of_another_tenant_is_not_found(
    ready: tuple[UUID, UUID], make_tenant: Make, make_domain: Make
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        other = make_tenant(db)
        foreign = make_domain(db, other).id
    with pytest.raises(errors.NotFound):
        provision((ready[0], foreign))
    with pytest.raises(errors.NotFound):
        provision((ready[0], uuid4()))


def test_a_suspended_tenant_gets_none(ready: tuple[UUID, UUID]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        SubscriptionService.suspend_tenant(db.get_one(Tenant, ready[0]), "blacklisted", db)
    with pytest.raises(errors.TenantSuspended):
        provision(ready)


def test_spread_over_domains(ready: tuple[UUID, UUID], make_domain: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, ready[0])
        ids = [ready[1], make_domain(db, tenant, name="second-mail.com").id]
    result = ProvisioningService.provision_inboxes(ready[0], ids, 7, platform=PLATFORM)
    with transaction(tenant=ready[0]) as db:
        counts = dict(
            db.execute(
                select(Domain.id, func.count()).join(Inbox, Inbox.domain_id == Domain.id)
                .group_by(Domain.id)
            ).all()
        )  # fmt: skip
    assert counts == {ids[0]: 4, ids[1]: 3}
    assert result.inboxes_created == 7


@pytest.mark.parametrize("each", [7, 30, 50])
def test_parallel_calls_never_pass_the_limit(ready: tuple[UUID, UUID], each: int) -> None:
    """Sixteen at once against a limit of 100: as many as fit, to the last one, and no more."""

    def press(_: int) -> int:
        try:
            return int(provision(ready, each).inboxes_created)
        except errors.InboxLimitExceeded:
            return 0

    with ThreadPoolExecutor(16) as pool:
        made = sum(pool.map(press, range(16)))
    assert made == 100 // each * each
    assert totals(ready[0]) == (made, made)


def test_ten_thousand_in_one_call(make_tenant: Make, make_domain: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db, plan="enterprise")
        ids = (tenant.id, make_domain(db, tenant).id)
    result = provision(ids, 10_000)
    assert len({inbox.full_email for inbox in result.inboxes}) == 10_000
    assert totals(ids[0]) == (10_000, 10_000)


def test_csv_lines_repeat_what_was_made(ready: tuple[UUID, UUID]) -> None:
    result = provision(ready, 12)
    with transaction(tenant=ready[0]) as db:
        again = "".join(
            ProvisioningService.csv_lines(
                ready[0], db, provision_id=result.provision_id, platform=PLATFORM
            )
        )
    assert sorted(again.splitlines()) == sorted(result.csv_data.splitlines())
