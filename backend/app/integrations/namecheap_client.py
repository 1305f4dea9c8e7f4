"""Namecheap, the registrar: what names cost, buying them, pointing them at name servers.

Source: the reference and samples of Namecheap's own SDK (namecheap/go-namecheap-sdk).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from xml.etree.ElementTree import Element

import httpx
from redis import Redis

from app.errors import Invalid, OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations import namecheap_xml as xml
from app.integrations.namecheap_catalog import Catalog
from app.integrations.namecheap_limits import WINDOWS, RateLimit
from app.integrations.namecheap_wire import BUYING, PROVIDER, READING, Wire
from app.integrations.ports import Offer, Registration

CHECK_AT_ONCE = 50
CONTACTS = ("Registrant", "Tech", "Admin", "AuxBilling")


ORDER_CALLS = 6
"""Of buying a name: is it ours, is it free, is it still free, its price, the order, its dates."""

PROTECT_CALLS = 3


class NamecheapClient:
    name = "namecheap"
    names_per_call = CHECK_AT_ONCE

    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        url: str,
        api_user: str,
        api_key: str,
        username: str,
        client_ip: str,
        registrant: Mapping[str, str],
        windows: tuple[tuple[int, int], ...] = WINDOWS,
        reading: httpx.Timeout = READING,
        buying: httpx.Timeout = BUYING,
    ) -> None:
        """`registrant` has the fields of RegistrantSettings; names are registered with it.

        `windows` are the account's limits, (seconds, calls), the longest window last.
        """
        account = {
            "ApiUser": api_user,
            "ApiKey": api_key,
            "UserName": username,
            "ClientIp": client_ip,
        }
        keys = f"ig:namecheap:{api_user}"
        limit = RateLimit(redis, f"{keys}:calls", windows)
        self._wire = Wire(http, url, account, limit, reading=reading, buying=buying)
        self._catalog = Catalog(self._wire, redis, keys)
        self._registrant = registrant

    # Searching ----------------------------------------------------------------------------------

    def offers(self, names: Sequence[str], years: int = 1) -> list[Offer]:
        return self._offers(names, years, fresh=False)

    def _offers(self, names: Sequence[str], years: int, *, fresh: bool) -> list[Offer]:
        if not names:
            return []
        if len(names) > CHECK_AT_ONCE:
            raise Invalid(f"At most {CHECK_AT_ONCE} names at once.")
        # Only a search leaves room for others; what belongs to an order may use all there is.
        ask = self._wire.ask if fresh else self._wire.browse
        results = ask("namecheap.domains.check", _checked, DomainList=",".join(names))
        return [self._offer(n, results.get(n.lower()), years, fresh=fresh) for n in names]

    def _offer(self, name: str, result: Offer | None, years: int, *, fresh: bool) -> Offer:
        if result is None:
            return _none(name, "cannot be checked")
        if not result.available or result.premium:
            return replace(result, domain_name=name)
        _, tld = self._catalog.split(name)
        if tld is None or not self._catalog.sells(tld):
            return _none(name, "this ending is not sold here")
        price = self._catalog.price(tld, "REGISTER", years, fresh=fresh)
        if price is None:
            return _none(name, f".{tld} is not sold for {years} year(s)")
        renewal = self._catalog.price(tld, "RENEW", 1)
        return Offer(name, True, False, price, renewal)

    # Buying -------------------------------------------------------------------------------------

    def order(self) -> AbstractContextManager[None]:
        return self._wire.together(ORDER_CALLS)

    def register(
        self,
        domain_name: str,
        years: int,
        *,
        cost_ceiling_cents: int,
        premium: bool = False,
        registrant: Mapping[str, str] | None = None,
    ) -> Registration:
        # The price that was quoted may be an hour old; the one that will be charged is not.
        (offer,) = self._offers([domain_name], years, fresh=True)
        if not offer.available or offer.price_cents is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name}: {offer.reason}")
        if offer.premium and not premium:
            # Nobody has agreed to a premium price; the registry made it one after the quote.
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name} is a premium name now")
        if offer.price_cents > cost_ceiling_cents:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"{domain_name} now costs more than was agreed"
            )
        bought = self._wire.buy(
            "namecheap.domains.create",
            lambda root: _receipt(domain_name, root),
            DomainName=domain_name,
            Years=str(years),
            # Both are said, because the published references disagree about the defaults.
            AddFreeWhoisguard="yes",
            WGEnabled="yes",
            **_premium_terms(offer),
            **self._contacts(registrant),
        )
        # It is ours whatever happens now; the dates are only nice to have.
        with suppress(ProviderFailed, ProviderUnavailable):
            found = self.find(domain_name)
            if found is not None:
                return replace(bought, created_at=found.created_at, expires_at=found.expires_at)
        return bought

    def _contacts(self, registrant: Mapping[str, str] | None) -> dict[str, str]:
        """The name is the registrant's; its technical and billing matters are ours."""
        whose = {**dict.fromkeys(CONTACTS, self._registrant), "Registrant": registrant}
        return {
            f"{role}{field}": value
            for role, who in whose.items()
            for field, value in _block(who or self._registrant).items()
        }

    def set_registrant(self, domain_name: str, registrant: Mapping[str, str]) -> None:
        done = self._wire.ask(
            "namecheap.domains.setContacts",
            lambda root: xml.yes(xml.first(root, "DomainSetContactResult"), "IsSuccess"),
            DomainName=domain_name,
            **self._contacts(registrant),
        )
        if not done:
            raise ProviderFailed(provider=PROVIDER, reason="the registrant was not changed")

    def find(self, domain_name: str) -> Registration | None:
        try:
            return self._wire.ask(
                "namecheap.domains.getInfo",
                lambda root: _registration(domain_name, root),
                DomainName=domain_name,
            )
        except ProviderFailed as error:
            if set(error.details.get("numbers", [])) & xml.NOT_OURS:
                return None
            raise

    def renewal_cents(self, domain_name: str, *, lapsed: bool = False) -> int | None:
        _, tld = self._catalog.split(domain_name)
        action = "REACTIVATE" if lapsed else "RENEW"
        return None if tld is None else self._catalog.price(tld, action, 1, fresh=True)

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
        # A premium name is refused by its number (2515623): its price is a person's decision.
        if lapsed:
            back = self._wire.buy(
                "namecheap.domains.reactivate",
                lambda root: _reactivated(domain_name, root),
                DomainName=domain_name,
                YearsToAdd="1",
            )
            # It is ours again whatever happens now; the date is only nice to have.
            with suppress(ProviderFailed, ProviderUnavailable):
                found = self.find(domain_name)
                if found is not None:
                    return replace(back, expires_at=found.expires_at)
            return back
        return self._wire.buy(
            "namecheap.domains.renew",
            lambda root: _renewed(domain_name, root),
            DomainName=domain_name,
            Years="1",
        )

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None:
        sld, tld = self._catalog.split(domain_name)
        if tld is None:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"the ending of {domain_name} is unknown"
            )
        # Saying it twice changes nothing.
        done = self._wire.ask(
            "namecheap.domains.dns.setCustom",
            _updated,
            SLD=sld,
            TLD=tld,
            Nameservers=",".join(name_servers),
        )
        if not done:
            raise ProviderFailed(provider=PROVIDER, reason="the name servers were not set")

    def protect(self, domain_name: str) -> None:
        """Privacy comes with the order; it is looked at here, because an order can lose it."""
        with self._wire.together(PROTECT_CALLS):
            privacy = self._wire.ask("namecheap.domains.getInfo", _privacy, DomainName=domain_name)
            if privacy is not None:
                shown = self._wire.ask(
                    "namecheap.whoisguard.enable",
                    lambda root: xml.yes(xml.first(root, "WhoisguardEnableResult"), "IsSuccess"),
                    WhoisguardID=privacy,
                    ForwardedToEmail=self._registrant["email"],
                )
                if not shown:
                    raise ProviderFailed(provider=PROVIDER, reason="privacy was not switched on")
            self._set_lock(domain_name, "LOCK")

    def unlock(self, domain_name: str) -> None:
        self._set_lock(domain_name, "UNLOCK")

    def _set_lock(self, domain_name: str, action: str) -> None:
        done = self._wire.ask(
            "namecheap.domains.setRegistrarLock",
            lambda root: xml.yes(xml.first(root, "DomainSetRegistrarLockResult"), "IsSuccess"),
            DomainName=domain_name,
            LockAction=action,
        )
        if not done:
            raise ProviderFailed(provider=PROVIDER, reason="the name's lock was not changed")

    def auth_code(self, domain_name: str) -> str | None:  # noqa: ARG002
        """Its API has no call for it: the panel shows it to a person, or mails it."""
        return None

    def balance_cents(self) -> int:
        return self._wire.ask("namecheap.users.getBalances", _available_balance)


