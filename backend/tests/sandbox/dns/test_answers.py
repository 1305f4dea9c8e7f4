"""What the name servers say: the zones of the sheet, wildcards, aliases, and how they say no."""

from __future__ import annotations

import dns.flags
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest

from sandbox.dns.zone import Served
from tests.sandbox.dns.conftest import record

REPORT = "_report._dmarc.rua.mta.inboxgrove.test"


@pytest.mark.parametrize(
    ("name", "kind", "texts"),
    [
        ("inboxgrove.test", "TXT", ['"v=spf1 ip4:127.0.0.0/8 -all"']),
        ("_spf.mta.inboxgrove.test", "TXT", ['"v=spf1 ip4:127.0.0.0/8 -all"']),
        ("mx1.mta.inboxgrove.test", "A", ["127.0.0.1"]),
        ("mx2.mta.inboxgrove.test", "A", ["127.0.0.1"]),
        ("MX1.MTA.InboxGrove.test", "A", ["127.0.0.1"]),
        (f"acme.com.{REPORT}", "TXT", ['"v=DMARC1"']),
        (f"acme.{REPORT}", "TXT", ['"v=DMARC1"']),
        ("gmail.test", "MX", ["10 mx.gmail.test."]),
        ("mx.outlook.test", "A", ["127.0.0.1"]),
        ("yahoo.test", "A", ["127.0.0.1"]),
        ("corp.test", "MX", ["10 mx.corp.test."]),
        ("1.0.0.127.in-addr.arpa", "PTR", ["mx1.mta.inboxgrove.test."]),
        ("2.0.0.127.dnsbl.test", "A", ["127.0.0.2"]),
        ("test.dbl.test", "A", ["127.0.0.2"]),
        ("ada.ns.cloudflare.sandbox.test", "A", ["127.0.0.1"]),
    ],
)
async def test_the_standing_zones(net, name, kind, texts):
    assert await net.texts(name, kind) == texts


async def test_our_domains_take_mail_and_state_who_sends_it(net):
    for name in ("inboxgrove.test", "bounce.mta.inboxgrove.test"):
        assert await net.texts(name, "MX") == [
            "10 mx1.mta.inboxgrove.test.",
            "20 mx2.mta.inboxgrove.test.",
        ]
        assert "v=spf1" in (await net.texts(name, "TXT"))[0]


@pytest.mark.parametrize(
    ("name", "kind", "zone"),
    [
        ("nothing.gmail.test", "A", "gmail.test."),
        ("nothing.example", "A", "."),
        ("com", "NS", "."),
        ("1.0.0.127.dnsbl.test", "A", "dnsbl.test."),
        ("invalid.dbl.test", "A", "dbl.test."),
    ],
)
async def test_no_such_name(net, name, kind, zone):
    answer = await net.udp(name, kind)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert not answer.answer
    (soa,) = answer.authority
    assert (soa.rdtype, soa.name.to_text()) == (dns.rdatatype.SOA, zone)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gmail.test", "TXT"),
        ("mta.inboxgrove.test", "A"),
        ("_dmarc.rua.mta.inboxgrove.test", "TXT"),  # An empty node below the wildcard's parent.
        (f"acme.{REPORT}", "A"),
        (REPORT, "TXT"),
    ],
)
async def test_no_such_record_is_another_answer(net, name, kind):
    answer = await net.udp(name, kind)
    assert answer.rcode() == dns.rcode.NOERROR
    assert not answer.answer
    assert answer.authority[0].rdtype == dns.rdatatype.SOA
    assert answer.flags & dns.flags.AA


async def test_a_zone_is_served_exactly_while_it_is_delegated(net):
    servers = await net.zone("acme.com", record("A", "acme.com", "127.0.0.5"), delegate=False)
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("acme.com", "A")
    await net.delegate("acme.com", [servers[0], "ns.other.test"])
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("acme.com", "A")
    await net.delegate("acme.com", servers)
    assert await net.texts("acme.com", "A") == ["127.0.0.5"]
    assert await net.texts("acme.com", "NS") == sorted(f"{host}." for host in servers)
    assert (await net.texts("acme.com", "SOA"))[0].startswith(servers[0])
    await net.delegate("acme.com", ["ns1.other.test", "ns2.other.test"])
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("acme.com", "A")


async def test_a_change_is_seen_by_the_next_question(net):
    await net.zone("acme.com", record("A", "t", "127.0.0.5"))
    assert await net.texts("t.acme.com", "A") == ["127.0.0.5"]
    part = net.world.parts["cloudflare"]
    (doc,) = part.zones.all()
    base, headers = "/cloudflare/client/v4", {"Authorization": "Bearer sandbox-token"}
    (key,) = doc["records"]
    path = f"{base}/zones/{doc['id']}/dns_records/{key}"
    await net.http.patch(path, json={"content": "127.0.0.6"}, headers=headers)
    assert await net.texts("t.acme.com", "A") == ["127.0.0.6"]
    await net.http.delete(path, headers=headers)
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("t.acme.com", "A")


