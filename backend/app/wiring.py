"""The composition root: the only place that knows concrete clients."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from redis import Redis

from app import clock
from app.config import Settings, get_settings
from app.database.session import ALL_TENANTS, transaction
from app.integrations import calls, ports
from app.integrations.calls import Client
from app.integrations.cloudflare_client import CloudflareClient
from app.integrations.dns_resolver import Resolver
from app.integrations.kumo_client import KumoClient
from app.integrations.mailer import SMTPMailer
from app.integrations.namecheap_client import NamecheapClient
from app.integrations.namecheap_limits import RateLimit
from app.integrations.porkbun_client import PorkbunClient
from app.integrations.shelf import Shelf
from app.integrations.stripe_client import StripeGateway
from app.integrations.webhook_sender import WebhookSender
from app.rules import abuse, blocklists
from app.services.node_service import NodeService
from app.telemetry import tracing
from app.utils import monitoring, security


def boot(settings: Settings | None = None, *, process: str = "shell") -> Settings:
    """Prepare a process: clock, secrets, logs, traces, providers. Safe to repeat.

    `process` is its name in traces and error reports; the first one stays.
    """
    settings = settings or get_settings()
    clock.follow(settings.clock_offset_file)
    security.configure(
        signing_keys=[
            key
            for key in (
                settings.secret_key.get_secret_value(),
                settings.secret_key_previous.get_secret_value(),
            )
            if key
        ],
        encryption_keys=settings.encryption_keys,
        inbox_pepper=settings.kumo.auth_pepper.get_secret_value(),
        access_token_minutes=settings.access_token_minutes,
        refresh_token_days=settings.refresh_token_days,
    )
    monitoring.configure(
        level=settings.log_level,
        fmt=settings.log_format,
        sentry_dsn=settings.sentry_dsn,
        release=settings.release,
        environment=settings.environment,
        process=process,
        sentry_traces=settings.sentry_traces_sample_rate,
    )
    tracing.configure(
        settings.otel_exporter_otlp_endpoint,
        process=process,
        release=settings.release,
        environment=settings.environment,
    )
    calls.count_retries()
    ports.install(build_providers(settings))
    return settings


def build_redis(settings: Settings) -> Redis:
    """A frozen Redis must not hang a request: half a second, one try."""
    return Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=None,
        health_check_interval=30,
    )


def build_server_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of uvicorn.

    h11, because the faster parser takes heads of any size into memory. Forwarded headers are
    believed when they come from `FORWARDED_ALLOW_IPS` and from nobody else.
    """
    return {
        "http": "h11",
        # Beyond this the server hangs up; a smaller excess is answered in the envelope.
        "h11_max_incomplete_event_size": 128 * 1024,
        "ws": "none",
        "server_header": False,
        "proxy_headers": bool(settings.forwarded_allow_ips),
        "forwarded_allow_ips": settings.forwarded_allow_ips,
    }


