"""Which ports of the loopback interface are free."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"

OURS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections (32768 and up, on macOS 49152): one of
those that is free now may be somebody's a moment later."""


def is_free(port: int, *, udp: bool = False) -> bool:
    """Whether a server could bind the TCP port (with `udp` the UDP port too) right now."""
    try:
        with ExitStack() as held:
            _bind(port, held, udp=udp)
    except OSError:
        return False
    return True


def free_ports(count: int, *, udp: bool = False) -> list[int]:
    """`count` different free ports; with `udp` each is free for TCP and UDP alike.

    Nothing keeps them free after the return: whoever binds one must be ready to find it taken.
    """
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            with ExitStack() as attempt:
                try:
                    port = _bind(secrets.choice(OURS), attempt, udp=udp)
                except OSError:  # Somebody's, or free for TCP but not for UDP.
                    continue
                found.append(port)
                held.enter_context(attempt.pop_all())
    return found


def _bind(port: int, held: ExitStack, *, udp: bool) -> int:
    tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # As servers do, so that a predecessor's connections in TIME_WAIT do not block the port.
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind((HOST, port))
    tcp.listen(1)  # With SO_REUSEADDR a clash may show only here.
    number: int = tcp.getsockname()[1]
    if udp:
        held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind((HOST, number))
    return number
