"""Provisions and inboxes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provisions",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_count", sa.Integer(), nullable=False),
        sa.Column("naming_convention", sa.String(length=30), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_provisions_domain_id_domains")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_provisions_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provisions")),
    )
    op.create_index(op.f("ix_provisions_tenant_id"), "provisions", ["tenant_id"], unique=False)
    op.create_table(
        "inboxes",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("provision_id", sa.Uuid(), nullable=True),
        sa.Column("local_part", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=320), nullable=False),
        sa.Column("full_email", sa.String(length=320), nullable=False),
        sa.Column("first_name", sa.String(length=60), nullable=True),
        sa.Column("last_name", sa.String(length=60), nullable=True),
        sa.Column("password", sa.LargeBinary(), nullable=False),
        sa.Column("password_hmac", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("health_score", sa.Integer(), nullable=False),
        sa.Column("warmup_stage", sa.Integer(), nullable=False),
        sa.Column("warmup_started_on", sa.Date(), nullable=True),
        sa.Column("emails_sent_today", sa.Integer(), nullable=False),
        sa.Column("emails_sent_this_month", sa.Integer(), nullable=False),
        sa.Column("sent_on", sa.Date(), nullable=True),
        sa.Column("daily_limit", sa.Integer(), nullable=False),
        sa.Column("monthly_limit", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_inboxes_domain_id_domains")
        ),
        sa.ForeignKeyConstraint(
            ["provision_id"],
            ["provisions.id"],
            name=op.f("fk_inboxes_provision_id_provisions"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_inboxes_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inboxes")),
        sa.UniqueConstraint(
            "domain_id", "local_part", name=op.f("uq_inboxes_domain_id_local_part")
        ),
    )
    op.create_index(op.f("ix_inboxes_domain_id"), "inboxes", ["domain_id"], unique=False)
    op.create_index("ix_inboxes_provision_id", "inboxes", ["provision_id"], unique=False)
    op.create_index(op.f("ix_inboxes_tenant_id"), "inboxes", ["tenant_id"], unique=False)
    op.create_index("ix_inboxes_tenant_id_id", "inboxes", ["tenant_id", "id"], unique=False)
    op.create_index("uq_inboxes_username", "inboxes", ["username"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_inboxes_username", table_name="inboxes")
    op.drop_index("ix_inboxes_tenant_id_id", table_name="inboxes")
    op.drop_index(op.f("ix_inboxes_tenant_id"), table_name="inboxes")
    op.drop_index("ix_inboxes_provision_id", table_name="inboxes")
    op.drop_index(op.f("ix_inboxes_domain_id"), table_name="inboxes")
    op.drop_table("inboxes")
    op.drop_index(op.f("ix_provisions_tenant_id"), table_name="provisions")
    op.drop_table("provisions")
