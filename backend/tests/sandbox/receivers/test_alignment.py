"""The tree walk of RFC 9989, also held against checkdmarc's."""

from __future__ import annotations

import checkdmarc.dmarc
import checkdmarc.utils
import dns.resolver
import pytest

from sandbox.receivers.alignment import Walk, check_dmarc, parse, path
from sandbox.receivers.lookups import Lookups
from sandbox.receivers.verdict import Check

from .conftest import Names

NOTHING = Check("none", "")


@pytest.fixture
def walk(names: Names) -> Walk:
    return Walk(lookups(names))


def lookups(names: Names) -> Lookups:
    return Lookups(lambda: ("127.0.0.1", names.port))


def test_path_of_short_and_long_names() -> None:
    assert path("a.b.test") == ["a.b.test", "b.test", "test"]
    # Section 4.10: however long the name, there are at most eight queries.
    assert path("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    ]


@pytest.mark.parametrize(
    ("records", "domain", "location", "organization"),
    [
        ({"acme.test": ""}, "acme.test", "acme.test", "acme.test"),
        ({"acme.test": ""}, "a.b.acme.test", "acme.test", "acme.test"),
        ({"a.acme.test": "", "acme.test": ""}, "a.acme.test", "a.acme.test", "acme.test"),
        ({"b.acme.test": "", "acme.test": ""}, "a.b.acme.test", "acme.test", "acme.test"),
        # psd=n ends the walk: that name is an organization of its own.
        ({"b.acme.test": "psd=n", "acme.test": ""}, "a.b.acme.test", "b.acme.test", "b.acme.test"),
        # psd=y: the organization is one label below the suffix.
        (
            {"co.test": "psd=y", "acme.co.test": ""},
            "a.acme.co.test",
            "acme.co.test",
            "acme.co.test",
        ),
        ({"co.test": "psd=y"}, "a.acme.co.test", "co.test", "acme.co.test"),
        ({}, "a.acme.test", None, "a.acme.test"),
    ],
)
def test_discovery(
    walk: Walk,
    names: Names,
    records: dict[str, str],
    domain: str,
    location: str | None,
    organization: str,
) -> None:
    for name, tags in records.items():
        names.txt(f"_dmarc.{name}", f"v=DMARC1; p=none; {tags}")
    names.a(domain)
    record = walk.policy_record(domain)
    assert (record.location if record else None) == location
    assert walk.organizational_domain(domain) == organization
    assert _by_checkdmarc(names, domain) == location


def _by_checkdmarc(names: Names, domain: str) -> str | None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], names.port
    # It remembers answers for the whole process; each case here has its own DNS.
    checkdmarc.utils.DNS_CACHE.clear()
    try:
        found = checkdmarc.dmarc.query_dmarc_record(domain, resolver=resolver)
    except checkdmarc.dmarc.DMARCRecordNotFound:
        return None
    return str(found["location"])


@pytest.mark.parametrize(
    ("tags", "exists", "policy"),
    [
        ("p=reject", True, "reject"),
        ("p=reject; sp=quarantine", True, "quarantine"),
        ("p=quarantine; sp=none; np=reject", False, "reject"),
        ("p=quarantine; sp=none; np=reject", True, "none"),
        ("P=Reject", True, "reject"),
        ("p=whatever; rua=mailto:a@b.test", True, "none"),
    ],
)
def test_policy_of_a_subdomain(names: Names, tags: str, exists: bool, policy: str) -> None:
    names.txt("_dmarc.acme.test", f"v=DMARC1; {tags}")
    if exists:
        names.a("sub.acme.test")
    outcome = check_dmarc(lookups(names), "sub.acme.test", NOTHING, ())
    assert (outcome.check.result, outcome.policy) == ("fail", policy)


def test_void_record_is_an_error_and_harmless(names: Names) -> None:
    names.txt("_dmarc.acme.test", "v=DMARC1; p=whatever")
    outcome = check_dmarc(lookups(names), "acme.test", NOTHING, ())
    assert (outcome.check.result, outcome.policy) == ("permerror", "none")


def test_two_records_cancel_each_other(names: Names) -> None:
    names.txt("_dmarc.acme.test", "v=DMARC1; p=reject")
    names.txt("_dmarc.acme.test", "v=DMARC1; p=none")
    assert check_dmarc(lookups(names), "acme.test", NOTHING, ()).check.result == "none"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (b"v=DMARC1; p=none", {"v": "DMARC1", "p": "none"}),
        (b"v=DMARC1;p=none;;", {"v": "DMARC1", "p": "none"}),
        (b"v=DMARC1", {"v": "DMARC1"}),
        (b"v=DMARC12; p=none", None),
        (b"p=none; v=DMARC1", None),
        (b"v=spf1 -all", None),
        (b"\xff\xfe", None),
    ],
)
def test_parse(text: bytes, tags: dict[str, str] | None) -> None:
    assert parse(text) == tags
