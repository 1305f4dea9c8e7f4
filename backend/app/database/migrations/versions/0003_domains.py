"""Names, their steps, registrar operations and signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "domains",
        sa.Column("domain_name", sa.String(length=253), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("registrar_provider", sa.String(length=30), nullable=True),
        sa.Column("registrar_domain_id", sa.String(length=64), nullable=True),
        sa.Column("cloudflare_zone_id", sa.String(length=64), nullable=True),
        sa.Column("name_servers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dns_records", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dkim_selector", sa.String(length=63), nullable=True),
        sa.Column("purchase_price", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("purchase_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expiry_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("auto_renew", sa.Boolean(), nullable=False),
        sa.Column("kumo_authorized", sa.Boolean(), nullable=False),
        sa.Column("failure", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_domains_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
    )
    op.create_index(op.f("ix_domains_status"), "domains", ["status"], unique=False)
    op.create_index(op.f("ix_domains_tenant_id"), "domains", ["tenant_id"], unique=False)
    op.create_index(
        "ix_domains_tenant_id_created_at",
        "domains",
        ["tenant_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "uq_domains_domain_name_live",
        "domains",
        ["domain_name"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('failed', 'expired')"),
    )
    op.create_table(
        "domain_steps",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_domain_steps_domain_id_domains"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_domain_steps_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_steps")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_domain_steps_domain_id_name")),
    )
    op.create_index(op.f("ix_domain_steps_tenant_id"), "domain_steps", ["tenant_id"], unique=False)
    op.create_table(
        "registrar_operations",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("domain_name", sa.String(length=253), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=True),
        sa.Column("charged_cents", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_registrar_operations_domain_id_domains"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_registrar_operations_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrar_operations")),
    )
    op.create_index(
        op.f("ix_registrar_operations_domain_id"),
        "registrar_operations",
        ["domain_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_registrar_operations_tenant_id"),
        "registrar_operations",
        ["tenant_id"],
        unique=False,
    )
    op.create_index(
        "uq_registrar_operations_open",
        "registrar_operations",
        ["domain_name"],
        unique=True,
        postgresql_where=sa.text("state IN ('submitted', 'unknown')"),
    )
    op.create_table(
        "dkim_keys",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("selector", sa.String(length=63), nullable=False),
        sa.Column("algorithm", sa.String(length=20), nullable=False),
        sa.Column("public_key", sa.String(length=1000), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_dkim_keys_domain_id_domains"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_dkim_keys_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_keys")),
        sa.UniqueConstraint("domain_id", "selector", name=op.f("uq_dkim_keys_domain_id_selector")),
    )
    op.create_index(op.f("ix_dkim_keys_tenant_id"), "dkim_keys", ["tenant_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_dkim_keys_tenant_id"), table_name="dkim_keys")
    op.drop_table("dkim_keys")
    op.drop_index(
        "uq_registrar_operations_open",
        table_name="registrar_operations",
        postgresql_where=sa.text("state IN ('submitted', 'unknown')"),
    )
    op.drop_index(op.f("ix_registrar_operations_tenant_id"), table_name="registrar_operations")
    op.drop_index(op.f("ix_registrar_operations_domain_id"), table_name="registrar_operations")
    op.drop_table("registrar_operations")
    op.drop_index(op.f("ix_domain_steps_tenant_id"), table_name="domain_steps")
    op.drop_table("domain_steps")
    op.drop_index(
        "uq_domains_domain_name_live",
        table_name="domains",
        postgresql_where=sa.text("status NOT IN ('failed', 'expired')"),
    )
    op.drop_index("ix_domains_tenant_id_created_at", table_name="domains")
    op.drop_index(op.f("ix_domains_tenant_id"), table_name="domains")
    op.drop_index(op.f("ix_domains_status"), table_name="domains")
    op.drop_table("domains")
