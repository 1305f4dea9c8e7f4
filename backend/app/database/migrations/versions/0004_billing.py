"""Cards, invoices, the ledger, purchases and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payment_methods",
        sa.Column("stripe_payment_method_id", sa.String(length=64), nullable=False),
        sa.Column("card_brand", sa.String(length=30), nullable=False),
        sa.Column("card_last_four", sa.String(length=4), nullable=False),
        sa.Column("card_exp", sa.String(length=7), nullable=False),
        sa.Column("card_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_payment_methods_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint(
            "stripe_payment_method_id",
            name=op.f("uq_payment_methods_stripe_payment_method_id"),
        ),
    )
    op.create_index(
        op.f("ix_payment_methods_card_fingerprint"),
        "payment_methods",
        ["card_fingerprint"],
        unique=False,
    )
    op.create_index(
        op.f("ix_payment_methods_tenant_id"),
        "payment_methods",
        ["tenant_id"],
        unique=False,
    )
    op.create_table(
        "invoices",
        sa.Column("stripe_invoice_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("billing_reason", sa.String(length=40), nullable=True),
        sa.Column("amount_due_cents", sa.Integer(), nullable=False),
        sa.Column("amount_paid_cents", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("next_payment_attempt", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hosted_invoice_url", sa.String(length=500), nullable=True),
        sa.Column("invoice_pdf", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_invoices_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("stripe_invoice_id", name=op.f("uq_invoices_stripe_invoice_id")),
    )
    op.create_index(op.f("ix_invoices_status"), "invoices", ["status"], unique=False)
    op.create_index(op.f("ix_invoices_tenant_id"), "invoices", ["tenant_id"], unique=False)
    op.create_table(
        "transaction_history",
        sa.Column("transaction_type", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=30), nullable=False),
        sa.Column("stripe_transaction_id", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=300), nullable=True),
        sa.Column("purchase_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_transaction_history_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction_history")),
    )
    op.create_index(
        op.f("ix_transaction_history_purchase_id"),
        "transaction_history",
        ["purchase_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_transaction_history_tenant_id"),
        "transaction_history",
        ["tenant_id"],
        unique=False,
    )
    op.create_index(
        "ix_transaction_history_tenant_id_created_at",
        "transaction_history",
        ["tenant_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "uq_transaction_history_movement",
        "transaction_history",
        ["stripe_transaction_id", "transaction_type"],
        unique=True,
    )
    op.create_table(
        "domain_purchases",
        sa.Column("domain_name", sa.String(length=253), nullable=False),
        sa.Column("years", sa.Integer(), nullable=False),
        sa.Column("registrar", sa.String(length=30), nullable=False),
        sa.Column("cost_cents", sa.Integer(), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("premium", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("stripe_payment_intent_id", sa.String(length=64), nullable=True),
        sa.Column("domain_id", sa.Uuid(), nullable=True),
        sa.Column("failure", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domains.id"],
            name=op.f("fk_domain_purchases_domain_id_domains"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_domain_purchases_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_purchases")),
        sa.UniqueConstraint("domain_id", name=op.f("uq_domain_purchases_domain_id")),
        sa.UniqueConstraint(
            "stripe_payment_intent_id",
            name=op.f("uq_domain_purchases_stripe_payment_intent_id"),
        ),
    )
    op.create_index(
        op.f("ix_domain_purchases_tenant_id"),
        "domain_purchases",
        ["tenant_id"],
        unique=False,
    )
    op.create_table(
        "provider_events",
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=80), nullable=False),
        sa.Column("event_type", sa.String(length=80), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_events")),
    )
    op.create_index(
        "ix_provider_events_unhandled",
        "provider_events",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_index(
        "uq_provider_events_provider_id",
        "provider_events",
        ["provider", "provider_id"],
        unique=True,
    )


def downgrade() -> None:
    op.drop_index("uq_provider_events_provider_id", table_name="provider_events")
    op.drop_index(
        "ix_provider_events_unhandled",
        table_name="provider_events",
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.drop_table("provider_events")
    op.drop_index(op.f("ix_domain_purchases_tenant_id"), table_name="domain_purchases")
    op.drop_table("domain_purchases")
    op.drop_index("uq_transaction_history_movement", table_name="transaction_history")
    op.drop_index("ix_transaction_history_tenant_id_created_at", table_name="transaction_history")
    op.drop_index(op.f("ix_transaction_history_tenant_id"), table_name="transaction_history")
    op.drop_index(op.f("ix_transaction_history_purchase_id"), table_name="transaction_history")
    op.drop_table("transaction_history")
    op.drop_index(op.f("ix_invoices_tenant_id"), table_name="invoices")
    op.drop_index(op.f("ix_invoices_status"), table_name="invoices")
    op.drop_table("invoices")
    op.drop_index(op.f("ix_payment_methods_tenant_id"), table_name="payment_methods")
    op.drop_index(op.f("ix_payment_methods_card_fingerprint"), table_name="payment_methods")
    op.drop_table("payment_methods")