def _block(who: Mapping[str, str]) -> dict[str, str]:
    return {
        "FirstName": who["first_name"],
        "LastName": who["last_name"],
        "OrganizationName": who["organization"],
        "Address1": who["address"],
        "City": who["city"],
        "StateProvince": who["state"],
        "PostalCode": who["postal_code"],
        "Country": who["country"],
        "Phone": who["phone"],
        "EmailAddress": who["email"],
    }


def _none(name: str, reason: str, *, premium: bool = False) -> Offer:
    return Offer(name, False, premium, None, None, reason=reason)


def _checked(root: Element) -> dict[str, Offer]:
    """By name in lower case; prices of premium names only, the others are in the price list."""
    offers = (_check_result(result) for result in xml.elements(root, "DomainCheckResult"))
    return {offer.domain_name: offer for offer in offers}


def _check_result(result: Element) -> Offer:
    name = xml.attribute(result, "Domain").lower()
    premium = xml.yes(result, "IsPremiumName")
    if xml.attribute(result, "ErrorNo") not in {"", "0"}:
        return _none(name, xml.attribute(result, "Description") or "cannot be checked")
    if not xml.yes(result, "Available"):
        return _none(name, "taken", premium=premium)
    if not premium:
        return Offer(name, True, False, None, None)
    icann = xml.cents(xml.attribute(result, "IcannFee"))
    premium_cents = xml.cents(xml.attribute(result, "PremiumRegistrationPrice"))
    if xml.cents(xml.attribute(result, "EapFee")) > 0:
        # The API cannot register premium names of an early access programme.
        return _none(name, "it is in its early access period", premium=True)
    renewal = xml.cents(xml.attribute(result, "PremiumRenewalPrice")) + icann
    return Offer(name, True, True, premium_cents + icann, renewal, premium_cents=premium_cents)


