"""One process as a container's: user, rights, disk, signals, and what its end leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from app.embedded.process import wait_until
from try_images.files import Files

UID = 10001
TMP_MEGABYTES = 64
"""Of /tmp in a pod (k8s/deployment.yaml)."""

# $1 the user, $2 the image's files, $3 volumes, $4 /tmp. In a mount namespace of its own the disk
# is read-only but for the last two; then the process is that user, without any capability.
ENCLOSE = f"""
mount --make-rprivate / OPENED && mount --bind "$2" "$2" && mount --bind "$3" "$3" &&
mount -t tmpfs -o mode=1777,size={TMP_MEGABYTES}m tmpfs "$4" &&
mount -o remount,bind,ro "$2" && mount -o remount,bind,ro / && cd "$2" && user=$1 && shift 4 &&
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all --pdeathsig KILL -- "$@"
"""


class Failed(Exception):
    """Something is not as it must be."""


class Enclosure:
    """How processes are started: enclosed as far as this machine allows it, which `how` tells."""

    def __init__(self, files: Files) -> None:
        self._files = files
        files.tmp("probe").mkdir(parents=True)
        self._enclose = ENCLOSE.replace("OPENED", _opened(files.scratch))
        self._user = next((user for user in (UID, 0) if self._works(user)), None)
        self.how = {
            UID: f"user {UID}, no capabilities, a read-only disk",
            0: f"no capabilities, a read-only disk (NOT RUN: user {UID}, not let to Python)",
            None: "NOT RUN: as this user, on a disk that can be written to",
        }[self._user]
        if self._user is not None:
            for folder in (files.volumes, *files.volumes.iterdir()):
                user = UID if folder.name == "certificates" else self._user
                os.chown(folder, user, user)

    def start(
        self, service: str, command: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        log = self._files.scratch / "logs" / f"{service}.log"
        for folder in (self._files.tmp(service), log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            if self._user is not None:
                # What is no Python can be nobody in particular in any case.
                user = self._user if sys.executable in command else UID
                # As Docker gives them to the container's user.
                os.fchown(output.fileno(), user, user)
                command = self._wrapped(user, service, command)
            return subprocess.Popen(
                command,
                env=dict(env),
                cwd=self._files.srv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def _wrapped(self, user: int, service: str, command: Sequence[str]) -> list[str]:
        files = self._files
        given = (str(user), str(files.srv), str(files.volumes), str(files.tmp(service)))
        return ["unshare", "-m", "sh", "-c", self._enclose, "sh", *given, *command]

    def _works(self, user: int) -> bool:
        """Whether /tmp can be written to, the image and the disk cannot, and Python runs."""
        if os.getuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
            return False
        look = 'touch "$1/x" && ! touch "$2/x" && ! touch "$3/x" && exec "$4" -c "import app"'
        files = self._files
        places = (files.tmp("probe"), files.srv, files.scratch)
        words = ["sh", "-c", look, "sh", *map(str, places), sys.executable]
        env = {**os.environ, "PYTHONPATH": str(files.srv), "PYTHONDONTWRITEBYTECODE": "1"}
        wrapped = self._wrapped(user, "probe", words)
        return subprocess.run(wrapped, env=env, capture_output=True, check=False).returncode == 0


def _opened(scratch: Path) -> str:
    """Mounts by which anybody reaches this Python, where a folder above it is root's alone."""
    behind: dict[Path, list[Path]] = {}
    for place in sorted({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()}):
        closed = next((up for up in reversed(place.parents) if not up.stat().st_mode & 0o001), None)
        if closed is not None:
            behind.setdefault(closed, []).append(place)
    steps = [""]
    for closed, places in behind.items():
        held = {place: scratch / "held" / str(place).replace("/", "_") for place in places}
        for place, hold in held.items():
            hold.mkdir(parents=True, exist_ok=True)
            steps.append(f"mount --bind {quote(str(place))} {quote(str(hold))}")
        steps.append(f"mount -t tmpfs -o mode=755,size=1m tmpfs {quote(str(closed))}")
        for place, hold in held.items():
            steps.append(f"mkdir -p {quote(str(place))}")
            steps.append(f"mount --bind {quote(str(hold))} {quote(str(place))}")
    return " && ".join(steps)


class Container:
    """`stop` is the signal that Docker sends, to the first process alone."""

    def __init__(
        self,
        enclosure: Enclosure,
        files: Files,
        service: str,
        command: Sequence[str],
        env: Mapping[str, str],
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.service, self._stop, self._patience = service, stop, files.patience(service)
        self._tmp = files.tmp(service)
        self.log = files.scratch / "logs" / f"{service}.log"
        self._process = enclosure.start(service, command, env)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ended(self, seconds: float) -> int:
        """The exit code; raises Failed when it runs longer."""
        if not wait_until(lambda: not self.alive, seconds):
            raise Failed(f"{self.service} still runs after {seconds:.0f} s")
        return int(self._process.returncode)

    def ask_to_stop(self) -> float:
        """The moment (monotonic) at which it was asked."""
        self._process.send_signal(self._stop)
        return time.monotonic()

    def stopped(self, asked: float) -> str:
        """How it ended; raises Failed unless cleanly, in time, with nothing left behind."""
        code = self.ended(self._patience)
        took = time.monotonic() - asked
        if code != 0:
            raise Failed(f"{self.service} left with {code}")
        if not wait_until(lambda: not self._group(), 1.0):
            raise Failed(f"{self.service} left processes behind")
        return f"{took:.1f} s of {self._patience}"

    def scratch_megabytes(self) -> float:
        """What it holds below /tmp, which it may be alone to see."""
        seen = Path(f"/proc/{self._process.pid}/root{self._tmp}")
        sizes = (each.stat().st_size for each in seen.rglob("*") if each.is_file())
        return sum(sizes) / 1_000_000

    def kill(self) -> None:
        if self._group():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _group(self) -> bool:
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True
