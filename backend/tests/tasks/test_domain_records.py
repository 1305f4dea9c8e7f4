"""Choices about a name's records, and a provider that asks to wait, over PostgreSQL and fakes."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import select

from app import errors
from app.api.schemas.domains import DomainPatch
from app.config import Settings
from app.database.models import AuditLog, Domain, DomainStatus, Job, JobState, StepName
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.main import create_app
from app.rules import mta_sts
from app.services import domain_drift, mail_policy
from tests.fakes import FakeWorld
from tests.fixtures.chain import NAME, Quote, Settle, assert_active, domain_of, order, step_of


def choose(domain_id: UUID, policy: str) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_drift.set_dmarc_policy(db.get_one(Domain, domain_id), policy, db)


def dmarc(outside: FakeWorld) -> str:
    (records,) = outside.dns.records.values()
    return next(record.content for record in records if record.name == f"_dmarc.{NAME}")


def changes(domain_id: UUID) -> list[object]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(AuditLog).where(
            AuditLog.resource_id == domain_id, AuditLog.action == "domain_changed"
        )
        return [row.changes for row in db.scalars(rows.order_by(AuditLog.id))]


def test_a_policy_is_published_and_seen(outside: FakeWorld, quote: Quote, settle: Settle) -> None:
    domain_id = order(quote())
    settle(hours=1)
    assert "p=none" in dmarc(outside)
    for policy in ("quarantine", "reject"):
        choose(domain_id, policy)
        assert settle() == ["domains.heal_records"]
        assert f"v=DMARC1; p={policy};" in dmarc(outside)
    assert domain_of(domain_id).failure is None
    assert changes(domain_id) == [
        {"dmarc_policy": ["none", "quarantine"]},
        {"dmarc_policy": ["quarantine", "reject"]},
    ]
    # The same again asks for nothing.
    choose(domain_id, "reject")
    assert settle() == []
    assert len(changes(domain_id)) == 2


def test_chosen_before_it_is_active_it_comes_with_the_records(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    domain_id = order(quote())
    choose(domain_id, "reject")
    settle(hours=1)
    assert domain_of(domain_id).status == DomainStatus.ACTIVE
    assert "p=reject" in dmarc(outside)


@pytest.mark.parametrize(
    "body", [{}, {"dmarc_policy": "no"}, {"dmarc_policy": "Reject"}, {"dmarc_policy": 1}]
)
def test_other_policies_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DomainPatch.model_validate(body)


def test_a_provider_that_asks_to_wait_is_waited_for_however_often(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    """Zones that wait for their delegation fill the account: more often than a job may fail."""
    purchase_id = quote()
    domain_id = order(purchase_id)
    full = errors.ProviderUnavailable(
        provider="Cloudflare", reason="40 zones wait for their delegation", retry_after=300
    )
    outside.dns.accidents.plan("ensure_zone", full, times=40)
    settle(hours=1)
    waiting = step_of(domain_id, StepName.ZONE)
    assert waiting.state == "running"
    assert waiting.detail is not None
    assert "40 zones wait for their delegation" in waiting.detail
    settle(hours=4)
    assert_active(outside, domain_id, purchase_id)
    with transaction(tenant=ALL_TENANTS) as db:
        assert not db.scalars(select(Job).where(Job.state == JobState.DEAD)).all()


# MTA-STS ----------------------------------------------------------------------------------------


def policy_of(name: str, mode: str) -> str | None:
    platform = replace(ports.current().platform, mta_sts_mode=mode)
    with transaction(tenant=ALL_TENANTS) as db:
        return mail_policy.of(name, db, platform)


def test_a_policy_is_served_for_domains_whose_mail_we_take(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    domain_id = order(quote())
    assert policy_of(NAME, "enforce") is None
    settle(hours=1)
    text = policy_of(NAME, "enforce")
    assert text is not None
    assert "mode: enforce\r\n" in text
    assert f"mx: mx1.{ports.current().platform.mail_zone}\r\n" in text
    assert policy_of(NAME, "") is None
    assert policy_of("nobody-has-this.com", "enforce") is None
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Domain, domain_id).status = DomainStatus.EXPIRED
    assert policy_of(NAME, "enforce") is None


def test_the_policy_is_served_at_the_host_of_its_domain_alone(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    order(quote())
    settle(hours=1)
    try:
        app = create_app(Settings(mta_sts_mode="testing", allowed_hosts=["api.acme.test"]))
        client = TestClient(app)

        def ask(host: str, path: str = mta_sts.PATH) -> tuple[int, str]:
            answer = client.get(path, headers={"Host": host})
            return answer.status_code, answer.headers["Content-Type"].partition(";")[0]

        assert ask(f"mta-sts.{NAME}") == (200, "text/plain")
        assert ask(f"MTA-STS.{NAME.upper()}:443") == (200, "text/plain")
        for host in (f"mta-sts.x{NAME}", "mta-sts.nobody.test", "api.acme.test"):
            assert ask(host)[0] == 404, host
        for host in (NAME, "evil.test", "mta-sts.", "mta-sts"):
            assert ask(host)[0] == 400, host
        # The name opens nothing else.
        assert ask(f"mta-sts.{NAME}", "/api/v1/billing/plans")[0] == 400
        text = client.get(mta_sts.PATH, headers={"Host": f"mta-sts.{NAME}"}).text
        assert text.startswith("version: STSv1\r\nmode: testing\r\nmx: mx1.")
    finally:
        ports.install(outside.providers)
