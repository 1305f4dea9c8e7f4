"""Delivery events, daily counts and suppressions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delivery_events",
        sa.Column("natural_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=True),
        sa.Column("domain_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", sa.String(length=30), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("recipient_domain", sa.String(length=253), nullable=False),
        sa.Column("response_code", sa.Integer(), nullable=True),
        sa.Column("response", sa.String(length=1000), nullable=True),
        sa.Column("bounce_classification", sa.String(length=40), nullable=True),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_delivery_events_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_events")),
        sa.UniqueConstraint("natural_key", name=op.f("uq_delivery_events_natural_key")),
    )
    op.create_index(
        "ix_delivery_events_inbox_id_occurred_at",
        "delivery_events",
        ["inbox_id", "occurred_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_delivery_events_tenant_id"),
        "delivery_events",
        ["tenant_id"],
        unique=False,
    )
    op.create_index(
        "ix_delivery_events_tenant_id_occurred_at",
        "delivery_events",
        ["tenant_id", "occurred_at"],
        unique=False,
    )
    op.create_table(
        "inbox_days",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("deferred", sa.Integer(), nullable=False),
        sa.Column("bounced", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("complained", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_inbox_days_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_days")),
    )
    op.create_index(op.f("ix_inbox_days_tenant_id"), "inbox_days", ["tenant_id"], unique=False)
    op.create_index("ix_inbox_days_tenant_id_day", "inbox_days", ["tenant_id", "day"], unique=False)
    op.create_index("uq_inbox_days_inbox_id_day", "inbox_days", ["inbox_id", "day"], unique=True)
    op.create_table(
        "suppressions",
        sa.Column("target", sa.String(length=320), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_suppressions_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
    )
    op.create_index(op.f("ix_suppressions_tenant_id"), "suppressions", ["tenant_id"], unique=False)
    op.create_index(
        "uq_suppressions_tenant_id_target",
        "suppressions",
        ["tenant_id", "target"],
        unique=True,
    )


def downgrade() -> None:
    op.drop_index("uq_suppressions_tenant_id_target", table_name="suppressions")
    op.drop_index(op.f("ix_suppressions_tenant_id"), table_name="suppressions")
    op.drop_table("suppressions")
    op.drop_index("uq_inbox_days_inbox_id_day", table_name="inbox_days")
    op.drop_index("ix_inbox_days_tenant_id_day", table_name="inbox_days")
    op.drop_index(op.f("ix_inbox_days_tenant_id"), table_name="inbox_days")
    op.drop_table("inbox_days")
    op.drop_index("ix_delivery_events_tenant_id_occurred_at", table_name="delivery_events")
    op.drop_index(op.f("ix_delivery_events_tenant_id"), table_name="delivery_events")
    op.drop_index("ix_delivery_events_inbox_id_occurred_at", table_name="delivery_events")
    op.drop_table("delivery_events")
