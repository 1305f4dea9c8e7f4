"""Which names can be bought, and which pretend to be somebody else's."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules import hostnames
from app.rules.hostnames import BadName, Hostname

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("acme.com", "acme.com"),
        ("  ACME.Com. ", "acme.com"),  # Case, blanks and the final dot mean nothing.
        ("a.io", "a.io"),  # One letter is a label.
        ("7up.co", "7up.co"),  # A digit may come first since RFC 1123.
        ("a" * 63 + ".com", "a" * 63 + ".com"),  # The longest label.
        ("a--b.com", "a--b.com"),  # Hyphens in the 2nd and 3rd place are free.
    ],
)
def test_good_names(text: str, name: str) -> None:
    assert str(hostnames.parse(text)) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "add an ending"),
        ("acme", "add an ending"),
        ("acme.", "add an ending"),  # A final dot is no ending.
        ("www.acme.com", "directly below"),
        ("acme.co.uk", "directly below"),  # Two-part endings are not sold.
        ("a" * 64 + ".com", "at most 63"),
        (".".join(["a" * 60] * 5), "at most 253"),
        ("-acme.com", "no hyphen first or last"),
        ("acme-.com", "no hyphen first or last"),
        ("ac_me.com", "letters, digits and hyphens"),
        ("ac me.com", "letters, digits and hyphens"),
        (".com", "letters, digits and hyphens"),
        ("acme.c", "letters only"),  # No top-level domain has one letter.
        ("acme.123", "letters only"),  # That would be an address.
        ("xn--80ak6aa92e.com", "reads as apple"),  # All its letters are Cyrillic.
        ("раypal.com", "reads as paypal"),  # The first two are.
        ("gоοgle.com", "reads as google"),  # One Cyrillic, one Greek o.
        ("ámazon.com", "reads as amazon"),
        ("xn--bcher-kva.com", "internationalised"),  # An honest word in punycode.
        ("xn--.com", "internationalised"),
        ("аcme.com", "internationalised"),  # The first letter is Cyrillic.
        ("acme。com", "internationalised"),  # The ideographic full stop is a dot to some.
        ("acme.com\n.evil", "directly below"),
        ("acme.test1", "letters only"),
        ("acme.localhost", "reserved"),
        ("acme.de", "more than we collect"),
    ],
)
def test_bad_names_say_why(text: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        hostnames.parse(text)


@pytest.mark.parametrize(
    ("label", "brand"),
    [
        ("google", "google"),  # The brand itself below another ending.
        ("g00gle", "google"),  # Digits for letters.
        ("rnicrosoft", "microsoft"),  # rn reads as m.
        ("paypa1", "paypal"),  # 1 reads as l.
        ("paypai", "paypal"),  # One letter changed,
        ("payppal", "paypal"),  # one added,
        ("payal", "paypal"),  # one dropped,
        ("apypal", "paypal"),  # two swapped.
        ("paypal-secure", "paypal"),  # A part of the name.
        ("pay-pal", "paypal"),  # Hyphens are overlooked.
        ("loginmicrosoft365", "microsoft"),  # Within a longer word.
        ("dhl-tracking", "dhl"),  # Short brands count as a whole part,
        ("handhled", None),  # not within a word.
        ("vvhatsapp", "whatsapp"),  # vv reads as w.
        ("icloud-id", "icloud"),
        ("cloud-works", None),  # One letter from icloud, but a word.
        ("stripes", None),  # So are these.
        ("salesrevolution", None),
        ("mail", None),
        ("acme-outreach", None),
        ("sender1-mail", None),
        ("amazonas-travel", None),
        ("amazonas-amazon", "amazon"),  # A harmless word excuses only itself.
    ],
)
def test_lookalikes(label: str, brand: str | None) -> None:
    assert hostnames.lookalike(label) == brand
    if brand is None:
        assert hostnames.check_to_buy(f"{label}.com") == Hostname(label, "com")
    else:
        with pytest.raises(BadName, match=brand):
            hostnames.check_to_buy(f"{label}.com")


@pytest.mark.parametrize("brand", [b for b in hostnames.BRANDS if len(hostnames.skeleton(b)) >= 6])
@given(data=st.data())
def test_no_single_slip_of_a_long_brand_passes(brand: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(brand) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    for other in (
        brand[:at] + letter + brand[at:],
        brand[:at] + letter + brand[at + 1 :],
        brand[:at] + brand[at + 1 :],
    ):
        near = hostnames.within_one_edit(hostnames.skeleton(brand), hostnames.skeleton(other))
        if near and other not in hostnames.ORDINARY:
            assert hostnames.lookalike(other) is not None


@given(LABELS, LABELS)
def test_one_edit_is_symmetric(a: str, b: str) -> None:
    assert hostnames.within_one_edit(a, b) == hostnames.within_one_edit(b, a)
    assert hostnames.within_one_edit(a, a)


@given(LABELS)
def test_parsing_twice_is_parsing_once(label: str) -> None:
    name = hostnames.parse(f"{label.upper()}.COM")
    assert hostnames.parse(str(name)) == name == Hostname(label, "com")


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_says_why(text: str) -> None:
    try:
        name = str(hostnames.parse(text))
    except BadName as error:
        name = error.why
    assert name.isascii()
    assert 0 < len(name) <= hostnames.MAX_NAME


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("acme", ["acme.com", "acme.net"]),
        ("Acme Mail", ["acme-mail.com", "acme-mail.net"]),  # As a company writes itself.
        ("acme.net", ["acme.net", "acme.com"]),  # The ending asked for comes first, once.
        ("acme.dev", ["acme.dev", "acme.com", "acme.net"]),
    ],
)
def test_candidates(query: str, names: list[str]) -> None:
    assert [str(name) for name in hostnames.candidates(query, ("com", ".NET"))] == names


@pytest.mark.parametrize("query", ["", "   ", "paypa1", "acme.co.uk", "-", "grüße"])
def test_queries_that_lead_nowhere(query: str) -> None:
    with pytest.raises(BadName):
        hostnames.candidates(query)


@given(LABELS)
def test_suggestions_can_be_bought(label: str) -> None:
    for name in hostnames.suggestions(label):
        assert hostnames.check_to_buy(str(name)) == name
        assert name.label != label
