"""What names cost here, and whether they can be had: the registrar's answers with our prices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from app import errors
from app.integrations import dnsbl, ports
from app.rules import hostnames, pricing
from app.rules.blocklists import Kind, State
from app.utils import monitoring

MAX_YEARS = 10
"""No registry lets a name run longer ahead."""

_OFFERS, _VERDICTS = "offer", "blocklists"
_LISTED = "it is on a blocklist of domains, so mail from it would be refused"


@dataclass(frozen=True)
class Quote:
    """A name that can be bought now. Amounts are totals for `years`, in cents."""

    domain_name: str
    years: int
    cost_cents: int
    """The registrar's price, ICANN fee included: what buying may cost at most."""
    price_cents: int
    renewal_cents: int | None
    currency: str
    premium: bool


@dataclass(frozen=True)
class Listing:
    """One line of a search result; a name that cannot be bought here says why."""

    domain_name: str
    available: bool
    """It can be bought here, now. Premium names cannot: their prices are a person's decision."""
    premium: bool
    price_cents: int | None
    renewal_cents: int | None
    currency: str
    years: int
    reason: str | None = None
    suggested: bool = False
    """We thought of it, because what was asked for is taken."""
    blocklisted: bool | None = None
    """Whether a blocklist of domains holds it; None when nobody can know."""


class RegistrarService:
    """Prices and availability; nothing here changes anything."""

    @staticmethod
    def quote(
        domain_name: str,
        years: int = 1,
        *,
        premium_confirmed: bool = False,
        providers: ports.Providers | None = None,
    ) -> Quote:
        """The price of one name. Raises Invalid, DomainTaken and provider errors.

        A premium name raises PremiumNotConfirmed with its price until somebody says that they want
        it at that.
        """
        providers = providers or ports.current()
        if not 1 <= years <= MAX_YEARS:
            raise errors.Invalid(f"years must be 1 to {MAX_YEARS}.", years=years)
        try:
            name = str(hostnames.check_to_buy(domain_name))
        except hostnames.BadName as error:
            raise errors.Invalid(f"{error}.", domain_name=domain_name) from None
        (offer,) = providers.registrar.offers([name], years)
        if providers.shelf is not None:
            # Somebody is about to buy it: those who search now hear the present.
            providers.shelf.forget(_OFFERS, name)
        if not offer.available and not offer.premium:
            why = None if offer.reason is None else f"{name} cannot be bought: {offer.reason}."
            raise errors.DomainTaken(why, domain_name=name)
        reason = _refusal(offer, premium_agreed=True)
        if offer.premium and years != 1:
            reason = reason or "a premium name is bought for one year"
        if reason is not None or offer.price_cents is None:
            raise errors.Invalid(f"{name} cannot be bought here: {reason}.", domain_name=name)
        if blocklisted([name], providers)[name]:
            raise errors.Invalid(f"{name} cannot be bought here: {_LISTED}.", domain_name=name)
        price = _retail(offer.price_cents, providers.platform)
        if offer.premium and not premium_confirmed:
            raise errors.PremiumNotConfirmed(
                domain_name=name, price_cents=price, currency=offer.currency.lower()
            )
        return Quote(
            domain_name=name,
            years=years,
            cost_cents=offer.price_cents,
            price_cents=price,
            renewal_cents=_retail_or_none(offer.renewal_cents, providers.platform),
            currency=offer.currency.lower(),
            premium=offer.premium,
        )

    @staticmethod
    def search(
        names: Sequence[hostnames.Hostname],
        *,
        suggested: bool = False,
        providers: ports.Providers | None = None,
    ) -> list[Listing]:
        """Availability and price of each name for one year, in the order given; 50 at most.

        Answers may be an hour old: a quote asks again.
        """
        providers = providers or ports.current()
        if not names:
            return []
        offers = _offers([str(name) for name in names], providers)
        sold = [
            offer.domain_name for offer in offers if _refusal(offer, premium_agreed=True) is None
        ]
        listed = blocklisted(sold, providers)
        return [
            _listing(
                offer,
                providers.platform,
                suggested=suggested,
                blocklisted=listed.get(offer.domain_name),
            )
            for offer in offers
        ]

    @staticmethod
    def objection(
        domain_name: str,
        years: int,
        ceiling_cents: int,
        *,
        premium: bool = False,
        providers: ports.Providers,
    ) -> str | None:
        """Why a quoted name must not be bought any more; None when all is as it was quoted."""
        (offer,) = providers.registrar.offers([domain_name], years)
        if not offer.available:
            return offer.reason or "somebody else has registered it meanwhile"
        reason = _refusal(offer, premium_agreed=premium)
        if reason is not None or offer.price_cents is None:
            return reason
        if offer.price_cents > ceiling_cents:
            return f"the registrar raised its price by {offer.price_cents - ceiling_cents} cents"
        return None


