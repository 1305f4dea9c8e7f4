"""The ramp of every inbox day by day, and complaints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TENANT_TABLES = ("warmup_days", "complaints")

# As in 0007.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    op.add_column(
        "inboxes", sa.Column("warmup_paused_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_table(
        "warmup_days",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rule", sa.String(30), nullable=False),
        sa.Column("rule_version", sa.String(20), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("daily_limit", sa.Integer(), nullable=False),
        *_owned("warmup_days"),
        sa.UniqueConstraint("inbox_id", "day", name=op.f("uq_warmup_days_inbox_id_day")),
    )
    op.create_index("ix_warmup_days_day", "warmup_days", ["day"])
    op.create_table(
        "complaints",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("trace", sa.String(64), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("reporter", sa.String(253), nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("why_not", sa.String(40), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        *_owned("complaints"),
        sa.UniqueConstraint("trace", "recipient", name=op.f("uq_complaints_trace_recipient")),
    )
    for column in ("tenant_id", "inbox_id"):
        op.create_index(
            f"ix_complaints_{column}_received_at", "complaints", [column, "received_at"]
        )
    for table in TENANT_TABLES:
        op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def _owned(table: str) -> list[sa.SchemaItem]:
    return [
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f(f"fk_{table}_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    for table in reversed(TENANT_TABLES):
        op.drop_table(table)
    op.drop_column("inboxes", "warmup_paused_at")
