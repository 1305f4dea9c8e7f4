"""The clients at real accounts, for who switches it on; docs/registrars.md has the variables.

Nothing is bought and, unless LIVE_CLOUDFLARE_WRITES says so, nothing is written. The rest of the
suite never leaves this machine: without the variables these are skipped.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from app.config import RegistrantSettings
from app.integrations.cloudflare_client import MARK, CloudflareClient
from app.integrations.dns_resolver import Resolver
from app.integrations.namecheap_client import NamecheapClient
from app.integrations.namecheap_limits import RateLimit
from app.integrations.porkbun_client import PorkbunClient
from app.integrations.ports import DNSRecord, Registrar

NAMECHEAP = ("LIVE_NAMECHEAP_USER", "LIVE_NAMECHEAP_KEY", "LIVE_NAMECHEAP_IP")
PORKBUN = ("LIVE_PORKBUN_KEY", "LIVE_PORKBUN_SECRET")
CLOUDFLARE = ("LIVE_CLOUDFLARE_TOKEN", "LIVE_CLOUDFLARE_ACCOUNT", "LIVE_CLOUDFLARE_ZONE_ID")


def given(names: tuple[str, ...]) -> list[str]:
    """Their values; skips when one is missing."""
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        pytest.skip(f"without {', '.join(names)} no account is asked")
    return values


@pytest.fixture
def online(socket_enabled: Any) -> None:
    """The way out, which is closed to all other tests."""


@pytest.fixture(params=["namecheap", "porkbun"])
def registrar(
    request: pytest.FixtureRequest, online: None, http: httpx.Client, valkey: Redis
) -> Registrar:
    if request.param == "porkbun":
        key, secret = given(PORKBUN)
        url = "https://api.porkbun.com/api/json/v3"
        return PorkbunClient(http=http, redis=valkey, url=url, api_key=key, secret_key=secret)
    user, key, address = given(NAMECHEAP)
    # Namecheap has a sandbox of its own, with free accounts.
    default = "https://api.sandbox.namecheap.com/xml.response"
    return NamecheapClient(
        http=http,
        redis=valkey,
        url=os.environ.get("LIVE_NAMECHEAP_URL", default),
        api_user=user,
        api_key=key,
        username=user,
        client_ip=address,
        registrant=RegistrantSettings().model_dump(),
    )


def test_a_registrar_answers(registrar: Registrar) -> None:
    (taken,) = registrar.offers(["example.com"])
    assert not taken.available
    assert taken.reason
    assert registrar.find("example.com") is None
    assert registrar.balance_cents() >= 0


@pytest.fixture
def cloudflare(online: None, http: httpx.Client, valkey: Redis) -> Iterator[CloudflareClient]:
    token, account, _ = given(CLOUDFLARE)
    limit = RateLimit(valkey, "live", ((300, 100),), provider="Cloudflare")
    url = "https://api.cloudflare.com/client/v4"
    return CloudflareClient(http=http, url=url, token=token, account_id=account, limit=limit)


def test_the_zone_is_read(cloudflare: CloudflareClient) -> None:
    _, _, zone_id = given(CLOUDFLARE)
    zone = cloudflare.get_zone(zone_id)
    assert zone.name_servers
    assert cloudflare.ensure_zone(zone.name) == zone


def test_records_come_and_go(cloudflare: CloudflareClient, http: httpx.Client) -> None:
    """In a zone that holds nothing of this product: whatever is marked as ours would go too."""
    token, _, zone_id = given(CLOUDFLARE)
    if os.environ.get("LIVE_CLOUDFLARE_WRITES") != "yes":
        pytest.skip("LIVE_CLOUDFLARE_WRITES is not yes")
    url = f"https://api.cloudflare.com/client/v4/zones/{zone_id}/dns_records"
    headers = {"Authorization": f"Bearer {token}"}

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = http.get(
            url, headers=headers, params={"per_page": 5000}
        ).json()["result"]
        return found

    before = rows()
    assert not [row for row in before if str(row.get("comment") or "").startswith(MARK)]
    name = f"_inboxgrove-live.{cloudflare.get_zone(zone_id).name}"
    wanted = [DNSRecord("TXT", name, "v=DKIM1; p=" + "A1b/" * 98, purpose="live")]
    try:
        assert cloudflare.apply(zone_id, wanted) == 1
        assert cloudflare.apply(zone_id, wanted) == 0
    finally:
        cloudflare.apply(zone_id, [])
    assert {row["id"] for row in rows()} == {row["id"] for row in before}


def test_real_name_servers_are_asked(online: None) -> None:
    if os.environ.get("LIVE_DNS") != "yes":
        pytest.skip("LIVE_DNS is not yes")
    assert socket.getaddrinfo("example.com", 443)
    assert Resolver().lookup("gmail.com", "MX")
    assert Resolver().lookup("_dmarc.gmail.com", "TXT")[0].startswith("v=DMARC1")
    assert Resolver().lookup("nobody-has-this-name.invalid", "A") == []
