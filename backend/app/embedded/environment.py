"""The environment of a stack: ports, secrets and the addresses that follow from them.

What the caller's environment (or `.env`) says always wins; this module fills in what it leaves out.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from app.embedded.files import keep_secrets
from app.embedded.ports import HOST, free_ports, is_free

API = "API_PORT"
SANDBOX = "SANDBOX_PORT"
SUBMISSION = "SUBMISSION_PORT"
MX = "MX_PORT"
DNS = "DNS_PORT"
DEFAULT_PORTS = {API: 8000, SANDBOX: 8001, SUBMISSION: 1587, MX: 1025, DNS: 1053}


class StackError(RuntimeError):
    """The stack cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Choices:
    """What the caller decided."""

    given: Mapping[str, str]
    data_dir: Path
    auto_ports: bool
    sandbox: bool

    @classmethod
    def read(cls, env: Mapping[str, str], backend: Path) -> Choices:
        """From the environment over `.env`; empty values count as absent."""
        dotenv = {name: value or "" for name, value in dotenv_values(backend / ".env").items()}
        given = {name: value for name, value in {**dotenv, **env}.items() if value}
        return cls(
            given=given,
            data_dir=Path(given.get("DATA_DIR", backend / ".data")).absolute(),
            auto_ports=given.get("PORTS") == "auto",
            sandbox=given.get("SANDBOX") != "off",
        )


def choose_ports(choices: Choices, defaults: Mapping[str, int] = DEFAULT_PORTS) -> dict[str, int]:
    """A port for each listener; raises StackError naming every variable whose port is taken."""
    wanted = defaults if choices.sandbox else {API: defaults[API]}
    ports: dict[str, int] = {}
    taken: list[str] = []
    for name, default in wanted.items():
        udp = name == DNS
        explicit = choices.given.get(name)
        port = int(explicit or default)
        if port and is_free(port, udp=udp) and port not in ports.values():
            ports[name] = port
        elif port == 0 or (choices.auto_ports and explicit is None):
            ports[name] = free_ports(1, udp=udp)[0]
        else:
            taken.append(f"{name} ({port})")
    if taken:
        raise StackError(
            f"Ports in use: {', '.join(taken)}. Set these variables to free ports, or PORTS=auto."
        )
    return ports


def stack_secrets(path: Path) -> dict[str, str]:
    """Made once: whoever loses ENCRYPTION_KEYS loses what the database holds encrypted."""

    def token() -> str:
        return secrets.token_urlsafe(48)

    def key() -> str:
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()

    return keep_secrets(
        path,
        {
            "SECRET_KEY": token,
            "ENCRYPTION_KEYS": key,
            "KUMO_AUTH_PEPPER": token,
            "KUMO_TRACE_KEY": token,
            "KUMO_ADMIN_TOKEN": token,
            "MTA_TOKEN": token,
        },
    )


METRICS_DIR = "metrics"


def product_environment(
    choices: Choices, ports: Mapping[str, int], database_url: str, redis_url: str
) -> dict[str, str]:
    """Every variable of the product and the sandbox; the caller's other variables are left out."""
    api_url = f"http://{HOST}:{ports[API]}"
    ours = {
        "ENVIRONMENT": "development",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DATA_DIR": str(choices.data_dir),
        "PUBLIC_URL": api_url,
        # Workers count as well; /metrics adds up what all processes write here.
        "PROMETHEUS_MULTIPROC_DIR": str(choices.data_dir / METRICS_DIR),
        **stack_secrets(choices.data_dir / "secrets.json"),
        **{name: str(port) for name, port in ports.items()},
    }
    env = {**ours, **_overrides(choices, ours)}
    if choices.sandbox:
        for group in _sandbox_groups(choices, ports, api_url):
            env |= {**group, **_overrides(choices, group)}
        env |= _policy(env, ports, api_url)
    return env


def _overrides(choices: Choices, ours: Mapping[str, str]) -> dict[str, str]:
    # A port given as 0 was chosen by us in the meantime.
    return {
        name: choices.given[name]
        for name in ours
        if name in choices.given and choices.given[name] != "0"
    }