def blocklisted(names: Sequence[str], providers: ports.Providers) -> dict[str, bool | None]:
    """Whether blocklists of domains hold each name; None when nobody can know."""
    shelf = providers.shelf
    known: dict[str, bool | None] = dict(shelf.read(_VERDICTS, names)) if shelf else {}
    missing = [name for name in names if name not in known]
    lists = [each for each in providers.platform.blocklists if each.kind == Kind.DOMAIN]
    heard = {
        name: state is State.LISTED
        for name, state in dnsbl.verdicts(lists, missing, providers.resolver).items()
        if state is not State.UNKNOWN
    }
    if shelf:
        # What nobody could know is asked again the next time.
        shelf.keep(_VERDICTS, heard)
    return {name: heard.get(name, known.get(name)) for name in names}


def _offers(names: Sequence[str], providers: ports.Providers) -> list[ports.Offer]:
    """The registrar's answers in the order asked; those of the last hour are not asked again."""
    shelf, registrar = providers.shelf, providers.registrar
    if shelf is None:
        return registrar.offers(names)
    kept = _readable(shelf.read(_OFFERS, names))
    missing = [name for name in names if name not in kept]
    asked = dict(zip(missing, registrar.offers(missing), strict=True)) if missing else {}
    shelf.keep(_OFFERS, {name: asdict(offer) for name, offer in asked.items()})
    monitoring.SEARCHED.labels(answer="kept").inc(len(kept))
    monitoring.SEARCHED.labels(answer="asked").inc(len(missing))
    saved = _calls(len(names), registrar) - _calls(len(missing), registrar)
    monitoring.SEARCH_CALLS_SAVED.inc(saved)
    return [kept.get(name) or asked[name] for name in names]


def _readable(held: dict[str, Any]) -> dict[str, ports.Offer]:
    """Without what an older release has kept in another shape."""
    offers = {}
    for name, fields in held.items():
        with suppress(TypeError):
            offers[name] = ports.Offer(**fields)
    return offers


def _calls(names: int, registrar: ports.Registrar) -> int:
    return -(-names // registrar.names_per_call)


def _refusal(offer: ports.Offer, *, premium_agreed: bool = False) -> str | None:
    if offer.premium and not premium_agreed:
        return "it is a premium name"
    if not offer.available:
        return offer.reason or "it is taken"
    if offer.currency.lower() != "usd":
        return f"it is priced in {offer.currency.upper()}"
    if offer.price_cents is None or offer.price_cents <= 0:
        return "the registrar gives no price for it"
    most = pricing.MAX_PREMIUM_CENTS if offer.premium else pricing.MAX_COST_CENTS
    if offer.price_cents > most:
        return "it is too dear to be bought without a person's consent"
    return None


def _listing(
    offer: ports.Offer, platform: ports.Platform, *, suggested: bool, blocklisted: bool | None
) -> Listing:
    reason = _LISTED if blocklisted else _refusal(offer)
    return Listing(
        domain_name=offer.domain_name,
        available=reason is None,
        premium=offer.premium,
        price_cents=_retail_or_none(offer.price_cents, platform),
        renewal_cents=_retail_or_none(offer.renewal_cents, platform),
        currency=offer.currency.lower(),
        years=1,
        reason=reason,
        suggested=suggested,
        blocklisted=blocklisted,
    )


def _retail(cost_cents: int, platform: ports.Platform) -> int:
    return pricing.retail_cents(
        cost_cents,
        margin_percent=platform.domain_margin_percent,
        fixed_cents=platform.domain_fixed_cents,
    )


def _retail_or_none(cost_cents: int | None, platform: ports.Platform) -> int | None:
    return None if not cost_cents or cost_cents < 0 else _retail(cost_cents, platform)
