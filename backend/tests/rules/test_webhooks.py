"""Where webhooks may go, and when they are tried again."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from app.rules import webhooks

HOME = [ip_network("127.0.0.0/8")]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),  # an ordinary server
        ("2606:2800:220:1::1", True),  # the same over IPv6
        ("10.1.2.3", False),  # RFC 1918
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT, RFC 6598
        ("127.0.0.1", False),  # ourselves
        ("0.0.0.0", False),  # ourselves, on Linux
        ("169.254.169.254", False),  # a cloud's metadata
        ("224.0.0.1", False),  # multicast
        ("255.255.255.255", False),  # broadcast
        ("::1", False),
        ("fe80::1", False),  # link-local
        ("fd00::1", False),  # unique local
        ("ff0e::1", False),  # multicast, though of global scope
        ("::ffff:10.0.0.1", False),  # IPv4 in disguise
        ("::ffff:93.184.216.34", True),  # the same of an ordinary server
        ("64:ff9b::a00:1", False),  # 10.0.0.1 behind NAT64
        ("2002:a00:1::1", False),  # 10.0.0.1 behind 6to4
    ],
)
def test_only_the_public_net_is_called(address: str, public: bool) -> None:
    assert webhooks.is_public(address, []) is public


def test_leave_is_for_the_named_network_only() -> None:
    assert webhooks.is_public("127.0.0.1", HOME)
    assert not webhooks.is_public("10.0.0.1", HOME)
    assert not webhooks.is_public("::ffff:127.0.0.1", HOME)


@pytest.mark.parametrize(
    ("url", "allowed", "fine"),
    [
        ("https://hooks.example.com/in?x=1", [], True),
        ("https://hooks.example.com:8443/in", [], True),
        ("https://xn--exmple-cua.com/", [], True),  # a host in its ASCII form
        ("http://hooks.example.com/in", [], False),  # in clear
        ("http://127.0.0.1:8000/in", HOME, True),  # at home
        ("https://intranet/in", [], False),  # one label
        ("https://2130706433/", [], False),  # 127.0.0.1 as a number has one label too
        ("https:///in", [], False),
        ("https://[::1/in", [], False),
        ("https://hooks.example.com:99999/", [], False),
    ],
)
def test_addresses_of_endpoints(url: str, allowed: list[webhooks.Network], fine: bool) -> None:
    assert (webhooks.refusal(url, allowed) is None) is fine


def test_the_ladder_rises_and_ends() -> None:
    waits = [webhooks.wait_after(n) for n in range(1, 9)]
    assert waits == [*webhooks.LADDER, None]
    assert sum(webhooks.LADDER, timedelta()) < webhooks.MAX_FAILING


def test_every_event_that_is_told_has_a_meaning_and_a_source() -> None:
    assert set(webhooks.MEANING) == set(webhooks.EventType)
    assert {*webhooks.OF_EVENT.values(), webhooks.EventType.TEST} == set(webhooks.EventType)