def _premium_terms(offer: Offer) -> dict[str, str]:
    """A premium name is ordered as one and at its exact price, else error 2515623 or 2515610."""
    if not offer.premium or offer.premium_cents is None:
        return {}
    dollars, cents = divmod(offer.premium_cents, 100)
    return {"IsPremiumDomain": "true", "PremiumPrice": f"{dollars}.{cents:02d}"}


def _receipt(domain_name: str, root: Element) -> Registration:
    result = xml.first(root, "DomainCreateResult")
    if not xml.yes(result, "Registered"):
        # Some registries answer later; find() tells when.
        raise OutcomeUnknown(provider=PROVIDER, reason="the registry has not answered yet")
    return Registration(
        domain_name=domain_name,
        registrar_id=xml.attribute(result, "DomainID"),
        order_id=xml.attribute(result, "OrderID") or None,
        charged_cents=xml.cents(xml.attribute(result, "ChargedAmount")),
        created_at=None,
        expires_at=None,
    )


def _renewed(domain_name: str, root: Element) -> Registration:
    result = xml.first(root, "DomainRenewResult")
    if not xml.yes(result, "Renew"):
        raise OutcomeUnknown(provider=PROVIDER, reason="the registry has not answered yet")
    return Registration(
        domain_name=domain_name,
        registrar_id=xml.attribute(result, "DomainID"),
        order_id=xml.attribute(result, "OrderID") or None,
        charged_cents=xml.cents(xml.attribute(result, "ChargedAmount")),
        created_at=None,
        expires_at=xml.day(_details_expiry(result)),
    )


def _reactivated(domain_name: str, root: Element) -> Registration:
    result = xml.first(root, "DomainReactivateResult")
    if not xml.yes(result, "IsSuccess"):
        raise OutcomeUnknown(provider=PROVIDER, reason="the registry has not answered yet")
    return Registration(
        domain_name=domain_name,
        registrar_id="",
        order_id=xml.attribute(result, "OrderID") or None,
        charged_cents=xml.cents(xml.attribute(result, "ChargedAmount")),
        created_at=None,
        expires_at=None,
    )


def _registration(domain_name: str, root: Element) -> Registration | None:
    result = xml.first(root, "DomainGetInfoResult")
    if not xml.yes(result, "IsOwner"):
        return None
    return Registration(
        domain_name=domain_name,
        registrar_id=xml.attribute(result, "ID"),
        order_id=None,
        charged_cents=None,
        created_at=xml.day(xml.text(result, "CreatedDate")),
        expires_at=xml.day(_details_expiry(result)),
    )


def _privacy(root: Element) -> str | None:
    """The id of privacy that must be switched on; None when it is on, or the name has none."""
    guard = next(xml.elements(xml.first(root, "DomainGetInfoResult"), "Whoisguard"), None)
    if guard is None or xml.yes(guard, "Enabled"):
        return None
    return xml.text(guard, "ID") or None


def _details_expiry(result: Element) -> str:
    # Domain privacy has an ExpiredDate of its own.
    return xml.text(next(xml.elements(result, "DomainDetails"), result), "ExpiredDate")


def _updated(root: Element) -> bool:
    result = xml.first(root, "DomainDNSSetCustomResult")
    return xml.yes(result, "Updated") or xml.yes(result, "Update")


def _available_balance(root: Element) -> int:
    return xml.cents(xml.attribute(xml.first(root, "UserGetBalancesResult"), "AvailableBalance"))
