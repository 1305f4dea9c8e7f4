"""Two upgrades at once: one waits for the other, however long that takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.fixtures import servers
from tests.fixtures.database import WAITING

BACKEND = Path(__file__).parents[2]
# What `app/database/migrations/env.py` takes so that two upgrades do not meet.
LOCK = 7_264_001


def start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=BACKEND,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def waits_for_lock(admin: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = admin.execute(WAITING).fetchone()
    return row is not None and row[0] != 0


def test_a_second_upgrade_waits_for_the_first(clean: None) -> None:
    url = servers.new_database("upgrades")
    with psycopg.connect(url, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        second = start(url)
        deadline = time.monotonic() + 30
        while not waits_for_lock(first):
            assert second.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # Longer than a table would be waited for.
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=5)
        first.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        output, _ = second.communicate(timeout=30)
    assert second.returncode == 0, output
