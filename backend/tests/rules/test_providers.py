"""Whose mailboxes they are, by the host that took the mail and by the domain."""

from __future__ import annotations

import pytest

from app.rules.providers import Provider, family


@pytest.mark.parametrize(
    ("expected", "domain", "host"),
    [
        ("google", "gmail.com", ""),
        ("google", "GMAIL.com.", ""),
        ("google", "acme.example", "aspmx.l.google.com."),
        ("google", "acme.example", "ip-3->(alt1|alt2)?.gmail-smtp-in.l.google.com@smtp_client"),
        ("google", "acme.example", "smtp.google.com"),
        ("microsoft", "outlook.com", ""),
        ("microsoft", "hotmail.fr", ""),
        ("microsoft", "live.co.uk", ""),
        ("microsoft", "acme.example", "acme-example.mail.protection.outlook.com."),
        ("microsoft", "acme.example", "acme-example.o-v1.mx.microsoft"),
        ("yahoo", "yahoo.co.jp", ""),
        ("yahoo", "yahoo.com.br", ""),
        ("yahoo", "aol.com", ""),
        ("yahoo", "acme.example", "mta7.am0.yahoodns.net"),
        ("apple", "me.com", ""),
        ("apple", "acme.example", "mx01.mail.icloud.com."),
        ("other", "acme.example", ""),
        ("other", "acme.example", "mx.acme.example"),
        ("other", "acme.example", "notgoogle.com"),
        ("other", "live.acme.example", ""),
        ("other", "yahoo.acme.com", ""),
        ("other", "live", ""),
        ("other", "", ""),
        # The host that took the mail knows better than the name.
        ("google", "yahoo.com", "aspmx.l.google.com"),
    ],
)
def test_family(expected: str, domain: str, host: str) -> None:
    assert family(domain, host) == Provider(expected)
