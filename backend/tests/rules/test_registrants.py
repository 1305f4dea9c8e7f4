"""Contacts that registries take, and those they refuse."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from app.rules.registrants import BadContact, Contact, changed, read

ANN = {
    "first_name": "Ann",
    "last_name": "Lee",
    "organization": "",
    "address": "1 Main Street",
    "city": "Phoenix",
    "state": "AZ",
    "postal_code": "85284",
    "country": "us",
    "phone": "+1.6613102107",
    "email": "ann@acme-mail.com",
}


def test_a_contact_is_put_into_its_proper_form() -> None:
    contact = read({**ANN, "city": "  New \t York ", "more": "ignored"})
    assert (contact.country, contact.city) == ("US", "New York")
    assert read(asdict(contact)) == contact
    assert read({**ANN, "last_name": "Müller"}).last_name == "Müller"


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        *((name, "", "missing") for name in ANN if name != "organization"),
        ("first_name", "  ", "missing"),
        ("city", "x" * 51, "at most 50"),
        ("address", "x" * 256, "at most 255"),
        ("address", "1 Main\x00Street", "printed"),
        ("country", "XX", "two letters"),
        ("country", "USA", "two letters"),
        ("phone", "6613102107", "country code"),
        ("phone", "+16613102107", "country code"),
        ("phone", "+1234.6613102107", "country code"),
        ("phone", "+1.123", "country code"),
        ("phone", "+1.123456789012345", "country code"),
        ("phone", "+1.12345678x", "country code"),
        ("phone", "+1.\u0661\u0662\u0663\u0664\u0665", "country code"),
        ("email", "ann", "address"),
        ("email", "ann@acme", "address"),
        ("email", "ann@acme.com, bob@acme.com", "address"),
    ],
)
def test_what_registries_refuse_says_why(field: str, value: str, why: str) -> None:
    with pytest.raises(BadContact, match=why) as caught:
        read({**ANN, field: value})
    assert caught.value.field == field


def test_only_names_of_fields_are_told() -> None:
    contact = read(ANN)
    assert changed(None, contact) == list(asdict(contact))
    assert changed(contact, contact) == []
    moved: Contact = replace(contact, city="Tucson", postal_code="85701")
    assert changed(contact, moved) == ["city", "postal_code"]
