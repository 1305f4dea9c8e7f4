"""Every route the application serves, in the OpenAPI document or not."""

from __future__ import annotations

import re
from uuid import UUID

from fastapi import FastAPI

NOBODYS_ID = str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001))
"""A well-formed id of nothing."""


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path with its parameters filled in), sorted."""
    found = set()
    for route in app.routes:
        contexts = getattr(route, "effective_route_contexts", lambda route=route: [route])
        for served in contexts():
            path = re.sub(r"\{[^}]*\}", NOBODYS_ID, served.path)
            found |= {(method, path) for method in getattr(served, "methods", None) or {"GET"}}
    return sorted(found)
