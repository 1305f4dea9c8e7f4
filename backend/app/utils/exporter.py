"""/metrics of a process that serves no HTTP otherwise: worker, relay, beat."""

from __future__ import annotations

from prometheus_client import start_http_server

from app.utils import monitoring


def serve(port: int, host: str) -> None:
    """Answer GET on `host`:`port` from a thread, until the process ends; nothing for port 0.

    The listener is for Prometheus and must not be public: it asks for no password.
    """
    if port:
        start_http_server(port, host, registry=monitoring.registry())