def build_providers(settings: Settings) -> ports.Providers:
    redis = build_redis(settings)
    payments = StripeGateway(
        secret_key=settings.stripe.secret_key.get_secret_value(),
        webhook_secret=settings.stripe.webhook_secret.get_secret_value(),
        api_base=settings.stripe.api_base,
        timeout_seconds=settings.stripe.timeout_seconds,
    )
    http = Client(
        {
            settings.namecheap.api_url: "namecheap",
            settings.porkbun.api_url: "porkbun",
            settings.cloudflare.api_url: "cloudflare",
        },
        timeout=httpx.Timeout(15.0, connect=3.0),
        follow_redirects=False,
    )
    return ports.Providers(
        platform=ports.Platform(
            mail_zone=settings.mail_zone,
            submission_host=settings.submission_host,
            submission_port=settings.submission_port,
            domain_margin_percent=settings.pricing.domain_margin_percent,
            domain_fixed_cents=settings.pricing.domain_fixed_cents,
            quote_minutes=settings.pricing.quote_minutes,
            public_url=settings.public_url,
            audit_heads_file=settings.audit_heads_file,
            trace_key=settings.kumo.trace_key.get_secret_value(),
            reporters=tuple(settings.kumo.reporters) or abuse.REPORTERS,
            blocklists=_blocklists(settings),
            mta_nodes=tuple(url.rstrip("/") for url in settings.kumo.admin_urls),
            sending_addresses=tuple(settings.blocklists.addresses),
            automatic_capture=settings.stripe.domain_capture == "automatic",
            alert_email=settings.alert_email,
            keep_events=timedelta(days=settings.delivery_events_days),
            webhook_networks=tuple(settings.webhook_networks),
            rotate_keys_after=timedelta(days=settings.dkim_rotation_days),
            tracking_host=settings.tracking_host,
            mta_sts_mode="" if settings.mta_sts_mode == "off" else settings.mta_sts_mode,
        ),
        payments=payments,
        registrar=_registrar(settings.registrar, settings, http, redis),
        others={
            name: _registrar(name, settings, http, redis)
            for name, key in (
                ("namecheap", settings.namecheap.api_key),
                ("porkbun", settings.porkbun.secret_api_key),
            )
            if name != settings.registrar and key.get_secret_value()
        },
        dns=CloudflareClient(
            http=http,
            url=settings.cloudflare.api_url,
            token=settings.cloudflare.api_token.get_secret_value(),
            account_id=settings.cloudflare.account_id,
            limit=RateLimit(
                redis,
                f"ig:cloudflare:{settings.cloudflare.account_id}:calls",
                ((300, settings.cloudflare.calls_per_five_minutes),),
                provider="Cloudflare",
            ),
            pending_zones=settings.cloudflare.pending_zones,
        ),
        resolver=Resolver(servers=settings.dns_resolvers),
        mail=KumoClient(
            http=http,
            redis=redis,
            nodes=_nodes,
            admin_token=settings.kumo.admin_token.get_secret_value(),
        ),
        mailer=SMTPMailer(url=settings.smtp_url, sender=settings.mail_from),
        shelf=Shelf(redis, f"ig:search:{settings.registrar}"),
        hooks=WebhookSender(allowed=settings.webhook_networks),
        closing=(http.close, redis.close, payments.close),
    )


def _registrar(name: str, settings: Settings, http: httpx.Client, redis: Redis) -> ports.Registrar:
    if name == "porkbun":
        return PorkbunClient(
            http=http,
            redis=redis,
            url=settings.porkbun.api_url,
            api_key=settings.porkbun.api_key.get_secret_value(),
            secret_key=settings.porkbun.secret_api_key.get_secret_value(),
            checks=((10, settings.porkbun.checks_per_ten_seconds),),
        )
    return NamecheapClient(
        http=http,
        redis=redis,
        url=settings.namecheap.api_url,
        api_user=settings.namecheap.api_user,
        api_key=settings.namecheap.api_key.get_secret_value(),
        username=settings.namecheap.username,
        client_ip=settings.namecheap.client_ip,
        windows=(
            (60, settings.namecheap.calls_per_minute),
            (3_600, settings.namecheap.calls_per_hour),
            (86_400, settings.namecheap.calls_per_day),
        ),
        registrant=settings.registrant.model_dump(),
    )


def _nodes() -> list[str]:
    """Asked at every order, so that a node added or removed a moment ago counts everywhere."""
    with transaction(tenant=ALL_TENANTS) as db:
        return NodeService.urls(db)


def _blocklists(settings: Settings) -> tuple[blocklists.Blocklist, ...]:
    zones = {
        blocklists.Kind.DOMAIN: settings.blocklists.domain_zones,
        blocklists.Kind.ADDRESS: settings.blocklists.address_zones,
    }
    return tuple(blocklists.blocklist(zone, kind) for kind in zones for zone in zones[kind])
