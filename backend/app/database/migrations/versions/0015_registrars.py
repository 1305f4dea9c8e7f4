"""Contacts that tenants' names are registered for; when a name was locked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The rules of the tenant filter, as every tenant-owned table has them.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    op.add_column("domains", sa.Column("protected_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "registrants",
        sa.Column("contact", sa.LargeBinary(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_registrants_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrants")),
        sa.UniqueConstraint("tenant_id", name=op.f("uq_registrants_tenant_id")),
    )
    op.create_index(op.f("ix_registrants_tenant_id"), "registrants", ["tenant_id"])
    op.execute("ALTER TABLE registrants ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE registrants FORCE ROW LEVEL SECURITY")
    rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
    op.execute(f"CREATE POLICY tenant ON registrants USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    op.drop_table("registrants")
    op.drop_column("domains", "protected_at")
