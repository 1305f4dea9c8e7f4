"""The whole product on one machine: servers, sandbox, API, relay, worker and beat as children.

Nothing outlives the stack: on Linux children die with it by the kernel's hand, elsewhere the next
start stops what is left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from app.embedded import process
from app.embedded.environment import (
    API,
    METRICS_DIR,
    SANDBOX,
    Choices,
    StackError,
    choose_ports,
    endpoints,
    product_environment,
)
from app.embedded.files import is_locked, read_json, try_lock, write_private
from app.embedded.ports import HOST
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.server import EmbeddedServer, EmbeddedServerError
from app.embedded.supervisor import WATCH_SECONDS, Program, Say, Supervisor, last_words, outcome
from app.embedded.valkey import EmbeddedValkey

BACKEND = Path(__file__).resolve().parents[2]
MIGRATE_SECONDS = 300.0
STATE_FILE = "stack.json"
LOCK_FILE = "stack.lock"


class Stack:
    """Everything of one data directory. `start`, then `watch`, and leave through `stop`."""

    def __init__(self, choices: Choices, say: Say, backend: Path = BACKEND) -> None:
        self.choices = choices
        self.backend = backend
        self.data_dir = choices.data_dir
        self.ports: dict[str, int] = {}
        self.env: dict[str, str] = {}
        self._say = say
        self._supervisor = Supervisor(say)
        self._lock: IO[str] | None = None
        self._ready = False
        self._stop_requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def state_file(self) -> Path:
        return self.data_dir / STATE_FILE

    @property
    def stopping(self) -> bool:
        return self._stop_requests > 0

    def request_stop(self, *_: object) -> None:
        """A signal handler: the first call stops cleanly, the second at once."""
        self._stop_requests += 1

    def start(self) -> None:
        """Start everything in order, one line each; raises StackError when a part does not come up.

        Returns early when a stop is requested meanwhile.
        """
        self._take_directory()
        # The counts of processes that are no more would be added to the new ones'.
        shutil.rmtree(self.data_dir / METRICS_DIR, ignore_errors=True)
        (self.data_dir / METRICS_DIR).mkdir(mode=0o700)
        self.ports = choose_ports(self.choices)
        try:
            database_url = self._server(EmbeddedPostgres)
            redis_url = self._server(EmbeddedValkey)
        except EmbeddedServerError as error:
            raise StackError(str(error)) from error
        self.env = product_environment(self.choices, self.ports, database_url, redis_url)
        self._migrate()
        for step in (self._sandbox, self._product):
            if not self.stopping:
                step()
        self._ready = not self.stopping
        self._write_state()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keep everything alive until a stop is requested or `until` holds."""
        while not self.stopping and not until():
            if self._supervisor.check():
                self._write_state()
            time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """Stop everything; safe to call at any time and again."""
        self._supervisor.stop(hurried=lambda: self._stop_requests > 1)
        if self._lock is not None:
            self.state_file.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def state(self) -> dict[str, Any]:
        """What `stack.json` holds: for scripts that want to reach what runs."""
        return {
            "pid": os.getpid(),
            "ready": self._ready,
            "data_dir": str(self.data_dir),
            "endpoints": endpoints(self.env, self.ports) if self.env else {},
            "ports": self.ports,
            "pids": {each.title: each.pid for each in self._supervisor.services},
            "markers": {
                each.title: each.marker
                for each in self._supervisor.services
                if isinstance(each, Program)
            },
            "environment": self.env,
        }

    def _write_state(self) -> None:
        write_private(self.state_file, json.dumps(self.state(), indent=1))

    def _take_directory(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = try_lock(self.data_dir / LOCK_FILE)
        except OSError as error:
            raise StackError(
                f"{self.data_dir} cannot be used ({error}); set DATA_DIR to another directory."
            ) from error
        if self._lock is None:
            holder = (self.data_dir / LOCK_FILE).read_text()
            raise StackError(
                f"A stack already runs on {self.data_dir} (process {holder}). Stop it, or set "
                "DATA_DIR to another directory."
            )
        left = read_json(self.state_file)
        for title, marker in left.get("markers", {}).items():
            process.stop_orphan(left["pids"][title] or 0, marker, signal.SIGTERM)
        self.state_file.unlink(missing_ok=True)

    def _server(self, kind: type[EmbeddedServer]) -> str:
        """The URL of a server that the caller runs, or of ours after starting it."""
        began = time.monotonic()
        given = self.choices.given.get(kind.url_variable)
        if given:
            _require_answer(kind, given)
            self._done(kind.title, began, f"given by {kind.url_variable}")
            return given
        name = kind.title.lower()
        port = self.choices.given.get(kind.port_variable)
        server = kind(
            self.data_dir / name,
            port=int(port) if port else None,
            log_file=self.data_dir / f"logs/{name}.log",
        )
        self._supervisor.add(server)
        self._done(kind.title, began, f"{HOST}:{server.port}")
        return server.url

    def _migrate(self) -> None:
        began = time.monotonic()
        migrate = self._program("migrate", "-m", "alembic", "upgrade", "head")
        migrate.start()
        process.wait_until(lambda: self.stopping or not migrate.alive, MIGRATE_SECONDS)
        migrate.kill()
        if self.stopping:
            return
        if migrate.exit_code != 0:
            raise StackError(
                f"The database could not be migrated ({outcome(migrate)}).\n{last_words(migrate)}"
            )
        self._done("migrate", began, "at head")

    def _sandbox(self) -> None:
        if not self.choices.sandbox:
            return
        sandbox = self._program(
            "sandbox",
            *("-m", "sandbox"),
            url=f"http://{HOST}:{self.ports[SANDBOX]}/control/health",
        )
        sandbox.patience, sandbox.stop_last = 3.0, True
        self._bring_up([sandbox])

    def _product(self) -> None:
        api_port = self.ports[API]
        api = self._program(
            "API",
            *("-m", "app.cli", "api", "--host", HOST, "--port", str(api_port)),
            *("--grace", "5"),
            url=f"http://{HOST}:{api_port}/readyz",
        )
        jobs = [self._program(name, "-m", "app.cli", name) for name in ("relay", "worker", "beat")]
        self._bring_up([api, *jobs])

    def _bring_up(self, programs: list[Program]) -> None:
        """Start programs side by side; report each when it is ready."""
        began = time.monotonic()
        for program in programs:
            self._supervisor.add(program, always=program.title in {"relay", "worker"})
            self._write_state()
        for program in programs:
            self._supervisor.wait_ready(program, lambda: self.stopping)
            if self.stopping:
                return
            where = (program.url or "").removesuffix("/readyz").removesuffix("/control/health")
            self._done(program.title, began, where or f"process {program.pid}")

    def _program(self, title: str, *arguments: str, url: str | None = None) -> Program:
        return Program(
            title=title,
            arguments=arguments,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **_no_proxy(), **self.env},
            cwd=self.backend,
            log_file=self.data_dir / f"logs/{title.lower()}.log",
            url=url,
        )

    def _done(self, title: str, began: float, where: str) -> None:
        self._say(f"{title:<11} {time.monotonic() - began:6.2f} s   {where}")


