"""DNSProvider against Cloudflare: our records become exactly what is wanted, others' stay."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations import ports
from app.integrations.cloudflare_client import CloudflareClient, body_of, join_txt, quote_txt
from app.integrations.ports import DNSRecord
from tests.contracts.tools import HAPPENED, MISHAPS, Line, Sandbox, Scripted

TOKEN = "sandbox-token"
BATCH = "POST .*/dns_records/batch"
KEY_OF_2048_BITS = "v=DKIM1; k=rsa; p=" + "A1b/" * 98


def client_at(url: str, http: httpx.Client, **more: Any) -> CloudflareClient:
    given = {"token": TOKEN, "account_id": "sandbox-account", **more}
    return CloudflareClient(http=http, url=url, **given)


@pytest.fixture
def dns(sandbox: Sandbox, line: Line, http: httpx.Client) -> CloudflareClient:
    limits = {"requests": "real", "pending_zones": None, "records_per_batch": 200}
    sandbox.control("cloudflare/settings", **limits)
    return client_at(f"{line.url}/cloudflare/client/v4", http)


@pytest.fixture
def name() -> str:
    return f"x{uuid4().hex[:16]}.com"


@pytest.fixture
def zone(dns: CloudflareClient, name: str) -> ports.Zone:
    return dns.ensure_zone(name)


def wanted(name: str) -> list[DNSRecord]:
    return [
        DNSRecord("MX", name, "mx1.mta.inboxgrove.test", priority=10, purpose="mx"),
        DNSRecord("MX", name, "mx2.mta.inboxgrove.test", priority=20, purpose="mx"),
        DNSRecord("TXT", name, "v=spf1 include:_spf.mta.inboxgrove.test -all", purpose="spf"),
        DNSRecord("TXT", f"ig1._domainkey.{name}", KEY_OF_2048_BITS, purpose="dkim"),
        DNSRecord("TXT", f"_dmarc.{name}", "v=DMARC1; p=none", purpose="dmarc"),
        DNSRecord("CNAME", f"t.{name}", "track.mta.inboxgrove.test", purpose="tracking"),
        DNSRecord("A", f"mta-sts.{name}", "192.0.2.7", purpose="mta-sts"),
    ]


class Raw:
    """The zone as its owner sees it."""

    def __init__(self, sandbox: Sandbox, zone: ports.Zone) -> None:
        self._url = f"{sandbox.url}/cloudflare/client/v4/zones/{zone.id}/dns_records"
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def add(self, *records: dict[str, Any]) -> None:
        body = {"posts": list(records)}
        answer = httpx.post(f"{self._url}/batch", headers=self._headers, json=body)
        assert answer.is_success, answer.text

    def all(self) -> list[dict[str, Any]]:
        answer = httpx.get(self._url, headers=self._headers, params={"per_page": 5000})
        found: list[dict[str, Any]] = answer.json()["result"]
        return found

    def ours(self) -> set[tuple[str, str, str]]:
        return {
            (record["type"], record["name"], join_txt(record["content"]))
            for record in self.all()
            if str(record["comment"] or "").startswith("inboxgrove:")
        }


@pytest.fixture
def raw(sandbox: Sandbox, zone: ports.Zone) -> Raw:
    return Raw(sandbox, zone)


def contents(records: list[DNSRecord]) -> set[tuple[str, str, str]]:
    return {(record.type, record.name, record.content) for record in records}


def zones_called(sandbox: Sandbox, name: str) -> int:
    return sum(z["name"] == name for z in sandbox.control("cloudflare/zones")["zones"])


# Zones ------------------------------------------------------------------------------------------


def test_a_zone_is_made_once(sandbox: Sandbox, dns: CloudflareClient, name: str) -> None:
    zone = dns.ensure_zone(name)
    assert (zone.name, zone.status) == (name, "pending")
    assert len(zone.name_servers) == 2
    assert dns.ensure_zone(name) == zone == dns.get_zone(zone.id)
    assert zones_called(sandbox, name) == 1


def test_many_at_once_get_the_same_zone(sandbox: Sandbox, dns: CloudflareClient, name: str) -> None:
    # The first is held up between looking and acting, until the others have made the zone.
    sandbox.fault("cloudflare", "POST .*/zones\n", "stall", seconds=0.5)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(dns.ensure_zone, [name] * 4))
    assert len(found) == 1
    assert zones_called(sandbox, name) == 1


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_zone_whose_answer_was_lost_is_found_again(
    sandbox: Sandbox, line: Line, dns: CloudflareClient, name: str, mode: str
) -> None:
    line.mishap("cloudflare", "POST .*/zones\n", mode)
    with pytest.raises(OutcomeUnknown):
        dns.ensure_zone(name)
    assert zones_called(sandbox, name) == (1 if mode in HAPPENED else 0)
    assert dns.ensure_zone(name).name == name
    assert zones_called(sandbox, name) == 1


def test_a_zone_is_active_once_the_registrar_points_at_it(
    sandbox: Sandbox, dns: CloudflareClient, zone: ports.Zone
) -> None:
    sandbox.control(
        "namecheap/elsewhere", domain=zone.name, name_servers=[*reversed(zone.name_servers)]
    )
    assert dns.get_zone(zone.id).status == "active"


def test_refusals_are_told_with_their_numbers(
    sandbox: Sandbox, dns: CloudflareClient, http: httpx.Client, name: str
) -> None:
    url = f"{sandbox.url}/cloudflare/client/v4"
    for client, call, code in (
        (dns, lambda c: c.ensure_zone("not a name"), 1099),
        (client_at(url, http, account_id="other"), lambda c: c.ensure_zone(name), 10000),
        (client_at(url, http, token="very-secret"), lambda c: c.ensure_zone(name), 9109),
    ):
        with pytest.raises(ProviderFailed) as caught:
            call(client)
        assert caught.value.details["codes"] == [code]
        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "very-secret" not in f"{chain} {caught.value.details}"
    with pytest.raises(ProviderFailed):
        dns.get_zone("0" * 32)


# Records ----------------------------------------------------------------------------------------


def test_wanted_records_are_there_and_a_repeat_changes_nothing(
    dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    records = wanted(zone.name)
    assert dns.apply(zone.id, records) == len(records)
    assert raw.ours() == contents(records)
    before = raw.all()
    assert dns.apply(zone.id, records) == 0
    assert raw.all() == before
    comments = {record["comment"] for record in before}
    assert comments >= {"inboxgrove:spf", "inboxgrove:dkim", "inboxgrove:mx"}
    assert not any(record["proxied"] for record in before)
    mx = [(r["priority"], r["content"]) for r in before if r["type"] == "MX"]
    assert sorted(mx) == [(10, "mx1.mta.inboxgrove.test"), (20, "mx2.mta.inboxgrove.test")]


@pytest.mark.parametrize("kind", ["A", "AAAA", "CNAME"])
def test_no_host_of_ours_is_ever_asked_to_be_proxied(kind: str) -> None:
    # Said, not left to an account's default: mail does not pass through a web proxy.
    assert body_of(DNSRecord(kind, "t.a.com", "x"))["proxied"] is False


def test_only_what_differs_is_changed(dns: CloudflareClient, zone: ports.Zone, raw: Raw) -> None:
    old = wanted(zone.name)
    dns.apply(zone.id, old)
    ids = {record["id"]: record["content"] for record in raw.all()}
    new = [r for r in old if r.purpose not in {"dmarc", "tracking"}]
    new.append(DNSRecord("TXT", f"_dmarc.{zone.name}", "v=DMARC1; p=reject", purpose="dmarc"))
    # One deleted and one made for DMARC, one deleted for tracking.
    assert dns.apply(zone.id, new) == 3
    assert raw.ours() == contents(new)
    assert sum(record["id"] in ids for record in raw.all()) == len(old) - 2


def test_a_customer_s_records_are_never_touched(
    dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    theirs = [
        {"type": "A", "name": zone.name, "content": "192.0.2.1", "proxied": True},
        {"type": "TXT", "name": zone.name, "content": "google-site-verification=x"},
        {"type": "TXT", "name": zone.name, "content": '"said" "by" "them"', "comment": "not ours"},
        {"type": "CNAME", "name": f"www.{zone.name}", "content": "site.test"},
        {
            "type": "SRV",
            "name": f"_sip._tcp.{zone.name}",
            "data": {"priority": 1, "weight": 2, "port": 3, "target": "sip.test"},
        },
        {"type": "CAA", "name": zone.name, "content": '0 issue "letsencrypt.org"'},
    ]
    raw.add(*theirs)
    before = raw.all()
    dns.apply(zone.id, wanted(zone.name))
    dns.apply(zone.id, [])
    assert raw.all() == before


def test_what_somebody_else_put_there_already_counts(
    dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    records = wanted(zone.name)
    # Plain instead of quoted, in other case, with another TTL: the same answers to a resolver.
    raw.add(
        {"type": "TXT", "name": zone.name, "content": records[2].content, "ttl": 3600},
        {"type": "MX", "name": zone.name, "content": "MX1.mta.inboxgrove.test", "priority": 10},
    )
    assert dns.apply(zone.id, records) == len(records) - 2
    assert dns.apply(zone.id, records) == 0
    assert len(raw.all()) == len(records)


def test_a_record_that_cannot_stand_beside_theirs_is_a_clear_no(
    dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    raw.add({"type": "A", "name": f"t.{zone.name}", "content": "192.0.2.9"})
    before = raw.all()
    with pytest.raises(ProviderFailed) as caught:
        dns.apply(zone.id, wanted(zone.name))
    assert caught.value.details["codes"] == [81053]
    # All or nothing.
    assert raw.all() == before


def test_two_at_once_leave_one_set(
    sandbox: Sandbox, dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    records = wanted(zone.name)
    # The first has looked and is held up; meanwhile the second does it all.
    sandbox.fault("cloudflare", BATCH, "stall", seconds=0.7)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(dns.apply, zone.id, records)
        _until_taken(sandbox)
        second = pool.submit(dns.apply, zone.id, records)
        assert (second.result(), first.result()) == (len(records), 0)
    assert len(raw.all()) == len(records)


def _until_taken(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + 5
    while sandbox.control("faults")["faults"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_deletions_that_somebody_else_did_first_are_settled(
    sandbox: Sandbox, dns: CloudflareClient, zone: ports.Zone, raw: Raw
) -> None:
    dns.apply(zone.id, wanted(zone.name))
    fewer = wanted(zone.name)[:3]
    sandbox.fault("cloudflare", BATCH, "stall", seconds=0.7)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(dns.apply, zone.id, fewer)
        _until_taken(sandbox)
        second = pool.submit(dns.apply, zone.id, fewer)
        assert (second.result(), first.result()) == (4, 0)
    assert raw.ours() == contents(fewer)


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_batch_whose_answer_was_lost_is_looked_at(
    line: Line, dns: CloudflareClient, zone: ports.Zone, raw: Raw, mode: str
) -> None:
    records = wanted(zone.name)
    line.mishap("cloudflare", BATCH, mode)
    with pytest.raises(OutcomeUnknown):
        dns.apply(zone.id, records)
    happened = mode in HAPPENED
    assert len(raw.all()) == (len(records) if happened else 0)
    assert dns.apply(zone.id, records) == (0 if happened else len(records))
    assert raw.ours() == contents(records)
    assert len(raw.all()) == len(records)


def test_ours_are_found_among_many_pages(dns: CloudflareClient, zone: ports.Zone, raw: Raw) -> None:
    for block in range(0, 200, 100):
        raw.add(
            *(
                {"type": "A", "name": f"h{block + i}.{zone.name}", "content": "192.0.2.1"}
                for i in range(100)
            )
        )
    # Exactly two full pages, then ours on a third.
    records = wanted(zone.name)
    assert dns.apply(zone.id, records) == len(records)
    assert dns.apply(zone.id, records) == 0
    assert dns.apply(zone.id, []) == len(records)
    assert len(raw.all()) == 200


# TXT --------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00")))
def test_text_is_the_same_after_quoting(text: str) -> None:
    quoted = quote_txt(text)
    assert join_txt(quoted) == text
    assert quoted.isascii()
    assert quoted.isprintable()


@given(st.text(alphabet=st.sampled_from('ab"\\é; 0'), max_size=700))
def test_each_chunk_has_at_most_255_octets(text: str) -> None:
    from sandbox.cloudflare import txt

    chunks = txt.strings(quote_txt(text))
    assert all(len(chunk) <= 255 for chunk in chunks)
    assert b"".join(chunks) == text.encode()
    assert len(chunks) == max(1, -(-len(text.encode()) // 255))


def test_plain_content_is_read_as_it_stands() -> None:
    assert join_txt("v=spf1 -all") == "v=spf1 -all"
    assert join_txt('"a" "b"') == "ab"
    assert join_txt(r'"a\"b\\c\032d"') == 'a"b\\c d'
    assert join_txt("") == ""


# The line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_question_is_asked_again(
    line: Line, dns: CloudflareClient, zone: ports.Zone, mode: str
) -> None:
    line.mishap("cloudflare", "GET ", mode, times=2)
    assert dns.get_zone(zone.id) == zone
    line.mishap("cloudflare", "GET ", mode, times=3)
    with pytest.raises(ProviderUnavailable) as caught:
        dns.get_zone(zone.id)
    assert type(caught.value) is ProviderUnavailable


def test_the_limiter_is_obeyed(scripted: Scripted, http: httpx.Client) -> None:
    dns = client_at(scripted.url, http)
    scripted.say(429, "{}", Retry_After="120")
    scripted.say(429, "{}", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
    for seconds in (120, 300):
        with pytest.raises(ProviderUnavailable) as caught:
            dns.get_zone("z")
        assert caught.value.details["retry_after"] == seconds
    # Once each: whoever is blocked for five minutes does not knock again.
    assert len(scripted.asked) == 2


def test_a_late_answer_to_a_write_is_a_lost_one(
    sandbox: Sandbox, dns: CloudflareClient, http: httpx.Client, zone: ports.Zone
) -> None:
    url = f"{sandbox.url}/cloudflare/client/v4"
    hasty = client_at(url, http, timeout=httpx.Timeout(0.5))
    sandbox.fault("cloudflare", BATCH, "timeout_after", seconds=1.5)
    records = wanted(zone.name)
    with pytest.raises(OutcomeUnknown):
        hasty.apply(zone.id, records)
    assert dns.apply(zone.id, records) == 0


def test_a_no_in_the_body_counts_whatever_http_says(scripted: Scripted, http: httpx.Client) -> None:
    for errors in ([{"code": 1097, "message": "banned"}], [], None, "odd", [{"code": "x"}, 7]):
        scripted.say(200, json.dumps({"success": False, "errors": errors, "result": None}))
        with pytest.raises(ProviderFailed):
            client_at(scripted.url, http).get_zone("z")


@pytest.mark.parametrize(
    "body", ["[]", "null", '{"success": true}', '{"success": true, "result": 3}']
)
def test_an_answer_without_a_zone_is_no_answer(
    scripted: Scripted, http: httpx.Client, body: str
) -> None:
    for _ in range(3):
        scripted.say(200, body)
    with pytest.raises(ProviderUnavailable):
        client_at(scripted.url, http).get_zone("z")


def test_nobody_there_and_redirects(scripted: Scripted, http: httpx.Client, nowhere: str) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        client_at(f"http://{nowhere}", http).apply("z", [])
    assert type(caught.value) is ProviderUnavailable
    for _ in range(3):
        scripted.say(302, "{}", Location=f"{scripted.url}/elsewhere")
    with pytest.raises((ProviderFailed, ProviderUnavailable)):
        client_at(scripted.url, http).get_zone("z")
    assert {path for _, path, _, _ in scripted.asked} == {"/zones/z"}
