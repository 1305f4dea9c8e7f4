"""Sums of inbox_days by week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

COUNTS = (
    "accepted",
    "delivered",
    "deferred",
    "bounced",
    "rejected",
    "complained",
    "soft_bounced",
    "hard_bounced",
    "unknown_users",
    "blocked",
)

# As in 0007.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    op.create_table(
        "inbox_weeks",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *(sa.Column(kind, sa.Integer(), nullable=False) for kind in COUNTS),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_inbox_weeks_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_weeks")),
        sa.UniqueConstraint(
            "tenant_id", "week", "inbox_id", name=op.f("uq_inbox_weeks_tenant_id_week_inbox_id")
        ),
    )
    op.execute("ALTER TABLE inbox_weeks ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE inbox_weeks FORCE ROW LEVEL SECURITY")
    rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
    op.execute(f"CREATE POLICY tenant ON inbox_weeks USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    op.drop_table("inbox_weeks")