def _sandbox_groups(
    choices: Choices, ports: Mapping[str, int], api_url: str
) -> list[dict[str, str]]:
    """What points the product at the sandbox; a provider whose key the caller gave stays his."""
    sandbox_url = f"http://{HOST}:{ports[SANDBOX]}"
    stripe = {
        "STRIPE_SECRET_KEY": "sk_test_sandbox",
        "STRIPE_PUBLISHABLE_KEY": "pk_test_sandbox",
        "STRIPE_WEBHOOK_SECRET": "whsec_sandbox",
        "STRIPE_WEBHOOK_URL": f"{api_url}/webhooks/stripe",
        "STRIPE_API_BASE": f"{sandbox_url}/stripe",
    }
    namecheap = {
        "NAMECHEAP_API_URL": f"{sandbox_url}/namecheap/xml.response",
        "NAMECHEAP_API_USER": "sandbox",
        "NAMECHEAP_API_KEY": "sandbox-key",
        "NAMECHEAP_USERNAME": "sandbox",
        "NAMECHEAP_CLIENT_IP": HOST,
        # The sandbox's own limits, which are wide enough that a newcomer never waits for one.
        "NAMECHEAP_CALLS_PER_MINUTE": "2000",
        "NAMECHEAP_CALLS_PER_HOUR": "70000",
        "NAMECHEAP_CALLS_PER_DAY": "800000",
    }
    porkbun = {
        "PORKBUN_API_URL": f"{sandbox_url}/porkbun/api/json/v3",
        "PORKBUN_API_KEY": "pk1_sandbox",
        "PORKBUN_SECRET_API_KEY": "sk1_sandbox",
        "PORKBUN_CHECKS_PER_TEN_SECONDS": "1000",
    }
    cloudflare = {
        "CLOUDFLARE_API_URL": f"{sandbox_url}/cloudflare/client/v4",
        "CLOUDFLARE_API_TOKEN": "sandbox-token",
        "CLOUDFLARE_CALLS_PER_FIVE_MINUTES": "12000",
        "CLOUDFLARE_ACCOUNT_ID": "sandbox-account",
        # Zones at the real Cloudflare are answered by the real name servers.
        "DNS_RESOLVERS": f"{HOST}:{ports[DNS]}",
    }
    mail = {
        "KUMO_ADMIN_URLS": f"{sandbox_url}/kumomta",
        "KUMO_REPORTERS": "gmail.test,outlook.test,yahoo.test,corp.test",
        "DNSBL_DOMAIN_ZONES": "dbl.test",
        "DNSBL_ADDRESS_ZONES": "dnsbl.test",
        # The sandbox's node sends from 127.0.0.1, which no list may hold.
        "DNSBL_ADDRESSES": "192.0.2.25",
        "MAIL_ZONE": "mta.inboxgrove.test",
        "SUBMISSION_HOST": HOST,
        "SMTP_URL": f"smtp://{HOST}:{ports[MX]}",
    }
    own = {
        "SANDBOX_HOST": HOST,
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "SANDBOX_DATA_DIR": str(choices.data_dir / "sandbox"),
    }
    if choices.given.get("ENVIRONMENT") != "production":
        own["CLOCK_OFFSET_FILE"] = str(choices.data_dir / "clock_offset")
    groups = [mail, own]
    for key, group in {
        "STRIPE_SECRET_KEY": stripe,
        "NAMECHEAP_API_KEY": namecheap,
        "PORKBUN_API_KEY": porkbun,
        "CLOUDFLARE_API_TOKEN": cloudflare,
    }.items():
        if choices.given.get(key, group[key]) == group[key]:
            groups.append(group)
    return groups


def _policy(env: Mapping[str, str], ports: Mapping[str, int], api_url: str) -> dict[str, str]:
    """What the KumoMTA policy reads; it must agree with the product, so nothing overrides it."""
    return {
        "IG_CONTROL_URL": api_url,
        "IG_MTA_TOKEN": env["MTA_TOKEN"],
        "IG_ADMIN_TOKEN": env["KUMO_ADMIN_TOKEN"],
        "IG_REDIS_URL": env["REDIS_URL"],
        "IG_AUTH_PEPPER": env["KUMO_AUTH_PEPPER"],
        "IG_TRACE_KEY": env["KUMO_TRACE_KEY"],
        "IG_SUBMISSION_LISTEN": f"{HOST}:{ports[SUBMISSION]}",
        "IG_HOSTNAME": f"mx1.{env['MAIL_ZONE']}",
        "IG_MAIL_ZONE": env["MAIL_ZONE"],
        "IG_EGRESS_PORT": str(ports[MX]),
        # Reports to our own zone come in here; any free port will do, nobody types it.
        "IG_INBOUND_LISTEN": f"{HOST}:0",
    }


def endpoints(env: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """Where a person or a script finds what runs."""
    api_url = f"http://{HOST}:{ports[API]}"
    found = {"api": api_url, "docs": f"{api_url}/docs"}
    if SANDBOX in ports:
        sandbox_url = f"http://{HOST}:{ports[SANDBOX]}"
        found |= {
            "sandbox": sandbox_url,
            "mail": f"{sandbox_url}/mail/",
            "submission": f"{HOST}:{ports[SUBMISSION]}",
            "mx": f"{HOST}:{ports[MX]}",
            "dns": f"{HOST}:{ports[DNS]}",
        }
    for name in ("DATABASE_URL", "REDIS_URL"):
        parts = urlsplit(env[name])  # Without the password: this is printed.
        found[name.removesuffix("_URL").lower()] = f"{parts.hostname}:{parts.port}{parts.path}"
    return found
