"""Namecheap: POST only, because keys and addresses must not stand in URLs.

There are no idempotency keys. HTTP 405 is the limiter's answer and the only one that proves that
nothing was done; every other lost answer of a buying call is OutcomeUnknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from xml.etree.ElementTree import Element

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app.errors import Invalid, OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations import namecheap_xml as xml
from app.integrations.namecheap_limits import RateLimit
from app.integrations.ports import Offer, Registration

PROVIDER = "Namecheap"
CHECK_AT_ONCE = 50
READING = httpx.Timeout(30.0, connect=5.0)
BUYING = httpx.Timeout(90.0, connect=5.0)
"""The documented sample of a registration took half a minute."""

PRICES_FOR = 3600
TLDS_FOR = 24 * 3600
CONTACTS = ("Registrant", "Tech", "Admin", "AuxBilling")


class NamecheapClient:
    name = "namecheap"

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
    ) -> None:
        self._http, self._redis, self._url = http, redis, url
        self._account = {
            "ApiUser": api_user,
            "ApiKey": api_key,
            "UserName": username,
            "ClientIp": client_ip,
        }
        self._registrant = registrant
        self._limit = RateLimit(redis, f"ig:namecheap:{api_user}")

    # Searching ----------------------------------------------------------------------------------

    def offers(self, names: Sequence[str], years: int = 1) -> list[Offer]:
        if len(names) > CHECK_AT_ONCE:
            raise Invalid(f"At most {CHECK_AT_ONCE} names at once.")
        root = self._call("namecheap.domains.check", DomainList=",".join(names))
        results = {
            xml.attribute(e, "Domain").lower(): e for e in xml.elements(root, "DomainCheckResult")
        }
        return [self._offer(name, results.get(name.lower()), years) for name in names]

    def _offer(self, name: str, result: Element | None, years: int) -> Offer:
        if result is None or xml.attribute(result, "ErrorNo") not in {"", "0"}:
            reason = xml.attribute(result, "Description") if result is not None else ""
            return Offer(name, False, False, None, None, reason=reason or "cannot be checked")
        premium = xml.yes(result, "IsPremiumName")
        if not xml.yes(result, "Available"):
            return Offer(name, False, premium, None, None, reason="taken")
        if premium:
            icann = xml.cents(xml.attribute(result, "IcannFee"))
            price = xml.cents(xml.attribute(result, "PremiumRegistrationPrice"))
            price += xml.cents(xml.attribute(result, "EapFee")) + icann
            renewal = xml.cents(xml.attribute(result, "PremiumRenewalPrice")) + icann
            return Offer(name, True, True, price, renewal)
        tld = self._split(name)[1]
        if tld is None:
            return Offer(name, False, False, None, None, reason="this ending is not sold here")
        register, renew = self._price(tld, "REGISTER", years), self._price(tld, "RENEW", 1)
        return Offer(name, True, False, register, renew)

    def _price(self, tld: str, action: str, years: int) -> int:
        def load() -> dict[str, dict[str, int]]:
            # The whole sheet in one call: calls are what is scarce.
            root = self._call(
                "namecheap.users.getPricing",
                ProductType="DOMAIN",
                ProductCategory="DOMAINS",
                ActionName=action,
            )
            return {
                xml.attribute(product, "Name").lower(): {
                    xml.attribute(price, "Duration"): _price_of(price)
                    for price in xml.elements(product, "Price")
                }
                for product in xml.elements(root, "Product")
            }

        sheet: dict[str, dict[str, int]] = self._cached(f"prices:{action}", PRICES_FOR, load)
        prices = sheet.get(tld, {})
        if str(years) not in prices:
            raise Invalid(f".{tld} is not sold for {years} year(s).", years=years)
        return prices[str(years)]

    def _split(self, name: str) -> tuple[str, str | None]:
        """The name before its ending, and the longest ending that is sold; None when none is."""
        tlds = set(self._cached("tlds", TLDS_FOR, self._load_tlds))
        labels = name.lower().split(".")
        for start in range(1, len(labels)):
            if ".".join(labels[start:]) in tlds:
                return ".".join(labels[:start]), ".".join(labels[start:])
        return name, None

    def _load_tlds(self) -> list[str]:
        root = self._call("namecheap.domains.getTldList")
        return [
            xml.attribute(tld, "Name").lower()
            for tld in xml.elements(root, "Tld")
            if xml.yes(tld, "IsApiRegisterable") and not xml.yes(tld, "NonRealTime")
        ]

    # Buying -------------------------------------------------------------------------------------

    def register(self, domain_name: str, years: int, *, cost_ceiling_cents: int) -> Registration:
        (offer,) = self.offers([domain_name], years)
        if not offer.available or offer.price_cents is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name}: {offer.reason}")
        if offer.premium:
            raise ProviderFailed(provider=PROVIDER, reason="premium names are not sold here")
        if offer.price_cents > cost_ceiling_cents:
            raise ProviderFailed(
                provider=PROVIDER, reason=f"{domain_name} now costs more than was agreed"
            )
        params = {"DomainName": domain_name, "Years": str(years), **self._contacts()}
        params |= {"AddFreeWhoisguard": "yes", "WGEnabled": "yes"}
        root = self._call("namecheap.domains.create", _buying=True, **params)
        result = xml.first(root, "DomainCreateResult")
        if not xml.yes(result, "Registered"):
            # Some registries answer later; find() tells when.
            raise OutcomeUnknown(provider=PROVIDER, reason="the registry has not answered yet")
        found = self.find(domain_name)
        return Registration(
            domain_name=domain_name,
            registrar_id=xml.attribute(result, "DomainID"),
            order_id=xml.attribute(result, "OrderID") or None,
            charged_cents=xml.cents(xml.attribute(result, "ChargedAmount")),
            created_at=found.created_at if found else None,
            expires_at=found.expires_at if found else None,
        )

    def _contacts(self) -> dict[str, str]:
        who = self._registrant
        block = {
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
        return {f"{role}{field}": value for role in CONTACTS for field, value in block.items()}

    def find(self, domain_name: str) -> Registration | None:
        try:
            root = self._call("namecheap.domains.getInfo", DomainName=domain_name)
        except ProviderFailed as error:
            if set(error.details.get("numbers", [])) & xml.NOT_OURS:
                return None
            raise
        result = xml.first(root, "DomainGetInfoResult")
        if not xml.yes(result, "IsOwner"):
            return None
        details = next(xml.elements(result, "DomainDetails"), result)
        return Registration(
            domain_name=domain_name,
            registrar_id=xml.attribute(result, "ID"),
            order_id=None,
            charged_cents=None,
            created_at=xml.day(_child(details, "CreatedDate")),
            expires_at=xml.day(_child(details, "ExpiredDate")),
        )

    def set_nameservers(self, domain_name: str, name_servers: Sequence[str]) -> None:
        sld, tld = self._split(domain_name)
        if tld is None:
            raise ProviderFailed(provider=PROVIDER, reason=f"{domain_name} is not sold here")
        root = self._call(
            "namecheap.domains.dns.setCustom", SLD=sld, TLD=tld, Nameservers=",".join(name_servers)
        )
        result = xml.first(root, "DomainDNSSetCustomResult")
        if not (xml.yes(result, "Updated") or xml.yes(result, "Update")):
            raise ProviderFailed(provider=PROVIDER, reason="the name servers were not set")

    def balance_cents(self) -> int:
        root = self._call("namecheap.users.getBalances")
        return xml.cents(
            xml.attribute(xml.first(root, "UserGetBalancesResult"), "AvailableBalance")
        )

    # The wire -----------------------------------------------------------------------------------

    def _call(self, command: str, *, _buying: bool = False, **params: str) -> Element:
        self._limit.take()
        lost = OutcomeUnknown if _buying else ProviderUnavailable
        try:
            answer = self._http.post(
                self._url,
                data={**self._account, "Command": command, **params},
                timeout=BUYING if _buying else READING,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # Nothing was sent, so nothing happened.
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from None
        except httpx.HTTPError as error:
            raise lost(provider=PROVIDER, reason=type(error).__name__) from None
        if answer.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise ProviderUnavailable(provider=PROVIDER, reason="rate limit")
        if not answer.is_success:
            raise lost(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        try:
            root = xml.parse(answer.content)
        except xml.Unreadable as error:
            raise lost(provider=PROVIDER, reason=f"unreadable answer: {error}") from None
        told = xml.errors(root)
        if told:
            raise self._refusal(told, lost if _buying else None)
        return root

    def _refusal(
        self, told: list[tuple[str, str]], lost: type[ProviderUnavailable] | None
    ) -> ProviderFailed | ProviderUnavailable:
        numbers = [number for number, _ in told]
        # The account's secrets are never part of an error's text, whatever Namecheap echoes.
        reason = "; ".join(f"{number} {text}" for number, text in told)
        reason = reason.replace(self._account["ApiKey"], "***")
        broke = re.search(r"insufficient|not enough.*(funds|balance)", reason, re.IGNORECASE)
        if lost is not None and not broke and set(numbers) & xml.AMBIGUOUS:
            return lost(provider=PROVIDER, reason=reason, numbers=numbers)
        return ProviderFailed(provider=PROVIDER, reason=reason, numbers=numbers)

    def _cached(self, name: str, seconds: int, load: Any) -> Any:
        """Through Redis, shared by all processes; without Redis the provider is asked."""
        key = f"ig:namecheap:cache:{name}"
        try:
            held = self._redis.get(key)
            if held:
                return json.loads(str(held))
        except RedisError:
            return load()
        value = load()
        # Should Redis go away just now, the value is good and only the next caller asks again.
        with suppress(RedisError):
            self._redis.set(key, json.dumps(value), ex=seconds)
        return value


def _price_of(price: Element) -> int:
    """Our price and what comes on top of it (the ICANN fee); the misspelt name is Namecheap's."""
    prefix, extra_name = "Your", "YourAdditonalCost"
    if not xml.cents(xml.attribute(price, "YourPrice")):
        prefix, extra_name = "", "AdditionalCost"
    extra = xml.cents(xml.attribute(price, extra_name))
    if xml.attribute(price, f"{extra_name}Type").upper() == "MULTIPLE":
        extra *= int(xml.attribute(price, "Duration") or 1)
    return xml.cents(xml.attribute(price, f"{prefix}Price")) + extra


def _child(element: Element, name: str) -> str:
    found = next(xml.elements(element, name), None)
    return (found.text or "").strip() if found is not None else ""
