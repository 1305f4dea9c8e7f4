"""One exchange with Namecheap: a form goes out, XML comes back.

POST only, because keys and addresses must not stand in URLs. There are no idempotency keys. HTTP
405 is the limiter's answer and the only one that proves that nothing was done; every other lost
answer of a buying call is OutcomeUnknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from xml.etree.ElementTree import Element

import httpx
import stamina

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations import namecheap_xml as xml
from app.integrations.namecheap_limits import RateLimit

PROVIDER = "Namecheap"
READING = httpx.Timeout(30.0, connect=5.0)
BUYING = httpx.Timeout(90.0, connect=5.0)
"""The documented sample of a registration took half a minute."""

S = TypeVar("S")
T = TypeVar("T")


class _LineBroke(Exception):
    """The connection or a proxy failed, so a question may be asked again at once."""

    def __init__(self, *, provider: str, reason: str) -> None:
        super().__init__(f"{provider}: {reason}")
        self.reason = reason


_Lost = type[ProviderUnavailable] | type[_LineBroke]


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

    def ask(self, command: str, read: Callable[[Element], T], **params: str) -> T:
        """A command that may be given twice; it is, once, when the line breaks.

        Raises ProviderFailed (`numbers` in its details) and ProviderUnavailable.
        """
        try:
            for attempt in stamina.retry_context(on=_LineBroke, attempts=2, timeout=None):
                with attempt:
                    root = self._exchange(command, params, self._reading, _LineBroke)
        except _LineBroke as broke:
            raise ProviderUnavailable(provider=PROVIDER, reason=broke.reason) from None
        return self._understood(root, read, ProviderUnavailable)

    def buy(self, command: str, read: Callable[[Element], T], **params: str) -> T:
        """A command that costs money; never repeated. Raises OutcomeUnknown as well."""
        root = self._exchange(command, params, self._buying, OutcomeUnknown)
        return self._understood(root, read, OutcomeUnknown)

    def _exchange(
        self,
        command: str,
        params: Mapping[str, str],
        timeout: httpx.Timeout,
        lost: _Lost,
    ) -> Element:
        self._limit.take()
        form = {**self._account, "Command": command, **params}
        unclear: type[ProviderUnavailable] = (
            OutcomeUnknown if lost is OutcomeUnknown else ProviderUnavailable
        )
        # Each error is raised from None: what httpx raises carries the form, and so the key.
        try:
            with self._http.stream(
                "POST", self._url, data=form, timeout=timeout, follow_redirects=False
            ) as answer:
                body = _body(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Nothing was sent, so nothing happened.
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from None
        except httpx.TimeoutException as error:
            # Whoever was slow once is not asked to be slow again.
            raise unclear(provider=PROVIDER, reason=type(error).__name__) from None
        except httpx.HTTPError as error:
            raise lost(provider=PROVIDER, reason=type(error).__name__) from None
        if answer.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise ProviderUnavailable(provider=PROVIDER, reason="rate limit")
        if not answer.is_success:
            raise lost(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        root = self._understood(body, xml.parse, unclear)
        told = xml.errors(root)
        if told:
            raise self._refusal(told, unclear)
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
