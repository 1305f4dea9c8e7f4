"""Names that their owners bring: claims to a name, and their proof."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The rules of the tenant filter, as every tenant-owned table has them.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)
LIVE = "uq_domains_domain_name_live"


def upgrade() -> None:
    op.create_table(
        "domain_connections",
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("dns", sa.String(length=20), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("kept", postgresql.JSONB(), nullable=False),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lost_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_domain_connections_domain_id_domains"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_domain_connections_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_connections")),
        sa.UniqueConstraint("domain_id", name=op.f("uq_domain_connections_domain_id")),
    )
    for column in ("tenant_id", "next_look_at"):
        op.create_index(op.f(f"ix_domain_connections_{column}"), "domain_connections", [column])
    op.execute("ALTER TABLE domain_connections ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE domain_connections FORCE ROW LEVEL SECURITY")
    rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
    op.execute(f"CREATE POLICY tenant ON domain_connections USING ({rule}) WITH CHECK ({rule})")
    # Under its present name until the new one stands: a name is never without its one owner.
    op.execute(f"ALTER INDEX {LIVE} RENAME TO {LIVE}_before")
    _one_owner("'failed', 'expired', 'verifying_ownership'")
    op.create_index(
        "uq_domains_claim",
        "domains",
        ["tenant_id", "domain_name"],
        unique=True,
        postgresql_where=sa.text("status = 'verifying_ownership'"),
    )


def downgrade() -> None:
    # Claims that nobody proved mean nothing to what was before.
    op.execute("UPDATE domains SET status = 'failed' WHERE status = 'verifying_ownership'")
    op.drop_index("uq_domains_claim", table_name="domains")
    op.execute(f"ALTER INDEX {LIVE} RENAME TO {LIVE}_before")
    _one_owner("'failed', 'expired'")
    op.drop_table("domain_connections")


def _one_owner(without: str) -> None:
    op.create_index(
        LIVE,
        "domains",
        ["domain_name"],
        unique=True,
        postgresql_where=sa.text(f"status NOT IN ({without})"),
    )
    op.drop_index(f"{LIVE}_before", table_name="domains")
