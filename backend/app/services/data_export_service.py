"""A tenant takes its data away."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from app.database import audit
from app.database.models import Tenant
from app.database.queries import data_export


class DataExportService:
    @staticmethod
    def document(tenant: Tenant, db: Session) -> Iterator[str]:
        """Everything the tenant owns but for secrets, as one JSON document in pieces.

        Whoever takes it is written down.
        """
        audit.write(db, tenant.id, "data_exported", "tenant", tenant.id)
        return data_export.pieces(db, tenant.id)
