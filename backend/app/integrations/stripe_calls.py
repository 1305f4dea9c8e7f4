"""How Stripe's SDK is called: one session, one pinned version, errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import requests
import stripe
from stripe import StripeClient

from app.errors import OutcomeUnknown, PaymentRequired, ProviderFailed, ProviderUnavailable
from app.integrations.calls import StripeAdapter, StripeHTTP

PROVIDER = "Stripe"
CARD_ONLY = ["card"]
PAGE = 100
"""The most that Stripe lists at once."""
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def mapped_to(call: Callable[P, R], lost: type[ProviderUnavailable]) -> Callable[P, R]:
    """Stripe's exceptions stop here; `lost` is what an answer that never came means."""

    @wraps(call)
    def mapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except stripe.CardError as error:
            reason = error.user_message or "The card was declined."
            raise PaymentRequired(reason, decline_code=_decline(error)) from error
        except stripe.APIConnectionError as error:
            raise lost(provider=PROVIDER, reason="no answer") from error
        except stripe.StripeError as error:
            # Cut, because an answer that is not Stripe's is quoted whole.
            told = f"{error.http_status} {error.code or ''} {error.user_message or error}"[:300]
            if error.http_status == 429:
                # The limiter answers before anything is done.
                raise ProviderUnavailable(provider=PROVIDER, reason="rate limit") from error
            # APIError is an answer of 5xx or one that is no JSON; 409 means that the same key is
            # still being worked on.
            if isinstance(error, stripe.APIError) or error.http_status == 409:
                raise lost(provider=PROVIDER, reason=told) from error
            raise ProviderFailed(provider=PROVIDER, reason=told, stripe_code=error.code) from error

    return mapped


def reading(call: Callable[P, R]) -> Callable[P, R]:
    return mapped_to(call, ProviderUnavailable)


def writing(call: Callable[P, R]) -> Callable[P, R]:
    return mapped_to(call, OutcomeUnknown)


def _decline(error: stripe.CardError) -> str | None:
    """The bank's own reason where there is one, such as insufficient_funds."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    return body.get("error", {}).get("decline_code") or error.code


def new_session() -> requests.Session:
    """Never follows a redirect: Stripe sends none, and the key must not travel elsewhere."""
    session = requests.Session()
    session.max_redirects = 0
    # Shared by all threads of a process: as many connections are kept as an API process has.
    session.mount("https://", StripeAdapter.new(pool_maxsize=40))
    session.mount("http://", StripeAdapter.new(pool_maxsize=40))
    return session


class StripeCalls:
    """What every group of calls needs."""

    def __init__(
        self, *, secret_key: str, webhook_secret: str, api_base: str, timeout_seconds: float
    ) -> None:
        self._session = new_session()
        self._client = StripeClient(
            secret_key,
            base_addresses={"api": api_base.rstrip("/")},
            max_network_retries=2,
            # The library's own read timeout is 80 s, longer than anybody waits.
            http_client=StripeHTTP(timeout=(3, timeout_seconds), session=self._session),
        )
        self._webhook_secret = webhook_secret
        self._prices: dict[str, str] = {}
        self.api_version: str = stripe.api_version
        self.livemode = secret_key.startswith(("sk_live_", "rk_live_"))

    def close(self) -> None:
        """Give the kept connections back."""
        self._session.close()

    def _price(self, plan: str) -> str:
        if plan not in self._prices:
            found = self._client.v1.prices.list({"lookup_keys": [f"{plan}_monthly"]}).data
            if not found:
                raise ProviderFailed(provider=PROVIDER, reason=f"no price {plan}_monthly")
            self._prices[plan] = found[0].id
        return self._prices[plan]


def paged(fetch: Callable[[dict[str, Any]], Any], params: dict[str, Any]) -> Iterator[Any]:
    """Every object of a list, page by page; each page is one call with its errors mapped."""
    turn = reading(fetch)
    cursor: dict[str, Any] = {}
    while True:
        page = turn({"limit": PAGE, **params, **cursor})
        yield from page.data
        if not page.has_more or not page.data:
            return
        cursor = {"starting_after": page.data[-1].id}
