"""Commands that change what one owns and cost nothing: name servers, lock, contacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from sandbox.namecheap import forms
from sandbox.namecheap.answers import element, refuse, tree
from sandbox.namecheap.registry import DEFAULT_SERVERS, Registry
from sandbox.store import Document

Params = Mapping[str, str]


def ours(doc: Document) -> bool:
    """Whether the name still uses the name servers it got at its registration."""
    return tuple(doc["name_servers"]) == DEFAULT_SERVERS


def servers(tag: str, fields: dict[str, object], doc: Document) -> ET.Element:
    """An element with one `Nameserver` child for each host."""
    return tree(tag, fields, (element("Nameserver", text=host) for host in doc["name_servers"]))


def _named_by_parts(registry: Registry, params: Params) -> Document:
    sld = forms.required(params, "SLD", 2010302)
    tld = forms.required(params, "TLD", 2010303)
    return registry.owned(f"{sld}.{tld}")


def set_custom(registry: Registry, params: Params) -> list[ET.Element]:
    doc = _named_by_parts(registry, params)
    forms.required(params, "Nameservers", 2011168)
    hosts = forms.name_servers(params)
    if doc["state"] == "expired":
        raise refuse(2030166, "Edit permission for domain is not supported")
    doc["name_servers"] = list(hosts)
    registry.save(doc)
    return [element("DomainDNSSetCustomResult", {"Domain": doc["name"], "Updated": True})]


def set_default(registry: Registry, params: Params) -> list[ET.Element]:
    doc = _named_by_parts(registry, params)
    doc["name_servers"] = list(DEFAULT_SERVERS)
    registry.save(doc)
    return [element("DomainDNSSetDefaultResult", {"Domain": doc["name"], "Updated": True})]


def dns_list(registry: Registry, params: Params) -> list[ET.Element]:
    doc = _named_by_parts(registry, params)
    fields: dict[str, object] = {
        "Domain": doc["name"],
        "IsUsingOurDNS": ours(doc),
        "IsPremiumDNS": False,
        "IsUsingFreeDNS": False,
    }
    return [servers("DomainDNSGetListResult", fields, doc)]


def get_lock(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    return [
        element(
            "DomainGetRegistrarLockResult",
            {"Domain": doc["name"], "RegistrarLockStatus": doc["locked"]},
        )
    ]


def set_lock(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    action = params.get("LockAction", "").strip().upper() or "LOCK"
    if action not in {"LOCK", "UNLOCK"}:
        raise refuse(2015278, "Invalid data for LockAction")
    doc["locked"] = action == "LOCK"
    registry.save(doc)
    return [element("DomainSetRegistrarLockResult", {"Domain": doc["name"], "IsSuccess": True})]


def get_contacts(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    blocks = (
        tree(block, {"ReadOnly": False}, (element(name, text=text) for name, text in who.items()))
        for block, who in doc["contacts"].items()
    )
    fields: dict[str, object] = {
        "Domain": doc["name"],
        "domainnameid": doc["id"],
        "Readonly": False,
    }
    return [tree("DomainContactsResult", fields, blocks)]


def set_contacts(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    doc["contacts"] = forms.contacts(params)
    registry.save(doc)
    return [element("DomainSetContactResult", {"Domain": doc["name"], "IsSuccess": True})]


COMMANDS: dict[str, Callable[[Registry, Params], list[ET.Element]]] = {
    "namecheap.domains.getRegistrarLock": get_lock,
    "namecheap.domains.setRegistrarLock": set_lock,
    "namecheap.domains.getContacts": get_contacts,
    "namecheap.domains.setContacts": set_contacts,
    "namecheap.domains.dns.setCustom": set_custom,
    "namecheap.domains.dns.setDefault": set_default,
    "namecheap.domains.dns.getList": dns_list,
}
