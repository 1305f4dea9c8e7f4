"""Delivery events by day, and counts by domain, provider and tenant beside those by inbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.database.tables.base import new_id
from app.rules import records

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROLE = "inboxgrove_app"
CLASSES = ("soft_bounced", "hard_bounced", "unknown_users", "blocked")
COUNTS = ("accepted", "delivered", "deferred", "bounced", "rejected", "complained", *CLASSES)
# What a day's row is about, beside the tenant and the day.
ROLL_UPS: dict[str, tuple[sa.Column[Any], ...]] = {
    "domain_days": (sa.Column("domain_id", sa.Uuid(), nullable=False),),
    "provider_days": (
        sa.Column("domain_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(20), nullable=False),
    ),
    "tenant_days": (),
}

# As in 0007.
EVERY_TENANT = "(SELECT current_setting('app.tenant', true)) = '*'"
THIS_TENANT = (
    "(SELECT CASE WHEN current_setting('app.tenant', true) ~ '^[0-9a-f-]{36}$'"
    " THEN current_setting('app.tenant', true)::uuid END)"
)

# The product owns nothing, so it asks the owner for days through these two. A day's table is made
# aside and attached: that stops no writer, where CREATE TABLE … PARTITION OF would stop them all.
MAKE_DAYS = """
CREATE FUNCTION make_delivery_days(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day date;
    name text;
    made integer := 0;
BEGIN
    FOR day IN SELECT DISTINCT d FROM unnest(days) AS d ORDER BY d LOOP
        name := 'day_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('delivery_days.' || name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(7264011);
        -- Somebody else may have made it while we waited, which to_regclass need not know yet: it
        -- looks into this session's memory, and an advisory lock does not refresh that.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class
            WHERE relname = name AND relnamespace = 'delivery_days'::regnamespace);
        EXECUTE format(
            'CREATE TABLE delivery_days.%I (LIKE public.delivery_events INCLUDING ALL)', name);
        EXECUTE format(
            'ALTER TABLE public.delivery_events ATTACH PARTITION delivery_days.%I'
            ' FOR VALUES FROM (%L) TO (%L)',
            name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$
"""
DROP_DAYS = """
CREATE FUNCTION drop_delivery_days(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    name text;
    dropped integer := 0;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.delivery_events'::regclass
          AND c.relname < 'day_' || to_char(before, 'YYYYMMDD')
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE delivery_days.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$
"""
FUNCTIONS = {"make_delivery_days(date[])": MAKE_DAYS, "drop_delivery_days(date)": DROP_DAYS}


def upgrade() -> None:
    # Row-level security binds the owner too.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    _set_aside()
    op.execute("CREATE SCHEMA delivery_days")
    _create_events(partitioned=True)
    for signature, body in FUNCTIONS.items():
        op.execute(body)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {ROLE}")
    for name in CLASSES:
        op.add_column(
            "inbox_days", sa.Column(name, sa.Integer(), nullable=False, server_default="0")
        )
        op.alter_column("inbox_days", name, server_default=None)
    # Its other index begins with the tenant too.
    op.drop_index(op.f("ix_inbox_days_tenant_id"), table_name="inbox_days")
    for table in ROLL_UPS:
        _create_roll_up(table)
    for table in ("inbox_days", *ROLL_UPS):
        # Room beside each row: an update of its counts then touches no index.
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 70)")
    _move()


def _set_aside() -> None:
    """Make room for the new table and for the names of its indexes."""
    op.rename_table("delivery_events", "delivery_events_before")
    for name in ("pk_delivery_events", "uq_delivery_events_natural_key"):
        op.drop_constraint(name, "delivery_events_before")
    for suffix in ("tenant_id", "inbox_id_occurred_at", "tenant_id_occurred_at"):
        op.drop_index(f"ix_delivery_events_{suffix}", table_name="delivery_events_before")


def _create_events(*, partitioned: bool) -> None:
    if partitioned:
        new: list[sa.SchemaItem] = [
            sa.Column("trace", sa.Text(), nullable=True),
            sa.PrimaryKeyConstraint("occurred_at", "natural_key", name=op.f("pk_delivery_events")),
        ]
    else:
        new = [
            sa.ForeignKeyConstraint(
                ["tenant_id"],
                ["tenants.id"],
                name=op.f("fk_delivery_events_tenant_id_tenants"),
                ondelete="CASCADE",
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_events")),
            sa.UniqueConstraint("natural_key", name=op.f("uq_delivery_events_natural_key")),
        ]
    op.create_table(
        "delivery_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("natural_key", sa.LargeBinary(32), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=True),
        sa.Column("domain_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", sa.String(30), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("recipient_domain", sa.String(253), nullable=False),
        sa.Column("response_code", sa.Integer(), nullable=True),
        sa.Column("response", sa.String(1000), nullable=True),
        sa.Column("bounce_classification", sa.String(40), nullable=True),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        *new,
        postgresql_partition_by="RANGE (occurred_at)" if partitioned else None,
    )
    for column in ("inbox_id", "tenant_id"):
        op.create_index(
            f"ix_delivery_events_{column}_occurred_at",
            "delivery_events",
            [column, "occurred_at"],
        )
    if partitioned:
        op.create_index(
            "ix_delivery_events_trace",
            "delivery_events",
            ["trace"],
            postgresql_where=sa.text("event_type = 'Reception'"),
        )
    else:
        op.create_index(op.f("ix_delivery_events_tenant_id"), "delivery_events", ["tenant_id"])
    _protect("delivery_events")


def _create_roll_up(table: str) -> None:
    # Fresh ones at each call: a column belongs to one table of one run.
    about = [sa.Column(each.name, each.type, nullable=False) for each in ROLL_UPS[table]]
    names = [column.name for column in about]
    unique = [*(name for name in names if name != "provider"), "day"]
    unique = [*unique, "provider"] if "provider" in names else unique
    unique = unique if names else ["tenant_id", *unique]
    op.create_table(
        table,
        *about,
        sa.Column("day", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f(f"fk_{table}_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(*unique, name=op.f(f"uq_{table}_{'_'.join(unique)}")),
    )
    if names:
        op.create_index(f"ix_{table}_tenant_id_day", table, ["tenant_id", "day"])
    _protect(table)


def _protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    rule = f"tenant_id = {THIS_TENANT} OR {EVERY_TENANT}"
    op.execute(f"CREATE POLICY tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


_OLD = (
    "id, created_at, tenant_id, natural_key, inbox_id, domain_id, event_type, occurred_at,"
    " message_id, recipient, recipient_domain, response_code, response, bounce_classification,"
    " record"
)


def _move() -> None:
    """Every stored row into its day, and the counts that are new."""
    day = "(occurred_at AT TIME ZONE 'UTC')::date"
    op.execute(f"SELECT make_delivery_days(array_agg(DISTINCT {day})) FROM delivery_events_before")  # noqa: S608
    op.execute(
        f"INSERT INTO delivery_events ({_OLD}, trace)"  # noqa: S608  # Our own names.
        f" SELECT {_OLD}, record->'meta'->>'x_trace' FROM delivery_events_before"
    )
    op.execute("DROP TABLE delivery_events_before")
    _count()


def _count() -> None:
    connection = op.get_bind()
    by_inbox: dict[tuple[Any, ...], Counter[str]] = {}
    by_provider: dict[tuple[Any, ...], Counter[str]] = {}
    for tenant, domain, inbox, day, row in _counted(connection):
        for name in filter(None, (row.counter, row.class_counter)):
            by_inbox.setdefault((inbox, day), Counter())[name] += 1
            key = (tenant, domain, day, str(row.provider))
            by_provider.setdefault(key, Counter())[name] += 1
    for (inbox, day), counts in by_inbox.items():
        connection.execute(
            sa.text(
                f"UPDATE inbox_days SET {', '.join(f'{name} = :{name}' for name in CLASSES)}"  # noqa: S608
                " WHERE inbox_id = :inbox AND day = :day"
            ),
            {"inbox": inbox, "day": day, **{name: counts[name] for name in CLASSES}},
        )
    now = sa.text("SELECT now()")
    for (tenant, domain, day, provider), counts in by_provider.items():
        row_ = {"id": new_id(), "tenant_id": tenant, "domain_id": domain, "day": day}
        row_ |= {"provider": provider, "created_at": connection.scalar(now)}
        row_ |= {name: counts[name] for name in COUNTS}
        connection.execute(
            sa.text(
                f"INSERT INTO provider_days ({', '.join(row_)})"  # noqa: S608
                f" VALUES ({', '.join(f':{name}' for name in row_)})"
            ),
            row_,
        )
    sums = ", ".join(f"sum({name})" for name in COUNTS)
    for table, about in (
        ("domain_days", "tenant_id, domain_id, day"),
        ("tenant_days", "tenant_id, day"),
    ):
        op.execute(
            f"INSERT INTO {table} (id, created_at, {about}, {', '.join(COUNTS)})"  # noqa: S608
            f" SELECT gen_random_uuid(), now(), {about}, {sums} FROM inbox_days GROUP BY {about}"
        )


def _counted(connection: sa.Connection) -> Iterator[tuple[Any, ...]]:
    """Tenant, domain, inbox, day and reading of each stored event that moves a counter."""
    found = connection.execute(
        sa.text(
            "SELECT tenant_id, domain_id, inbox_id, (occurred_at AT TIME ZONE 'UTC')::date,"
            " record FROM delivery_events WHERE inbox_id IS NOT NULL"
        ),
        execution_options={"yield_per": 1000},
    )
    for tenant, domain, inbox, day, record in found:
        try:
            row = records.read(record, "")
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if row is not None:
            yield tenant, domain, inbox, day, row


def downgrade() -> None:
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.rename_table("delivery_events", "delivery_events_days")
    op.execute("ALTER TABLE delivery_events_days DROP CONSTRAINT pk_delivery_events")
    for name in ("trace", "inbox_id_occurred_at", "tenant_id_occurred_at"):
        op.drop_index(f"ix_delivery_events_{name}", table_name="delivery_events_days")
    _create_events(partitioned=False)
    op.execute(
        f"INSERT INTO delivery_events ({_OLD}) SELECT {_OLD} FROM delivery_events_days"  # noqa: S608
    )
    op.execute("DROP TABLE delivery_events_days")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP SCHEMA delivery_days")
    for table in ROLL_UPS:
        op.drop_table(table)
    for name in CLASSES:
        op.drop_column("inbox_days", name)
    op.create_index(op.f("ix_inbox_days_tenant_id"), "inbox_days", ["tenant_id"])
    op.execute("ALTER TABLE inbox_days RESET (fillfactor)")
