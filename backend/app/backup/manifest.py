"""What a backup holds: enough to prove that a restored database is equal to the one dumped."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.sql import SQL, Identifier

from app.backup.tools import BackupError

FORMAT = 1
_CHUNK = 1 << 20

# Text of a row must not depend on whose connection reads it.
_PLAIN = (
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL statement_timeout = 0",
    # pg_dump may take an hour on the snapshot that this transaction keeps for it.
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SELECT set_config('app.tenant', '*', true)",
)


@dataclass(frozen=True)
class Table:
    rows: int
    checksum: str
    """Sum over all rows of 64 bits of the MD5 of the row's text: the order does not matter."""


@dataclass(frozen=True)
class Manifest:
    """Beside each dump, as JSON."""

    taken_at: str
    """The instant whose rows the dump holds, ISO 8601 UTC."""
    release: str
    """Of the product that took it."""
    revision: str
    """Of the schema."""
    server: str
    """PostgreSQL's version."""
    dump: str
    """Name of the file."""
    bytes: int
    sha256: str
    """Of the file."""
    seconds: float
    keys: dict[str, str]
    """Fingerprints of the secrets without which the restored database cannot be used."""
    tables: dict[str, Table]
    format: int = FORMAT

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises BackupError for one that is missing or is none."""
        try:
            told: dict[str, Any] = json.loads(path.read_text())
            told["tables"] = {name: Table(**table) for name, table in told["tables"].items()}
            manifest = cls(**{field.name: told[field.name] for field in fields(cls)})
        except OSError as error:
            raise BackupError(f"The manifest cannot be read: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackupError(f"{path} is no manifest of a backup: {error!r}") from error
        if manifest.format != FORMAT:
            raise BackupError(f"{path} has format {manifest.format}; this release reads {FORMAT}.")
        return manifest


def path_of(dump: Path) -> Path:
    return dump.with_suffix(".json")


def plainly(connection: psycopg.Connection[Any]) -> None:
    """Settings of the open transaction under which equal rows have equal text."""
    for statement in _PLAIN:
        connection.execute(statement)


def tables_of(connection: psycopg.Connection[Any]) -> dict[str, Table]:
    """Every table with its rows counted and summed; expects `plainly` before."""
    found = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2"
    ).fetchall()
    return {f"{schema}.{name}": _table(connection, schema, name) for schema, name in found}


def _table(connection: psycopg.Connection[Any], schema: str, name: str) -> Table:
    row = connection.execute(
        SQL(
            "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint), 0)"
            " FROM {} t"
        ).format(Identifier(schema, name))
    ).fetchone()
    if row is None:
        raise BackupError(f"{schema}.{name} cannot be counted.")
    return Table(int(row[0]), str(row[1]))


def differences(wanted: Mapping[str, Table], found: Mapping[str, Table]) -> list[str]:
    """Sentences about each table that is not as it was."""
    wrong = []
    for name in sorted(wanted.keys() | found.keys()):
        before, after = wanted.get(name), found.get(name)
        if before is None:
            wrong.append(f"{name} was not in the dump")
        elif after is None:
            wrong.append(f"{name} is missing")
        elif before.rows != after.rows:
            wrong.append(f"{name} has {after.rows} rows, and had {before.rows}")
        elif before.checksum != after.checksum:
            wrong.append(f"{name} has other rows than it had, though as many")
    return wrong


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def fingerprints(secrets: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Twelve hex digits by which a secret is recognised and from which it cannot be made."""
    return {
        name: ",".join(
            hmac.new(value.encode(), b"inboxgrove backup", hashlib.sha256).hexdigest()[:12]
            for value in values
        )
        for name, values in secrets.items()
    }


def strangers(manifest: Manifest, keys: Mapping[str, str]) -> list[str]:
    """Names of secrets of the dump that are not set here; more than it had is well."""
    return sorted(
        name
        for name, prints in manifest.keys.items()
        if not set(prints.split(",")) <= set(keys.get(name, "").split(","))
    )
