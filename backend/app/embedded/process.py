"""Child processes that do not outlive their parent.

On Linux the kernel signals the child when its parent dies (`prctl(PR_SET_PDEATHSIG)`, see
prctl(2)). Elsewhere the pid file that the parent leaves behind lets the next start find and stop
the orphan.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_LARGE_LOG_BYTES = 20_000_000

# Loaded once here, because between fork and exec it is not safe to import anything.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str],
    *,
    log_file: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_parent_death: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own process group, with its output appended to `log_file`.

    The kernel watches the *thread* that forks: call this from a thread that lives as long as the
    child should.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
        if os.getppid() != parent:  # The parent died before the kernel was told to watch it.
            os._exit(1)

    rotate(log_file)
    with log_file.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            process_group=0,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it calls nothing that takes a lock
        )


def wait_until(condition: Callable[[], bool], seconds: float, every: float = _POLL_SECONDS) -> bool:
    """Poll `condition` until it holds or `seconds` have passed; says which."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


def stop(
    process: subprocess.Popen[bytes], signals: Sequence[signal.Signals], patience: float
) -> int:
    """Send each signal in turn, waiting `patience` seconds after each, then SIGKILL.

    Returns the exit code. Whatever the process left behind in its group goes with it.
    """
    for sig in signals:
        if process.poll() is None:
            process.send_signal(sig)
        if wait_until(lambda: process.poll() is not None, patience):
            break
    kill_group(process.pid)
    return process.wait()


def kill_group(group: int) -> None:
    """SIGKILL every process that is left in the group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Gone already; macOS says "not permitted" of a group that holds only zombies.
        return


def command_of(pid: int) -> str:
    """The command line of a process, empty when there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return raw.replace(b"\0", b" ").decode(errors="replace")
    found = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def stop_orphan(pid: int, marker: str, sig: signal.Signals, patience: float = 10.0) -> bool:
    """Stop a process that a dead parent left behind; True if there was one.

    `marker` must be part of its command line, so that a reused pid never costs a stranger its life.
    """

    def gone() -> bool:
        return marker not in command_of(pid)

    if gone():
        return False
    for each in (sig, signal.SIGKILL):
        try:
            os.kill(pid, each)
        except ProcessLookupError:
            return True
        if each is signal.SIGKILL:
            kill_group(pid)
        if wait_until(gone, patience):
            return True
    raise TimeoutError(f"Process {pid} ({marker}) does not end, not even by SIGKILL.")


def rotate(log_file: Path) -> None:
    """Make room for a log, keeping one predecessor of a large one."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    if log_file.exists() and log_file.stat().st_size > _LARGE_LOG_BYTES:
        log_file.replace(log_file.with_name(log_file.name + ".1"))


def tail(log_file: Path, lines: int = 15, since: int = 0) -> str:
    """The last lines of a log, looking no further back than byte `since`."""
    try:
        with log_file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(since, log.tell() - 65536))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
