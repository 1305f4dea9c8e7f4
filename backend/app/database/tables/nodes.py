"""The machines of the mail plane."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, Text, Updated


class NodeMode(StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"
    """It lets nobody log in and sends what it still has; orders reach it as before."""


class MTANode(Updated, Base):
    """A KumoMTA node that orders go to. It belongs to no tenant."""

    __tablename__ = "mta_nodes"

    url: Mapped[str] = mapped_column(String(300), unique=True)
    """Of its admin listener, without a slash at the end."""
    node_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    """kumod's own name for the machine; None until it has answered once."""
    mode: Mapped[NodeMode] = mapped_column(Text(NodeMode), default=NodeMode.ACTIVE)
    draining_since: Mapped[datetime | None]
