"""`inboxgrove ops backup`, `backup-verify` and `restore`, on a real cluster."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.backup import tools
from tests.fixtures import servers

BACKEND = Path(__file__).resolve().parents[2]
NAMES = ["a-mail.com", "b-mail.com"]


def ops(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", *words, "--json"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", **env},
    )


def told(*words: str, **env: str) -> dict[str, Any]:
    said = ops(*words, **env)
    assert said.returncode == 0, said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def owned_database(name: str) -> str:
    """The URL of an empty database of the app's own user, who is no superuser."""
    admin = servers.new_database(name)
    database = admin.rpartition("/")[2]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database}" OWNER TO inboxgrove')
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{database}"


@pytest.fixture
def filled(make_tenant: Callable[..., Any], make_domain: Callable[..., Any]) -> None:
    """Two tenants: row-level security would hide one from the other."""
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        for name in NAMES:
            make_domain(db, make_tenant(db), name=name)


@pytest.fixture
def dump(filled: None, tmp_path: Path) -> Path:
    return Path(told("backup", str(tmp_path / "backups"))["dump"])


def names_in(url: str) -> list[str]:
    with psycopg.connect(servers.admin_url_of(url)) as connection:
        return [row[0] for row in connection.execute("SELECT domain_name FROM domains ORDER BY 1")]


def test_a_restored_database_holds_what_the_dump_says(dump: Path) -> None:
    url = owned_database("restored")
    result = told("restore", str(dump), DATABASE_URL=url)
    assert (result["differences"], result["wrong_secrets"]) == ([], [])
    assert names_in(url) == NAMES
    with psycopg.connect(servers.admin_url_of(url)) as connection:
        counted = connection.execute("SELECT count(*) FROM tenants").fetchone()
        grants = connection.execute(
            "SELECT has_table_privilege('inboxgrove_app', 'domains', 'SELECT'),"
            " has_table_privilege('inboxgrove_app', 'audit_logs', 'UPDATE')"
        ).fetchone()
        secured = connection.execute(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'public.domains'::regclass"
        ).fetchone()
    # Every tenant's rows were dumped, although the owner sees none without saying whose.
    manifest = json.loads(dump.with_suffix(".json").read_text())
    assert counted == (manifest["tables"]["public.tenants"]["rows"],)
    assert manifest["tables"]["public.domains"]["rows"] == 2
    assert grants == (True, False)
    assert secured == (True, True)


def test_a_restored_database_is_held(dump: Path) -> None:
    url = owned_database("held")
    told("restore", str(dump), DATABASE_URL=url)
    with psycopg.connect(servers.admin_url_of(url)) as connection:
        (row,) = connection.execute("SELECT released_at, data_until FROM restorations").fetchall()
    assert row[0] is None
    assert row[1].isoformat() == json.loads(dump.with_suffix(".json").read_text())["taken_at"]


def test_a_database_that_holds_something_is_kept_unless_told(dump: Path) -> None:
    url = owned_database("full")
    told("restore", str(dump), DATABASE_URL=url)
    with psycopg.connect(servers.admin_url_of(url)) as connection:
        connection.execute(
            "UPDATE domains SET domain_name = 'later.com' WHERE domain_name = %s", NAMES[:1]
        )
    refused = ops("restore", str(dump), DATABASE_URL=url)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert "later.com" in names_in(url)
    told("restore", str(dump), "--replace", DATABASE_URL=url)
    assert names_in(url) == NAMES


def test_nobody_may_be_connected_meanwhile(dump: Path) -> None:
    url = owned_database("busy")
    with psycopg.connect(servers.admin_url_of(url)):
        refused = ops("restore", str(dump), DATABASE_URL=url)
    assert refused.returncode == 1
    assert "other connections" in refused.stderr


def test_a_long_dump_outlives_the_servers_patience(dump: Path, tmp_path: Path) -> None:
    url = owned_database("patient")
    told("restore", str(dump), DATABASE_URL=url)
    with psycopg.connect(servers.admin_url_of(url), autocommit=True) as connection:
        name, major = url.rpartition("/")[2], connection.info.server_version // 10_000
        connection.execute(
            f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 700'  # ms
        )
    slow = tmp_path / "bin" / "pg_dump"
    slow.parent.mkdir()
    real = tools.find("pg_dump", major)
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] || sleep 1.5\nexec {real} "$@"\n')
    slow.chmod(0o755)
    again = str(tmp_path / "again")
    assert told("backup", again, DATABASE_URL=url, PG_BIN=str(slow.parent))["rows"] > 0


def test_a_damaged_dump_is_told_of_and_not_restored(dump: Path) -> None:
    assert told("backup-verify", str(dump))["rows"] > 0
    held = bytearray(dump.read_bytes())
    held[len(held) // 2] ^= 1
    dump.write_bytes(held)
    for command in ("backup-verify", "restore"):
        said = ops(command, str(dump), DATABASE_URL=owned_database("damaged"))
        assert said.returncode == 1
        assert "is not the file that was dumped" in said.stderr


def test_a_row_that_is_not_as_it_was_is_found(dump: Path) -> None:
    manifest = dump.with_suffix(".json")
    written = json.loads(manifest.read_text())
    written["tables"]["public.domains"]["checksum"] = "1"
    written["tables"]["public.tenants"]["rows"] += 1
    manifest.write_text(json.dumps(written))
    said = ops("restore", str(dump), DATABASE_URL=owned_database("differs"))
    assert said.returncode == 1
    more = written["tables"]["public.tenants"]["rows"]
    assert json.loads(said.stdout)["differences"] == [
        "public.domains has other rows than it had, though as many",
        f"public.tenants has {more - 1} rows, and had {more}",
    ]


def test_a_secret_that_is_another_is_named(dump: Path) -> None:
    url = owned_database("keys")
    said = ops("restore", str(dump), DATABASE_URL=url, KUMO_AUTH_PEPPER="x" * 40)
    assert json.loads(said.stdout)["wrong_secrets"] == ["KUMO_AUTH_PEPPER"]
    assert "KUMO_AUTH_PEPPER" in said.stderr


def test_files_are_for_their_owner_only_and_hold_no_secret(dump: Path) -> None:
    for path in (dump, dump.with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.environ["DATABASE_URL"].split(":")[2].split("@")[0] not in (
        dump.with_suffix(".json").read_text()
    )


def test_a_backup_leaves_a_stamp(dump: Path, db: Session) -> None:
    row = db.execute(text("SELECT file, bytes FROM backups")).one()
    assert tuple(row) == (dump.name, dump.stat().st_size)


def test_an_older_program_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (40, 41, 43):
        folder = tmp_path / str(version)
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.1'\n")
        program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "43"), str(tmp_path / "40"), str(tmp_path / "41")])
    monkeypatch.setenv("PATH", path)
    assert tools.find("pg_dump", 41) == tmp_path / "41" / "pg_dump"
    assert tools.find("pg_dump", 42) == tmp_path / "43" / "pg_dump"
    monkeypatch.setenv("PG_BIN", str(tmp_path / "40"))
    assert tools.find("pg_dump", 40) == tmp_path / "40" / "pg_dump"
    with pytest.raises(tools.BackupError, match="postgresql-client-41"):
        tools.find("pg_dump", 41)


def test_the_drill_restores_into_a_cluster_of_its_own(dump: Path) -> None:
    said = subprocess.run(
        [sys.executable, str(BACKEND / "scripts/restore-drill"), str(dump)],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "held: True, audit chains whole: True" in said.stdout
