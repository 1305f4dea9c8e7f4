"""One exchange with Namecheap: a form goes out, XML comes back.

POST only, because keys and addresses must not stand in URLs. There are no idempotency keys. HTTP
405 is the limiter's answer and the only one that proves that nothing was done; every other lost
answer of a buying call is OutcomeUnknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar
from xml.etree.ElementTree import Element

import httpx
import stamina

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations import namecheap_xml as xml
from app.integrations.namecheap_limits import RateLimit

PROVIDER = "Namecheap"
READING = httpx.Timeout(20.0, connect=5.0)
"""A person waits for what is looked up, holding one of the API's threads; a job looks again."""
BUYING = httpx.Timeout(90.0, connect=5.0)
"""The documented sample of a registration took half a minute."""

TRIES = 3
"""How often a command is given that the limiter turned away, which proves that nothing was done."""

TURNED_AWAY_FOR = 60
"""Seconds to leave the limiter alone after that: its shortest window."""

S = TypeVar("S")
T = TypeVar("T")


class _TurnedAway(Exception):
    """HTTP 405, the limiter's answer."""


_Lost = type[ProviderUnavailable]


class Wire:
    """`account` holds ApiUser, ApiKey, UserName and ClientIp, which go with every command."""

    def __init__(
        self,
        http: httpx.Client,
        url: str,
        account: Mapping[str, str],
        limit: RateLimit,
        *,
        reading: httpx.Timeout = READING,
        buying: httpx.Timeout = BUYING,
    ) -> None:
        self._http, self._url, self._account, self._limit = http, url, account, limit
        self._reading, self._buying = reading, buying

    def together(self, calls: int) -> AbstractContextManager[None]:
        """Room for so many commands at once. Raises ProviderUnavailable before the first."""
        return self._limit.together(calls)

    def ask(self, command: str, read: Callable[[Element], T], **params: str) -> T:
        """A command that may be given again later, by whoever calls.

        Raises ProviderFailed (`numbers` in its details) and ProviderUnavailable.
        """
        return self._do(command, read, params, self._reading, ProviderUnavailable, reserve=False)

    def browse(self, command: str, read: Callable[[Element], T], **params: str) -> T:
        """A question that nobody's money waits for: it leaves room for orders."""
        return self._do(command, read, params, self._reading, ProviderUnavailable, reserve=True)

    def buy(self, command: str, read: Callable[[Element], T], **params: str) -> T:
        """A command that costs money; repeated after 405 only. Raises OutcomeUnknown as well."""
        return self._do(command, read, params, self._buying, OutcomeUnknown, reserve=False)

    def _do(
        self,
        command: str,
        read: Callable[[Element], T],
        params: Mapping[str, str],
        timeout: httpx.Timeout,
        lost: _Lost,
        *,
        reserve: bool,
    ) -> T:
        try:
            for attempt in stamina.retry_context(
                on=_TurnedAway, attempts=TRIES, wait_initial=0.5, wait_max=5.0, timeout=None
            ):
                with attempt:
                    self._limit.take(reserve=reserve)
                    root = self._exchange(command, params, timeout, lost)
        except _TurnedAway:
            raise ProviderUnavailable(
                provider=PROVIDER, reason="rate limit", retry_after=TURNED_AWAY_FOR
            ) from None
        return self._understood(root, read, lost)

    def _exchange(
        self,
        command: str,
        params: Mapping[str, str],
        timeout: httpx.Timeout,
        lost: _Lost,
    ) -> Element:
        form = {**self._account, "Command": command, **params}
        # Each error is raised from None: what httpx raises carries the form, and so the key.
        try:
            with self._http.stream(
                "POST", self._url, data=form, timeout=timeout, follow_redirects=False
            ) as answer:
                body = _body(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Nothing was sent, so nothing happened.
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from None
        except httpx.HTTPError as error:
            raise lost(provider=PROVIDER, reason=type(error).__name__) from None
        if answer.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise _TurnedAway
        if not answer.is_success:
            raise lost(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        root = self._understood(body, xml.parse, lost)
        told = xml.errors(root)
        if told:
            raise self._refusal(told, lost)
        return root

    def _refusal(
        self, told: list[tuple[str, str]], lost: type[ProviderUnavailable]
    ) -> ProviderFailed | ProviderUnavailable:
        numbers = [number for number, _ in told]
        reason = "; ".join(f"{number} {text}" for number, text in told)
        # No number of its own is documented for missing funds.
        broke = re.search(r"insufficient|not enough.*(funds|balance)", reason, re.IGNORECASE)
        if not broke and set(numbers) & xml.AMBIGUOUS:
            return lost(provider=PROVIDER, reason=self._clean(reason), numbers=numbers)
        return ProviderFailed(provider=PROVIDER, reason=self._clean(reason), numbers=numbers)

    def _understood(self, source: S, read: Callable[[S], T], lost: type[ProviderUnavailable]) -> T:
        try:
            return read(source)
        except xml.Unreadable as error:
            reason = self._clean(f"unreadable answer: {error}")
            raise lost(provider=PROVIDER, reason=reason) from None

    def _clean(self, reason: str) -> str:
        """The account's key is never part of an error's text, whatever Namecheap echoes."""
        return reason.replace(self._account["ApiKey"], "***")


def _body(answer: httpx.Response) -> bytes:
    """At most one byte more than may be read, so that a flood fills no memory."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > xml.MAX_BYTES:
            break
    return bytes(body[: xml.MAX_BYTES + 1])
