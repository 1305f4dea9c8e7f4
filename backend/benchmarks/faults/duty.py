"""Whether what was accepted is done: asked of the database, the mailboxes and the invariants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import psycopg

from benchmarks.faults.load import Accepted
from benchmarks.faults.stack import BACKEND, Stack


class Duty:
    def __init__(self, stack: Stack, database_url: str) -> None:
        """`database_url`: a superuser's, past the proxies."""
        self._stack, self._url = stack, database_url
        self._mail = httpx.Client(base_url=stack.endpoint("sandbox"), timeout=30, trust_env=False)

    def undone(self, accepted: Accepted, tag: str = "") -> list[str]:
        """What was accepted and is not done (yet), a line each."""
        with psycopg.connect(self._url) as db:
            active = _column(
                db,
                "SELECT full_email FROM inboxes WHERE full_email = ANY(%s) AND status = 'active'",
                accepted.inboxes,
            )
            bought = _column(
                db,
                "SELECT id::text FROM domains WHERE id::text = ANY(%s) AND status = 'active'",
                accepted.domains,
            )
            found = db.execute(
                "SELECT id::text, status FROM inboxes WHERE id::text = ANY(%s)",
                [list(accepted.statuses)],
            ).fetchall()
            dead = _column(db, "SELECT task FROM jobs WHERE state = ANY(%s)", ["dead"])
        arrived = self._arrived(tag)
        return [
            *(f"inbox {one}" for one in accepted.inboxes if one not in active),
            *(f"domain {one}" for one in accepted.domains if one not in bought),
            *(f"mail {one}" for one in accepted.mails if one not in arrived),
            *(f"inbox {one} is {is_}" for one, is_ in found if is_ not in accepted.statuses[one]),
            *(f"dead job {task}" for task in dead),
        ]

    def broken(self) -> list[str]:
        """Names of invariants that do not hold."""
        told = subprocess.run(
            [sys.executable, "-m", "app.cli", "ops", "invariants", "--json"],
            cwd=BACKEND,
            env={**os.environ, **self._stack.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if not told.stdout.strip():
            return [f"cannot be asked: {told.stderr[-300:]}"]
        found: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
        return [f"{name}: {ids}" for name, ids in found.items() if ids]

    def _arrived(self, tag: str) -> set[str]:
        wanted = {"subject": f"mail {tag} ", "limit": 1000}
        answer = self._mail.get("/mail/messages", params=wanted)
        answer.raise_for_status()
        return {mail["subject"] for mail in answer.json()["messages"]}


def _column(db: psycopg.Connection[Any], query: str, values: list[str]) -> set[str]:
    return {row[0] for row in db.execute(query, [values])}  # type: ignore[call-overload]
