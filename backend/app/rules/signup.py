"""Who signs up: throw-away addresses, and whose trial it is.

A trial goes with a company. An address says which: by its registrable domain (that of the public
suffix list), or by the mailbox itself where anybody can have one.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import idna
import tldextract
from disposable_email_domains import blocklist

FREE_MAIL = frozenset(
    (resources.files("app.rules") / "data" / "free_mail.txt").read_text("ascii").split()
)
"""Where anybody can have a mailbox."""

_suffixes = tldextract.TLDExtract(
    # The list that comes with the package: no cache to write, no network to ask.
    cache_dir=None,
    suffix_list_urls=(),
    include_psl_private_domains=True,
)

_SAME = {
    "googlemail.com": "gmail.com",
    "me.com": "icloud.com",
    "mac.com": "icloud.com",
    "pm.me": "proton.me",
    "protonmail.com": "proton.me",
    "protonmail.ch": "proton.me",
    "ya.ru": "yandex.ru",
    "yandex.by": "yandex.ru",
    "yandex.com": "yandex.ru",
    "yandex.kz": "yandex.ru",
    "yandex.ua": "yandex.ru",
}
"""Domains of one provider at which a local part is one mailbox, by that provider's help pages."""

_IGNORED = {"gmail.com": ".", "proton.me": "._-"}
"""Characters of the local part that the provider does not look at."""

_TAG = {"yahoo.com": "-"}
"""What begins a tag where it is not `+`: a Yahoo name holds no hyphen of its own."""


def is_disposable(email: str) -> bool:
    """Whether the address belongs to a provider of throw-away mail, sub-domains of one included."""
    labels = domain_of(email).split(".")
    return any(".".join(labels[i:]) in blocklist for i in range(len(labels) - 1))


def company_domain(email: str) -> str | None:
    """The registrable domain of the address, in ASCII; None at a provider of free mail."""
    domain = domain_of(email)
    registrable = _registrable(domain)
    return None if {domain, registrable} & FREE_MAIL else registrable


def mailbox(email: str) -> str:
    """The address without what makes no difference to where its mail goes: tags, case, dots."""
    local = email.rpartition("@")[0].lower()
    domain = domain_of(email)
    domain = _SAME.get(domain, domain)
    family = "yahoo.com" if domain.startswith("yahoo.") else domain
    local = local.partition("+")[0].partition(_TAG.get(family, "+"))[0]
    return f"{local.translate(dict.fromkeys(map(ord, _IGNORED.get(domain, ''))))}@{domain}"


def domain_of(email: str) -> str:
    """The domain in lower case and in ASCII, as the lists have it."""
    domain = email.rpartition("@")[2].strip().lower().rstrip(".")
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain


@lru_cache(maxsize=1024)
def _registrable(domain: str) -> str:
    """One label below the longest public suffix.

    Under a top-level domain that nobody listed, that is its last two labels (the list's rule `*`);
    a name that is itself a suffix stands for itself.
    """
    found = _suffixes(domain)
    return found.top_domain_under_public_suffix or ".".join(domain.split(".")[-2:])
