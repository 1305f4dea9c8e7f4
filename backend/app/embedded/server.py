"""What the embedded servers have in common: a directory, a kept port, a life within the owner's."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar, Self

from app.embedded import process
from app.embedded.files import try_lock, write_private
from app.embedded.ports import free_ports, is_free

START_SECONDS = 60.0  # Recovery after a crash reads the log of changes first.
STOP_SECONDS = 5.0  # Per signal, before the next and harder one.


class EmbeddedServerError(RuntimeError):
    """The server cannot be started; the message says why and what to do."""


class EmbeddedServer(ABC):
    """One server process on 127.0.0.1 over one data directory.

    `port`: a number means exactly that one; 0 any free one; None the variable `port_variable`, and
    when that is unset the default or the next free one after it. A port that was found is kept in
    the directory and taken again while it is free. `fast` trades durability for speed and is meant
    for tests only.
    """

    title: ClassVar[str]
    port_variable: ClassVar[str]
    url_variable: ClassVar[str]
    default_port: ClassVar[int]
    stop_signals: ClassVar[tuple[signal.Signals, ...]]

    def __init__(
        self,
        data_dir: str | Path,
        *,
        port: int | None = None,
        fast: bool = False,
        log_file: Path | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.fast = fast
        self.log_file = log_file or self.data_dir / "server.log"
        self.port = 0
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach the server, password included."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory ready for `command`; called with the lock held."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground on `self.port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes requests."""

    @abstractmethod
    def settle(self) -> None:
        """Bring the running server into the state its users expect; must bear being repeated."""

    def start(self) -> Self:
        """Start the server and return when it takes requests.

        Raises EmbeddedServerError with the end of its log when it does not come up.
        """
        if self.alive:
            return self
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_directory()
            self.prepare()
            self._launch()
            self.settle()
        except OSError as error:
            self.stop()
            raise EmbeddedServerError(f"{self.title} in {self.data_dir}: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server cleanly, or by force when it does not obey."""
        if self._process is not None:
            process.stop(self._process, self.stop_signals, STOP_SECONDS)
            self._process = None
            self._pid_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "server.pid"

    @property
    def _port_file(self) -> Path:
        return self.data_dir / "port"

    def _take_directory(self) -> None:
        """Become the directory's only owner, and stop the server of an owner that was killed."""
        if self._lock is None:
            self._lock = try_lock(self.data_dir / "lock")
        if self._lock is None:
            holder = (self.data_dir / "lock").read_text()
            raise EmbeddedServerError(
                f"{self.title} in {self.data_dir} is already run by process {holder}."
            )
        if self._pid_file.exists():
            pid = int(self._pid_file.read_text() or 0)
            process.stop_orphan(pid, str(self.data_dir), self.stop_signals[0])
            self._pid_file.unlink()

    def _launch(self) -> None:
        refusals = []
        for port in self._candidates():
            if not is_free(port):
                refusals.append(port)
                continue
            self.port = port
            process.rotate(self.log_file)
            since = self.log_file.stat().st_size if self.log_file.exists() else 0
            self._process = process.spawn(
                self.command(),
                log_file=self.log_file,
                env=server_environment(),
                cwd=self.data_dir,
                on_parent_death=self.stop_signals[0],
            )
            write_private(self._pid_file, str(self._process.pid))
            process.wait_until(lambda: not self.alive or self.answers(), START_SECONDS)
            if self.alive and self.answers():
                self._port_file.write_text(str(port))
                return
            said = process.tail(self.log_file, since=since)
            process.stop(self._process, self.stop_signals, STOP_SECONDS)
            self._process = None
            if is_free(
                port
            ):  # Somebody else may have taken the port in between; then try the next.
                raise EmbeddedServerError(f"{self.title} did not start in {self.data_dir}:\n{said}")
            refusals.append(port)
        tried = ", ".join(str(port) for port in refusals[:3])
        raise EmbeddedServerError(
            f"{self.title} found no free port (tried {tried}): set {self.port_variable} to a free "
            f"one, or {self.url_variable} to a server that already runs."
        )

    def _candidates(self) -> Iterator[int]:
        wanted = self._wanted_port
        if wanted is None and os.environ.get(self.port_variable):
            wanted = int(os.environ[self.port_variable])
        if self.port:  # A restart: clients hold URLs with this port.
            yield self.port
        elif wanted:
            yield wanted
        else:
            if self._port_file.exists():
                yield int(self._port_file.read_text())
            if wanted is None:
                yield from range(self.default_port, self.default_port + 100)
            else:
                for _ in range(10):
                    yield free_ports(1)[0]


def server_environment() -> dict[str, str]:
    """Our environment without what would change a server's mind (PGDATA, PGOPTIONS, locales)."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
