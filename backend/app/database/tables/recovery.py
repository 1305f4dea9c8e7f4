"""What is known of backups, and of every time that the database was put back in time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base


class Backup(Base):
    """A dump that was finished; `created_at` is the instant whose rows it holds."""

    __tablename__ = "backups"

    file: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)


class Restoration(Base):
    """One life of the database: from a cluster's first day, or a restoration, to the next.

    While the newest is not released, nothing is bought and no money moves.
    """

    __tablename__ = "restorations"

    cluster: Mapped[str] = mapped_column(String(60))
    """System identifier and timeline of PostgreSQL: other ones mean that this is a copy."""
    cause: Mapped[str] = mapped_column(String(300))
    data_until: Mapped[datetime | None]
    """What happened after this instant is lost; None when nobody knows."""
    reconciled_at: Mapped[datetime | None]
    findings: Mapped[dict[str, Any] | None]
    released_at: Mapped[datetime | None]