async def test_every_type_of_the_provider(net):
    await net.zone(
        "acme.com",
        record("A", "a", "127.0.0.5"),
        record("AAAA", "a", "2001:db8::1"),
        record("MX", "@", "mx1.mta.inboxgrove.test", priority=10),
        record("TXT", "@", '"one" "two"'),
        record("TXT", "@", 'plain with "quotes"'),
        record("CAA", "@", '0 issue "letsencrypt.org"'),
        record("NS", "sub", "ns.other.test"),
        {
            "type": "SRV",
            "name": "_submission._tcp",
            "data": {"priority": 5, "weight": 1, "port": 587, "target": "mail.acme.com"},
        },
    )
    assert await net.texts("a.acme.com", "AAAA") == ["2001:db8::1"]
    assert await net.texts("acme.com", "MX") == ["10 mx1.mta.inboxgrove.test."]
    assert await net.texts("acme.com", "TXT") == ['"one" "two"', r'"plain with \"quotes\""']
    assert await net.texts("acme.com", "CAA") == ['0 issue "letsencrypt.org"']
    assert await net.texts("sub.acme.com", "NS") == ["ns.other.test."]
    assert await net.texts("_submission._tcp.acme.com", "SRV") == ["5 1 587 mail.acme.com."]


async def test_aliases_are_followed_inside_and_out_of_the_zone(net):
    await net.zone(
        "acme.com",
        record("CNAME", "bounce", "b.acme.com"),
        record("CNAME", "b", "bounce.mta.inboxgrove.test"),
        record("CNAME", "lost", "nowhere.example"),
        record("CNAME", "round", "about.acme.com"),
        record("CNAME", "about", "round.acme.com"),
    )
    answer = await net.udp("bounce.acme.com", "MX")
    assert [rrset.rdtype for rrset in answer.answer] == [
        dns.rdatatype.CNAME,
        dns.rdatatype.CNAME,
        dns.rdatatype.MX,
    ]
    assert await net.texts("bounce.acme.com", "CNAME") == ["b.acme.com."]
    lost = await net.udp("lost.acme.com", "A")
    assert lost.rcode() == dns.rcode.NXDOMAIN
    assert lost.answer[0].rdtype == dns.rdatatype.CNAME
    assert (await net.udp("round.acme.com", "A")).rcode() == dns.rcode.SERVFAIL


async def test_a_wildcard_gives_way_to_names_that_exist(net):
    await net.zone(
        "acme.com",
        record("A", "*", "127.0.0.9"),
        record("A", "www", "127.0.0.5"),
        record("TXT", "deep.node", "x"),
    )
    assert await net.texts("any.acme.com", "A") == ["127.0.0.9"]
    assert await net.texts("a.b.acme.com", "A") == ["127.0.0.9"]
    assert await net.texts("www.acme.com", "A") == ["127.0.0.5"]
    # RFC 4592, section 2.2.1: names below an existing node are not the wildcard's.
    assert (await net.udp("x.www.acme.com", "A")).rcode() == dns.rcode.NXDOMAIN
    empty = await net.udp("node.acme.com", "A")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
    assert not (await net.udp("any.acme.com", "MX")).answer


async def test_a_zone_hosted_elsewhere_can_be_put_up_and_taken_down(net):
    records = [record("TXT", "_inboxgrove.customer.org", "token")]
    await net.control("dns/zones", zone="customer.org", records=records)
    assert await net.texts("_inboxgrove.customer.org", "TXT") == ['"token"']
    gone = await net.http.request("DELETE", "/control/dns/zones", json={"zone": "customer.org"})
    assert gone.status_code == 200
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("_inboxgrove.customer.org", "TXT")


@pytest.mark.parametrize(
    "bad",
    [
        record("A", "www.customer.org", "no address"),
        record("A", "www.other.org", "127.0.0.1"),
        record("LOC", "www.customer.org", "x"),
        {"type": "A"},
    ],
)
async def test_a_hosted_zone_with_a_bad_record_is_refused(net, bad):
    body = {"zone": "customer.org", "records": [bad]}
    assert (await net.http.post("/control/dns/zones", json=body)).status_code == 400
    assert (await net.udp("customer.org", "SOA")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ("203.0.113.5", "5.113.0.203.dnsbl.test"),
        ("127.0.0.1", "1.0.0.127.dnsbl.test"),
        ("Acme-Mail.com", "acme-mail.com.dbl.test"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.dnsbl.test"),
    ],
)
async def test_what_a_test_lists_is_listed_until_unlisted(net, entry, asked):
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts(asked, "A")
    await net.control("dns/list", entry=entry, code="127.0.0.4", reason="spam trap")
    assert await net.texts(asked, "A") == ["127.0.0.4"]
    assert await net.texts(asked, "TXT") == ['"spam trap"']
    assert (await net.control("dns/unlist", entry=entry))["removed"] is True
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts(asked, "A")


@pytest.mark.parametrize(
    "body",
    [
        {"entry": ""},
        {"entry": "acme.com", "zone": "dnsbl.test"},
        {"entry": "acme.com", "zone": "gmail.test"},
        {"entry": "203.0.113.5", "code": "8.8.8.8"},
        {"entry": "203.0.113.5", "code": "listed"},
    ],
)
async def test_a_listing_that_makes_no_sense(net, body):
    assert (await net.http.post("/control/dns/list", json=body)).status_code == 400


def test_a_record_outside_of_its_zone_is_an_error():
    with pytest.raises(ValueError, match="not inside"):
        Served("acme.com", (), [record("A", "notacme.com", "127.0.0.1")])
