"""The directory in which dumps are kept: which are there, and taking old ones away."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from app.backup import manifest as manifests
from app.backup.manifest import Manifest
from app.backup.tools import BackupError
from app.rules import backups

# Nothing of another name is ours: it is neither counted nor deleted.
_NAME = re.compile(r"inboxgrove-(\d{8}T\d{6}Z)\.(dump|partial)")


def dumps(directory: Path) -> list[backups.Dump]:
    """What lies there, unfinished ones too. Raises BackupError when it cannot be read."""
    try:
        return [
            backups.Dump(path.name, taken_at, whole=_whole(path))
            for path in directory.iterdir()
            if (taken_at := _taken_at(path)) is not None
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BackupError(f"The directory cannot be read: {error}") from error


def newest(directory: Path) -> datetime | None:
    return max((dump.taken_at for dump in dumps(directory) if dump.whole), default=None)


def prune(directory: Path, keep: int) -> list[str]:
    """Delete all but the newest `keep` whole dumps; the names of those deleted.

    Raises BackupError when one cannot be deleted.
    """
    names = backups.superfluous(dumps(directory), keep)
    for name in names:
        path = directory / name
        try:
            # The dump goes first: a manifest alone is never taken for a backup.
            path.unlink(missing_ok=True)
            if path.suffix == ".dump":
                manifests.path_of(path).unlink(missing_ok=True)
        except OSError as error:
            raise BackupError(f"{path} cannot be deleted: {error}") from error
    return names


def _taken_at(path: Path) -> datetime | None:
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    try:
        return datetime.strptime(found.group(1), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _whole(path: Path) -> bool:
    """By its size, which costs nothing; `ops backup-verify` reads it to its end."""
    if path.suffix != ".dump":
        return False
    try:
        return path.stat().st_size == Manifest.read(manifests.path_of(path)).bytes
    except (OSError, BackupError):
        return False
