"""The three doors the demo knocks on: the API, the customer's browser and card, received mail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx
import pyotp

T = TypeVar("T")


class DemoFailed(Exception):
    """Something that had to be true was not; the text says what, for a person."""


@dataclass(frozen=True)
class Addresses:
    api_url: str
    sandbox_url: str
    submission_host: str
    submission_port: int


class API:
    """The public HTTP API, with the tenant's token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60)

    def sign_in(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; a 429 is waited out as its header says."""
        while True:
            answer = self._http.request(method, path, **options)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer
            time.sleep(float(answer.headers.get("Retry-After", "1")))

    def get(self, path: str, **params: Any) -> Any:
        return self._data(self.raw("GET", path, params=params))

    def post(self, path: str, key: str | None = None, **body: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self._data(self.raw("POST", path, json=body, headers=headers))

    def events(self, path: str) -> Iterator[Any]:
        """Server-sent events, decoded, until the server ends the stream."""
        timeout = httpx.Timeout(10, read=180)
        with self._http.stream("GET", path, timeout=timeout) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    @staticmethod
    def _data(answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json()["data"]
        request = answer.request
        raise DemoFailed(
            f"{request.method} {request.url.path} answered {answer.status_code}:"
            f" {answer.text[:400]}"
        )


@dataclass(frozen=True)
class Operator:
    """What the command line gave to an operator."""

    name: str
    token: str
    totp_secret: str


class Authenticator:
    """An operator's authenticator app, by the clock of the world that the product lives in."""

    def __init__(self, sandbox_url: str, secret: str) -> None:
        self._http = httpx.Client(base_url=f"{sandbox_url}/control", timeout=30)
        self._codes = pyotp.TOTP(secret)

    def code(self) -> str:
        answer = self._http.get("/clock")
        answer.raise_for_status()
        return self._codes.at(datetime.fromisoformat(answer.json()["now"]))


class Browser:
    """What Stripe.js does in the customer's browser: confirm with a test card."""

    def __init__(self, sandbox_url: str) -> None:
        self._http = httpx.Client(base_url=f"{sandbox_url}/stripe/v1", timeout=30)

    def confirm(self, kind: str, intent_id: str, client_secret: str) -> str:
        """Confirm a setup_intent or payment_intent with a good Visa; the status it came to."""
        answer = self._http.post(
            f"/{kind}s/{intent_id}/confirm",
            data={
                "client_secret": client_secret,
                "payment_method": "pm_card_visa",
                "key": "pk_test_sandbox",
            },
            headers={"Authorization": "Bearer pk_test_sandbox"},
        )
        if not answer.is_success:
            raise DemoFailed(f"The card was not taken: {answer.text[:300]}")
        return str(answer.json()["status"])


class ReceivedMail:
    """What arrived at the recipients, and how it was judged."""

    def __init__(self, sandbox_url: str) -> None:
        self._http = httpx.Client(base_url=f"{sandbox_url}/mail", timeout=30)

    def about(self, subject: str) -> list[dict[str, Any]]:
        answer = self._http.get("/messages", params={"subject": subject, "limit": 500})
        answer.raise_for_status()
        messages: list[dict[str, Any]] = answer.json()["messages"]
        return messages


def wait_for(look: Callable[[], T | None], *, seconds: float, every: float, what: str) -> T:
    """Look until there is something; DemoFailed after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise DemoFailed(f"After {seconds:.0f} s still not true: {what}.")
        time.sleep(every)
