"""What is told to the outside, received on loopback."""

from __future__ import annotations

import gzip
import http.server
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from app.utils import monitoring
from tests.fixtures.world import free_port

BACKEND = Path(__file__).parents[2]
SETTINGS = {"level": "INFO", "fmt": "json", "release": "1.2.3", "environment": "production"}


@contextmanager
def receiver(take: Callable[[str, bytes], None]) -> Iterator[str]:
    """The URL of an HTTP server that gives paths and bodies of POSTs to `take`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            elif self.headers["Content-Encoding"] == "br":
                # Sentry's SDK uses it where it is installed.
                import brotli

                body = brotli.decompress(body)
            take(self.path, body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def said() -> Iterator[None]:
    """Logs of all levels from INFO on, as production writes them."""
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    monitoring.configure(sentry_dsn="", **SETTINGS)
    yield
    structlog.configure(**before[0])
    root.handlers[:], root.level = before[1], before[2]


@contextmanager
def process(name: str, *arguments: str) -> Iterator[str]:
    """The URL of the metrics of a process of the product."""
    port = free_port()
    listener = [f"--{'' if name == 'api' else 'metrics-'}{what}" for what in ("port", "host")]
    command = [sys.executable, "-m", "app.cli", name, listener[0], str(port)]
    env = {key: v for key, v in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    with subprocess.Popen(
        [*command, listener[1], "127.0.0.1", *arguments],
        cwd=BACKEND,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            yield f"http://127.0.0.1:{port}/metrics"
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
