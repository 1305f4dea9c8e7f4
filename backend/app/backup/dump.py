"""Taking a backup, and checking one without restoring it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from app.backup import manifest as manifests
from app.backup import tools
from app.backup.manifest import Manifest
from app.backup.tools import BackupError


def take(
    url: str, directory: Path, *, now: datetime, release: str, keys: Mapping[str, str]
) -> tuple[Path, Manifest]:
    """Dump the database of `url` (its owner's) into `directory`; the dump's path, its manifest.

    Counts, checksums and dump are of one snapshot, so work goes on meanwhile. The manifest is
    written last: a dump without one was not finished. Raises BackupError.
    """
    began = time.monotonic()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    dump = directory / f"inboxgrove-{now:%Y%m%dT%H%M%SZ}.dump"
    if dump.exists():
        raise BackupError(f"{dump} exists already.")
    draft = dump.with_suffix(".partial")
    try:
        with psycopg.connect(url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            manifests.plainly(connection)
            revision = _revision(connection)
            snapshot = _value(connection, "SELECT pg_export_snapshot()")
            version = connection.info.server_version
            _private(draft)
            tools.run(
                tools.find("pg_dump", version // 10_000),
                [
                    "--format=custom",
                    "--enable-row-security",
                    f"--snapshot={snapshot}",
                    f"--file={draft}",
                ],
                url,
            )
            tables = manifests.tables_of(connection)
        _sync(draft)
        made = Manifest(
            taken_at=now.isoformat(),
            release=release,
            revision=revision,
            server=f"{version // 10_000}.{version % 10_000}",
            dump=dump.name,
            bytes=draft.stat().st_size,
            sha256=manifests.digest(draft),
            seconds=round(time.monotonic() - began, 3),
            keys=dict(keys),
            tables=tables,
        )
        draft.rename(dump)
    except (OSError, psycopg.Error) as error:
        raise BackupError(f"The backup was not made: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    manifests.path_of(dump).touch(mode=0o600)
    made.write(manifests.path_of(dump))
    _sync(manifests.path_of(dump))
    return dump, made


def verify(dump: Path) -> Manifest:
    """Check a dump against its manifest, and that it can be read to its end. Raises BackupError."""
    made = Manifest.read(manifests.path_of(dump))
    try:
        size = dump.stat().st_size
        same = size == made.bytes and manifests.digest(dump) == made.sha256
    except OSError as error:
        raise BackupError(f"The dump cannot be read: {error}") from error
    if not same:
        raise BackupError(f"{dump} is not the file that was dumped: {size} bytes of {made.bytes}.")
    program = tools.find("pg_restore", int(made.server.partition(".")[0]))
    # Unpacked to the last byte, into nothing.
    read = subprocess.run(  # noqa: S603  # No shell; the arguments are ours.
        [str(program), f"--file={os.devnull}", str(dump)],
        capture_output=True,
        text=True,
        check=False,
    )
    if read.returncode != 0:
        raise BackupError(f"{dump} cannot be unpacked: {read.stderr.strip()[-1000:]}")
    return made


def _revision(connection: psycopg.Connection[Any]) -> str:
    if _value(connection, "SELECT to_regclass('public.alembic_version')::text") == "None":
        raise BackupError("This database has no schema yet; there is nothing to back up.")
    return _value(connection, "SELECT version_num FROM public.alembic_version")


def _value(connection: psycopg.Connection[Any], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return "None" if row is None else str(row[0])


def _private(path: Path) -> None:
    """An empty file that nobody else may read: the dump holds people's addresses."""
    os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
