"""`make demo` ends in its table of passes although the worker is killed in the middle, twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2]
# What the demo says when it is about to wait for the worker.
MOMENTS = ("Purchase requested", "Magic Button")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_survives_kill_nine(tmp_path: Path) -> None:
    # The stack brings its own servers: nothing of this test run's may leak into it.
    own = {"DATABASE_URL", "REDIS_URL", "CLOCK_OFFSET_FILE"}
    kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "VIRTUAL_ENV", "USER")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {"DATA_DIR": str(tmp_path / "data"), "PORTS": "auto", "PYTHONUNBUFFERED": "1"}
    assert not own & set(env)
    killed: list[int] = []
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "demo"],
        cwd=BACKEND,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            said.append(line)
            if any(moment in line for moment in MOMENTS) and "✓" in line:
                killed.append(kill_worker(tmp_path / "data/stack.json"))
    assert demo.returncode == 0, "".join(said)
    assert len(set(killed)) == 2
    assert "50/50" in "".join(said)


def kill_worker(stack: Path) -> int:
    pids = json.loads(stack.read_text())["pids"]
    pid = int(next(pid for title, pid in pids.items() if title.lower() == "worker"))
    # The worker and the processes of its pool, as the kernel does when memory runs out.
    os.killpg(pid, signal.SIGKILL)
    return pid
