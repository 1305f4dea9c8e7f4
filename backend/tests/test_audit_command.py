"""`inboxgrove ops audit-verify`: what an operator or an auditor runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app import clock
from app.database import audit, heads_file
from app.database.models import new_id
from app.database.queries import audit as queries
from app.database.session import ALL_TENANTS, transaction

BACKEND = Path(__file__).resolve().parents[1]


def verify(*words: str) -> tuple[int, dict[str, Any]]:
    said = subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", "audit-verify", *words, "--json"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=dict(os.environ),
    )
    assert said.stdout or said.returncode == 2, said.stderr
    return said.returncode, json.loads(said.stdout or "{}")


@pytest.fixture
def chains(make_tenant: Callable[..., Any]) -> tuple[UUID, UUID]:
    """Two tenants with chains of five rows."""
    with transaction(tenant=ALL_TENANTS) as db:
        first, second = make_tenant(db).id, make_tenant(db).id
        for tenant in (first, second):
            audit.write_many(db, tenant, "step", "thing", [new_id() for _ in range(4)])
    return first, second


def tamper(owner: Engine, sql: str, tenant: UUID) -> None:
    with owner.begin() as connection:
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        assert connection.execute(text(sql), {"tenant": tenant}).rowcount


def test_orderly_chains(chains: tuple[UUID, UUID]) -> None:
    assert verify() == (0, {"chains": 2, "rows": 10, "faults": []})
    assert verify("--tenant", str(chains[0])) == (0, {"chains": 1, "rows": 5, "faults": []})


def test_it_names_tenant_and_row(chains: tuple[UUID, UUID], owner: Engine) -> None:
    first, second = chains
    tamper(owner, "UPDATE audit_logs SET action = 'x' WHERE tenant_id = :tenant AND seq = 4", first)
    code, told = verify()
    assert code == 1
    assert told["faults"] == [{"tenant_id": str(first), "seq": 4, "kind": "altered", "until": None}]
    assert verify("--tenant", str(second))[0] == 0
    assert verify("--tenant", str(first))[0] == 1


def test_a_cut_end_is_found_with_the_heads(
    chains: tuple[UUID, UUID], owner: Engine, tmp_path: Path
) -> None:
    first, second = chains
    path = tmp_path / "heads.jsonl"
    with transaction(tenant=ALL_TENANTS) as db:
        heads_file.append(
            path, [(h.tenant_id, h.seq, h.hash) for h in queries.heads(db)], clock.now()
        )
    assert verify("--heads", str(path))[0] == 0
    tamper(owner, "DELETE FROM audit_logs WHERE tenant_id = :tenant AND seq > 3", first)
    assert verify()[0] == 0
    code, told = verify("--heads", str(path))
    assert code == 1
    assert told["faults"] == [{"tenant_id": str(first), "seq": 4, "kind": "cut", "until": 5}]
    assert verify("--heads", str(path), "--tenant", str(second))[0] == 0
    assert verify("--heads", str(tmp_path / "absent"))[0] == 2
