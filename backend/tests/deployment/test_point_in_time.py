"""Recovery to a point in time, with the very settings and programs of docs/operate/backup.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.embedded import EmbeddedPostgres
from app.embedded.postgres import find_binaries
from app.services import restored_mode

SETTINGS = {
    "archive_mode": "on",
    "archive_command": "test ! -f {archive}/%f && cp %p {archive}/%f",
    "archive_timeout": "1min",
}


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster that archives its log of changes."""
    (tmp_path / "wal").mkdir()
    server = EmbeddedPostgres(tmp_path / "first", port=0)
    with server:
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            for name, value in SETTINGS.items():
                admin.execute(
                    f"ALTER SYSTEM SET {name} = '{value.format(archive=tmp_path / 'wal')}'"
                )
        server.stop()
        server.start()
        yield server


def base_backup(server: EmbeddedPostgres, into: Path) -> None:
    subprocess.run(
        [str(find_binaries() / "pg_basebackup"), f"--dbname={server.admin_url}",
         f"--pgdata={into}", "--checkpoint=fast", "--wal-method=stream"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def recovered(archive: Path, base: Path, folder: Path, target: str) -> EmbeddedPostgres:
    """The cluster of a base backup, as it was at `target`."""
    shutil.copytree(base, folder / "cluster")
    shutil.copy(base.parent / "first" / "passwords.json", folder)
    cluster = folder / "cluster"
    os.chmod(cluster, 0o700)
    with (cluster / "postgresql.auto.conf").open("a") as file:
        file.write(
            f"restore_command = 'cp {archive}/%f %p'\n"
            f"recovery_target_time = '{target}'\n"
            "recovery_target_action = 'promote'\n"
        )
    (cluster / "recovery.signal").touch()
    return EmbeddedPostgres(folder, port=0, fast=True)


@pytest.mark.slow
def test_a_cluster_comes_back_as_it_was_at_a_moment(
    archived: EmbeddedPostgres, tmp_path: Path
) -> None:
    with psycopg.connect(archived.url, autocommit=True) as db:
        db.execute("CREATE TABLE things (name text)")
        before = db.execute(restored_mode.CLUSTER).fetchone()
    base_backup(archived, tmp_path / "base")
    with psycopg.connect(archived.url, autocommit=True) as db:
        db.execute("INSERT INTO things VALUES ('kept')")
        row = db.execute("SELECT clock_timestamp()::text").fetchone()
        db.execute("INSERT INTO things VALUES ('lost')")
    with psycopg.connect(archived.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_switch_wal()")
    assert row is not None
    archived.stop()  # The last segment is archived as it ends.
    with recovered(tmp_path / "wal", tmp_path / "base", tmp_path / "second", row[0]) as server:
        deadline = time.monotonic() + 30
        with psycopg.connect(server.url, autocommit=True) as db:
            while db.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert db.execute("SELECT name FROM things").fetchall() == [("kept",)]
            after = db.execute(restored_mode.CLUSTER).fetchone()
    # The same system on another timeline: the product takes it for restored, and holds.
    assert before is not None
    assert after is not None
    assert before[0].partition(":")[0] == after[0].partition(":")[0]
    assert before[0] != after[0]
