"""`inboxgrove ops backup…` and `restore`: dumps that prove themselves."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.ops import AsJSON, show

if TYPE_CHECKING:
    from app.backup.manifest import Manifest
    from app.config import Settings

Directory = Annotated[Path, typer.Argument(help="Where dumps are kept; made if it is missing.")]
Dump = Annotated[Path, typer.Argument(help="A .dump file; its manifest lies beside it.")]


def backup(
    directory: Directory,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Verify it, then delete all but so many; without: delete none."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Dump the database with a manifest; work goes on meanwhile. Exit 1 when it fails.

    Runs as the owner of the schema (MIGRATION_DATABASE_URL, else DATABASE_URL). Nothing is deleted
    unless the new dump was read to its end.
    """
    from app import clock, wiring
    from app.backup import dump, shelf, tools
    from app.config import get_settings
    from app.database.models import Backup
    from app.database.session import ALL_TENANTS, transaction

    settings = get_settings()
    wiring.boot(settings)
    try:
        path, made = dump.take(
            plain(settings.owner_url),
            directory,
            now=clock.now(),
            release=settings.release,
            keys=keys_of(settings),
        )
        if keep is not None:
            dump.verify(path)
    except tools.BackupError as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None
    rows = sum(table.rows for table in made.tables.values())
    with transaction(tenant=ALL_TENANTS) as db:
        # For the metric by which somebody notices that no backup was made.
        at = datetime.fromisoformat(made.taken_at)
        db.add(Backup(created_at=at, file=path.name, bytes=made.bytes, rows=rows))
    result = _shown(path, made)
    if keep is not None:
        try:
            result["deleted"] = shelf.prune(directory, keep)
        except tools.BackupError as error:
            typer.echo(f"Taken, but old ones stay: {error}", err=True)
            raise typer.Exit(1) from None
    show(result, as_json)


def backup_daily(
    directory: Directory,
    at: Annotated[str, typer.Option(metavar="HH:MM", help="When, in UTC.")] = "02:00",
    keep: Annotated[int, typer.Option(min=1, help="How many dumps stay.")] = 14,
) -> None:
    """Stay, and take and verify a dump every day, until SIGTERM; a failed one is tried again.

    One that was missed is made up for at once. Exit 1 when the directory cannot be read.
    """
    from app import clock
    from app.backup import daily, tools
    from app.config import get_settings

    try:
        moment = datetime.strptime(at, "%H:%M").replace(tzinfo=UTC).time()
    except ValueError:
        raise typer.BadParameter("Must be a time of day, as 02:00.", param_hint="--at") from None
    clock.follow(get_settings().clock_offset_file)
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    try:
        daily.run(directory, at=moment, keep=keep, stop=stop)
    except tools.BackupError as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None


def backup_verify(dump: Dump, as_json: AsJSON = False) -> None:
    """Check a dump against its manifest and unpack it into nothing; exit 1 when it is damaged."""
    from app.backup import dump as dumps
    from app.backup import tools

    try:
        made = dumps.verify(dump)
    except tools.BackupError as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None
    show(_shown(dump, made), as_json)


def restore(
    dump: Dump,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete everything that the database holds first.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Put a dump into an empty database, compare it with its manifest, and hold the installation.

    Exit 1 when it fails, or when a table is not as it was. Nothing is bought and no money moves
    afterwards until `inboxgrove ops restored release`.
    """
    from app.backup import restore as restoring
    from app.backup import tools
    from app.config import get_settings

    settings = get_settings()
    try:
        done = restoring.restore(
            plain(settings.owner_url), dump, keys=keys_of(settings), replace=replace
        )
    except tools.BackupError as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None
    result = {
        **_shown(dump, done.manifest),
        "seconds": done.seconds,
        "differences": done.differences,
        "wrong_secrets": done.strange_keys,
    }
    show(result, as_json)
    if done.strange_keys:
        names = ", ".join(done.strange_keys)
        typer.echo(f"Set these to what they were when the dump was taken: {names}.", err=True)
    raise typer.Exit(1 if done.differences else 0)


def plain(url: str) -> str:
    """As libpq reads it, without SQLAlchemy's driver."""
    return "postgresql://" + url.partition("://")[2]


def keys_of(settings: Settings) -> dict[str, str]:
    """Fingerprints of what a restored database cannot be used without; docs/operate/backup.md."""
    from app.backup import manifest

    return manifest.fingerprints(
        {
            "ENCRYPTION_KEYS": settings.encryption_keys,
            "SECRET_KEY": [settings.secret_key.get_secret_value()],
            "KUMO_AUTH_PEPPER": [settings.kumo.auth_pepper.get_secret_value()],
            "KUMO_TRACE_KEY": [settings.kumo.trace_key.get_secret_value()],
        }
    )


def _shown(path: Path, made: Manifest) -> dict[str, Any]:
    return {
        "dump": str(path),
        "taken_at": made.taken_at,
        "release": made.release,
        "revision": made.revision,
        "bytes": made.bytes,
        "tables": len(made.tables),
        "rows": sum(table.rows for table in made.tables.values()),
        "seconds": made.seconds,
    }
