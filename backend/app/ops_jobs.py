"""`inboxgrove ops jobs`: what comes round by the calendar, and whether it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.orm import Session

LATE_SECONDS = 120.0
"""Beat ticks every five seconds; work that begins so much later has nobody who begins it."""


def jobs(as_json: AsJSON = False) -> None:
    """Scheduled work: last and next run, lag, failures; exit 1 when one is late or given up.

    Times are UTC. `pending` are jobs still to be done, `retrying` those of them that failed once.
    """
    from app.database.queries import schedules
    from app.tasks import routing, schedule

    def look(db: Session) -> dict[str, Any]:
        return {
            "jobs": [
                {
                    "name": row.name,
                    "tasks": list(routing.ROUTES[row.name]),
                    "every_seconds": row.every.total_seconds(),
                    "last_run": _moment(row.last_run),
                    "next_run": _moment(row.next_run),
                    "lag_seconds": round(row.lag_seconds, 1),
                    "last_done": _moment(row.last_done),
                    "pending": row.pending,
                    "retrying": row.retrying,
                    "dead": row.dead,
                    "last_error": row.last_error,
                }
                for row in schedules.report(db, schedule.PERIODS)
            ]
        }

    result = do(look)
    if as_json:
        show(result, as_json)
    else:
        _print(result["jobs"], schedule.PERIODS)
    wrong = [row for row in result["jobs"] if row["dead"] or row["lag_seconds"] > LATE_SECONDS]
    raise typer.Exit(1 if wrong else 0)


def _print(rows: list[dict[str, Any]], periods: dict[str, timedelta]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("work", "every", "last run", "next run", "last done"):
        table.add_column(title, no_wrap=True)
    for title in ("lag", "pending", "retrying", "dead"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        late = row["lag_seconds"] > LATE_SECONDS or row["dead"]
        table.add_row(
            row["name"],
            str(periods[row["name"]]),
            *((row[key] or "never")[:19] for key in ("last_run", "next_run", "last_done")),
            f"{row['lag_seconds']:.0f} s",
            *(str(row[key]) for key in ("pending", "retrying", "dead")),
            style="red" if late else None,
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for row in rows:
        if row["last_error"]:
            console.print(f"{row['name']}: {row['last_error']}", markup=False)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
