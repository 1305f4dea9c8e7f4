"""The platform's own zone: what every tenant's domain relies on."""

from __future__ import annotations

import pytest

from app.rules import mail_zone, mta_sts

ZONE = "mta.test"
WHOLE: dict[tuple[str, str], list[str]] = {
    (f"mx1.{ZONE}", "A"): ["192.0.2.1"],
    (f"mx2.{ZONE}", "AAAA"): ["2001:db8::2"],
    (f"track.{ZONE}", "A"): ["192.0.2.3"],
    (f"mta-sts.{ZONE}", "A"): ["192.0.2.3"],
    **{(name, "MX"): [f"10 mx1.{ZONE}"] for name in (ZONE, f"rua.{ZONE}", f"bounce.{ZONE}")},
    (f"{mail_zone.PROBE}._report._dmarc.rua.{ZONE}", "TXT"): ["v=DMARC1;"],
    (f"_spf.{ZONE}", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
}


def faults(names: dict[tuple[str, str], list[str]]) -> dict[str, str]:
    found = mail_zone.check(
        ZONE,
        lambda name, kind: names.get((name, kind), []),
        tracking_host=f"track.{ZONE}",
        has_mta_sts=True,
    )
    for finding in found:
        assert (finding.fault is None) == (finding.fix is None)
    return {f.name: f.fault for f in found if f.fault}


def test_a_whole_zone_has_no_fault() -> None:
    assert faults(WHOLE) == {}


@pytest.mark.parametrize("gone", WHOLE)
def test_whatever_is_gone_is_found(gone: tuple[str, str]) -> None:
    assert len(faults({key: value for key, value in WHOLE.items() if key != gone})) == 1


@pytest.mark.parametrize(
    ("key", "answer", "fault"),
    [
        ((f"_spf.{ZONE}", "TXT"), ["v=spf1 -all", "v=spf1 a -all"], "2 SPF records there"),
        ((f"_spf.{ZONE}", "TXT"), [f"v=spf1 include:_spf.{ZONE} -all"], "leads back to itself"),
        (
            (f"_spf.{ZONE}", "TXT"),
            [f"v=spf1 {' '.join(f'a:mx1.{ZONE}' for _ in range(10))} -all"],
            "it takes 11 DNS lookups",
        ),
        ((f"rua.{ZONE}", "MX"), ["10 mail.other.test"], "its mail goes to mail.other.test"),
        (
            (f"{mail_zone.PROBE}._report._dmarc.rua.{ZONE}", "TXT"),
            ["v=spf1 -all"],
            "it says v=spf1 -all",
        ),
    ],
)
def test_what_is_wrong_is_said(key: tuple[str, str], answer: list[str], fault: str) -> None:
    (found,) = faults({**WHOLE, key: answer}).values()
    assert fault in found


def test_what_is_not_used_is_not_asked_for() -> None:
    found = mail_zone.check(ZONE, lambda name, kind: [])
    assert not {f"track.{ZONE}", f"mta-sts.{ZONE}"} & {finding.name for finding in found}


# MTA-STS ----------------------------------------------------------------------------------------


def test_the_policy_reads_as_rfc_8461_has_it() -> None:
    text = mta_sts.policy("enforce", ["mx1.mta.test", "mx2.mta.test"])
    assert text.split("\r\n") == [
        "version: STSv1",
        "mode: enforce",
        "mx: mx1.mta.test",
        "mx: mx2.mta.test",
        "max_age: 604800",
        "",
    ]
    with pytest.raises(ValueError, match="testing, enforce"):
        mta_sts.policy("none of these", [])


def test_the_id_changes_with_the_policy_alone() -> None:
    texts = [mta_sts.policy(mode, ["mx1.mta.test"]) for mode in mta_sts.MODES]
    first, second = map(mta_sts.record, texts)
    assert first == mta_sts.record(texts[0])
    assert first != second
    id_ = first.removeprefix("v=STSv1; id=")
    assert id_.isalnum()
    assert id_.isascii()
    assert len(id_) <= 32


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("mta-sts.acme-mail.com", "acme-mail.com"),
        ("MTA-STS.Acme-Mail.com.:8443", "acme-mail.com"),
        ("acme-mail.com", None),
        ("mta-sts", None),
        ("", None),
        ("xmta-sts.acme-mail.com", None),
    ],
)
def test_the_host_names_the_domain(host: str, domain: str | None) -> None:
    assert mta_sts.domain_of(host) == domain
