"""The HTTP server: uvicorn on the public listener, and on the internal one where there is one."""

from __future__ import annotations

import signal
import sys
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

_NEVER_SERVED = 3
"""uvicorn's own exit code for a server that could not start."""


def serve(
    *, host: str, port: int, internal_port: int, workers: int, grace: int, options: dict[str, Any]
) -> None:
    """Serve `app.main:app` until a signal, then let requests end for up to `grace` seconds.

    Every process accepts at both listeners, so that one of them cannot be served without the other.
    Raises ValueError when both are one.
    """
    if internal_port and internal_port == port:
        raise ValueError(f"INTERNAL_PORT is {port}, the public port; it must be another one.")
    config = uvicorn.Config(
        "app.main:app",
        host=host,
        port=port,
        workers=workers,
        timeout_graceful_shutdown=grace,
        **options,
    )
    sockets = [config.bind_socket()]
    if internal_port:
        sockets.append(uvicorn.Config("app.main:app", host=host, port=internal_port).bind_socket())
    if workers > 1:
        Multiprocess(config, sockets=sockets).run()
        return
    # Once it is done, uvicorn sends itself the signal again. It was obeyed: the exit code is 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = uvicorn.Server(config)
    server.run(sockets=sockets)
    if not server.started:
        sys.exit(_NEVER_SERVED)
