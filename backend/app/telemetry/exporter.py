"""/metrics of a process that serves no HTTP otherwise: worker, relay, beat."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector


def registry() -> CollectorRegistry:
    """Of this process; with PROMETHEUS_MULTIPROC_DIR set, of all that share that directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def serve(port: int, host: str) -> None:
    """Answer GET on `host`:`port` from a thread, until the process ends; nothing for port 0.

    The listener is for Prometheus and must not be public: it asks for no password.
    """
    if port:
        start_http_server(port, host, registry=registry())