def _no_proxy() -> dict[str, str]:
    """Loopback is reached directly, whatever proxy the environment names."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    direct = ",".join(filter(None, [known, HOST, "localhost"]))
    return {"NO_PROXY": direct, "no_proxy": direct}


def running_state(data_dir: Path) -> dict[str, Any] | None:
    """What `stack.json` says, when the stack that wrote it is still there."""
    state = read_json(data_dir / STATE_FILE)
    return state if is_locked(data_dir / LOCK_FILE) else None


def adopt(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a command beside a running stack; empty where a database is named."""
    choices = Choices.read(env, BACKEND)
    if "DATABASE_URL" in choices.given:
        return {}
    state = running_state(choices.data_dir)
    return dict(state["environment"]) if state else {}


def _require_answer(kind: type[EmbeddedServer], url: str) -> None:
    try:
        if kind is EmbeddedPostgres:
            plain = "postgresql://" + url.partition("://")[2]
            psycopg.connect(plain, connect_timeout=5).close()
        else:
            with Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
                client.ping()
    except (psycopg.Error, RedisError, ValueError) as error:
        raise StackError(
            f"{kind.title} of {kind.url_variable} does not answer: {error}\nStart it, or remove "
            f"{kind.url_variable} from the environment and .env to use the embedded one."
        ) from error
