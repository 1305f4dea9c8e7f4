"""Second factors, invitations, decisions, throttles; a chained audit trail; the app's own role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.rules import audit_chain

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROLE = "inboxgrove_app"
APPEND_ONLY = ("audit_logs", "decisions", "operator_acts")
TENANT_TABLES = ("recovery_codes", "invitations", "decisions")

# As in 0007.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)


def upgrade() -> None:
    _people()
    _tables()
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
        op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")
    _chain()
    _role()


def _people() -> None:
    op.add_column(
        "tenants",
        sa.Column(
            "requires_two_factor", sa.Boolean(), nullable=False, server_default=sa.text("false")
        ),
    )
    op.alter_column("tenants", "requires_two_factor", server_default=None)
    op.add_column("tenants", sa.Column("company_domain", sa.String(253), nullable=True))
    op.add_column("tenants", sa.Column("trial_refused_for", sa.String(40), nullable=True))
    op.add_column("users", sa.Column("totp_secret", sa.LargeBinary(), nullable=True))
    op.add_column("users", sa.Column("totp_step", sa.BigInteger(), nullable=True))
    op.add_column(
        "users", sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "refresh_tokens", sa.Column("authenticated_at", sa.DateTime(timezone=True), nullable=True)
    )
    # Row-level security binds the owner too.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute("UPDATE refresh_tokens SET authenticated_at = created_at")
    op.alter_column("refresh_tokens", "authenticated_at", nullable=False)
    op.add_column("api_keys", sa.Column("created_by", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_api_keys_created_by_users"),
        "api_keys",
        "users",
        ["created_by"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column("operators", sa.Column("totp_secret", sa.LargeBinary(), nullable=True))
    op.add_column("operators", sa.Column("totp_step", sa.BigInteger(), nullable=True))
    op.add_column(
        "operators",
        sa.Column("session_version", sa.Integer(), nullable=False, server_default=sa.text("1")),
    )
    op.alter_column("operators", "session_version", server_default=None)


def _made() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _owned(table: str) -> list[sa.SchemaItem]:
    return [
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f(f"fk_{table}_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        *_made(),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def _tables() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        *_owned("recovery_codes"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recovery_codes_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "user_id", "code_hash", name=op.f("uq_recovery_codes_user_id_code_hash")
        ),
    )
    op.create_table(
        "invitations",
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("role", sa.String(40), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        *_owned("invitations"),
        sa.ForeignKeyConstraint(
            ["invited_by"],
            ["users.id"],
            name=op.f("fk_invitations_invited_by_users"),
            ondelete="SET NULL",
        ),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )
    op.create_index(
        "uq_invitations_open",
        "invitations",
        ["tenant_id", "email"],
        unique=True,
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    op.create_table(
        "decisions",
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rule_version", sa.String(20), nullable=False),
        sa.Column("note", sa.String(2000), nullable=True),
        sa.Column("actor_type", sa.String(20), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        *_owned("decisions"),
    )
    for table in TENANT_TABLES:
        op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
    op.create_table(
        "operator_acts",
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("resource_type", sa.String(40), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=True),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("ip", sa.String(45), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        *_made(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_acts")),
    )
    op.create_index(op.f("ix_operator_acts_operator_id"), "operator_acts", ["operator_id"])
    op.create_table(
        "trial_claims",
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("value_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        *_made(),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_trial_claims_tenant_id_tenants"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_claims")),
        sa.UniqueConstraint("kind", "value_hash", name=op.f("uq_trial_claims_kind_value_hash")),
    )
    op.create_table(
        "throttles",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        *_made(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_throttles")),
        sa.UniqueConstraint("key", "window_start", name=op.f("uq_throttles_key_window_start")),
    )
    op.create_index(op.f("ix_throttles_window_start"), "throttles", ["window_start"])


def _chain() -> None:
    """Number and chain what was written so far; later rows are chained as they are written."""
    for column in (
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("previous_hash", sa.LargeBinary(32), nullable=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=True),
    ):
        op.add_column("audit_logs", column)
    op.create_unique_constraint(
        op.f("uq_audit_logs_tenant_id_seq"), "audit_logs", ["tenant_id", "seq"]
    )
    # The index of the constraint serves as well.
    op.drop_index(op.f("ix_audit_logs_tenant_id"), "audit_logs")
    name = op.f("fk_audit_logs_tenant_id_tenants")
    op.drop_constraint(name, "audit_logs", type_="foreignkey")
    op.create_foreign_key(name, "audit_logs", "tenants", ["tenant_id"], ["id"], ondelete="RESTRICT")
    _chain_what_is_there()
    for column in ("seq", "previous_hash", "hash"):
        op.alter_column("audit_logs", column, nullable=False)
    # Jobs act for the request that caused them.
    for table in ("outbox", "jobs"):
        op.add_column(table, sa.Column("request_id", sa.String(64), nullable=True))


def _chain_what_is_there() -> None:
    fields = ", ".join(name for name in audit_chain.FIELDS if name != "seq")
    connection = op.get_bind()
    tenants = connection.execute(sa.text("SELECT DISTINCT tenant_id FROM audit_logs")).scalars()
    for tenant_id in tenants.all():
        rows = connection.execute(
            sa.text(
                f"SELECT {fields} FROM audit_logs WHERE tenant_id = :tenant ORDER BY created_at, id"  # noqa: S608
            ),
            {"tenant": tenant_id},
        ).mappings()
        previous, placed = audit_chain.GENESIS, []
        for seq, row in enumerate(rows, start=1):
            hash_ = audit_chain.link(previous, audit_chain.Row(seq=seq, **row))
            placed.append({"id": row["id"], "seq": seq, "before": previous, "hash": hash_})
            previous = hash_
        connection.execute(
            sa.text(
                "UPDATE audit_logs SET seq = :seq, previous_hash = :before, hash = :hash"
                " WHERE id = :id"
            ),
            placed,
        )


def _role() -> None:
    """What the product runs as: it owns nothing, and cannot rewrite what it wrote down."""
    op.execute(
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                CREATE ROLE {ROLE} NOLOGIN NOBYPASSRLS;
                GRANT {ROLE} TO CURRENT_USER;
            ELSIF NOT pg_has_role(current_user, '{ROLE}', 'MEMBER') THEN
                GRANT {ROLE} TO CURRENT_USER;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'The database user % may not make the role {ROLE}.', current_user
                USING HINT = 'As a superuser: CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO '
                    || quote_ident(current_user) || ';';
        END $$
        """
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    op.execute(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {ROLE}"
    )
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {ROLE}")
    for table in APPEND_ONLY:
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM {ROLE}")


