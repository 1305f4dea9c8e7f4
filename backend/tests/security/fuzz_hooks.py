"""What schemathesis is told in its own process: who it is, and what it must not saw off.

The file that FUZZ_CALLER names holds {"main": token or null, "spare": [tokens], "keep": user id},
and is replaced as time goes on.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response


class Caller:
    """Who asks, as the test last wrote it down: tokens end, and some calls end them."""

    def __init__(self, file: Path) -> None:
        self._file, self._written = file, 0
        self._spare: Iterator[str] = iter(())
        self._known: dict[str, Any] = {}

    def now(self) -> dict[str, Any]:
        written = self._file.stat().st_mtime_ns
        if written != self._written:
            self._known, self._written = json.loads(self._file.read_text()), written
            self._spare = itertools.cycle(self._known["spare"])
        return self._known

    def token(self, *, spare: bool) -> str:
        main = self.now()["main"]
        return str(next(self._spare) if spare else main)


CALLER = Caller(Path(os.environ["FUZZ_CALLER"]))

ENDS_SESSIONS = {
    "DELETE /api/v1/admin/session",
    "DELETE /api/v1/auth/me",
    "DELETE /api/v1/auth/sessions/{session_id}",
    "POST /api/v1/auth/2fa/disable",
    "POST /api/v1/auth/2fa/enable",
    "POST /api/v1/auth/2fa/setup",
    "POST /api/v1/auth/change-password",
    "POST /api/v1/auth/logout",
}
"""Who succeeds with these is somebody else afterwards, so each call is made by another."""

SHARE_A_PATH = {"/api/v1/domains/{domain_id}", "/api/v1/auth/users/{user_id}"}
"""GET /domains/search is GET /domains/{domain_id} with an id that is none, so no 405."""


class SomebodySignedIn:
    def get(self, case: schemathesis.Case[Any], context: Any) -> str:
        return CALLER.token(spare=case.operation.label in ENDS_SESSIONS)

    def set(self, case: schemathesis.Case[Any], data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


if CALLER.now()["main"] is not None:
    schemathesis.auth(refresh_interval=None)(SomebodySignedIn)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Whoever signs the requests stays."""
    return bool((case.path_parameters or {}).get("user_id") != CALLER.now()["keep"])


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Failure,
    case: schemathesis.Case[Any],
    response: Response,
) -> bool:
    kind = type(failure).__name__
    if kind == "ServerError":
        # A registrar that paces us, or refuses, is told in the envelope, and no fault of ours.
        return b'"error_code":"PROVIDER_' not in response.content
    if kind != "UnsupportedMethodResponse":
        return True
    parents = {path.rpartition("/")[0] for path in SHARE_A_PATH}
    return case.path.rpartition("/")[0] not in parents or "{" in case.path
