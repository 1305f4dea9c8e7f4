"""Row-level security behind the session's tenant filter."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = (
    "api_keys",
    "audit_logs",
    "delivery_events",
    "dkim_keys",
    "domain_purchases",
    "domain_steps",
    "domains",
    "idempotency_records",
    "inbox_days",
    "inboxes",
    "invoices",
    "mail_tokens",
    "payment_methods",
    "provisions",
    "refresh_tokens",
    "registrar_operations",
    "suppressions",
    "transaction_history",
    "users",
)

# Sub-selects are evaluated once a query, not once a row. Without a setting, or with the empty one
# that a finished transaction leaves behind, nothing is visible.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    for table, column in [("tenants", "id"), *((name, "tenant_id") for name in TABLES)]:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        # The role that owns the tables is held to the policy as well.
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"{column} = {THIS_TENANT} OR {EVERY_TENANT}"
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    for table in ("tenants", *TABLES):
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
