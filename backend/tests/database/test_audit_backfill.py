"""Rows that were written before there were chains are chained by the migration, in their order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg

from app.rules import audit_chain
from tests.fixtures import servers

BACKEND = Path(__file__).parents[2]

ROWS = """
INSERT INTO tenants (id, company_name, company_email, subscription_tier, subscription_status,
    cancel_at_period_end, trial_started_at, trial_ends_at, trial_inbox_limit, trial_domain_limit,
    trial_converted, is_suspended, domains_count, inboxes_count, created_at, updated_at)
SELECT ('00000000-0000-0000-0000-00000000000' || t)::uuid, 'c', 'c@c.test', 'starter', 'trialing',
    false, now(), now(), 5, 1, false, false, 0, 0, now(), now() FROM generate_series(1, 2) t;
INSERT INTO audit_logs (id, tenant_id, action, resource_type, actor_type, changes, created_at)
SELECT gen_random_uuid(), t.id, 'step_' || n, 'thing', 'system',
    jsonb_build_object('é', jsonb_build_array(null, n)), now() - n * interval '1 minute'
FROM tenants t, generate_series(1, 5) n;
"""


def migrate(url: str, revision: str) -> None:
    way = "downgrade" if revision == "0007" else "upgrade"
    subprocess.run(
        [sys.executable, "-m", "alembic", way, revision],
        cwd=BACKEND,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url},
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_old_rows_are_chained_in_the_order_of_their_time(clean: None) -> None:
    url = servers.new_database("backfill")
    migrate(url, "head")
    migrate(url, "0007")
    with psycopg.connect(url) as admin:
        admin.execute(ROWS)
    migrate(url, "head")
    names = (*audit_chain.FIELDS, "previous_hash", "hash")
    with psycopg.connect(url) as admin:
        found = admin.execute(
            f"SELECT {', '.join(names)} FROM audit_logs ORDER BY tenant_id, seq"
        ).fetchall()
        (nullable,) = admin.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'audit_logs'"
            " AND column_name IN ('seq', 'previous_hash', 'hash') AND is_nullable = 'YES'"
        ).fetchone() or (None,)
    rows = [
        audit_chain.Sealed(
            audit_chain.Row(**dict(zip(audit_chain.FIELDS, fields, strict=True))), before, hash_
        )
        for *fields, before, hash_ in found
    ]
    assert [row.row.action for row in rows] == [f"step_{n}" for n in (5, 4, 3, 2, 1)] * 2
    assert list(audit_chain.faults(rows)) == []
    assert nullable == 0
