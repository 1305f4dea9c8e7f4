"""The whole product by `inboxgrove up`, and its processes within reach of signals."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.embedded import process

BACKEND = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "VIRTUAL_ENV", "USER", "TMPDIR")
START_SECONDS, STOP_SECONDS = 180.0, 60.0

# The product's own limits would only keep the load away from what is measured.
WIDE = {
    "RATE_LIMIT_REQUESTS_PER_MINUTE": "1000000",
    "RATE_LIMIT_REQUESTS_PER_HOUR": "10000000",
    "ACCESS_TOKEN_MINUTES": "1000",
}
WORKER, RELAY, DATABASE, BROKER = "worker", "relay", "PostgreSQL", "Valkey"


class Stack:
    """A running stack; what `stack.json` says is read anew each time, because pids change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return found

    @property
    def environment(self) -> dict[str, str]:
        found: dict[str, str] = self.state["environment"]
        return found

    def endpoint(self, name: str) -> str:
        return str(self.state["endpoints"][name])

    def pid(self, title: str) -> int:
        return int(self.state["pids"][title])

    def signal_group(self, title: str, sig: signal.Signals) -> None:
        """To the process and whatever it forked; one that is gone already is no matter."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid(title), sig)

    def signal_one(self, pid: int, sig: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, sig)

    def children(self, title: str) -> list[int]:
        """The direct children of a process, such as a worker's pool; empty when it is gone."""
        command = ["pgrep", "-P", str(self.pid(title))]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]

    def forget_broker(self) -> None:
        """Remove what the broker keeps on its disk; it must be dead."""
        shutil.rmtree(self.folder / "valkey/files", ignore_errors=True)


@contextmanager
def running(**given: str) -> Iterator[Stack]:
    """Everything up in a folder of its own, and nothing left of it afterwards.

    Raises SystemExit with the end of its log when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="inboxgrove-faults-") as name:
        folder = Path(name)
        env = {each: os.environ[each] for each in KEPT if each in os.environ}
        # Other sandboxes of this machine may know the address, and must not be believed.
        env |= {"STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(8)}"}
        env |= {"DATA_DIR": name, "PORTS": "auto", "PYTHONUNBUFFERED": "1", **WIDE, **given}
        log_file = folder / "up.log"
        # Dies with this process by the kernel's hand, and everything below it likewise.
        up = process.spawn(
            [sys.executable, "-m", "app.cli", "up"], log_file=log_file, env=env, cwd=BACKEND
        )
        stack = Stack(folder)
        try:

            def is_up() -> bool:
                return up.poll() is not None or (
                    (folder / "stack.json").exists() and stack.state["ready"]
                )

            if not process.wait_until(is_up, START_SECONDS, every=0.1) or up.poll() is not None:
                raise SystemExit(f"The stack does not start.\n{process.tail(log_file)}")
            yield stack
        finally:
            if up.poll() is None:
                # What is stopped cannot leave by itself.
                for pid in (pid for pid in stack.state["pids"].values() if pid):
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGCONT)
            process.stop(up, [signal.SIGTERM], STOP_SECONDS)
