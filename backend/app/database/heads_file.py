"""Heads of audit chains in a file outside the database, one JSON object a line.

The file is only ever appended to. Kept where whoever owns the database cannot write, it shows when
the end of a chain was cut off or a chain was written anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID


def append(path: Path, heads: Iterable[tuple[UUID, int, bytes]], now: datetime) -> None:
    """Add (tenant, seq, hash) of each chain, on disk when this returns. Raises OSError."""
    lines = [
        json.dumps(
            {
                "at": now.isoformat(),
                "tenant_id": str(tenant_id),
                "seq": seq,
                "hash": hash_.hex(),
            }
        )
        for tenant_id, seq, hash_ in heads
    ]
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as out:
        out.writelines(f"{line}\n" for line in lines)
        out.flush()
        os.fsync(out.fileno())


def read(path: Path) -> dict[UUID, dict[int, bytes]]:
    """By tenant, the hashes by seq. Raises OSError, and ValueError naming a line it cannot read.

    A last line without its end was being written when the machine stopped, and is left out.
    """
    found: dict[UUID, dict[int, bytes]] = {}
    with path.open(encoding="ascii") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                break
            try:
                head = json.loads(line)
                tenant, seq = UUID(head["tenant_id"]), int(head["seq"])
                hash_ = bytes.fromhex(head["hash"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"Line {number} of {path} is no head: {error}") from None
            if found.setdefault(tenant, {}).setdefault(seq, hash_) != hash_:
                raise ValueError(f"Line {number} of {path} contradicts an earlier one.")
    return found
