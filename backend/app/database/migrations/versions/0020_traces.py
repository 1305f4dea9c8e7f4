"""Where in a trace an event was recorded, and so its jobs belong."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("outbox", "jobs"):
        op.add_column(table, sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    for table in ("jobs", "outbox"):
        op.drop_column(table, "traceparent")
