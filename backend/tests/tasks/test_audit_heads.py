"""The ends of the audit chains, kept where the database cannot reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app import clock
from app.database import audit, heads_file
from app.database.models import AuditLog
from app.database.queries import audit as queries
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.tasks import schedule
from app.telemetry import redaction
from tests.fakes import FakeWorld

Make = Callable[..., Any]
Drain = Callable[..., list[str]]


@pytest.fixture
def kept(outside: FakeWorld, tmp_path: Path) -> Path:
    """Where this installation keeps its heads."""
    path = tmp_path / "heads.jsonl"
    platform = replace(outside.providers.platform, audit_heads_file=path)
    ports.install(replace(outside.providers, platform=platform))
    return path


def last_rows() -> dict[UUID, AuditLog]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.query(AuditLog).order_by(AuditLog.seq)
        return {row.tenant_id: row for row in rows}


def test_every_hour_the_heads_go_to_the_log_and_the_file(
    kept: Path, make_tenant: Make, drain: Drain, travel: Callable[..., None]
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        for _ in range(2):
            make_tenant(db)
    for _ in range(2):
        with transaction(tenant=ALL_TENANTS) as db:
            assert "AuditHeadsDue" in schedule.tick(db)
        with capture_logs() as logs:
            assert "monitoring.keep_audit_heads" in drain()
        heads = last_rows()
        said = [line for line in logs if line["event"] == "audit head"]
        assert {(line["tenant_id"], line["seq"], line["head"]) for line in said} == {
            (str(id_), row.seq, row.hash.hex()) for id_, row in heads.items()
        }
        # Hashes are no secret; the log's redaction lets them through.
        assert redaction.redact(None, "info", dict(said[0]))["head"] == said[0]["head"]
        with transaction(tenant=ALL_TENANTS) as db:
            for id_ in heads:
                audit.write(db, id_, "more", "tenant")
        travel(hours=1)
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 1, 2, 2]
    assert kept.stat().st_mode & 0o077 == 0
    known = heads_file.read(kept)
    assert {id_: sorted(seqs) for id_, seqs in known.items()} == {key: [1, 2] for key in heads}
    with transaction(tenant=ALL_TENANTS) as db:
        assert queries.verify(db, known) == {"chains": 2, "rows": 6, "faults": []}


def test_without_a_file_the_log_has_them(
    outside: FakeWorld, make_tenant: Make, drain: Drain
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        make_tenant(db)
        schedule.tick(db)
    with capture_logs() as logs:
        drain()
    assert [line["seq"] for line in logs if line["event"] == "audit head"] == [1]


def test_a_torn_last_line_is_left_out_and_a_strange_one_is_told(tmp_path: Path) -> None:
    path, tenant = tmp_path / "heads", UUID(int=1)
    heads_file.append(path, [(tenant, 3, b"h" * 32)], clock.now())
    with path.open("a") as file:
        file.write('{"at": "2026-')
    assert heads_file.read(path) == {tenant: {3: b"h" * 32}}
    with path.open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="Line 2"):
        heads_file.read(path)
    path.unlink()
    heads_file.append(path, [(tenant, 3, b"h" * 32), (tenant, 3, b"x" * 32)], clock.now())
    with pytest.raises(ValueError, match="contradicts"):
        heads_file.read(path)
