"""The one clock of the sandbox, which a person or a test can move forward."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path


class VirtualClock:
    """Real time plus an offset in seconds.

    The offset is kept in a small file, because the product's processes read the same file: one
    advance moves Stripe, the relay and the product together.
    """

    def __init__(self, offset_file: Path | None = None) -> None:
        self._file = offset_file
        self._offset = self._read()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self._offset, UTC)

    def timestamp(self) -> int:
        """Whole seconds since 1970, as Stripe and kumod write them."""
        return int(self.now().timestamp())

    @property
    def offset(self) -> float:
        return self._offset

    def advance(self, seconds: float) -> None:
        """Move forward; raises ValueError for a negative step, because time never runs back."""
        if seconds < 0:
            raise ValueError("The clock moves forward only: give a positive number of seconds.")
        self._offset += seconds
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # A reader must see the old number or the new one, never half of it.
            scratch = self._file.with_suffix(".new")
            scratch.write_text(f"{self._offset}\n")
            os.replace(scratch, self._file)

    def _read(self) -> float:
        if self._file is None or not self._file.exists():
            return 0.0
        return float(self._file.read_text().strip() or 0)
