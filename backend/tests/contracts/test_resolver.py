"""DNSResolver against name servers on UDP and TCP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from dnslib import RR, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

from app.errors import Invalid, ProviderUnavailable
from app.integrations.dns_resolver import Resolver
from app.rules.dns_records import Record
from app.services import domain_views
from tests.contracts.tools import Sandbox


@pytest.fixture
def server(sandbox: Sandbox) -> str:
    return f"127.0.0.1:{sandbox.world.ports['dns']}"


@pytest.fixture
def resolver(server: str) -> Resolver:
    return Resolver([server])


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that hears every question and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{mute.getsockname()[1]}"


def host(sandbox: Sandbox, *records: dict[str, object]) -> str:
    """A zone with these records, names given relative to it; the zone's name."""
    zone = f"z{uuid4().hex[:12]}.com"
    full = [{**r, "name": f"{r['name']}.{zone}".lstrip(".")} for r in records]
    sandbox.control("dns/zones", zone=zone, records=full)
    return zone


def test_records_are_texts(sandbox: Sandbox, resolver: Resolver) -> None:
    assert resolver.lookup("mx1.mta.inboxgrove.test", "A") == ["127.0.0.1"]
    assert resolver.lookup("_spf.mta.inboxgrove.test", "TXT") == ["v=spf1 ip4:127.0.0.0/8 -all"]
    assert resolver.lookup("gmail.test", "MX") == ["10 mx.gmail.test"]
    assert resolver.lookup("1.0.0.127.in-addr.arpa", "PTR") == ["mx1.mta.inboxgrove.test"]
    zone = host(
        sandbox,
        {"type": "MX", "name": "", "content": ".", "priority": 0},
        {"type": "CNAME", "name": "t", "content": "mx1.mta.inboxgrove.test"},
        {"type": "TXT", "name": "", "content": "one"},
        {"type": "TXT", "name": "", "content": "two"},
    )
    assert resolver.lookup(zone, "MX") == ["0 ."]
    assert resolver.lookup(f"t.{zone}", "CNAME") == ["mx1.mta.inboxgrove.test"]
    assert resolver.lookup(f"t.{zone}", "A") == ["127.0.0.1"]
    assert sorted(resolver.lookup(zone, "TXT")) == ["one", "two"]


def test_nothing_there_is_an_empty_list(resolver: Resolver) -> None:
    assert resolver.lookup("nobody-has-this.com", "A") == []
    assert resolver.lookup("gmail.test", "AAAA") == []
    assert resolver.lookup("mx1.mta.inboxgrove.test", "MX") == []


def test_an_answer_too_long_for_udp_comes_whole(sandbox: Sandbox, resolver: Resolver) -> None:
    key = "v=DKIM1; k=rsa; p=" + "A1b/" * 400
    zone = host(sandbox, {"type": "TXT", "name": "ig1._domainkey", "content": key})
    assert resolver.lookup(f"ig1._domainkey.{zone}", "TXT") == [key]


def test_the_present_is_seen(sandbox: Sandbox, resolver: Resolver) -> None:
    zone = host(sandbox, {"type": "A", "name": "", "content": "192.0.2.1", "ttl": 3600})
    assert resolver.lookup(zone, "A") == ["192.0.2.1"]
    changed = [{"type": "A", "name": zone, "content": "192.0.2.2", "ttl": 3600}]
    sandbox.control("dns/zones", zone=zone, records=changed)
    assert resolver.lookup(zone, "A") == ["192.0.2.2"]
    httpx.request(
        "DELETE", f"{sandbox.url}/control/dns/zones", json={"zone": zone}
    ).raise_for_status()
    assert resolver.lookup(zone, "A") == []


def test_silence_is_told_in_time(silent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        Resolver([silent], timeout=0.2, lifetime=0.5).lookup("gmail.test", "MX")
    assert time.monotonic() - begun < 3


def test_the_next_server_is_asked(silent: str, server: str) -> None:
    resolver = Resolver([silent, server], timeout=0.3, lifetime=3)
    assert resolver.lookup("gmail.test", "MX") == ["10 mx.gmail.test"]


def test_a_closed_port_is_no_answer(nowhere: str) -> None:
    with pytest.raises(ProviderUnavailable):
        Resolver([nowhere], timeout=0.2, lifetime=0.5).lookup("gmail.test", "MX")


def test_a_server_that_fails_is_no_answer(sandbox: Sandbox, resolver: Resolver) -> None:
    # A loop of CNAMEs is answered with SERVFAIL.
    zone = host(sandbox, {"type": "CNAME", "name": "a", "content": "a.loop.test"})
    loop = [{"type": "CNAME", "name": "a.loop.test", "content": f"a.{zone}"}]
    sandbox.control("dns/zones", zone="loop.test", records=loop)
    with pytest.raises(ProviderUnavailable):
        resolver.lookup(f"a.{zone}", "A")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x" * 64 + ".com", "A"), ("a..com", "A"), (".".join(["abc"] * 80), "A"), ("a.com", "NOPE")],
)
def test_a_question_that_cannot_be_asked_is_invalid(
    resolver: Resolver, name: str, kind: str
) -> None:
    with pytest.raises(Invalid):
        resolver.lookup(name, kind)


