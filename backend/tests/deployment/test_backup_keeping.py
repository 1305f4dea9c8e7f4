"""Backups by themselves: `ops backup --keep`, which deletes old ones, and `ops backup-daily`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.backup import manifest, shelf, tools
from tests.deployment.test_backup import BACKEND, ops, told


def aged(dump: Path, day: str) -> Path:
    """The same dump, as if it had been taken on that day."""
    older = dump.with_name(f"inboxgrove-{day}T020000Z.dump")
    older.write_bytes(dump.read_bytes())
    written = json.loads(manifest.path_of(dump).read_text())
    written |= {"dump": older.name, "taken_at": f"{day}T02:00:00+00:00"}
    manifest.path_of(older).write_text(json.dumps(written))
    return older


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def kept(clean: None, tmp_path: Path) -> Path:
    """Three nights of long ago, a file of somebody else's, and one that was cut off."""
    directory = tmp_path / "backups"
    first = Path(told("backup", str(directory))["dump"])
    for day in ("20200101", "20200102", "20200103"):
        aged(first, day)
    first.unlink()
    manifest.path_of(first).unlink()
    (directory / "notes.txt").write_text("ours")
    (directory / "inboxgrove-20200104T020000Z.partial").write_text("cut off")
    return directory


def test_old_ones_go_when_a_new_one_was_read_to_its_end(kept: Path) -> None:
    result = told("backup", str(kept), "--keep", "2")
    new = Path(result["dump"]).name
    assert result["deleted"] == [
        "inboxgrove-20200101T020000Z.dump",
        "inboxgrove-20200102T020000Z.dump",
        "inboxgrove-20200104T020000Z.partial",
    ]
    staying = {new, "inboxgrove-20200103T020000Z.dump"}
    assert names(kept) == {
        *staying,
        *(name.replace(".dump", ".json") for name in staying),
        "notes.txt",
    }


def test_nothing_goes_without_being_told(kept: Path) -> None:
    before = names(kept)
    told("backup", str(kept))
    assert before < names(kept)


def test_a_new_one_that_is_damaged_lets_none_go_and_leaves_no_stamp(
    kept: Path, tmp_path: Path, db: Session
) -> None:
    before = names(kept)
    # A disk that gives back something else than was written, as far as a program can play one:
    # everything of PostgreSQL's is real but the reading.
    reader = tmp_path / "bin"
    reader.mkdir()
    written = json.loads((kept / "inboxgrove-20200103T020000Z.json").read_text())
    real = tools.find("pg_dump", int(written["server"].partition(".")[0]))
    (reader / "pg_dump").symlink_to(real)
    broken = reader / "pg_restore"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec ' + str(real.with_name("pg_restore")) + ' "$1"\n'
        "echo 'could not read from input file: end of file' >&2; exit 1\n"
    )
    broken.chmod(0o755)
    said = ops("backup", str(kept), "--keep", "1", PG_BIN=str(reader))
    assert said.returncode == 1
    assert "cannot be unpacked" in said.stderr
    assert before < names(kept)
    # Those are `kept`'s own, and everything is taken away between tests.
    assert db.execute(text("SELECT count(*) FROM backups")).scalar_one() == 1


def test_a_size_that_differs_is_no_backup(kept: Path) -> None:
    newest = kept / "inboxgrove-20200103T020000Z.dump"
    assert shelf.newest(kept) is not None
    newest.write_bytes(newest.read_bytes()[:-1])
    found = shelf.newest(kept)
    assert found is not None
    assert f"{found:%Y%m%d}" == "20200102"


@pytest.fixture
def daily(kept: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "app.cli", "ops", "backup-daily", str(kept)]
    process = subprocess.Popen(
        [*command, "--at", "02:00", "--keep", "1"],
        cwd=BACKEND,
        env=dict(os.environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def test_missed_nights_are_made_up_for_and_sigterm_ends_it(
    daily: subprocess.Popen[str], kept: Path
) -> None:
    assert daily.stdout is not None
    result = json.loads(daily.stdout.readline())
    assert len(result["deleted"]) == 4
    daily.send_signal(signal.SIGTERM)
    assert daily.wait(timeout=60) == 0
    assert {name for name in names(kept) if name.endswith(".dump")} == {Path(result["dump"]).name}


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", "backup-daily", str(tmp_path), "--at", "2 am"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert said.returncode == 2
