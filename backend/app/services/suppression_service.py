"""Whom a tenant must not mail."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import Suppression, Tenant, new_id
from app.integrations import ports
from app.rules import suppressions


class SuppressionService:
    @staticmethod
    def add(
        tenant: Tenant,
        targets: Sequence[str],
        reason: str,
        db: Session,
        *,
        mail: ports.MailPlatform | None = None,
    ) -> int:
        """Suppress addresses and `@domains`; how many were new. Raises Invalid, all or none.

        The relay refuses them from now on: its list is written first, because a refusal too many is
        the smaller harm when the commit fails.
        """
        mail = mail or ports.current().mail
        wanted = []
        for text in targets:
            target = suppressions.normal(text)
            if target is None:
                raise errors.Invalid("Neither an address nor an @domain.", target=text)
            wanted.append(target)
        now = clock.now()
        added = db.scalars(
            insert(Suppression)
            .values(
                [
                    {
                        "id": new_id(),
                        "created_at": now,
                        "tenant_id": tenant.id,
                        "target": target,
                        "reason": reason,
                    }
                    for target in dict.fromkeys(wanted)
                ]
            )
            .on_conflict_do_nothing()
            .returning(Suppression.id)
        ).all()
        # Whom it is about is somebody's address, so the row is named and not what it says.
        audit.write_many(
            db, tenant.id, "suppressions_added", "suppression", added, {"reason": [None, reason]}
        )
        mail.suppress(str(tenant.id), wanted)
        return len(added)

    @staticmethod
    def remove(
        tenant: Tenant,
        suppression_id: UUID,
        db: Session,
        *,
        mail: ports.MailPlatform | None = None,
    ) -> None:
        """Allow mail again. Raises NotFound."""
        mail = mail or ports.current().mail
        removed = db.execute(
            delete(Suppression)
            .where(Suppression.id == suppression_id, Suppression.tenant_id == tenant.id)
            .returning(Suppression.target, Suppression.reason)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if removed is None:
            raise errors.NotFound(resource="suppression")
        audit.write(
            db,
            tenant.id,
            "suppression_removed",
            "suppression",
            suppression_id,
            {"reason": [removed.reason, None]},
        )
        mail.unsuppress(str(tenant.id), [removed.target])