def test_spellings_of_servers(server: str) -> None:
    for good in ("127.0.0.1", "127.0.0.1:53", "::1", "[::1]", "[::1]:5353", server):
        Resolver([good])
    for bad in ("", "localhost", "127.0.0.1:port", "127.0.0.1:", "[::1", "a:53"):
        with pytest.raises(ValueError, match="IP"):
            Resolver([bad])


# Several, each by itself ------------------------------------------------------------------------


def test_each_server_is_a_view(server: str, silent: str) -> None:
    two = Resolver([server, silent], timeout=0.2, lifetime=0.4).views()
    assert list(two) == [server, silent]
    assert two[server].lookup("gmail.test", "MX") == ["10 mx.gmail.test"]
    with pytest.raises(ProviderUnavailable):
        two[silent].lookup("gmail.test", "MX")
    one = Resolver([server])
    assert one.views() == {server: one}
    assert list(Resolver().views()) == ["system"]


def test_a_silent_one_is_waited_for_once(server: str, silent: str) -> None:
    """Nine questions and a look that takes no longer than one silence."""
    resolver = Resolver([silent, server], timeout=0.3, lifetime=0.6)
    records = [Record("TXT", f"n{i}.gmail.test", "v=spf1 -all") for i in range(8)]
    records.append(Record("MX", "gmail.test", "mx.gmail.test", priority=10))
    begun = time.monotonic()
    verdicts = domain_views.inspect_or_wait(records, resolver)
    assert time.monotonic() - begun < 3
    assert [verdict.state for verdict in verdicts] == ["missing"] * 8 + ["ok"]
    assert {(verdict.asked, verdict.agreeing) for verdict in verdicts} == {(1, 0), (1, 1)}


def test_when_all_are_silent_it_is_said_or_nothing_is_seen(silent: str) -> None:
    resolver = Resolver([silent], timeout=0.1, lifetime=0.2)
    records = [Record("MX", "gmail.test", "mx.gmail.test", priority=10)]
    with pytest.raises(ProviderUnavailable):
        domain_views.inspect_or_wait(records, resolver)
    (verdict,) = domain_views.inspect(records, resolver)
    assert (verdict.state, verdict.asked) == ("missing", 0)


def test_one_that_still_remembers_nothing_holds_it_up(sandbox: Sandbox, server: str) -> None:
    zone = host(sandbox, {"type": "TXT", "name": "", "content": "v=spf1 -all"})
    record = Record("TXT", zone, "v=spf1 -all")
    with speaking(f"other.{zone}. 60 IN A 192.0.2.1\n{zone}. 60 IN SOA a. b. 1 1 1 1 1") as old:
        (verdict,) = domain_views.inspect([record], Resolver([server, old]))
    assert (verdict.state, verdict.asked, verdict.agreeing) == ("missing", 2, 1)
    assert verdict.difference is not None
    assert f"1 of 2 resolvers see it so: {old}" in verdict.difference


def test_a_lame_answer_is_none() -> None:
    """NOERROR, no answer, and the servers of somebody above instead of an SOA."""
    with lame() as server, pytest.raises(ProviderUnavailable) as caught:
        Resolver([server]).lookup("acme-mail.com", "TXT")
    assert caught.value.details["reason"] == "a lame answer"


@contextmanager
def speaking(zone: str) -> Iterator[str]:
    with _serving(ZoneResolver(zone)) as server:
        yield server


@contextmanager
def lame() -> Iterator[str]:
    class Elsewhere(BaseResolver):
        def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
            answer = request.reply(aa=0)
            answer.add_auth(*RR.fromZone("com. 60 IN NS a.gtld-servers.test."))
            return answer

    with _serving(Elsewhere()) as server:
        yield server


@contextmanager
def _serving(resolver: BaseResolver) -> Iterator[str]:
    server = DNSServer(resolver, address="127.0.0.1", port=0, logger=DNSLogger("", prefix=False))
    server.start_thread()
    try:
        yield f"127.0.0.1:{server.server.server_address[1]}"
    finally:
        server.stop()
        server.server.server_close()
