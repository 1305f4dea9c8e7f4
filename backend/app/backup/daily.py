"""A backup every day, where nothing else keeps a calendar."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import time
from pathlib import Path

from app import clock
from app.backup import shelf
from app.rules import backups

RETRY_SECONDS = 600.0
_GLANCE_SECONDS = 30.0
"""The clock may be set meanwhile; the sandbox's is."""


def run(directory: Path, *, at: time, keep: int, stop: threading.Event) -> None:
    """Take and verify a dump every day at `at` (UTC) until `stop`; a failed one is tried again.

    A night that was missed is made up for at once. Raises BackupError when the directory cannot be
    read.
    """
    while _wait(directory, at, stop):
        if not _take(directory, keep, stop):
            stop.wait(RETRY_SECONDS)


def _wait(directory: Path, at: time, stop: threading.Event) -> bool:
    """Until one is due; False when it is time to leave instead."""
    while not stop.is_set():
        now = clock.now()
        left = (backups.next_due(shelf.newest(directory), at, now) - now).total_seconds()
        if left <= 0:
            return True
        stop.wait(min(left, _GLANCE_SECONDS))
    return False


def _take(directory: Path, keep: int, stop: threading.Event) -> bool:
    """In a process of its own, which gives back what it needed for the hours between."""
    command = [sys.executable, "-m", "app.cli", "ops", "backup", str(directory)]
    with subprocess.Popen(  # noqa: S603  # No shell; the words are ours.
        [*command, "--keep", str(keep), "--json"]
    ) as taking:
        while taking.poll() is None:
            if stop.wait(0.2):
                taking.terminate()
                taking.wait()
    return taking.returncode == 0
