"""Starts services, watches them, restarts what dies, stops them in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.embedded import process
from app.embedded.environment import StackError
from app.embedded.server import EmbeddedServerError

READY_SECONDS = 90.0
LIMITED_RESTARTS = 5
STEADY_SECONDS = 60.0  # After this long a service counts as healthy again.
LONGEST_PAUSE = 10.0
WATCH_SECONDS = 0.2

# Ours is on loopback, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Say = Callable[[str], None]


class Service(Protocol):
    """What the supervisor needs; `Program` and the embedded servers have it."""

    log_file: Path

    @property
    def title(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def exit_code(self) -> int | None: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


@dataclass
class Program:
    """One of our own processes: `python` with arguments."""

    title: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log_file: Path
    url: str | None = None
    """Answers 200 when the program is ready; None when being alive is all there is to see."""
    patience: float = 9.0
    """Seconds between SIGTERM and SIGKILL."""
    stop_last: bool = False
    """Others need it while they finish their work."""

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    @property
    def marker(self) -> str:
        """What tells this program from others in a list of processes."""
        return " ".join(self.arguments)

    def start(self) -> None:
        if self._process is not None:  # A killed worker leaves its pool behind.
            process.kill_group(self._process.pid)
        self._process = process.spawn(
            [sys.executable, *self.arguments], log_file=self.log_file, env=self.env, cwd=self.cwd
        )

    def ready(self) -> bool:
        if self.url is None:
            return self.alive
        try:
            with _direct.open(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            process.stop(self._process, [], 0.0)

    def stop(self) -> None:
        _stop_together([self], hurried=lambda: False)


@dataclass
class _Watch:
    service: Service
    always: bool
    started: float
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Keeps services alive; `say` tells a person what happens.

    Call it from the main thread only: children die with the thread that started them.
    """

    def __init__(self, say: Say, pause: float = 0.5) -> None:
        """`pause`: seconds before the first restart, doubled for each further one."""
        self._say = say
        self._pause = pause
        self._watched: list[_Watch] = []

    @property
    def services(self) -> list[Service]:
        return [watch.service for watch in self._watched]

    def add(self, service: Service, *, always: bool = False) -> None:
        """Start a service and keep it: for ever with `always`, else for five deaths in a row."""
        self._watched.append(_Watch(service, always, time.monotonic()))
        service.start()

    def wait_ready(self, program: Program, stopping: Callable[[], bool]) -> None:
        """Raises StackError with the end of the log when the program dies or takes too long."""
        process.wait_until(
            lambda: stopping() or not program.alive or program.ready(), READY_SECONDS, every=0.1
        )
        if stopping() or (program.alive and program.ready()):
            return
        why = "is not ready in time" if program.alive else f"ended ({outcome(program)})"
        raise StackError(f"{program.title} {why}.\n{last_words(program)}")

    def check(self) -> bool:
        """Look after every service once; whether one was started again.

        Raises StackError when one cannot be kept alive.
        """
        restarted = False
        for watch in self._watched:
            now = time.monotonic()
            if watch.service.alive:
                if now - watch.started > STEADY_SECONDS:
                    watch.deaths = 0
            elif watch.restart_at is None:
                self._plan_restart(watch, now)
            elif now >= watch.restart_at:
                restarted |= self._restart(watch)
        return restarted

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Programs first and together, those that others need after them, then the servers."""
        programs = [each for each in self.services if isinstance(each, Program)]
        for round_of in (False, True):
            _stop_together([each for each in programs if each.stop_last is round_of], hurried)
        for service in reversed(self.services):
            if not isinstance(service, Program):
                service.stop()
        self._watched = []

    def _plan_restart(self, watch: _Watch, now: float) -> None:
        service = watch.service
        watch.deaths += 1
        if not watch.always and watch.deaths > LIMITED_RESTARTS:
            raise StackError(f"{service.title} keeps dying.\n{last_words(service)}")
        pause = min(self._pause * 2.0 ** min(watch.deaths - 1, 10), LONGEST_PAUSE)
        watch.restart_at = now + pause
        self._say(
            f"{service.title} ended ({outcome(service)}); starting it again in {pause:g} s "
            f"(log: {service.log_file})"
        )

    def _restart(self, watch: _Watch) -> bool:
        watch.restart_at = None
        watch.started = time.monotonic()
        try:
            watch.service.start()
        except EmbeddedServerError as error:
            self._say(str(error))
            return False
        self._say(f"{watch.service.title} runs again (process {watch.service.pid})")
        return True


def _stop_together(programs: list[Program], hurried: Callable[[], bool]) -> None:
    for program in programs:
        program.ask_to_stop()
    process.wait_until(
        lambda: hurried() or not any(program.alive for program in programs),
        max((program.patience for program in programs), default=0.0),
    )
    for program in programs:
        program.kill()


def outcome(service: Service) -> str:
    """How a process ended, for people."""
    code = service.exit_code
    if code is None:
        return "it never ran"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def last_words(service: Service) -> str:
    return f"The end of {service.log_file}:\n{process.tail(service.log_file)}"
