"""The chain from a held price to a name that sends: one job for each step."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from app import errors, events
from app.database import outbox
from app.database.models import DomainPurchase, Tenant
from app.integrations import ports
from app.services import (
    dkim_rotation,
    domain_drift,
    domain_leaving,
    domain_life,
    domain_proof,
    domain_registration,
    domain_renewal,
    domain_renewing,
    domain_setup,
    registrant_service,
)
from app.services.billing_service import BillingService
from app.services.domain_service import DomainService
from app.services.domain_steps import NotYet
from app.tasks.jobs import Again, task


@task("domains.request_purchase")
def request_purchase(db: Session, tenant_id: UUID, purchase_id: UUID) -> None:
    """The price is held, whether or not the browser came back: buy the name, or let go of it."""
    purchase = db.get_one(DomainPurchase, purchase_id)
    try:
        DomainService.request_purchase(db.get_one(Tenant, tenant_id), purchase, db)
    except errors.PaymentNotCompleted:
        # The hold went away again; the provider's next event tells how it ended.
        return
    except (errors.Conflict, errors.LimitReached, errors.PaymentRequired) as refusal:
        # It will not become possible by waiting, and no money is to be held for nothing.
        BillingService.release_purchase(purchase_id, db, why=refusal.message)


@task("domains.submit_registration")
def submit_registration(db: Session, tenant_id: UUID, purchase_id: UUID) -> None:  # noqa: ARG001
    domain_registration.submit(purchase_id, db)


@task("domains.register")
def register(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(DomainService.purchase_domain(domain_id, db))


@task("domains.protect")
def protect(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    domain_life.protect(domain_id, db)


@task("domains.hand_on_registrant")
def hand_on_registrant(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    registrant_service.hand_on(domain_id, db)


@task("domains.look_after_all")
def look_after_all(db: Session) -> None:
    """Once a day: every name whose end is near or just past, each by a job of its own."""
    for domain in domain_life.due(db):
        outbox.record(db, events.DomainLifeDue(tenant_id=domain.tenant_id, domain_id=domain.id))
    for domain in domain_leaving.due(db):
        outbox.record(db, events.DomainCleanUpDue(tenant_id=domain.tenant_id, domain_id=domain.id))


@task("domains.look")
def look(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    # The order first: the reminder tells its price.
    domain_renewal.plan(domain_id, db)
    domain_life.look(domain_id, db)


@task("domains.clean_up")
def clean_up(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    domain_leaving.clean_up(domain_id, db)


@task("domains.renew")
def renew(db: Session, tenant_id: UUID, purchase_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(domain_renewing.advance(purchase_id, db))


@task("domains.retry_renewals")
def retry_renewals(db: Session, tenant_id: UUID) -> None:
    domain_renewal.retry_all(tenant_id, db)


@task("domains.heal_all_records")
def heal_all_records(db: Session) -> None:
    """Every quarter of an hour: every active name, each by a job of its own."""
    for domain in domain_drift.due(db):
        outbox.record(db, events.DomainLookDue(tenant_id=domain.tenant_id, domain_id=domain.id))


@task("domains.heal_records")
def heal_records(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    domain_drift.look(domain_id, db)


@task("domains.look_for_all_proofs")
def look_for_all_proofs(db: Session) -> None:
    """Every minute: the connected names whose turn it is, each by a job of its own."""
    for domain_id in domain_proof.claim_due(db):
        outbox.record(db, events.DomainProofDue(domain_id=domain_id))


@task("domains.look_for_proof")
def look_for_proof(db: Session, domain_id: UUID) -> None:
    domain_proof.look(domain_id, db)


@task("domains.plan_rotations")
def plan_rotations(db: Session) -> None:
    """Once a day: names whose key has been in use for long enough, each by a job of its own."""
    dkim_rotation.plan(db, ports.current().platform.rotate_keys_after)


@task("domains.begin_rotation")
def begin_rotation(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    try:
        dkim_rotation.request(domain_id, db)
    except errors.Conflict:
        # Somebody began one meanwhile, or the name does not send any more.
        return


@task("domains.rotate_key")
def rotate_key(db: Session, tenant_id: UUID, rotation_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(dkim_rotation.advance(rotation_id, db))


@task("domains.create_zone")
def create_zone(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(domain_setup.create_zone(domain_id, db))


@task("domains.publish_records")
def publish_records(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(domain_setup.publish_records(domain_id, db))


@task("domains.delegate")
def delegate(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(domain_setup.delegate(domain_id, db))


@task("domains.verify_dns")
def verify_dns(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(DomainService.verify_dns(domain_id, db))


@task("domains.authorize_in_kumo")
def authorize_in_kumo(db: Session, tenant_id: UUID, domain_id: UUID) -> Again | None:  # noqa: ARG001
    return _again(DomainService.authorize_in_kumo(domain_id, db))


def _again(step: NotYet | None) -> Again | None:
    return None if step is None else Again(step.seconds, step.why)
