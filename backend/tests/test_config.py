"""Settings come from the environment, and production takes no defaults."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.config import KumoSettings, Settings

GOOD = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "s" * 48,
    "MTA_TOKEN": "m" * 48,
    "KUMO_ADMIN_TOKEN": "a" * 48,
    "KUMO_AUTH_PEPPER": "p" * 48,
    "KUMO_TRACE_KEY": "t" * 48,
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "STRIPE_SECRET_KEY": "sk_live_x",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "NAMECHEAP_API_URL": "https://api.namecheap.com/xml.response",
    "CLOUDFLARE_API_URL": "https://api.cloudflare.com/client/v4",
    "ALLOWED_HOSTS": "api.example.com",
    "CLOCK_OFFSET_FILE": "",
}


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_production_starts_with_everything_set(production: pytest.MonkeyPatch) -> None:
    assert Settings().environment == "production"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SECRET_KEY", "", "SECRET_KEY"),  # Left at the default.
        ("SECRET_KEY", "short", "SECRET_KEY"),  # Guessable.
        ("MTA_TOKEN", "", "MTA_TOKEN"),
        ("KUMO_ADMIN_TOKEN", "", "KUMO_ADMIN_TOKEN"),
        ("KUMO_AUTH_PEPPER", "", "KUMO_AUTH_PEPPER"),
        ("KUMO_TRACE_KEY", "", "KUMO_TRACE_KEY"),
        ("ENCRYPTION_KEYS", "", "ENCRYPTION_KEYS"),
        ("STRIPE_SECRET_KEY", "sk_test_x", "STRIPE_SECRET_KEY"),  # Nobody would be charged.
        ("STRIPE_API_BASE", "http://127.0.0.1:8001/stripe", "127.0.0.1"),  # The sandbox.
        ("NAMECHEAP_API_URL", "http://127.0.0.1:8001/namecheap/xml.response", "127.0.0.1"),
        ("CLOUDFLARE_API_URL", "https://evil.example/client/v4", "evil.example"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS"),
        ("CLOCK_OFFSET_FILE", "/tmp/offset", "CLOCK_OFFSET_FILE"),  # Time is not a setting there.
    ],
)
def test_production_refuses(
    production: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    production.setenv(name, value)
    with pytest.raises(ValidationError, match=told):
        Settings()


def test_secrets_are_not_printed(production: pytest.MonkeyPatch) -> None:
    printed = repr(Settings())
    for secret in ("s" * 48, "m" * 48, "a" * 48, "p" * 48, "MDEyMzQ1", "sk_live_x"):
        assert secret not in printed


def test_comma_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUMO_ADMIN_URLS", "http://a:8000, http://b:8000")
    assert KumoSettings().admin_urls == ["http://a:8000", "http://b:8000"]


@pytest.mark.parametrize(
    "url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"]
)
def test_every_spelling_of_the_database_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    settings = Settings()
    assert settings.sqlalchemy_url == "postgresql+psycopg://u@h/d"
    assert settings.psycopg_url == "postgresql://u@h/d"
