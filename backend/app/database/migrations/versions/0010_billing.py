"""Scheduled plans, refunds, disputes, notices, alerts, signed offers, a ledger that only grows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

OWNED = ("refunds", "disputes", "billing_notices")

# The rules of the tenant filter, as every tenant-owned table has them.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def _row() -> tuple[sa.Column, ...]:
    return (
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def _added() -> dict[str, tuple[sa.Column, ...]]:
    """Fresh ones at each call: a column belongs to one table of one run."""
    return {
        "tenants": (
            sa.Column("scheduled_plan", sa.String(length=40), nullable=True),
            sa.Column("scheduled_plan_at", sa.DateTime(timezone=True), nullable=True),
        ),
        "payment_methods": (sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=True),),
        "invoices": (
            sa.Column("tax_cents", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("stripe_subscription_id", sa.String(length=64), nullable=True),
            sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
            sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        ),
        "domain_purchases": (
            sa.Column("automatic_capture", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("signature", sa.LargeBinary(length=32), nullable=True),
        ),
        "provider_events": (
            sa.Column("outcome", sa.String(length=20), nullable=True),
            sa.Column("api_version", sa.String(length=40), nullable=True),
        ),
    }


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    # The models give these values themselves; the defaults were for rows that existed.
    op.alter_column("invoices", "tax_cents", server_default=None)
    op.alter_column("domain_purchases", "automatic_capture", server_default=None)
    op.create_index(
        "ix_tenants_scheduled_plan_at",
        "tenants",
        ["scheduled_plan_at"],
        postgresql_where=sa.text("scheduled_plan_at IS NOT NULL"),
    )
    _refunds()
    _disputes()
    _notices()
    _alerts()
    for table in OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")
    op.execute(
        """
        CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'transaction_history is append-only'
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON transaction_history"
        " FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()"
    )
    op.execute("REVOKE UPDATE, DELETE ON transaction_history FROM inboxgrove_app")


def _owned(table: str, *columns: sa.Column[object] | sa.Constraint, updated: bool = True) -> None:
    more = [sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False)] if updated else []
    op.create_table(
        table,
        *columns,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *more,
        *_row(),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f(f"fk_{table}_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])


def _refunds() -> None:
    _owned(
        "refunds",
        sa.Column("stripe_payment_intent_id", sa.String(length=64), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("cause", sa.String(length=200), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=True),
        sa.Column("stripe_refund_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failure", sa.String(length=300), nullable=True),
        sa.UniqueConstraint("stripe_refund_id", name=op.f("uq_refunds_stripe_refund_id")),
    )
    for column in ("stripe_payment_intent_id", "purchase_id"):
        op.create_index(op.f(f"ix_refunds_{column}"), "refunds", [column])


def _disputes() -> None:
    _owned(
        "disputes",
        sa.Column("stripe_dispute_id", sa.String(length=64), nullable=False),
        sa.Column("stripe_charge_id", sa.String(length=64), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.Column("due_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("forgiven_at", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("stripe_dispute_id", name=op.f("uq_disputes_stripe_dispute_id")),
    )
    op.create_index(op.f("ix_disputes_stripe_charge_id"), "disputes", ["stripe_charge_id"])


def _notices() -> None:
    _owned(
        "billing_notices",
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("fact", sa.String(length=120), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint(
            "tenant_id", "kind", "fact", name=op.f("uq_billing_notices_tenant_id_kind_fact")
        ),
        updated=False,
    )


def _alerts() -> None:
    op.create_table(
        "operator_alerts",
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("fact", sa.String(length=120), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("about_tenant_id", sa.Uuid(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        *_row(),
        sa.ForeignKeyConstraint(
            ["about_tenant_id"],
            ["tenants.id"],
            name=op.f("fk_operator_alerts_about_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_alerts")),
        sa.UniqueConstraint("kind", "fact", name=op.f("uq_operator_alerts_kind_fact")),
    )
    op.create_index(op.f("ix_operator_alerts_kind"), "operator_alerts", ["kind"])
    op.create_index(
        op.f("ix_operator_alerts_about_tenant_id"), "operator_alerts", ["about_tenant_id"]
    )


def downgrade() -> None:
    op.execute("GRANT UPDATE, DELETE ON transaction_history TO inboxgrove_app")
    op.execute("DROP TRIGGER append_only ON transaction_history")
    op.execute("DROP FUNCTION ledger_is_append_only()")
    for table in ("operator_alerts", *reversed(OWNED)):
        op.drop_table(table)
    op.drop_index("ix_tenants_scheduled_plan_at", table_name="tenants")
    for table, columns in _added().items():
        for column in columns:
            op.drop_column(table, column.name)
