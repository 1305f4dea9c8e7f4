"""Settings, from the environment; `.env.example` documents every variable.

Read in main, wiring, cli, session and celery_app only; everyone else receives values.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CommaList = Annotated[list[str], NoDecode]

# Production refuses both, so that nobody runs with what everybody knows.
_DEV_SECRET = "development-secret-do-not-use-in-production"  # noqa: S105
_DEV_KEY = "ZGV2ZWxvcG1lbnQta2V5LWRvLW5vdC11c2UtaXQhISE="


def _config(prefix: str = "") -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=prefix,
        env_file=".env",
        # `NAME=` in a file means "the default", not an empty text.
        env_ignore_empty=True,
        # A refused setting may be a secret, and errors are printed.
        hide_input_in_errors=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )


class _Group(BaseSettings):
    """Comma lists are written `a,b,c`."""

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, field in cls.model_fields.items():
            if "NoDecode" in repr(field.metadata) and isinstance(values.get(name), str):
                values[name] = [item.strip() for item in values[name].split(",") if item.strip()]
        return values


class StripeSettings(_Group):
    model_config = _config("STRIPE_")

    secret_key: SecretStr = SecretStr("sk_test_sandbox")
    publishable_key: str = "pk_test_sandbox"
    webhook_secret: SecretStr = SecretStr("whsec_sandbox")
    api_base: str = "https://api.stripe.com"
    timeout_seconds: float = 20.0
    # manual holds a domain's price and captures it once the name is ours, which is free to undo;
    # automatic charges at once and refunds.
    domain_capture: Literal["manual", "automatic"] = "manual"


class NamecheapSettings(_Group):
    model_config = _config("NAMECHEAP_")

    api_url: str = "https://api.namecheap.com/xml.response"
    api_user: str = "sandbox"
    api_key: SecretStr = SecretStr("sandbox-key")
    username: str = "sandbox"
    client_ip: str = "127.0.0.1"
    # What the account allows; the defaults are those that Namecheap's own SDK paces itself by.
    calls_per_minute: int = Field(default=20, gt=0)
    calls_per_hour: int = Field(default=700, gt=0)
    calls_per_day: int = Field(default=8_000, gt=0)


class PorkbunSettings(_Group):
    model_config = _config("PORKBUN_")

    api_url: str = "https://api.porkbun.com/api/json/v3"
    api_key: SecretStr = SecretStr("pk1_sandbox")
    secret_api_key: SecretStr = SecretStr("sk1_sandbox")
    # Availability checks within ten seconds; Porkbun raises it for an account that asks.
    checks_per_ten_seconds: int = Field(default=1, gt=0)


class RegistrantSettings(_Group):
    """The contact we register names with: the platform's own, not the tenant's."""

    model_config = _config("REGISTRANT_")

    first_name: str = "Domain"
    last_name: str = "Administrator"
    organization: str = "InboxGrove"
    address: str = "1 Grove Street"
    city: str = "Springfield"
    state: str = "IL"
    postal_code: str = "62701"
    country: str = "US"
    phone: str = "+1.2175550100"
    email: str = "hostmaster@inboxgrove.test"


class CloudflareSettings(_Group):
    model_config = _config("CLOUDFLARE_")

    api_url: str = "https://api.cloudflare.com/client/v4"
    api_token: SecretStr = SecretStr("sandbox-token")
    account_id: str = "sandbox-account"
    # What the token may ask within five minutes; the dashboard counts into it as well.
    calls_per_five_minutes: int = Field(default=1_200, gt=0)
    # How many zones may wait for their delegation at once; Cloudflare tells nobody its number.
    pending_zones: int = Field(default=40, gt=0)


class KumoSettings(_Group):
    model_config = _config("KUMO_")

    admin_urls: CommaList = Field(default=["http://127.0.0.1:8002"])
    admin_token: SecretStr = SecretStr(_DEV_SECRET)
    auth_pepper: SecretStr = SecretStr(_DEV_SECRET)
    trace_key: SecretStr = SecretStr(_DEV_SECRET)
    # Domains whose complaints count; none means those of rules.abuse.
    reporters: CommaList = Field(default=[])


class BlocklistSettings(_Group):
    """Which DNS blocklists are asked, and about which addresses; none by default.

    A name that a list of domains holds is not sold.
    """

    model_config = _config("DNSBL_")

    domain_zones: CommaList = Field(default=[], repr=False)
    address_zones: CommaList = Field(default=[], repr=False)
    addresses: CommaList = Field(default=[])

    @field_validator("addresses")
    @classmethod
    def _addresses(cls, values: list[str]) -> list[str]:
        return [str(ip_address(value)) for value in values]


class PricingSettings(_Group):
    """Retail price of a name = (registrar's price + ICANN fee) * (1 + margin) + fixed part."""

    model_config = _config("PRICING_")

    domain_margin_percent: int = Field(default=20, ge=0)
    domain_fixed_cents: int = Field(default=50, ge=0)
    quote_minutes: int = Field(default=15, gt=0)


class Settings(_Group):
    model_config = _config()

    environment: Literal["development", "production"] = "development"
    database_url: str = "postgresql+psycopg://localhost/inboxgrove_db"
    migration_database_url: str = ""
    redis_url: str = "redis://127.0.0.1:6379/0"
    secret_key: SecretStr = SecretStr(_DEV_SECRET)
    secret_key_previous: SecretStr = SecretStr("")
    encryption_keys: CommaList = Field(default=[_DEV_KEY], repr=False)
    clock_offset_file: Path | None = None
    public_url: str = "http://127.0.0.1:8000"
    allowed_hosts: CommaList = Field(default=["*"])
    cors_origins: CommaList = Field(default=[])
    forwarded_allow_ips: CommaList = Field(default=[])
    max_body_bytes: int = 1_048_576
    # Where nodes and Prometheus ask, on a listener that is not public; 0: on the public one.
    internal_port: int = Field(default=0, ge=0, le=65_535)
    mta_token: SecretStr = SecretStr(_DEV_SECRET)
    mail_zone: str = "mta.inboxgrove.test"
    # Optional records of every domain; what they need of the deployment is in docs/domains.md.
    dkim_rotation_days: int = Field(default=180, ge=0)
    tracking_host: str = ""
    mta_sts_mode: Literal["off", "testing", "enforce"] = "off"
    submission_host: str = "127.0.0.1"
    submission_port: int = 1587
    dns_resolvers: CommaList = Field(default=[])
    # Who registers names for us.
    registrar: Literal["namecheap", "porkbun"] = "namecheap"
    smtp_url: str = "smtp://127.0.0.1:1025"
    mail_from: str = "InboxGrove <noreply@inboxgrove.test>"
    # Who is written to when a person must look: disputes, losses, drift.
    alert_email: str = ""
    # Not less than reports about a mail take to come.
    delivery_events_days: int = Field(default=90, ge=31)
    rate_limit_requests_per_minute: int = 60
    rate_limit_requests_per_hour: int = 1000
    # Networks of our own that tenants' webhooks may reach: none, but on a machine of one's own.
    webhook_allowed_networks: CommaList = Field(default=[])
    access_token_minutes: int = 15
    refresh_token_days: int = 30
    audit_heads_file: Path | None = None
    log_level: str = "INFO"
    log_format: Literal["json", "console"] = "json"
    sentry_dsn: str = ""
    sentry_traces_sample_rate: float = Field(default=0.05, ge=0, le=1)
    # Where traces are sent (OTLP over HTTP), without /v1/traces; none are made without it.
    otel_exporter_otlp_endpoint: str = ""
    release: str = "dev"

    stripe: StripeSettings = Field(default_factory=StripeSettings)
    namecheap: NamecheapSettings = Field(default_factory=NamecheapSettings)
    porkbun: PorkbunSettings = Field(default_factory=PorkbunSettings)
    registrant: RegistrantSettings = Field(default_factory=RegistrantSettings)
    cloudflare: CloudflareSettings = Field(default_factory=CloudflareSettings)
    kumo: KumoSettings = Field(default_factory=KumoSettings)
    blocklists: BlocklistSettings = Field(default_factory=BlocklistSettings)
    pricing: PricingSettings = Field(default_factory=PricingSettings)

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the psycopg 3 driver named, whatever spelling was given."""
        return _with_driver(self.database_url)

    @property
    def owner_url(self) -> str:
        """The database URL of who owns the schema and migrates it."""
        return _with_driver(self.migration_database_url or self.database_url)

    @property
    def webhook_networks(self) -> list[IPv4Network | IPv6Network]:
        """Raises ValueError for something that is no network in CIDR notation."""
        return [ip_network(text) for text in self.webhook_allowed_networks]

    @property
    def psycopg_url(self) -> str:
        return "postgresql://" + self.sqlalchemy_url.partition("://")[2]

    @model_validator(mode="after")
    def _refuse_unsafe_production(self) -> Settings:
        if self.environment != "production":
            return self
        faults = list(_unsafe(self))
        if faults:
            raise ValueError("Refusing to start in production: " + "; ".join(faults))
        return self


def _with_driver(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else url


def _unsafe(settings: Settings) -> list[str]:
    faults = []
    for name, secret in {
        "SECRET_KEY": settings.secret_key,
        "MTA_TOKEN": settings.mta_token,
        "KUMO_ADMIN_TOKEN": settings.kumo.admin_token,
        "KUMO_AUTH_PEPPER": settings.kumo.auth_pepper,
        "KUMO_TRACE_KEY": settings.kumo.trace_key,
    }.items():
        value = secret.get_secret_value()
        if value == _DEV_SECRET or len(value) < 32:
            faults.append(f"{name} must be a random text of at least 32 characters")
    if _DEV_KEY in settings.encryption_keys:
        faults.append("ENCRYPTION_KEYS still holds the development key")
    if settings.stripe.secret_key.get_secret_value().startswith("sk_test_"):
        faults.append("STRIPE_SECRET_KEY is a test key")
    if settings.clock_offset_file is not None:
        faults.append("CLOCK_OFFSET_FILE moves the clock, which only a sandbox may do")
    if "*" in settings.allowed_hosts:
        faults.append("ALLOWED_HOSTS must list the host names that are served")
    if "*" in settings.cors_origins:
        faults.append("CORS_ORIGINS must list the origins that may read answers")
    if "*" in settings.forwarded_allow_ips:
        faults.append("FORWARDED_ALLOW_IPS must list the proxies that may tell callers' addresses")
    hosts = {"api.stripe.com", "api.namecheap.com", "api.porkbun.com", "api.cloudflare.com"}
    for url in (
        settings.stripe.api_base,
        settings.namecheap.api_url,
        settings.porkbun.api_url,
        settings.cloudflare.api_url,
    ):
        if urlsplit(url).hostname not in hosts:
            faults.append(f"{url} is not the provider's own address")
    return faults


@lru_cache
def get_settings() -> Settings:
    return Settings()
