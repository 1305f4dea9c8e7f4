"""Connections that do not wait for ever for a server that has stopped answering."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen

R = TypeVar("R")

STATEMENT_SECONDS = 8
"""`statement_timeout`: what a living server ends by itself."""

ANSWER_SECONDS = STATEMENT_SECONDS + 2.0
"""A frozen server ends nothing, and the kernel goes on acknowledging what it is sent."""


class Silence(psycopg.OperationalError):
    """The server takes what is sent and answers nothing; the connection is closed."""


class ImpatientConnection(psycopg.Connection[Any]):
    """Gives up after `answer_seconds` without an answer: raises Silence."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except errors._WaitTimeout as silence:
            # What was asked may still be answered; nobody may read that as the answer to another.
            self.pgconn.finish()
            raise _silence(self.answer_seconds) from silence


class ImpatientReader(psycopg.AsyncConnection[Any]):
    """The same for an event loop."""

    answer_seconds = ANSWER_SECONDS

    async def wait(  # The signature is psycopg's.
        self,
        gen: PQGen[R],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> R:
        try:
            return await super().wait(gen, interval, timeout or self.answer_seconds)
        except errors._WaitTimeout as silence:
            self.pgconn.finish()
            raise _silence(self.answer_seconds) from silence


def _silence(seconds: float) -> Silence:
    return Silence(f"PostgreSQL did not answer within {seconds:.0f} s.")
