"""Nothing secret and nothing personal gets into the audit trail, whatever is put in."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.rules import audit_chain
from app.rules.audit_changes import LONGEST, UnfitForAudit, fit

HEX = string.digits + "abcdef"
BASE62 = string.ascii_letters + string.digits
URL_SAFE = BASE62 + "-_"


def run(alphabet: str, length: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=length, max_size=length)


def mixed(alphabet: str, length: int) -> st.SearchStrategy[str]:
    """Random text that has upper case, lower case and a digit, as any long one has."""
    return run(alphabet, length - 3).map(lambda text: f"aB3{text}")


SECRETS = st.one_of(
    mixed(BASE62, 49).map(lambda text: f"ig_live_{text}"),
    mixed(BASE62, 49).map(lambda text: f"ig_test_{text}"),
    mixed(URL_SAFE, 43).map(lambda text: f"ig_op_{text}"),
    mixed(URL_SAFE, 43),  # a refresh token, a mailed token
    mixed(URL_SAFE, 32),  # an inbox password
    run(string.ascii_uppercase + "234567", 32),  # the seed of one-time codes
    st.lists(run(string.ascii_lowercase + "234567", 4), min_size=6, max_size=6).map("-".join),
    mixed(BASE62, 24).map(lambda text: f"sk_live_{text}"),
    mixed(BASE62, 24).map(lambda text: f"whsec_{text}"),
    mixed(BASE62, 24).map(lambda text: f"pi_{text}_secret_{text}"),
    mixed(URL_SAFE, 60).map(lambda text: f"eyJhbGciOi.{text}.{text}"),
    mixed(BASE62, 30).map(lambda text: f"$argon2id$v=19$m=19456,t=2,p=1${text}${text}"),
    mixed(BASE62, 40).map(lambda text: f"-----BEGIN RSA PRIVATE KEY-----\n{text}"),
    st.emails(),
)
AROUND = st.text(st.characters(codec="utf-8"), max_size=30).map(lambda text: f" {text} ")
NAMES = st.sampled_from(["status", "why", "failure", "label"])


@given(secret=SECRETS, before=AROUND, after=AROUND, name=NAMES, nested=st.booleans())
def test_no_secret_and_no_address_survives(
    secret: str, before: str, after: str, name: str, nested: bool
) -> None:
    assume(secret[8:] not in before + after)
    text = f"{before.rstrip()} {secret} {after.lstrip()}"
    value: Any = {"inner": [text]} if nested else [None, text]
    kept = audit_chain.as_text(fit({name: value}))
    assert secret not in kept
    if "@" not in secret:
        assert secret[8:] not in kept


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes(timezones=st.just(UTC))
    | st.uuids()
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(value=JSON)
def test_whatever_is_put_in_becomes_json_that_comes_back_the_same(value: Any) -> None:
    kept = fit({"status": [None, value]})
    text = audit_chain.as_text(kept)
    assert "\0" not in text
    assert "\\u0000" not in text
    text.encode()
    assert audit_chain.as_text(json.loads(text)) == text


@pytest.mark.parametrize(
    "name",
    [
        "password", "new_password", "password_hash", "token", "refresh_token", "token_hash",
        "client_secret", "totp_secret", "totp", "totp_code", "code", "api_key", "key",
        "private_key", "password_hmac", "authorization", "cookie", "email", "new_email",
        "full_name", "first_name", "last_name", "recipient", "phone", "username", "ip_address",
    ],
)  # fmt: skip
def test_fields_named_like_secrets_or_people_are_refused(name: str) -> None:
    with pytest.raises(UnfitForAudit, match=name):
        fit({name: [None, "x"]})
    with pytest.raises(UnfitForAudit, match=name):
        fit({"settings": [{name: "x"}, None]})
    assert fit({name: [False, True]}) == {name: [False, True]}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ["pending", "active"]},
        {"domain_name": [None, "best-mail-ever-made-to-measure-for-everyone.example.com"]},
        {"domain_name": [None, "abcd-efgh-ijkl-mnop.com"]},
        {"name_servers": [None, ["ns1.example.net", "ns2.example.net"]]},
        {"resource": [None, "01890000-0000-7000-8000-0000000000ab"]},
        {"stripe": [None, "pi_3MtwBwLkdIwHu7ix28a3tqPa"]},
        {"password_changed_at": [None, "2026-11-23T00:00:00+00:00"]},
        {"session_version": [1, 2], "token_count": [0, 3], "key_id": [None, "abc"]},
        {"scopes": [[], ["inboxes:read", "credentials:export"]]},
        {"name": [None, "CI server"]},
    ],
)
def test_ordinary_changes_stay_as_they_are(changes: dict[str, Any]) -> None:
    assert fit(changes) == changes


def test_values_become_plain() -> None:
    class Colour(StrEnum):
        RED = "red"

    id_, moment = UUID(int=1), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    kept = fit({"a": (Colour.RED, id_, moment, Decimal("1.50"), 0.25, 1 << 60, True, None)})
    assert kept["a"] == [
        "red", str(id_), "2026-01-02T03:04:05+00:00", "1.50", "0.25", str(1 << 60), True, None,
    ]  # fmt: skip
    assert len(fit({"a": "x y " * 1000})["a"]) == LONGEST
