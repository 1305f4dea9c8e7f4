"""Namecheap: what is told to nobody, and calls that leave room for others."""

from __future__ import annotations

import threading
import traceback

import httpx
import pytest
from redis import Redis

from app.errors import ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_client import NamecheapClient
from tests.contracts.test_registrar import answer, calls, client_at, fresh, registrar
from tests.contracts.tools import Sandbox, Scripted

__all__ = ["fresh", "registrar"]  # Fixtures.


def test_the_key_is_told_to_nobody(
    sandbox: Sandbox, scripted: Scripted, http: httpx.Client, valkey: Redis, nowhere: str
) -> None:
    key = "very-secret-key"
    scripted.say(200, answer("", "ERROR", f'<Error Number="1011102">{key} is bad</Error>'))
    scripted.say(200, f"<html>{key}</html>")
    scripted.say(502, key)
    scripted.say(502, key)
    urls = [f"{sandbox.url}/namecheap/xml.response", *[scripted.url] * 3, f"http://{nowhere}/"]
    for url in urls:
        with pytest.raises((ProviderFailed, ProviderUnavailable)) as caught:
            client_at(url, http, valkey, api_key=key).balance_cents()
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
        assert key not in told
    for method, path, _, body in scripted.asked:
        assert (method, path) == ("POST", "/")
        assert key.encode() in body


def test_a_redirect_does_not_carry_the_key_away(
    scripted: Scripted, http: httpx.Client, valkey: Redis
) -> None:
    for _ in range(2):
        scripted.say(307, Location=f"{scripted.url}/elsewhere")
    with pytest.raises(ProviderUnavailable):
        client_at(scripted.url, http, valkey).balance_cents()
    assert {path for _, path, _, _ in scripted.asked} == {"/"}


def test_we_stop_before_namecheap_s_limiter_does(
    sandbox: Sandbox, registrar: NamecheapClient
) -> None:
    sandbox.control("namecheap/settings", limits="real")
    done, refused = [], []

    def ask() -> None:
        for _ in range(4):
            try:
                done.append(registrar.balance_cents())
            except ProviderUnavailable as error:
                refused.append(error.details["reason"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (20, 4)
    assert set(refused) == {"our own rate limit"}


def test_searches_leave_room_for_orders(
    sandbox: Sandbox, registrar: NamecheapClient, fresh: str
) -> None:
    registrar.offers([fresh])  # The lists are kept now: each further search is one call.
    asked = len(calls(sandbox))
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        for _ in range(30):
            registrar.offers([fresh])
            asked += 1
    assert asked == 15
    assert registrar.register(fresh, 1, cost_ceiling_cents=2000).order_id
