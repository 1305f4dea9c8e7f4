"""The only clock. Business time is asked here and nowhere else."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

_offset_file: Path | None = None
_seen: tuple[tuple[int, int], float] = ((0, 0), 0.0)


def follow(offset_file: Path | None) -> None:
    """Add the seconds written in `offset_file` to real time; None goes back to real time.

    Outside production the sandbox moves this file, so that day 8 is reached in a second and every
    process sees the same day. Settings refuse the file in production.
    """
    global _offset_file, _seen
    _offset_file, _seen = offset_file, ((0, 0), 0.0)


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.fromtimestamp(time.time() + _offset(), UTC)


def ahead() -> float:
    """Seconds by which the product's time is ahead of real time: 0 in production."""
    return _offset()


def _offset() -> float:
    global _seen
    if _offset_file is None:
        return 0.0
    try:
        found = os.stat(_offset_file)
    except FileNotFoundError:
        return 0.0
    # Times of files are some milliseconds coarse; a file that took another's place is another.
    version = (found.st_mtime_ns, found.st_ino)
    if version != _seen[0]:
        _seen = (version, float(_offset_file.read_text().strip() or 0))
    return _seen[1]
