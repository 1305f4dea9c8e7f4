"""Throw-away addresses, and whose trial an address stands for."""

from __future__ import annotations

import pytest
from disposable_email_domains import blocklist

from app.rules import signup


@pytest.mark.parametrize(
    "address",
    ["a@mailinator.com", "a@MAILINATOR.com", "a@any.thing.mailinator.com", "a@yopmail.com."],
)
def test_throw_away_addresses(address: str) -> None:
    assert signup.is_disposable(address)


@pytest.mark.parametrize(
    "address", ["a@acme.test", "a@gmail.com", "a@acme-mailinator.test", "a@mailinator.com.acme.org"]
)
def test_ordinary_addresses(address: str) -> None:
    assert not signup.is_disposable(address)


def test_three_thousand_throw_away_domains_and_a_host_below_each() -> None:
    domains = sorted(blocklist)[:3_000]
    assert len(domains) == 3_000
    assert all(
        signup.is_disposable(f"a@{d}") and signup.is_disposable(f"a@mx.{d}") for d in domains
    )


@pytest.mark.parametrize(
    ("address", "company"),
    [
        ("ann@acme.com", "acme.com"),
        ("ann@Mail.EU.acme.com", "acme.com"),
        ("ann@sales.acme.co.uk", "acme.co.uk"),
        ("ann@acme.github.io", "acme.github.io"),
        ("ann@mail.acme.test", "acme.test"),
        ("ann@co.uk", "co.uk"),
        ("ann@bücher.de", "xn--bcher-kva.de"),
        ("ann@xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("ann@gmail.com", None),
        ("ann@mail.yahoo.co.jp", None),
        ("ann@web.de", None),
    ],
)
def test_the_company_behind_an_address(address: str, company: str | None) -> None:
    assert signup.company_domain(address) == company


@pytest.mark.parametrize(
    "variant",
    ["ann.bell@gmail.com", "annbell+trial2@gmail.com", "A.n.n.B.e.l.l+x+y@GoogleMail.com"],
)
def test_variants_of_one_mailbox(variant: str) -> None:
    assert signup.mailbox(variant) == "annbell@gmail.com"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann+1@outlook.com", "ann@outlook.com", True),
        ("an.n@outlook.com", "ann@outlook.com", False),
        ("ann@me.com", "ann@icloud.com", True),
        ("an-n_@pm.me", "ann@protonmail.com", True),
        ("ann-shop@yahoo.de", "ann@yahoo.de", True),
        ("ann@yahoo.de", "ann@yahoo.com", False),
        ("ann@gmail.com", "bob@gmail.com", False),
    ],
)
def test_what_each_provider_takes_for_one_mailbox(one: str, other: str, same: bool) -> None:
    assert (signup.mailbox(one) == signup.mailbox(other)) is same


def test_no_provider_of_free_mail_is_called_throw_away() -> None:
    assert len(signup.FREE_MAIL) > 250
    assert not [domain for domain in signup.FREE_MAIL if signup.is_disposable(f"a@{domain}")]
    assert {domain.strip().lower() for domain in signup.FREE_MAIL} == signup.FREE_MAIL
