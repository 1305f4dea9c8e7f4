"""Signing keys that are being replaced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# The rules of the tenant filter, as every tenant-owned table has them.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    op.create_table(
        "dkim_rotations",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("old_selector", sa.String(length=63), nullable=False),
        sa.Column("new_selector", sa.String(length=63), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("leaked", sa.Boolean(), nullable=False),
        sa.Column("switched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_dkim_rotations_domain_id_domains"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_dkim_rotations_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_rotations")),
    )
    op.create_index(op.f("ix_dkim_rotations_tenant_id"), "dkim_rotations", ["tenant_id"])
    op.create_index(
        "uq_dkim_rotations_domain_id_live",
        "dkim_rotations",
        ["domain_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.execute("ALTER TABLE dkim_rotations ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE dkim_rotations FORCE ROW LEVEL SECURITY")
    rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
    op.execute(f"CREATE POLICY tenant ON dkim_rotations USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    op.drop_table("dkim_rotations")
