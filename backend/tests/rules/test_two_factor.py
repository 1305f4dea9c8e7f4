"""One-time codes: those of RFC 6238, one step early or late, and never twice."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyotp import TOTP

from app.rules import two_factor

SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30
TWINS = 59_061_240
"""A step whose code is also that of the next one."""


@pytest.mark.parametrize(
    ("seconds", "code"),
    # RFC 6238 appendix B, SHA-1, the last six of its eight digits.
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert two_factor.accepted_step(SECRET, code, now, after=None) == seconds // 30


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_one_step_early_or_late_is_accepted(off: int) -> None:
    code = TOTP(SECRET).generate_otp(STEP + off)
    assert two_factor.accepted_step(SECRET, code, NOW, after=None) == STEP + off


@pytest.mark.parametrize("off", [-20, -2, 2, 20])
def test_two_steps_early_or_late_is_not(off: int) -> None:
    code = TOTP(SECRET).generate_otp(STEP + off)
    assert two_factor.accepted_step(SECRET, code, NOW, after=None) is None


@given(st.integers(-1, 1), st.integers(-3, 3))
def test_only_a_later_step_than_the_last_counts(off: int, last: int) -> None:
    code = TOTP(SECRET).generate_otp(STEP + off)
    found = two_factor.accepted_step(SECRET, code, NOW, after=STEP + last)
    assert found == (STEP + off if off > last else None)


@given(st.text(max_size=12).filter(lambda text: not text.isascii() or not text.isdigit()))
def test_what_is_no_code_is_refused_and_not_choked_on(code: str) -> None:
    assert two_factor.accepted_step(SECRET, code, NOW, after=None) is None


def test_digits_of_other_scripts_are_no_digits() -> None:
    code = TOTP(SECRET).generate_otp(STEP)
    arabic = "".join(chr(0x0660 + int(digit)) for digit in code)
    assert two_factor.accepted_step(SECRET, arabic, NOW, after=None) is None


def test_spaces_are_how_apps_show_a_code() -> None:
    code = TOTP(SECRET).generate_otp(STEP)
    assert two_factor.accepted_step(SECRET, f" {code[:3]} {code[3:]} ", NOW, after=None) == STEP


def test_a_code_that_two_steps_share_is_spent_for_both() -> None:
    code = TOTP(SECRET).generate_otp(TWINS)
    assert code == TOTP(SECRET).generate_otp(TWINS + 1), "found by search"
    now = datetime.fromtimestamp(30 * TWINS, UTC)
    found = two_factor.accepted_step(SECRET, code, now, after=None)
    assert found == TWINS + 1
    later = now + timedelta(seconds=30)
    assert two_factor.accepted_step(SECRET, code, later, after=found) is None


def test_the_uri_says_who_and_what() -> None:
    uri = urlsplit(two_factor.otpauth_uri(SECRET, account="ann+x@example.test"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/InboxGrove:ann+x@example.test"
    assert parse_qs(uri.query) == {"secret": [SECRET], "issuer": ["InboxGrove"]}


def test_the_picture_is_one_svg_element_with_a_white_ground() -> None:
    svg = two_factor.qr_svg(two_factor.otpauth_uri(SECRET, account="ann@example.test"))
    root = ElementTree.fromstring(svg)  # Our own.
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "viewBox" in root.attrib
    assert "script" not in svg
    assert "#fff" in svg
