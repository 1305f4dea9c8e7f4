"""Names that their tenants let go of, or take to another registrar."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INDEX = "uq_domains_domain_name_live"


def upgrade() -> None:
    op.add_column(
        "domains", sa.Column("transfer_out_at", sa.DateTime(timezone=True), nullable=True)
    )
    _index("'failed', 'expired', 'deleted', 'verifying_ownership'")


def downgrade() -> None:
    op.execute("UPDATE domains SET status = 'expired' WHERE status = 'deleted'")
    _index("'failed', 'expired', 'verifying_ownership'")
    op.drop_column("domains", "transfer_out_at")


def _index(over: str) -> None:
    op.drop_index(INDEX, "domains")
    op.create_index(
        INDEX,
        "domains",
        ["domain_name"],
        unique=True,
        postgresql_where=sa.text(f"status NOT IN ({over})"),
    )
