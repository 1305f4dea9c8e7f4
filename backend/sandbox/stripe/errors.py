"""Errors in Stripe's envelope: {"error": {type, code, message, param, …}}."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """An answer other than 200. `details` are further members of the envelope.

    `executed` is false when the request was refused before anything was tried; such answers are
    not kept under an idempotency key (docs.stripe.com/api/idempotent_requests).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = True,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.executed = status, executed
        self.body: dict[str, Any] = {"type": kind, "message": message, **details}
        if code is not None:
            self.body["code"] = code
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            self.body["param"] = param


def missing(kind: str, wanted: str, param: str = "id") -> StripeError:
    """No such object: 404 when it is the address asked for, 400 when a parameter names it."""
    return StripeError(
        f"No such {kind.replace('_', ' ').replace('payment method', 'PaymentMethod')}: '{wanted}'",
        status=404 if param == "id" else 400,
        code="resource_missing",
        param=param,
    )


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    return StripeError(message, param=param, code=code)


def unauthenticated(message: str) -> StripeError:
    return StripeError(message, status=401, executed=False)


def not_imitated(param: str) -> StripeError:
    return StripeError(
        f"The sandbox does not imitate the parameter {param!r}.",
        param=param,
        code="sandbox_not_imitated",
        executed=False,
    )
