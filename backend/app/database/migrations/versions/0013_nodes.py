"""The nodes of the mail plane, which operators add, drain and remove."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "mta_nodes",
        sa.Column("url", sa.String(300), nullable=False),
        sa.Column("node_id", sa.String(64), nullable=True),
        sa.Column("mode", sa.String(40), nullable=False),
        sa.Column("draining_since", moment, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mta_nodes")),
        sa.UniqueConstraint("url", name=op.f("uq_mta_nodes_url")),
        sa.UniqueConstraint("node_id", name=op.f("uq_mta_nodes_node_id")),
    )


def downgrade() -> None:
    op.drop_table("mta_nodes")
