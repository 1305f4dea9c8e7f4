"""A database that has stopped answering is given up on, and its late answer is read by nobody."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.config import get_settings
from app.database.patience import ANSWER_SECONDS, STATEMENT_SECONDS, ImpatientConnection
from app.database.session import make_engine


class Hurried(ImpatientConnection):
    answer_seconds = 0.3


def test_a_silent_server_is_left() -> None:
    engine = make_engine(get_settings().sqlalchemy_url, Hurried)
    try:
        with engine.connect() as connection:
            began = time.monotonic()
            with pytest.raises(OperationalError, match="did not answer"):
                connection.execute(text("SELECT pg_sleep(5), 'late'"))
            assert time.monotonic() - began < 3
        # The pool gives a fresh connection, not the one whose answer is still under way.
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 'mine'")) == "mine"
    finally:
        engine.dispose()


def test_the_server_gives_up_before_we_do() -> None:
    assert STATEMENT_SECONDS < ANSWER_SECONDS
    engine = make_engine(get_settings().sqlalchemy_url)
    try:
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == f"{STATEMENT_SECONDS}s"
    finally:
        engine.dispose()
