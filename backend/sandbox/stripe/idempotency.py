"""Idempotency keys (docs.stripe.com/api/idempotent_requests): one effect for one key.

The first answer, whatever its status, is given again to every request with the same key for 24
hours. The same key with other parameters is refused with 400, and with 409 while the first
request is still under way.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sandbox.stripe.account import Account
from sandbox.stripe.errors import StripeError

KEPT_SECONDS = 24 * 3600
MAX_LENGTH = 255


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    request_id: str
    executed: bool = True


class IdempotencyKeys:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept = account.objects("idempotency")
        self._under_way: set[str] = set()

    def begin(self, key: str, method: str, path: str, body: str) -> Answer | None:
        """The first request's answer; None when this is the first. Raises StripeError."""
        if len(key) > MAX_LENGTH:
            raise StripeError(
                f"The idempotency key is longer than {MAX_LENGTH} characters.", executed=False
            )
        if key in self._under_way:
            raise StripeError(
                f"There is currently another in-progress request using this Idempotent Key: {key}"
                " (that probably means you submitted twice, and the other request is still going"
                " through).",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
                executed=False,
            )
        kept = self._kept.get(key)
        if kept is not None and self._account.now() - kept["at"] < KEPT_SECONDS:
            if kept["request"] != _print(method, path, body):
                raise StripeError(
                    "Keys for idempotent requests can only be used with the same parameters they"
                    f" were first used with. Try using a key other than '{key}' if you meant to"
                    " execute a different request.",
                    kind="idempotency_error",
                    executed=False,
                )
            return Answer(kept["status"], kept["body"], kept["request_id"])
        self._under_way.add(key)
        return None

    def keep(self, key: str, method: str, path: str, body: str, answer: Answer) -> None:
        self._kept[key] = {
            "at": self._account.now(),
            "request": _print(method, path, body),
            "status": answer.status,
            "body": answer.body,
            "request_id": answer.request_id,
        }

    def end(self, key: str) -> None:
        self._under_way.discard(key)


def _print(method: str, path: str, body: str) -> str:
    return hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()
