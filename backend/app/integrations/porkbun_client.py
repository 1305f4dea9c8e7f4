"""Porkbun, another registrar behind the same port.

Source: Porkbun's API v3 as its own client and guides describe it. Other than at Namecheap, names
are checked one by one and slowly, a name is sold for one year, the price must be repeated to the
cent, contacts are the account's own, and new names are locked and private by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import httpx
from redis import Redis

from app.errors import Invalid, OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_limits import RateLimit
from app.integrations.porkbun_wire import BUYING, PROVIDER, READING, Wire
from app.integrations.ports import Offer, Registration

CHECKS = ((10, 1),)
"""(seconds, checks) of an ordinary account; the answer to each check repeats it."""

MOST_NAMES = 50
NOT_OURS = frozenset({"INVALID_DOMAIN", "DOMAIN_NOT_FOUND", "NOT_FOUND"})
T = TypeVar("T")


ORDER_CHECKS = 2
"""Of buying a name: is it free at its price, and still."""


class PorkbunClient:
    name = "porkbun"
    names_per_call = 1

    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        url: str,
        api_key: str,
        secret_key: str,
        checks: tuple[tuple[int, int], ...] = CHECKS,
        reading: httpx.Timeout = READING,
        buying: httpx.Timeout = BUYING,
    ) -> None:
        limit = RateLimit(redis, f"ig:porkbun:{api_key[-4:]}:checks", checks)
        self._wire = Wire(http, url, api_key, secret_key, limit, reading=reading, buying=buying)

    def offers(self, names: Sequence[str], years: int = 1) -> list[Offer]:
        if len(names) > MOST_NAMES:
            raise Invalid(f"At most {MOST_NAMES} names at once.")
        return [self._offer(name, years) for name in names]

    def _offer(self, name: str, years: int) -> Offer:
        if years != 1:
            return _none(name, "it is sold for one year at a time")
        try:
            told = self._wire.check(f"/domain/checkDomain/{name.lower()}")
        except ProviderFailed as error:
            return _none(name, str(error.details.get("reason", "cannot be checked")))
        return _read(lambda: _checked(name, told["response"]), ProviderUnavailable)

    def order(self) -> AbstractContextManager[None]:
        return self._wire.together(ORDER_CHECKS)

    def register(
        self,
        domain_name: str,
        years: int,
        *,
        cost_ceiling_cents: int,
        premium: bool = False,
        registrant: Mapping[str, str] | None = None,  # noqa: ARG002  # Its orders take no contacts.
    ) -> Registration:
        (offer,) = self.offers([domain_name], years)
        if not offer.available or offer.price_cents is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name}: {offer.reason}")
        if offer.premium:
            # Its API registers none, whatever the buyer has agreed to.
            agreed = "cannot be ordered by API" if premium else "is a premium name now"
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name} {agreed}")
        if offer.price_cents > cost_ceiling_cents:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"{domain_name} now costs more than was agreed"
            )
        told = self._wire.buy(
            f"/domain/create/{domain_name.lower()}", cost=offer.price_cents, agreeToTerms="yes"
        )
        bought = _read(lambda: _receipt(domain_name, told), OutcomeUnknown)
        # It is ours whatever happens now; the dates are only nice to have.
        with suppress(ProviderFailed, ProviderUnavailable):
            found = self.find(domain_name)
            if found is not None:
                return replace(bought, created_at=found.created_at, expires_at=found.expires_at)
        return bought

    def find(self, domain_name: str) -> Registration | None:
        found = self._held(domain_name)
        if found is None:
            return None
        return _read(lambda: _registration(domain_name, found), ProviderUnavailable)

    def renewal_cents(self, domain_name: str, *, lapsed: bool = False) -> int | None:
        """None for a name that is over: its API has no call that restores one."""
        if lapsed:
            return None
        told = self._wire.check(f"/domain/checkDomain/{domain_name.lower()}")
        return _read(lambda: _renewal(told["response"]), ProviderUnavailable)

    def renew(
        self, domain_name: str, *, cost_ceiling_cents: int, lapsed: bool = False
    ) -> Registration:
        price = self.renewal_cents(domain_name, lapsed=lapsed)
        if price is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name} cannot be renewed")
        if price > cost_ceiling_cents:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"{domain_name} now costs more than was agreed"
            )
        told = self._wire.buy(f"/domain/renew/{domain_name.lower()}", cost=price)
        renewed = _read(lambda: _receipt(domain_name, told), OutcomeUnknown)
        with suppress(ProviderFailed, ProviderUnavailable):
            found = self.find(domain_name)
            if found is not None:
                return replace(renewed, created_at=found.created_at, expires_at=found.expires_at)
        return renewed

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None:
        self._wire.set(f"/domain/updateNs/{domain_name.lower()}", ns=list(name_servers))

    def set_registrant(self, domain_name: str, registrant: Mapping[str, str]) -> None:  # noqa: ARG002
        """A person does it in Porkbun's panel: its contacts are those of the whole account."""
        raise ProviderFailed(
            provider=PROVIDER, reason=f"the contact of {domain_name} must be changed by hand"
        )

    def protect(self, domain_name: str) -> None:
        """Lock and privacy come with the name, and its API has no switch for them."""
        found = self._held(domain_name)
        if found is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name} is not in our account")
        bare = [name for name in ("securityLock", "whoisPrivacy") if not _yes(found.get(name))]
        if bare:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"{' and '.join(bare)} must be switched on by hand"
            )

    def unlock(self, domain_name: str) -> None:
        raise ProviderFailed(
            provider=PROVIDER, reason=f"the lock of {domain_name} must be opened by hand"
        )

    def auth_code(self, domain_name: str) -> str | None:  # noqa: ARG002
        """Its panel shows it to a person."""
        return None

    def balance_cents(self) -> int:
        told = self._wire.get("/account/balance")
        return _read(lambda: _cents_given(told["balance"]), ProviderUnavailable)

    def _held(self, domain_name: str) -> dict[str, Any] | None:
        try:
            told = self._wire.get(f"/domain/get/{domain_name.lower()}")
        except ProviderFailed as error:
            if error.details.get("code") in NOT_OURS:
                return None
            raise
        return _read(lambda: dict(told["domain"]), ProviderUnavailable)


