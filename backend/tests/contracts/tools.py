"""Providers on real sockets, servers that answer nonsense, and patience."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World


class Sandbox:
    """Parts of the sandbox on a loop of their own, in a thread."""

    def __init__(self, parts: tuple[str, ...], **env: str) -> None:
        ports = {"SANDBOX_PORT", "DNS_PORT", "MX_PORT", "SUBMISSION_PORT"}
        # Else its Stripe would tell whoever runs the product on this machine, and be believed.
        nobody = {
            "STRIPE_WEBHOOK_URL": "http://127.0.0.1:1/",
            "STRIPE_WEBHOOK_SECRET": "whsec_tests",
        }
        self._config = SandboxConfig.from_env({**dict.fromkeys(ports, "0"), **nobody, **env})
        self._parts, self._ready, self._failure = parts, threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(30)
        if self._failure is not None:
            raise self._failure
        self.url = f"http://127.0.0.1:{self.world.ports['http']}"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # Told to the thread that waits.
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.world = World.create(self._config)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self.world, self._parts):
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)

    def control(self, path: str, **body: Any) -> Any:
        """POST when there is something to say, else GET."""
        url = f"{self.url}/control/{path}"
        answer = httpx.post(url, json=body) if body else httpx.get(url)
        assert answer.is_success, answer.text
        return answer.json()

    def fault(self, part: str, match: str, mode: str, **more: Any) -> None:
        self.control("faults", part=part, match=match, mode=mode, **more)

    def heal(self) -> None:
        httpx.delete(f"{self.url}/control/faults").raise_for_status()


class Scripted:
    """A server that answers what it is told, in order, and remembers what it was asked.

    An answer is (status, headers, body) or a number of seconds to keep silent for.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes] | float] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers, body))
                answer = outer.answers.pop(0) if outer.answers else (500, {}, b"nothing to say")
                self.close_connection = True
                if isinstance(answer, float):
                    outer.released.wait(answer)
                    return
                status, extra, content = answer
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

            def log_message(self, *_: object) -> None:
                """Quiet: what was asked is in `asked`."""

        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def say(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, named, content))

    def stay_silent(self, seconds: float = 30.0) -> None:
        self.answers.append(seconds)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Line:
    """The way to the sandbox, which can be cut: before a request arrives, or before its answer."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._cuts: list[list[Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                operation = f"{self.command} {self.path}\n{body.decode('utf-8', 'replace')}"
                when = outer._next_cut(operation)
                if when == "before":
                    self._cut()
                    return
                kept = {n: v for n, v in self.headers.items() if n.lower() != "accept-encoding"}
                answer = httpx.request(
                    self.command,
                    f"{sandbox.url}{self.path}",
                    headers=kept,
                    content=body,
                    timeout=30,
                )
                if when == "after":
                    self._cut()
                    return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.send_header("Connection", "close")
                self.end_headers()
                # A client that has gone away is what some tests are about.
                with suppress(OSError):
                    self.wfile.write(answer.content)

            def _cut(self) -> None:
                # Without lingering, closing sends a reset instead of a goodbye.
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _forward

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def shutdown_request(self, request: Any) -> None:
                with suppress(OSError):
                    super().shutdown_request(request)

            def handle_error(self, *_: Any) -> None:
                """A connection that was cut has nothing more to say."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def mishap(self, part: str, match: str, mode: str, times: int = 1) -> None:
        """One of MISHAPS to the next request whose "METHOD /path\\nbody" matches."""
        if mode.startswith("cut_"):
            self._cuts.append([match, mode.removeprefix("cut_"), times])
        else:
            self.sandbox.fault(part, match, mode, times=times)

    def _next_cut(self, operation: str) -> str | None:
        for cut in self._cuts:
            if cut[2] > 0 and re.search(cut[0], operation):
                cut[2] -= 1
                return str(cut[1])
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


MISHAPS = ("fail_before", "cut_before", "fail_after", "cut_after", "garbage")
HAPPENED = frozenset({"fail_after", "cut_after", "garbage"})
"""Those after which the effect has taken place."""


def eventually(check: Callable[[], Any], *, within: float = 10.0) -> Any:
    """The first true value of `check`; fails when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {within} s"
        time.sleep(0.02)
