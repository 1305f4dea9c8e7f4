"""The ramp of every inbox day by day, complaints, blocklists, appeals."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TENANT_TABLES = ("warmup_days", "complaints", "domain_standings", "appeals")

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
    op.add_column("decisions", sa.Column("inbox_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_decisions_inbox_id"), "decisions", ["inbox_id"])
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
        sa.Column("feedback_type", sa.String(40), nullable=False),
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
    _standings()
    _appeals()
    for table in TENANT_TABLES:
        op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def _standings() -> None:
    """What blocklists say: of tenants' domains, and of the relay's addresses, which are nobody's."""
    op.create_table(
        "domain_standings",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        *_said(),
        *_owned("domain_standings"),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_domain_standings_domain_id_domains"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "address_standings",
        sa.Column("address", sa.String(45), nullable=False),
        *_said(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_standings")),
    )
    for table, subject in (("domain_standings", "domain_id"), ("address_standings", "address")):
        op.create_index(
            f"uq_{table}_{subject}_zone",
            table,
            [subject, "zone"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
        )


def _said() -> list[sa.Column[Any]]:
    moment = sa.DateTime(timezone=True)
    return [
        sa.Column("zone", sa.String(253), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("codes", sa.String(200), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("looked_at", moment, nullable=True),
        sa.Column("tried_at", moment, nullable=False),
        sa.Column("trouble", sa.String(200), nullable=True),
        sa.Column("confirmed_at", moment, nullable=True),
        sa.Column("ended_at", moment, nullable=True),
    ]


def _appeals() -> None:
    op.create_table(
        "appeals",
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("filed_by", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("answer", sa.String(2000), nullable=True),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        *_owned("appeals"),
        sa.UniqueConstraint("decision_id", name=op.f("uq_appeals_decision_id")),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["decisions.id"],
            name=op.f("fk_appeals_decision_id_decisions"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_appeals_state", "appeals", ["state"])


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
    op.drop_table("address_standings")
    op.drop_column("decisions", "inbox_id")
    op.drop_column("inboxes", "warmup_paused_at")
