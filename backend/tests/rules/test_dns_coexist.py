"""Our records beside the owner's: merged, kept, or in each other's way; and their exports."""

from __future__ import annotations

import json
import re

from app.rules import dns_coexist, dns_export, dns_records, spf_merge
from app.rules.dns_records import Record

NAME = "acme.com"
ZONE = "mta.inboxgrove.test"
OURS = f"v=spf1 include:_spf.{ZONE} -all"
RECORDS = dns_records.wanted(NAME, mail_zone=ZONE, selector="ig202611", public_key="A" * 392)
Seen = dict[tuple[str, str], list[str]]


def nothing(name: str, kind: str) -> list[str]:
    return []


def codes(
    seen: Seen, *, owner_edits: bool = True, resolve: spf_merge.Resolve = nothing
) -> set[str]:
    found = dns_coexist.conflicts(NAME, RECORDS, seen, resolve, owner_edits=owner_edits)
    assert all(item.message and item.fix for item in found)
    return {item.code for item in found}


def test_spf_is_merged_before_the_end_and_keeps_the_owners_end() -> None:
    merged = spf_merge.merge(["v=spf1 a include:_spf.google.com ~all"], OURS)
    assert merged == f"v=spf1 a include:_spf.google.com include:_spf.{ZONE} ~all"
    assert spf_merge.merge([merged], OURS) == merged
    assert spf_merge.contains(merged, OURS)
    assert not spf_merge.contains("v=spf1 -all", OURS)
    assert spf_merge.merge([], OURS) == OURS
    two = spf_merge.merge(["v=spf1 a -all", "v=spf1 A mx ?all"], OURS)
    assert two == f"v=spf1 a mx include:_spf.{ZONE} -all"
    assert spf_merge.merge(["v=spf1 redirect=x.test"], OURS).endswith("redirect=x.test")


def test_lookups_are_counted_through_what_is_included() -> None:
    zone = {
        "a.test": ["v=spf1 a mx include:b.test -all"],
        "b.test": ["v=spf1 exists:%{i}.x ip4:1.2.3.4"],
    }
    count = spf_merge.lookups(
        "v=spf1 include:a.test ip4:1.1.1.1 -all", lambda n, _: zone.get(n, [])
    )
    assert count == 5
    # A loop ends at the limit.
    assert spf_merge.lookups("v=spf1 include:l.test", lambda *_: ["v=spf1 include:l.test"]) > 10


def test_an_spf_that_is_there_becomes_the_wanted_one_and_a_dmarc_is_kept() -> None:
    stricter = "v=DMARC1; p=reject; rua=mailto:me@acme.com"
    seen: Seen = {
        ("TXT", NAME): ["hello", "v=spf1 mx -all"],
        ("TXT", f"_dmarc.{NAME}"): [stricter],
    }
    adapted = {record.purpose: record.content for record in dns_coexist.adapt(RECORDS, seen)}
    assert adapted["spf"] == f"v=spf1 mx include:_spf.{ZONE} -all"
    assert adapted["dmarc"] == stricter
    assert dns_coexist.kept(RECORDS, seen) == ["dmarc"]
    seen["TXT", NAME] = [adapted["spf"]]
    assert dns_coexist.kept(RECORDS, seen) == ["spf", "dmarc"]
    assert codes(seen, owner_edits=False) == set()


def test_an_empty_name_has_nothing_in_the_way() -> None:
    assert codes({}) == set()
    assert dns_coexist.adapt(RECORDS, {}) == RECORDS
    assert dns_coexist.kept(RECORDS, {}) == []


def test_each_conflict_has_its_name() -> None:
    assert codes({("CNAME", NAME): ["shop.example"]}) == {"cname_at_apex"}
    assert codes({("MX", NAME): ["1 aspmx.l.google.com"]}) == {"mx_elsewhere"}
    assert codes({("MX", NAME): [f"10 MX1.{ZONE}."]}) == set()
    assert codes({("TXT", NAME): ["v=spf1 a -all", "v=spf1 mx -all"]}) == {"two_spf"}
    assert codes({("TXT", NAME): ["v=spf1 a -all"]}) == set()
    assert codes({("TXT", NAME): ["v=spf1 a -all"]}, owner_edits=False) == {"spf_to_merge"}
    ten = "v=spf1 " + " ".join(f"include:{n}.test" for n in range(10)) + " -all"
    assert codes({("TXT", NAME): [ten]}) == {"spf_too_long"}
    policy = "v=DMARC1; p=none"
    assert codes({("TXT", f"_dmarc.{NAME}"): [policy, policy + ";"]}) == {"two_dmarc"}


def test_terraform_can_be_read_back() -> None:
    odd = Record("TXT", f"odd.{NAME}", 'quote " slash \\ ${a} %{b} ' + "x" * 300, purpose="odd")
    text = dns_export.terraform(NAME, [*RECORDS, odd])
    blocks = re.findall(
        r'resource "cloudflare_dns_record" "([a-z0-9_]+)" \{\n(.*?)\n\}', text, re.S
    )
    assert len(blocks) == len(RECORDS) + 1 == len({label for label, _ in blocks})
    for (_, body), record in zip(blocks, [*RECORDS, odd], strict=True):
        fields = dict(re.split(r"\s+= ", line.strip(), maxsplit=1) for line in body.split("\n"))
        content = json.loads(fields["content"].replace("$${", "${").replace("%%{", "%{"))
        assert "${" not in fields["content"].replace("$${", "")
        if record.type == "TXT":
            strings = re.findall(r'"((?:[^"\\]|\\.)*)"', content)
            plain = [re.sub(r"\\(.)", r"\1", part) for part in strings]
            assert all(len(part) <= 255 for part in plain)
            content = "".join(plain)
        assert content == record.content
        assert json.loads(fields["name"]) == record.name
        assert fields.get("priority") == (None if record.priority is None else str(record.priority))
