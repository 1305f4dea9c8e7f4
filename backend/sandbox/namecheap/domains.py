"""Commands that tell what is known: check, getInfo, getList, getTldList."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from sandbox.namecheap import forms
from sandbox.namecheap.answers import Refusal, date, element, money, refuse, tree
from sandbox.namecheap.catalog import TLDS, parse, premium
from sandbox.namecheap.holdings import ours, servers
from sandbox.namecheap.registry import Registry, moment
from sandbox.store import Document

Params = Mapping[str, str]
MAX_CHECKED = 50
RIGHTS = ("dns", "eforward", "rlock", "hosts", "extend", "nameserver", "autorenew", "whoisguard")
NEVER = "0001-01-01T00:00:00"


def check(registry: Registry, params: Params) -> list[ET.Element]:
    wanted = [name.strip().lower() for name in params.get("DomainList", "").split(",")]
    wanted = [name for name in wanted if name]
    if not wanted:
        raise refuse(2010169, "Parameter DomainList is missing")
    if len(wanted) > MAX_CHECKED:
        raise refuse(2011169, "Only 50 domains are allowed in a single check command")
    return [_checked(registry, name) for name in wanted]


def _checked(registry: Registry, text: str) -> ET.Element:
    fields: dict[str, object] = {
        "Domain": text,
        "Available": False,
        "ErrorNo": 0,
        "Description": "",
        "IsPremiumName": False,
        "PremiumRegistrationPrice": "0",
        "PremiumRenewalPrice": "0",
        "PremiumRestorePrice": "0",
        "PremiumTransferPrice": "0",
        "IcannFee": "0",
        "EapFee": "0.0",
    }
    try:
        name = parse(text)
    except Refusal as refusal:
        # One bad name does not spoil the command: it carries its own error.
        fields["ErrorNo"], fields["Description"] = refusal.errors[0]
        return element("DomainCheckResult", fields)
    fields["Available"] = registry.available(name)
    special = premium(name)
    if special is not None:
        fields |= {
            "IsPremiumName": True,
            "PremiumRegistrationPrice": money(special.register, 4),
            "PremiumRenewalPrice": money(special.renew, 4),
            "PremiumRestorePrice": money(special.renew + 80, 4),
            "PremiumTransferPrice": money(special.register, 4),
            "IcannFee": money(name.tld.icann, 4),
        }
    return element("DomainCheckResult", fields)


def get_info(registry: Registry, params: Params) -> list[ET.Element]:
    name = forms.required(params, "DomainName", 2010166).lower()
    doc = registry.domains.get(name)
    if doc is None or doc["state"] == "pending":
        hollow = tree(
            "DomainGetInfoResult",
            {"ID": 0, "IsOwner": False, "IsPremium": False},
            [tree("DomainDetails", {}, [element("NumYears", text="0")])],
        )
        raise Refusal((2030166, "Domain is invalid"), body=hollow)
    expired = doc["state"] == "expired"
    return [
        tree(
            "DomainGetInfoResult",
            {
                "Status": "Expired" if expired else "Ok",
                "ID": doc["id"],
                "DomainName": doc["name"],
                "OwnerName": registry.world.config.namecheap_api_user,
                "IsOwner": True,
                "IsPremium": doc["premium"],
            },
            [
                tree(
                    "DomainDetails",
                    {},
                    [
                        element("CreatedDate", text=date(moment(doc["created"]))),
                        element("ExpiredDate", text=date(moment(doc["expires"]))),
                        element("NumYears", text="0"),
                    ],
                ),
                element("LockDetails"),
                _privacy(doc),
                _premium_dns(),
                servers(
                    "DnsDetails",
                    {
                        "ProviderType": "FREE" if ours(doc) else "CUSTOM",
                        "IsUsingOurDNS": ours(doc),
                        "HostCount": 0,
                        "EmailType": "No Email Service",
                        "DynamicDNSStatus": False,
                        "IsFailover": False,
                    },
                    doc,
                ),
                tree(
                    "Modificationrights",
                    {"All": not expired},
                    (element("Rights", {"Type": right}, "OK") for right in RIGHTS),
                ),
            ],
        )
    ]


def _privacy(doc: Document) -> ET.Element:
    privacy = doc["privacy"]
    if privacy is None:
        return tree("Whoisguard", {"Enabled": "NotAlloted"}, [element("ID", text="0")])
    return tree(
        "Whoisguard",
        {"Enabled": "True" if privacy["enabled"] else "False"},
        [
            element("ID", text=str(doc["privacy_id"])),
            element("ExpiredDate", text=date(moment(doc["expires"]))),
            element(
                "EmailDetails",
                {
                    "WhoisGuardEmail": f"{doc['privacy_id']}.protect@withheldforprivacy.com",
                    "ForwardedTo": privacy["email"],
                    "LastAutoEmailChangeDate": "",
                    "AutoEmailChangeFrequencyDays": 0,
                },
            ),
        ],
    )


def _premium_dns() -> ET.Element:
    return tree(
        "PremiumDnsSubscription",
        {},
        [
            element("UseAutoRenew", text="false"),
            element("SubscriptionId", text="-1"),
            element("CreatedDate", text=NEVER),
            element("ExpirationDate", text=NEVER),
            element("IsActive", text="false"),
        ],
    )


def get_list(registry: Registry, params: Params) -> list[ET.Element]:
    kind = params.get("ListType", "").upper() or "ALL"
    term = params.get("SearchTerm", "").strip().lower()
    soon = registry.world.clock.now().timestamp() + 30 * 86400
    docs = [
        doc
        for doc in registry.domains.values()
        if doc["state"] != "pending" and term in doc["name"]
    ]
    if kind == "EXPIRED":
        docs = [doc for doc in docs if doc["state"] == "expired"]
    elif kind == "EXPIRING":
        docs = [doc for doc in docs if moment(doc["expires"]).timestamp() < soon]
    _sort(docs, params.get("SortBy", "").upper())
    page, size = _page(params, 10)
    rows = docs[(page - 1) * size : page * size]
    user = registry.world.config.namecheap_api_user
    return [
        tree("DomainGetListResult", {}, (_row(doc, user) for doc in rows)),
        paging(len(docs), page, size),
    ]


def _row(doc: Document, user: str) -> ET.Element:
    privacy = doc["privacy"]
    return element(
        "Domain",
        {
            "ID": doc["id"],
            "Name": doc["name"],
            "User": user,
            "Created": date(moment(doc["created"])),
            "Expires": date(moment(doc["expires"])),
            "IsExpired": doc["state"] == "expired",
            "IsLocked": doc["locked"],
            "AutoRenew": doc["auto_renew"],
            "WhoisGuard": "ENABLED" if privacy and privacy["enabled"] else "NOTPRESENT",
            "IsPremium": doc["premium"],
            "IsOurDNS": ours(doc),
        },
    )


def _sort(docs: list[Document], order: str) -> None:
    field = {"NAME": "name", "EXPIREDATE": "expires", "CREATEDATE": "created"}.get(
        order.removesuffix("_DESC")
    )
    if field is not None:
        docs.sort(key=lambda doc: str(doc[field]), reverse=order.endswith("_DESC"))


def _page(params: Params, smallest: int) -> tuple[int, int]:
    return forms.whole(params, "Page", 1, 1, 10**6), forms.whole(
        params, "PageSize", 20, smallest, 100
    )


def paging(total: int, page: int, size: int) -> ET.Element:
    return tree(
        "Paging",
        {},
        [
            element("TotalItems", text=str(total)),
            element("CurrentPage", text=str(page)),
            element("PageSize", text=str(size)),
        ],
    )


def tld_list(registry: Registry, params: Params) -> list[ET.Element]:  # noqa: ARG001
    return [
        tree(
            "Tlds",
            {},
            (
                element(
                    "Tld",
                    {
                        "Name": tld.name,
                        "NonRealTimeDomain": not tld.real_time,
                        "MinRegisterYears": tld.min_years,
                        "MaxRegisterYears": tld.max_years,
                        "MinRenewYears": 1,
                        "MaxRenewYears": tld.max_years,
                        "MinTransferYears": 1,
                        "MaxTransferYears": 1,
                        "IsApiRegisterable": tld.registerable,
                        "IsApiRenewable": tld.registerable,
                        "IsApiTransferable": False,
                        "IsEppRequired": True,
                    },
                    f".{tld.name} domain",
                )
                for tld in TLDS.values()
            ),
        )
    ]


COMMANDS: dict[str, Callable[[Registry, Params], list[ET.Element]]] = {
    "namecheap.domains.check": check,
    "namecheap.domains.getInfo": get_info,
    "namecheap.domains.getList": get_list,
    "namecheap.domains.getTldList": tld_list,
}
