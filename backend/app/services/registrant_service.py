"""The contact a tenant's names are registered for: kept encrypted, shown to the tenant alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import audit, outbox
from app.database.models import Domain, DomainStatus, Registrant, Tenant, new_id
from app.integrations import ports
from app.rules import registrants
from app.rules.registrants import Contact
from app.services import domain_steps
from app.utils import security


def contact_of(tenant_id: UUID, db: Session) -> Contact | None:
    """What the tenant gave; None when the platform's own contact stands in."""
    row = db.scalars(select(Registrant).where(Registrant.tenant_id == tenant_id)).one_or_none()
    return None if row is None else _opened(row)


def save(tenant: Tenant, given: Mapping[str, str], db: Session) -> Contact:
    """Keep the contact for names bought from now on, and hand it on for those there are.

    Raises Invalid for what registries would refuse.
    """
    try:
        contact = registrants.read(given)
    except registrants.BadContact as error:
        raise errors.Invalid(f"{error}.", field=error.field) from None
    # The tenant's row is what two requests at once wait for.
    db.scalars(select(Tenant.id).where(Tenant.id == tenant.id).with_for_update(key_share=True))
    row = db.scalars(
        select(Registrant).where(Registrant.tenant_id == tenant.id).with_for_update()
    ).one_or_none()
    before = None if row is None else _opened(row)
    fields = registrants.changed(before, contact)
    if not fields:
        return contact
    if row is None:
        row = Registrant(id=new_id(), tenant_id=tenant.id)
        db.add(row)
    row.contact = security.encrypt(json.dumps(asdict(contact)).encode(), contact_context(row.id))
    audit.write(
        db, tenant.id, "registrant_changed", "tenant", tenant.id, {"fields": [None, fields]}
    )
    mine = select(Domain.id).where(
        Domain.tenant_id == tenant.id,
        Domain.registrar_provider.is_not(None),
        Domain.status.not_in(
            [
                DomainStatus.FAILED,
                DomainStatus.EXPIRED,
                DomainStatus.DELETED,
                DomainStatus.REGISTERING,
            ]
        ),
    )
    for domain_id in db.scalars(mine):
        outbox.record(db, events.RegistrantChanged(tenant_id=tenant.id, domain_id=domain_id))
    return contact


def hand_on(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Write the tenant's contact into a name's registration. Repeats are harmless."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    contact = contact_of(domain.tenant_id, db)
    if contact is None:
        return
    registrar = providers.at(domain.registrar_provider).registrar
    registrar.set_registrant(domain.domain_name, asdict(contact))
    audit.write(db, domain.tenant_id, "domain_registrant_set", "domain", domain.id)


def _opened(row: Registrant) -> Contact:
    return Contact(**json.loads(security.decrypt(row.contact, contact_context(row.id))))


def contact_context(registrant_id: UUID) -> str:
    """What a sealed contact belongs to: it opens as nothing else."""
    return f"registrants.contact:{registrant_id}"
