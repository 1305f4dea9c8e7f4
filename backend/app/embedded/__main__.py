"""`python -m app.embedded COMMAND…`: run a command against a throwaway PostgreSQL and Valkey.

The command finds them by DATABASE_URL and REDIS_URL; its exit code is ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey


def main(arguments: list[str]) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="inboxgrove-") as folder,
        EmbeddedPostgres(Path(folder) / "postgresql", port=0, fast=True) as postgres,
        EmbeddedValkey(Path(folder) / "valkey", port=0, fast=True) as valkey,
    ):
        env = {**os.environ, "DATABASE_URL": postgres.url, "REDIS_URL": valkey.url}
        return subprocess.call(arguments, env=env)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
