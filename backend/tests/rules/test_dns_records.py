"""The records of a sending domain: what is wanted, what is seen, and what to do about it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import checkdmarc
import dns.resolver
import dns.zone
import pytest
from checkdmarc.dmarc import check_dmarc
from checkdmarc.mta_sts import (
    parse_mta_sts_policy,
    parse_mta_sts_record,
    query_mta_sts_record,
)
from checkdmarc.smtp_tls_reporting import check_smtp_tls_reporting
from checkdmarc.spf import check_spf
from dnslib.server import DNSServer
from dnslib.zoneresolver import ZoneResolver
from hypothesis import given
from hypothesis import strategies as st

from app.rules import dns_records, mta_sts
from app.rules.dns_records import Record, compare

ZONE = "mta.inboxgrove.test"
DOMAIN = "acme-mail.com"
KEY = base64.b64encode(bytes(range(256)) + bytes(38)).decode()
"""As long as the public key of RSA-2048: 294 octets."""

RECORDS = dns_records.wanted(DOMAIN, mail_zone=ZONE, selector="ig202611", public_key=KEY)
MORE = dns_records.wanted(
    DOMAIN,
    mail_zone=ZONE,
    selector="ig202611",
    public_key=KEY,
    tracking_host=f"track.{ZONE}",
    mta_sts="testing",
)[len(RECORDS) :]
"""What a platform publishes that has them."""
SeenNow = dict[tuple[str, str], list[str]]


def published(records: tuple[Record, ...] = RECORDS) -> SeenNow:
    seen: SeenNow = {}
    for record in records:
        seen.setdefault((record.type, record.name), []).append(record.answer)
    return seen


def of(purpose: str) -> Record:
    return next(record for record in RECORDS if record.purpose == purpose)


def test_the_records_are_these() -> None:
    assert [(r.type, r.name, r.answer) for r in RECORDS] == [
        ("MX", DOMAIN, f"10 mx1.{ZONE}"),
        ("MX", DOMAIN, f"20 mx2.{ZONE}"),
        ("TXT", DOMAIN, f"v=spf1 include:_spf.{ZONE} -all"),
        ("TXT", f"ig202611._domainkey.{DOMAIN}", f"v=DKIM1; k=rsa; p={KEY}"),
        (
            "TXT",
            f"_dmarc.{DOMAIN}",
            f"v=DMARC1; p=none; rua=mailto:dmarc@rua.{ZONE}; adkim=r; aspf=r",
        ),
        ("MX", f"bounce.{DOMAIN}", f"10 mx1.{ZONE}"),
        ("MX", f"bounce.{DOMAIN}", f"20 mx2.{ZONE}"),
        ("TXT", f"bounce.{DOMAIN}", f"v=spf1 include:_spf.{ZONE} -all"),
        ("TXT", f"_smtp._tls.{DOMAIN}", f"v=TLSRPTv1; rua=mailto:tlsrpt@{ZONE}"),
    ]


def test_what_is_optional_comes_behind() -> None:
    policy = mta_sts.policy("testing", [f"mx1.{ZONE}", f"mx2.{ZONE}"])
    assert [(r.type, r.name, r.answer) for r in MORE] == [
        ("CNAME", f"t.{DOMAIN}", f"track.{ZONE}"),
        ("TXT", f"_mta-sts.{DOMAIN}", mta_sts.record(policy)),
        ("CNAME", f"mta-sts.{DOMAIN}", f"mta-sts.{ZONE}"),
    ]


@pytest.mark.parametrize(
    ("answers", "state", "difference"),
    [
        ([f"track.{ZONE}"], "ok", None),
        ([f"TRACK.{ZONE}."], "ok", None),
        ([], "missing", "there is no such record yet"),
        (
            ["site.test"],
            "different",
            f"it points at site.test, it should point at track.{ZONE}",
        ),
    ],
)
def test_a_cname_is_judged(answers: list[str], state: str, difference: str | None) -> None:
    (verdict,) = compare(MORE[:1], {("CNAME", f"t.{DOMAIN}"): answers})
    assert (verdict.state, verdict.difference) == (state, difference)


@pytest.mark.parametrize(
    ("day", "taken", "selector"),
    [
        (date(2026, 11, 23), (), "ig202611"),
        (date(2026, 11, 23), ("ig202610",), "ig202611"),  # Last month's is another name.
        (date(2026, 11, 23), ("ig202611",), "ig202611b"),  # A second key in one month.
        (date(2026, 1, 2), ("ig202601", "ig202601b"), "ig202601c"),
        # `e` is left out: it marks an Ed25519 key.
        (date(2026, 1, 2), tuple(f"ig202601{x}" for x in ("", "b", "c", "d")), "ig202601f"),
    ],
)
def test_selectors_are_never_used_twice(day: date, taken: tuple[str, ...], selector: str) -> None:
    assert dns_records.next_selector(day, taken) == selector


def test_a_policy_that_dmarc_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="none, quarantine, reject"):
        dns_records.wanted(DOMAIN, mail_zone=ZONE, selector="s", public_key=KEY, dmarc_policy="no")


# Comparing --------------------------------------------------------------------------------------

Change = Callable[[SeenNow], None]


def put(purpose: str, *answers: str) -> Change:
    record = of(purpose)
    return lambda seen: seen.update({(record.type, record.name): list(answers)})


@pytest.mark.parametrize(
    ("change", "purpose", "state", "difference"),
    [
        (put("spf"), "spf", "missing", "no such record"),
        # Another TXT at the name is not ours to mind, and not what we look for.
        (put("spf", "google-site-verification=x"), "spf", "missing", "no such record"),
        (
            put("spf", "v=spf1 include:other.test ~all"),
            "spf",
            "different",
            f"include:_spf.{ZONE} is missing, -all is missing, include:other.test is too much",
        ),
        # Two SPF records are a permanent error to receivers, whatever they say (RFC 7208, 4.5).
        (put("spf", of("spf").content, "v=spf1 -all"), "spf", "ambiguous", "2 records"),
        (
            put("dmarc", f"v=DMARC1; p=reject; rua=mailto:dmarc@rua.{ZONE}; adkim=r"),
            "dmarc",
            "different",
            "p is reject, it should be none, aspf is absent, it should be r",
        ),
        # A key cut off at 255 octets, the usual accident of copying.
        (put("dkim", of("dkim").content[:255]), "dkim", "different", "p is AAEC"),
        (put("replies", f"50 mx1.{ZONE}"), "replies", "different", "the priority is 50"),
        (put("replies", "10 mail.other.test"), "replies", "missing", "no such record"),
    ],
)
def test_what_is_wrong_is_said(change: Change, purpose: str, state: str, difference: str) -> None:
    seen = published()
    change(seen)
    verdict = next(v for v in compare(RECORDS, seen) if v.record.purpose == purpose)
    assert verdict.state == state
    assert verdict.difference is not None
    assert difference in verdict.difference
    assert verdict.fix is not None
    assert verdict.record.answer in verdict.fix
    others = [v for v in compare(RECORDS, seen) if v.record.name != verdict.record.name]
    assert all(v.ok for v in others)


@pytest.mark.parametrize(
    "change",
    [
        put("replies", f"20 MX2.{ZONE}.", f"10 mx1.{ZONE.upper()}."),  # Case, dots, order.
        put("spf", f"V=SPF1  INCLUDE:_spf.{ZONE}  -ALL"),
        put("dmarc", f"v=DMARC1;p=none;rua=mailto:dmarc@rua.{ZONE} ;adkim=r;aspf=r;"),
        put("dkim", f"v=DKIM1; k=rsa; p={KEY[:200]} {KEY[200:]}"),  # Blanks in p= are allowed.
        put("spf", of("spf").content, "google-site-verification=x"),
        put("replies", f"10 mx1.{ZONE}", f"20 mx2.{ZONE}", "30 mail.other.test"),
    ],
)
def test_what_does_not_matter_is_overlooked(change: Change) -> None:
    seen = published()
    change(seen)
    assert all(verdict.ok for verdict in compare(RECORDS, seen))


KINDS = ("v=spf1", "v=dmarc1", "v=dkim1", "v=tlsrptv1")
FOREIGN = st.dictionaries(
    st.sampled_from([*dns_records.questions(RECORDS), ("TXT", f"other.{DOMAIN}")]),
    st.lists(
        st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1).filter(
            lambda text: not text.strip().lower().startswith(KINDS)
        ),
        max_size=3,
    ),
)


@given(st.sets(st.sampled_from(range(len(RECORDS)))), FOREIGN)
def test_foreign_records_change_no_verdict(there: set[int], foreign: SeenNow) -> None:
    seen = published(tuple(RECORDS[i] for i in sorted(there)))
    mixed = {key: [*foreign.get(key, []), *seen.get(key, [])] for key in {**seen, **foreign}}
    assert [v.state for v in compare(RECORDS, mixed)] == [v.state for v in compare(RECORDS, seen)]


@given(st.sets(st.sampled_from(range(len(RECORDS)))), FOREIGN)
def test_doing_what_it_says_ends_it(there: set[int], foreign: SeenNow) -> None:
    seen = published(tuple(RECORDS[i] for i in sorted(there)))
    seen = {key: [*foreign.get(key, []), *seen.get(key, [])] for key in {**seen, **foreign}}
    before = {key: list(answers) for key, answers in foreign.items()}
    for verdict in compare(RECORDS, seen):
        if not verdict.ok:
            key = (verdict.record.type, verdict.record.name)
            seen[key] = [*seen.get(key, []), verdict.record.answer]
    assert all(verdict.ok for verdict in compare(RECORDS, seen))
    # The customer's own records are all still there.
    assert all(text in seen[key] for key, answers in before.items() for text in answers)


@given(st.text(), st.text())
def test_normal_is_idempotent(kind: str, text: str) -> None:
    for each in ("MX", "TXT", kind):
        once = dns_records.normal(each, text)
        assert dns_records.normal(each, once) == once


# Limits and export ------------------------------------------------------------------------------

ASCII = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=1500)


@given(ASCII)
def test_strings_of_a_txt_record_are_short_and_lose_nothing(text: str) -> None:
    parts = dns_records.chunks(text)
    assert all(len(part) <= 255 for part in parts)
    assert "".join(parts) == text


@given(ASCII)
def test_a_zone_file_gives_back_what_was_put_in(text: str) -> None:
    record = Record("TXT", f"x.{DOMAIN}", text)
    source = dns_records.zone_text(DOMAIN, [record])
    zone = dns.zone.from_text(source, relativize=False, check_origin=False)
    (rdata,) = zone.get_rdataset(f"x.{DOMAIN}.", "TXT")
    assert b"".join(rdata.strings).decode() == text
    assert max(map(len, rdata.strings)) <= 255


def test_the_zone_file_reads_as_the_records() -> None:
    zone = dns.zone.from_text(
        dns_records.zone_text(DOMAIN, RECORDS), relativize=False, check_origin=False
    )
    seen: SeenNow = {}
    for name, _, rdata in zone.iterate_rdatas():
        host = name.to_text(omit_final_dot=True)
        if rdata.rdtype == dns.rdatatype.MX:
            seen.setdefault(("MX", host), []).append(rdata.to_text())
        else:
            text = b"".join(rdata.strings).decode()
            seen.setdefault(("TXT", host), []).append(text)
    assert all(verdict.ok for verdict in compare(RECORDS, seen))


@given(st.from_regex(r"[a-z][a-z0-9-]{0,40}[a-z0-9]\.(com|io)", fullmatch=True))
def test_spf_stays_far_below_ten_lookups(domain: str) -> None:
    """RFC 7208, 4.6.4: at most ten terms that ask the DNS. Ours has one, and what it includes none."""
    records = dns_records.wanted(domain, mail_zone=ZONE, selector="ig202611", public_key=KEY)
    for record in records:
        if record.content.startswith("v=spf1"):
            asking = [t for t in record.content.split() if t.partition(":")[0] in
                      {"include", "a", "mx", "ptr", "exists", "redirect"}]  # fmt: skip
            assert len(asking) == 1
    spf_names = [r.name for r in records if r.content.startswith("v=spf1")]
    assert len(spf_names) == len(set(spf_names))
    assert not any("pct" in record.content for record in records)
    assert all(len(r.name) <= 253 for r in records)


PLATFORM = f"""
_spf.{ZONE}. 300 IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
{DOMAIN}._report._dmarc.rua.{ZONE}. 300 IN TXT "v=DMARC1"
rua.{ZONE}. 300 IN MX 10 mx1.{ZONE}.
{ZONE}. 300 IN MX 10 mx1.{ZONE}.
mx1.{ZONE}. 300 IN A 192.0.2.1
mx2.{ZONE}. 300 IN A 192.0.2.2
"""


@contextmanager
def serving(zone: str) -> Iterator[dns.resolver.Resolver]:
    """A name server on a free port of loopback, and a resolver that asks it alone."""
    server = DNSServer(ZoneResolver(zone), address="127.0.0.1", port=0, logger=_Silent())
    server.start_thread()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.server.server_address[1]
    try:
        yield resolver
    finally:
        server.stop()
        server.server.server_close()


class _Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.mark.parametrize(
    ("policy", "warnings"),
    [
        # Where everybody begins; the judge rightly says that it enforces nothing yet.
        ("none", [f"A p tag value of none makes DMARC unenforced on email sent as {DOMAIN}."]),
        ("quarantine", []),
        ("reject", []),
    ],
)
def test_an_independent_judge_finds_no_fault(policy: str, warnings: list[str]) -> None:
    records = dns_records.wanted(
        DOMAIN, mail_zone=ZONE, selector="ig202611", public_key=KEY, dmarc_policy=policy
    )
    checkdmarc.utils.DNS_CACHE.clear()
    with serving(dns_records.zone_text(DOMAIN, records) + PLATFORM) as resolver:
        reports = [
            check_spf(DOMAIN, resolver=resolver),
            check_spf(f"bounce.{DOMAIN}", resolver=resolver),
            check_smtp_tls_reporting(DOMAIN, resolver=resolver),
            dmarc := check_dmarc(DOMAIN, resolver=resolver),
        ]
    for report in reports:
        assert "error" not in report, report
        assert report["valid"] is True
    assert reports[0]["dns_lookups"] == 1
    assert [text for report in reports for text in report.get("warnings", [])] == warnings
    assert dmarc["tags"]["p"]["value"] == policy


@pytest.mark.parametrize("mode", mta_sts.MODES)
def test_an_independent_judge_reads_the_policy(mode: str) -> None:
    """Its record by a real query; the policy itself it would fetch from the internet."""
    records = dns_records.wanted(
        DOMAIN, mail_zone=ZONE, selector="ig202611", public_key=KEY, mta_sts=mode
    )
    checkdmarc.utils.DNS_CACHE.clear()
    with serving(dns_records.zone_text(DOMAIN, records) + PLATFORM) as resolver:
        asked = query_mta_sts_record(DOMAIN, resolver=resolver)
    assert asked["warnings"] == []
    text = mta_sts.policy(mode, dns_records.mail_hosts(ZONE))
    id_ = parse_mta_sts_record(asked["record"])["tags"]["id"]
    assert mta_sts.record(text) == f"v=STSv1; id={id_}"
    read = parse_mta_sts_policy(text)
    assert read["warnings"] == []
    assert read["policy"]["mode"] == mode
    assert read["policy"]["mx"] == [f"mx1.{ZONE}", f"mx2.{ZONE}"]
