"""POST to a tenant's server, which may be anybody's: never inside our own network.

The name is resolved here and the connection made to the very address that was looked at, so that a
second answer of the DNS cannot lead elsewhere. Redirects are not followed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence

import httpcore

from app.integrations.ports import HookAnswer
from app.rules import webhooks

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
MAX_ANSWER = 1_000
"""Bytes of an answer that are read."""


class _Guarded(httpcore.NetworkBackend):
    """Connects only to what is public."""

    def __init__(self, allowed: Sequence[webhooks.Network]) -> None:
        self._real = httpcore.SyncBackend()
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(webhooks.is_public(address, self._allowed) for address in addresses):
            # One private answer among public ones is how such attacks look.
            raise httpcore.ConnectError(f"{host} is not on the public net")
        return self._real.connect_tcp(
            addresses[0],
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )


class WebhookSender:
    """One try at a time, each over a connection of its own."""

    def __init__(self, *, allowed: Sequence[webhooks.Network] = ()) -> None:
        self._backend = _Guarded(allowed)
        self._tls = ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HookAnswer:
        """What came back; never raises for anything that the other side did."""
        began = time.monotonic()
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=self._tls, network_backend=self._backend, max_connections=1
                ) as pool,
                pool.stream(
                    "POST",
                    url,
                    headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                    content=body,
                    extensions={"timeout": _TIMEOUTS},
                ) as answer,
            ):
                text = _beginning(answer.iter_stream(), began + READ_SECONDS)
                status: int | None = answer.status
        except (httpcore.TimeoutException, TimeoutError):
            status, text = None, "No answer in time."
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            status, text = None, str(error) or type(error).__name__
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            status, text = None, f"This URL cannot be called: {error}"
        elapsed = round((time.monotonic() - began) * 1000)
        return HookAnswer(status, text[:MAX_ANSWER], elapsed)


_TIMEOUTS = {
    "connect": CONNECT_SECONDS,
    "read": READ_SECONDS,
    "write": READ_SECONDS,
    "pool": CONNECT_SECONDS,
}


def _beginning(stream: Iterable[bytes], until: float) -> str:
    """The first bytes as text that PostgreSQL can keep; a trickle is not waited for."""
    read = b""
    for chunk in stream:
        read += chunk
        if len(read) >= MAX_ANSWER or time.monotonic() > until:
            break
    return read[:MAX_ANSWER].decode("utf-8", "replace").replace("\0", "")