def _read(reading: Callable[[], T], lost: type[ProviderUnavailable]) -> T:
    """What cannot be read is no answer: after an order, nobody knows then."""
    try:
        return reading()
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        raise lost(provider=PROVIDER, reason="unreadable answer") from None


def _none(name: str, reason: str) -> Offer:
    return Offer(name, False, False, None, None, reason=reason)


def _checked(name: str, told: dict[str, Any]) -> Offer:
    if not _yes(told["avail"]):
        return _none(name, "taken")
    if _yes(told.get("premium")):
        return replace(
            _none(name, "premium names cannot be ordered by API"),
            premium=True,
            price_cents=_cents(told["price"]),
        )
    return Offer(name, True, False, _cents(told["price"]), _renewal(told))


def _renewal(told: dict[str, Any]) -> int | None:
    price = told.get("additional", {}).get("renewal", {}).get("price")
    return _cents(price) if price else None


def _receipt(domain_name: str, told: dict[str, Any]) -> Registration:
    order = told["orderId"]
    return Registration(
        domain_name=domain_name,
        registrar_id=str(told.get("domain") or domain_name),
        order_id=str(order),
        charged_cents=_cents_given(told["cost"]),
        created_at=None,
        expires_at=None,
    )


def _registration(domain_name: str, told: dict[str, Any]) -> Registration:
    return Registration(
        domain_name=domain_name,
        registrar_id=str(told["domain"]),
        order_id=None,
        charged_cents=None,
        created_at=_moment(told.get("createDate")),
        expires_at=_moment(told.get("expireDate")),
    )


def _yes(value: object) -> bool:
    """Its flags are "yes", "1", 1 or true, depending on where they stand."""
    return str(value).lower() in {"yes", "1", "true"}


def _cents(text: object) -> int:
    """Dollars as text, rounded up to cents."""
    amount = Decimal(str(text).replace(",", "")) * 100
    if amount < 0:
        raise ValueError("a price below nothing")
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def _cents_given(value: object) -> int:
    """A whole number of cents. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("not a number of cents")
    return int(value)


def _moment(text: object) -> datetime | None:
    """`2026-11-23 07:30:00`, in UTC."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
