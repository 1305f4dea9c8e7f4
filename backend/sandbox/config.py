"""What the sandbox is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SandboxConfig:
    """Addresses and credentials; port 0 means "any free port" everywhere."""

    host: str = "127.0.0.1"
    http_port: int = 8001
    dns_port: int = 1053
    mx_port: int = 1025
    submission_port: int = 1587
    data_dir: Path | None = None
    clock_offset_file: Path | None = None
    stripe_secret_key: str = "sk_test_sandbox"
    stripe_publishable_key: str = "pk_test_sandbox"
    stripe_webhook_url: str = "http://127.0.0.1:8000/webhooks/stripe"
    stripe_webhook_secret: str = "whsec_sandbox"
    namecheap_api_user: str = "sandbox"
    namecheap_api_key: str = "sandbox-key"
    cloudflare_api_token: str = "sandbox-token"
    cloudflare_account_id: str = "sandbox-account"
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> SandboxConfig:
        env = dict(os.environ if env is None else env)

        def text(name: str, default: str) -> str:
            return env.get(name) or default

        def path(name: str) -> Path | None:
            return Path(env[name]) if env.get(name) else None

        return cls(
            host=text("SANDBOX_HOST", cls.host),
            http_port=int(text("SANDBOX_PORT", str(cls.http_port))),
            dns_port=int(text("DNS_PORT", str(cls.dns_port))),
            mx_port=int(text("MX_PORT", str(cls.mx_port))),
            submission_port=int(text("SUBMISSION_PORT", str(cls.submission_port))),
            data_dir=path("SANDBOX_DATA_DIR"),
            clock_offset_file=path("CLOCK_OFFSET_FILE"),
            stripe_secret_key=text("STRIPE_SECRET_KEY", cls.stripe_secret_key),
            stripe_publishable_key=text("STRIPE_PUBLISHABLE_KEY", cls.stripe_publishable_key),
            stripe_webhook_url=text("STRIPE_WEBHOOK_URL", cls.stripe_webhook_url),
            stripe_webhook_secret=text("STRIPE_WEBHOOK_SECRET", cls.stripe_webhook_secret),
            namecheap_api_user=text("NAMECHEAP_API_USER", cls.namecheap_api_user),
            namecheap_api_key=text("NAMECHEAP_API_KEY", cls.namecheap_api_key),
            cloudflare_api_token=text("CLOUDFLARE_API_TOKEN", cls.cloudflare_api_token),
            cloudflare_account_id=text("CLOUDFLARE_ACCOUNT_ID", cls.cloudflare_account_id),
            env=env,
        )
