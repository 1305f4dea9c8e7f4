"""One spelling for each target."""

from __future__ import annotations

import pytest

from app.rules import suppressions


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("@Example.com", "@example.com"),
        ("a+b@mail.example.com", "a+b@mail.example.com"),
        ("example.com", None),  # a domain is written with an @
        ("a@b", None),
        ("a@@b.com", None),
        ("a b@c.com", None),
        ("a\n@c.com", None),
        ("a@-c.com", None),
        ("a@c..com", None),
        ("x" * 65 + "@c.com", None),
        ("", None),
        ("@", None),
    ],
)
def test_spelling(text: str, target: str | None) -> None:
    assert suppressions.normal(text) == target
