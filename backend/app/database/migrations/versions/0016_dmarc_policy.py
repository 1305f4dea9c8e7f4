"""What a tenant's domain asks receivers to do with mail that fails DMARC."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "domains",
        sa.Column("dmarc_policy", sa.String(10), nullable=False, server_default="none"),
    )
    op.alter_column("domains", "dmarc_policy", server_default=None)


def downgrade() -> None:
    op.drop_column("domains", "dmarc_policy")
