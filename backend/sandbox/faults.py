"""How a part is told to misbehave, and the middleware that does it to HTTP parts."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MODES = frozenset(
    {
        "fail_before",  # answer an error, nothing happened
        "fail_after",  # it happened, answer an error
        "stall",  # wait `seconds`, then serve as usual
        "timeout_after",  # it happened, but the answer comes `seconds` late
        "reset",  # drop the connection without an answer
        "garbage",  # it happened, answer something unparsable
        "rate_limit",  # refuse as the provider's limiter does
    }
)


@dataclass
class Fault:
    """One rule: what to do to which operation, and how many more times."""

    part: str
    match: str
    mode: str
    times: int = 1
    status: int = 500
    seconds: float = 5.0
    params: dict[str, Any] = field(default_factory=dict)

    def covers(self, part: str, operation: str) -> bool:
        return self.part == part and re.search(self.match, operation) is not None


@dataclass
class Deliveries:
    """How a part treats the events it sends out."""

    duplicate: int = 0
    shuffle: bool = False
    drop: float = 0.0
    delay_seconds: float = 0.0


class Faults:
    """The rules in force, first match first, each used up `times` times."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self._deliveries: dict[str, Deliveries] = {}

    def add(self, rule: Fault) -> None:
        """Raises re.error for a bad pattern, so that a typo is told at once."""
        re.compile(rule.match)
        self.rules.append(rule)

    def take(self, part: str, operation: str) -> Fault | None:
        for rule in self.rules:
            if rule.covers(part, operation):
                rule.times -= 1
                if rule.times <= 0:
                    self.rules.remove(rule)
                return rule
        return None

    def deliveries(self, part: str) -> Deliveries:
        return self._deliveries.setdefault(part, Deliveries())

    def clear(self) -> None:
        self.rules.clear()
        self._deliveries.clear()


class FaultyHTTP:
    """Wraps one part's application; the rule is matched against "METHOD /path\\nbody"."""

    def __init__(self, app: ASGIApp, faults: Faults, part: str) -> None:
        self._app, self._faults, self._part = app, faults, part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._faults.rules:
            await self._app(scope, receive, send)
            return
        body = await _read_all(receive)
        operation = f"{scope['method']} {scope['path']}\n{body.decode('utf-8', 'replace')}"
        fault = self._faults.take(self._part, operation)
        if fault is None:
            await self._app(scope, _replay(body), send)
            return
        await self._misbehave(fault, scope, body, send)

    async def _misbehave(self, fault: Fault, scope: Scope, body: bytes, send: Send) -> None:
        receive = _replay(body)
        if fault.mode == "stall":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
            return
        if fault.mode in {"fail_after", "timeout_after", "garbage"}:
            answer: list[Message] = []

            async def swallow(message: Message) -> None:
                answer.append(message)

            await self._app(scope, receive, swallow)
            if fault.mode == "timeout_after":
                await asyncio.sleep(fault.seconds)
                for message in answer:
                    await send(message)
                return
        if fault.mode == "reset":
            # A promised body that never comes makes the server cut the connection.
            headers = [(b"content-length", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            return
        await _refusal(fault, self._part)(scope, _replay(body), send)


def _refusal(fault: Fault, part: str) -> Response:
    if fault.mode == "garbage":
        return PlainTextResponse("<html><body>upstream hiccup</body>", media_type="text/html")
    if fault.mode == "rate_limit":
        # Namecheap says 405 when its limiter refuses; the others say 429.
        status = 405 if part == "namecheap" else 429
        return PlainTextResponse("slow down", status, headers={"Retry-After": "1"})
    return PlainTextResponse("internal error", fault.status)


async def _read_all(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            # The body is all there is; a later read waits as on an idle connection.
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
