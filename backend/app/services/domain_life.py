"""What a name needs at the registrar once it is ours."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from app.database import audit
from app.integrations import ports
from app.services import domain_steps


def protect(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Lock the name against transfers and hide its registrant. Repeats are harmless."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    providers.registrar.protect(domain.domain_name)
    audit.write(
        db, domain.tenant_id, "domain_protected", "domain", domain.id, {"locked": [None, True]}
    )
