"""`inboxgrove ops replay-events FILE…`: stores what the log files of a node hold.

For events that never arrived: a node whose spool was lost, records that were put aside as dead
letters. What is stored already is told by its natural key and changes nothing.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
import zstandard

from app.ops import AsJSON, do, show
from app.rules import records

BATCH: Final = 5_000
"""Records in one transaction."""

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SHOWN: Final = 20
"""Faults that are told one by one."""

Files = Annotated[
    list[Path],
    typer.Argument(
        help="Log segments of kumod (JSON lines, zstd or plain), or ig-dead-letters.jsonl.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]


@dataclass
class _Tally:
    records: int = 0
    """Lines that are records of the kinds that are kept."""
    stored: int = 0
    out_of_range: int = 0
    ignored: int = 0
    """About no tenant, or of a kind that is not kept."""
    unreadable: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, where: str, why: object) -> None:
        self.unreadable += 1
        if len(self.faults) < _SHOWN:
            self.faults.append(f"{where}: {why}")

    def result(self) -> dict[str, Any]:
        known = self.records - self.stored - self.out_of_range
        return {
            "records": self.records,
            "stored": self.stored,
            "repeated": known,
            "out_of_range": self.out_of_range,
            "ignored": self.ignored,
            "unreadable": self.unreadable,
            "faults": self.faults,
        }


def replay_events(files: Files, as_json: AsJSON = False) -> None:
    """Store what log files of the relay hold, each record once; exit 1 if a line cannot be read."""
    import psycopg
    from rich.console import Console
    from rich.progress import Progress

    from app import wiring

    wiring.boot()
    tally = _Tally()
    console = Console(stderr=True, quiet=as_json)
    with Progress(console=console) as bar:
        whole = bar.add_task("replayed", total=sum(path.stat().st_size for path in files))
        rows = _rows(files, tally, lambda read: bar.update(whole, advance=read))
        try:
            asyncio.run(_store(rows, tally))
        except psycopg.Error as error:
            typer.echo(f"Not done: {error} Replay the same files again.", err=True)
            raise typer.Exit(1) from None
    if tally.stored:
        do(lambda db: _put_down(tally, db))
    show(tally.result(), as_json)
    raise typer.Exit(1 if tally.unreadable else 0)


async def _store(rows: Iterator[records.EventRow], tally: _Tally) -> None:
    from app.config import get_settings
    from app.database.queries import ingest
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services.abuse_service import AbuseService

    keep = ports.current().platform.keep_events
    async with ingest.open_pool(get_settings().psycopg_url, size=1) as pool:
        while batch := list(islice(rows, BATCH)):
            outcome = await ingest.store(pool, batch, keep)
            tally.stored += outcome.stored
            tally.out_of_range += outcome.out_of_range
            reports = [row for row in batch if AbuseService.concerns(row)]
            if reports:
                with transaction(tenant=ALL_TENANTS) as db:
                    AbuseService.take_in(reports, db)


def _put_down(tally: _Tally, db: Any) -> dict[str, Any]:
    from app.database import operator_trail

    operator_trail.write(
        db, "events_replayed", "delivery_events", None, {"stored": [0, tally.stored]}
    )
    return {}


def _rows(
    files: list[Path], tally: _Tally, progress: Callable[[int], object]
) -> Iterator[records.EventRow]:
    for path in files:
        for number, line in enumerate(_lines(path, tally, progress), 1):
            try:
                row = _row(orjson.loads(line))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                tally.fault(f"{path}:{number}", error)
                continue
            if row is None:
                tally.ignored += 1
            else:
                tally.records += 1
                yield row


def _row(line: dict[str, Any]) -> records.EventRow | None:
    if "item" in line:
        # A dead letter is what the log hook sent, and already in its form.
        return records.read(line["item"]["record"], str(line["item"].get("node") or ""))
    record = records.from_log_file(line)
    return None if record is None else records.read(record, "")


def _lines(path: Path, tally: _Tally, progress: Callable[[int], object]) -> Iterator[bytes]:
    """The lines of a segment; one that a crash cut short is read as far as it goes."""
    told = 0
    with path.open("rb") as raw:
        packed = raw.read(len(_ZSTD)) == _ZSTD
        raw.seek(0)
        text: io.BufferedIOBase | io.BufferedReader = raw
        if packed:
            # Segments that were joined are a row of frames.
            unpacked = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            text = io.BufferedReader(unpacked)
        try:
            for line in text:
                progress(raw.tell() - told)
                told = raw.tell()
                if line.strip():
                    yield line
        except zstandard.ZstdError as error:
            tally.fault(str(path), error)
        progress(raw.tell() - told)