def downgrade() -> None:
    for table in ("jobs", "outbox"):
        op.drop_column(table, "request_id")
    op.create_index(op.f("ix_audit_logs_tenant_id"), "audit_logs", ["tenant_id"])
    op.execute(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
        f" REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM {ROLE}"
    )
    # The role itself may serve other databases of the cluster.
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE}")
    name = op.f("fk_audit_logs_tenant_id_tenants")
    op.drop_constraint(name, "audit_logs", type_="foreignkey")
    op.create_foreign_key(name, "audit_logs", "tenants", ["tenant_id"], ["id"], ondelete="CASCADE")
    for column in ("hash", "previous_hash", "seq"):
        op.drop_column("audit_logs", column)
    for table in ("throttles", "trial_claims", "operator_acts", *TENANT_TABLES):
        op.drop_table(table)
    for table, column in (
        ("operators", "session_version"),
        ("operators", "totp_step"),
        ("operators", "totp_secret"),
        ("api_keys", "created_by"),
        ("refresh_tokens", "authenticated_at"),
        ("users", "password_changed_at"),
        ("users", "totp_step"),
        ("users", "totp_secret"),
        ("tenants", "trial_refused_for"),
        ("tenants", "company_domain"),
        ("tenants", "requires_two_factor"),
    ):
        op.drop_column(table, column)
