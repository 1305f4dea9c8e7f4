"""One KumoMTA node's HTTP API, as the control plane calls it.

Source: kumod's `docs/reference/kumod.openapi.json` (suspend/v1, bounce/v1, rebind/v1, inject/v1,
machine-info) and the Prometheus text of `/metrics`. Every call may raise ProviderUnavailable (away,
slow, a server error, a damaged answer) or ProviderFailed (the node says no).
"""

from __future__ import annotations

import re
from typing import Any

import httpx

from app.errors import ProviderFailed, ProviderUnavailable

WAITING = ("scheduled_by_tenant", "ready_count")
"""Gauges that together count the mail of customers which a node still holds."""

_SAMPLE = re.compile(r"^(\w+)(?:\{[^}]*\})? (\d+(?:\.\d+)?(?:e\+?\d+)?)$", re.MULTILINE)


class NodeAPI:
    """Nodes are named by the address of their admin listener, without a slash at its end."""

    def __init__(self, *, http: httpx.Client, token: str, timeout: httpx.Timeout) -> None:
        self._http, self._timeout = http, timeout
        # A kept connection may have been closed by the node in the meantime, and a kill order must
        # not fail of that; orders are rare enough for a new connection each.
        self._headers = {"Authorization": f"Bearer {token}", "Connection": "close"}

    def call(self, node: str, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer, None for one without; a 404 to a DELETE is as good as done."""
        answer = self._send(node, method, f"/api/{path}", body)
        if answer is None or answer.content[:1] not in (b"{", b"["):
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise ProviderUnavailable(provider="KumoMTA", reason="a damaged answer") from error

    def info(self, node: str) -> dict[str, Any]:
        """`node_id`, `online_since` and more of the process."""
        told = self.call(node, "GET", "machine-info")
        if not isinstance(told, dict) or not told.get("online_since"):
            raise ProviderUnavailable(provider="KumoMTA", reason="no machine-info")
        return told

    def rules(self, node: str, what: str) -> list[dict[str, Any]]:
        """The standing `suspend` or `bounce` rules."""
        held = self.call(node, "GET", f"admin/{what}/v1")
        if not isinstance(held, list):
            raise ProviderUnavailable(provider="KumoMTA", reason=f"no list of {what} rules")
        return [entry for entry in held if isinstance(entry, dict)]

    def flush(self, node: str, **criteria: str) -> None:
        """What waited was put off for up to hours at each try; this makes it due now."""
        body = {**criteria, "data": {}, "always_flush": True, "reason": "ig:resume"}
        self.call(node, "POST", "admin/rebind/v1", body)

    def queued(self, node: str) -> int:
        """Customers' messages that have not left the node."""
        total = 0
        for name in WAITING:
            answer = self._send(node, "GET", f"/metrics?prefix={name}")
            text = "" if answer is None else answer.text
            # The prefix also fits longer names, which count the same mail once more.
            total += sum(int(float(n)) for found, n in _SAMPLE.findall(text) if found == name)
        return total

    def refuses(self, node: str, sender: str) -> bool:
        """Hand in a mail that must not be taken; its recipient cannot exist (RFC 2606)."""
        body = {
            "envelope_sender": sender,
            "recipients": [{"email": "canary@inboxgrove.invalid"}],
            "content": f"From: {sender}\r\nSubject: canary\r\n\r\nThis mail must be refused.\r\n",
        }
        answer = self.call(node, "POST", "inject/v1", body)
        errors = " ".join(str(error) for error in answer.get("errors", []))
        return answer.get("success_count") == 0 and "5.7.1" in errors

    def _send(self, node: str, method: str, path: str, body: Any = None) -> httpx.Response | None:
        try:
            answer = self._http.request(
                method,
                f"{node}{path}",
                json=body,
                headers=self._headers,
                timeout=self._timeout,
                follow_redirects=False,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(provider="KumoMTA", reason=type(error).__name__) from error
        if answer.is_success:
            return answer
        if method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND:
            return None  # It ran out meanwhile, which is what was wanted.
        kind = ProviderUnavailable if answer.is_server_error else ProviderFailed
        raise kind(provider="KumoMTA", reason=f"{answer.status_code} {answer.text[:200]}")
