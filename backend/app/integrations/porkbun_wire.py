"""One exchange with Porkbun: JSON over HTTPS, the keys in headers and never in a URL or a text.

Source: Porkbun's API v3 as its own client uses it (oborseth/Porkbun-MCP, src/api.ts): an error has
status "ERROR" with `code` and `message`, whatever its HTTP status.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import httpx

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_limits import RateLimit

PROVIDER = "Porkbun"
MAX_BYTES = 4 * 1024 * 1024
"""The price list of all endings is some hundred kilobytes."""

READING = httpx.Timeout(20.0, connect=5.0)
"""A person waits for what is looked up, holding one of the API's threads; a job looks again."""
BUYING = httpx.Timeout(90.0, connect=5.0)
"""To give up on an order is an unknown outcome, and a registry may take half a minute."""

_Lost = type[ProviderUnavailable]


class Wire:
    def __init__(
        self,
        http: httpx.Client,
        url: str,
        api_key: str,
        secret_key: str,
        checks: RateLimit,
        *,
        reading: httpx.Timeout = READING,
        buying: httpx.Timeout = BUYING,
    ) -> None:
        """`checks` is the limit of availability checks, which has nothing to do with the others."""
        self._http, self._url, self._checks = http, url.rstrip("/"), checks
        self._reading, self._buying = reading, buying
        self._keys = {"X-API-Key": api_key, "X-Secret-API-Key": secret_key}

    def together(self, checks: int) -> AbstractContextManager[None]:
        """Room for so many checks at once, or as many as there ever are."""
        return self._checks.together(checks)

    def get(self, path: str) -> dict[str, Any]:
        """Raises ProviderFailed (`code` in its details) and ProviderUnavailable."""
        return self._exchange("GET", path, None, ProviderUnavailable)

    def set(self, path: str, **body: Any) -> dict[str, Any]:
        """A change that may be said twice."""
        return self._exchange("POST", path, body, ProviderUnavailable)

    def check(self, path: str) -> dict[str, Any]:
        self._checks.take()
        return self._exchange("POST", path, {}, ProviderUnavailable)

    def buy(self, path: str, **body: Any) -> dict[str, Any]:
        """What costs money; never repeated here. Raises OutcomeUnknown as well."""
        return self._exchange("POST", path, body, OutcomeUnknown)

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, lost: _Lost
    ) -> dict[str, Any]:
        headers, timeout = dict(self._keys), self._reading
        if lost is OutcomeUnknown:
            timeout = self._buying
            # Should anything between us and them send it twice, it is one order all the same.
            headers["Idempotency-Key"] = str(uuid4())
        # Each error is raised from None: what httpx raises carries the request, and so the keys.
        try:
            with self._http.stream(
                method,
                self._url + path,
                json=body,
                headers=headers,
                timeout=timeout,
                follow_redirects=False,
            ) as answer:
                text = _body(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Nothing was sent, so nothing happened.
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from None
        except httpx.HTTPError as error:
            raise lost(provider=PROVIDER, reason=type(error).__name__) from None
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            # The limiter stands before everything else; its windows are of ten seconds.
            raise ProviderUnavailable(provider=PROVIDER, reason="rate limit", retry_after=10)
        if answer.status_code >= 500 or answer.is_redirect:
            raise lost(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        return self._understood(text, lost)

    def _understood(self, text: bytes, lost: _Lost) -> dict[str, Any]:
        try:
            told = json.loads(text)
            status = told["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise lost(provider=PROVIDER, reason="unreadable answer") from None
        if status == "SUCCESS":
            return dict(told)
        if status != "ERROR":
            raise lost(provider=PROVIDER, reason="unreadable answer")
        reason = str(told.get("message") or "no reason given")[:300]
        for key in self._keys.values():
            reason = reason.replace(key, "***")
        raise ProviderFailed(provider=PROVIDER, reason=reason, code=str(told.get("code") or ""))


def _body(answer: httpx.Response) -> bytes:
    """At most one byte more than may be read, so that a flood fills no memory."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            return b""
    return bytes(body)
