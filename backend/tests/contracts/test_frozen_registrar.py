"""How long a registrar is waited for that takes calls and answers none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from app.errors import OutcomeUnknown, ProviderUnavailable
from app.integrations import namecheap_wire, porkbun_wire
from app.integrations.porkbun_client import PorkbunClient

SOON = httpx.Timeout(0.3)
LATE = httpx.Timeout(3.0)


@pytest.mark.parametrize("wire", [namecheap_wire, porkbun_wire])
def test_who_searches_waits_less_than_who_buys(wire: object) -> None:
    reading, buying = wire.READING, wire.BUYING  # type: ignore[attr-defined]
    # Mail programs, browsers and proxies give up after half a minute.
    assert reading.read < 30
    # The documented sample of a registration took 29.9 s; giving up on one is an unknown outcome.
    assert buying.read >= 60


@pytest.fixture
def frozen() -> Iterator[str]:
    """Takes connections, and says nothing on any."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def porkbun(url: str, http: httpx.Client, redis: Redis) -> porkbun_wire.Wire:
    client = PorkbunClient(
        http=http,
        redis=redis,
        url=url,
        api_key="pk1_sandbox",
        secret_key="sk1_sandbox",
        checks=((10, 1000),),
        reading=SOON,
        buying=LATE,
    )
    return client._wire


def test_only_what_costs_money_is_waited_for_long(
    frozen: str, http: httpx.Client, valkey: Redis
) -> None:
    wire = porkbun(frozen, http, valkey)
    took = []
    for call, lost in (
        (wire.get, ProviderUnavailable),
        (wire.set, ProviderUnavailable),
        (wire.check, ProviderUnavailable),
        (wire.buy, OutcomeUnknown),
    ):
        began = time.perf_counter()
        with pytest.raises(lost):
            call("/domain/any/acme.com")
        took.append(time.perf_counter() - began)
    assert took[3] >= 3
    assert max(took[:3]) < 3
