"""SPF records: what they cost a receiver, and what breaks them (RFC 7208)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from checkdmarc.spf import parse_spf_record
from checkdmarc.utils import DNS_CACHE
from hypothesis import given
from hypothesis import strategies as st

from app.rules import spf
from app.rules.spf import BadSPF, Count, Term, lookups, terms

Names = Mapping[tuple[str, str], list[str]]


def world(names: Names) -> Callable[[str, str], list[str]]:
    return lambda name, kind: list(names.get((name, kind), []))


def texts(**records: str) -> dict[tuple[str, str], list[str]]:
    """`a="v=spf1 -all"` is the TXT record of a.test."""
    return {(f"{name}.test", "TXT"): [record] for name, record in records.items()}


NOTHING = world({})


def count(record: str, names: Names | None = None) -> Count:
    return lookups(record, world(names or {}), name="here.test")


@pytest.mark.parametrize(
    ("record", "parsed"),
    [
        ("v=spf1", []),
        ("V=SPF1 -ALL", [Term("all")]),
        ("v=spf1 a mx/24 ~all", [Term("a"), Term("mx"), Term("all")]),
        ("v=spf1 a:x.test/28//64 -all", [Term("a", "x.test"), Term("all")]),
        ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", [Term("ip4"), Term("ip6"), Term("all")]),
        ("v=spf1 +include:A.Test. ?all", [Term("include", "a.test"), Term("all")]),
        ("v=spf1 exists:%{i}._x.test -all", [Term("exists", "%{i}._x.test"), Term("all")]),
        ("v=spf1 exists:%{ir/}.x.test -all", [Term("exists", "%{ir/}.x.test"), Term("all")]),
        ("v=spf1 ptr -all", [Term("ptr"), Term("all")]),
        ("v=spf1 redirect=r.test", [Term("redirect", "r.test")]),
        # With `all` the redirect is never used, and neither is what stands behind (RFC 7208, 5.1).
        ("v=spf1 redirect=r.test -all", [Term("all")]),
        ("v=spf1 -all include:b.test", [Term("all")]),
        # Unknown modifiers are passed over; `exp` costs nothing until a mail was refused.
        ("v=spf1 exp=why.test x-y=1 -all", [Term("all")]),
    ],
)
def test_terms(record: str, parsed: list[Term]) -> None:
    assert list(terms(record)) == parsed


@pytest.mark.parametrize(
    "record",
    [
        "",
        "spf1 -all",
        "v=spf10 -all",
        "v=spf1 includes:a.test",
        "v=spf1 include -all",
        "v=spf1 include: -all",
        "v=spf1 exists -all",
        "v=spf1 all:x.test",
        "v=spf1 ip4 -all",
        "v=spf1 ip4:300.0.0.1 -all",
        "v=spf1 ip4:2001:db8::1 -all",
        "v=spf1 ip6:192.0.2.1 -all",
        "v=spf1 a/33 -all",
        "v=spf1 mx:x.test/129 -all",
        "v=spf1 redirect=a.test redirect=b.test",
        "v=spf1 redirect=",
        "v=spf1, -all",
        "v=spf1 -all;",
        "v=spf1 include:" + "a." * 128,
        f"v=spf1 include:{'a' * 64}.test",
        "v=spf1 include:a..test",
        "v=spf1 include:b\u00fccher.test",
        "v=spf1 include:a.test/24",
    ],
)
def test_what_receivers_reject(record: str) -> None:
    with pytest.raises(BadSPF):
        terms(record)
    assert not count(record).ok


def test_what_is_included_counts_however_deep() -> None:
    names = texts(
        a="v=spf1 include:b.test include:c.test -all",
        b="v=spf1 a:h.test ip4:192.0.2.1 -all",
        c="v=spf1 redirect=d.test",
        d="v=spf1 mx:h.test -all",
    ) | {("h.test", "A"): ["192.0.2.1"], ("h.test", "MX"): ["10 h.test"]}
    # include a, b, c; a of b; redirect of c; mx of d.
    assert count("v=spf1 include:a.test -all", names) == Count(6, 0)


@pytest.mark.parametrize(("number", "ok"), [(9, True), (10, True), (11, False)])
def test_ten_are_allowed(number: int, ok: bool) -> None:
    names = {(f"h{i}.test", "A"): ["192.0.2.1"] for i in range(number)}
    record = f"v=spf1 {' '.join(f'a:h{i}.test' for i in range(number))} -all"
    result = count(record, names)
    assert (result.lookups, result.ok) == (number, ok)
    if not ok:
        assert result.faults == ("it takes 11 DNS lookups, and 10 are allowed",)


def test_two_may_find_nothing() -> None:
    assert count("v=spf1 a:x.test mx:x.test -all") == Count(2, 2)
    result = count("v=spf1 a:x.test mx:x.test exists:x.test -all")
    assert result.voids == 3
    assert result.faults == ("3 of its lookups find nothing, and 2 may",)
    # An address of either family is something; a macro is known only when a mail comes.
    assert count("v=spf1 a:x.test -all", {("x.test", "AAAA"): ["2001:db8::1"]}).voids == 0
    assert count("v=spf1 exists:%{i}.x.test -all") == Count(1, 0)


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ({}, "include of a.test: no SPF record there"),
        ({("a.test", "TXT"): ["v=spf1 -all", "v=spf1 a -all"]}, "a.test: 2 SPF records there"),
        ({("a.test", "TXT"): ["google-site-verification=x"]}, "no SPF record there"),
        (texts(a="v=spf1 nonsense -all"), "nonsense is no term of SPF (a.test)"),
        (texts(a="v=spf1 include:here.test -all"), "include of here.test leads back to itself"),
        (texts(a="v=spf1 include:b.test", b="v=spf1 include:a.test"), "leads back to itself"),
    ],
)
def test_broken_includes_break_the_record(names: Names, fault: str) -> None:
    result = count("v=spf1 include:a.test -all", names)
    assert any(fault in each for each in result.faults), result


def test_an_mx_of_eleven_hosts_is_too_many() -> None:
    names = {("x.test", "MX"): [f"{i} h{i}.test" for i in range(11)]}
    assert not count("v=spf1 mx:x.test -all", names).ok


def test_a_tree_without_end_is_left() -> None:
    """Each includes two that nobody asked about before: 2^n of them."""

    def endless(name: str, kind: str) -> list[str]:
        return [f"v=spf1 include:a.{name} include:b.{name} -all"] if kind == "TXT" else []

    result = lookups("v=spf1 include:x.test -all", endless)
    assert spf.STOP < result.lookups < spf.STOP + 10
    assert f"more than {spf.STOP}" in " ".join(result.faults)


def test_silence_is_passed_on() -> None:
    def silent(name: str, kind: str) -> list[str]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        lookups("v=spf1 include:a.test -all", silent)


# Trees of includes, four deep, with terms of all kinds at each node ------------------------------

LEAVES = st.lists(
    st.sampled_from(["a", "mx", "ptr", "ip4:192.0.2.1", "ip6:2001:db8::1", "exists:%{i}.e.test"]),
    max_size=3,
)
TREES = st.recursive(
    LEAVES.map(lambda leaves: (leaves, [])),
    lambda below: st.tuples(LEAVES, st.lists(below, max_size=3)),
    max_leaves=8,
)


def _published(
    tree: tuple[list[str], list[object]],
) -> tuple[str, dict[tuple[str, str], list[str]], int]:
    """(the record, all that it includes, what an independent count of it gives)."""
    names: dict[tuple[str, str], list[str]] = {}

    def publish(node: tuple[list[str], list[object]]) -> tuple[str, int]:
        leaves, below = node
        asking = sum(leaf.partition(":")[0] in {"a", "mx", "ptr", "exists"} for leaf in leaves)
        included = []
        for each in below:
            record, cost = publish(each)  # type: ignore[arg-type]  # A tree of such.
            name = f"n{len(names)}.test"
            names[name, "TXT"] = [record]
            included.append(f"include:{name}")
            asking += 1 + cost
        return " ".join(["v=spf1", *leaves, *included, "-all"]), asking

    record, total = publish(tree)
    hosts = {name for name, _ in names} | {"here.test"}
    for host in hosts:
        names[host, "A"], names[host, "MX"] = ["192.0.2.9"], ["10 m.test"]
    return record, names, total


@given(TREES)
def test_the_count_is_that_of_the_tree(tree: tuple[list[str], list[object]]) -> None:
    record, names, total = _published(tree)
    result = count(record, names)
    assert result.lookups == total
    assert result.voids == 0
    assert result.ok == (total <= 10)


@given(TREES, LEAVES)
def test_more_terms_never_cost_less(tree: tuple[list[str], list[object]], more: list[str]) -> None:
    leaves, below = tree
    small = count(*_published(tree)[:2])
    large = count(*_published(([*leaves, *more], below))[:2])
    assert small.lookups <= large.lookups
    assert large.ok <= small.ok


@given(st.text(max_size=80))
def test_no_text_is_too_strange(text: str) -> None:
    for record in (text, f"v=spf1 {text}", f"v=spf1 include:{text} -all"):
        result = lookups(record, NOTHING)
        assert result.ok or result.faults


@given(st.text(st.sampled_from("aimnclude:/%{}.x12-+ "), max_size=40))
def test_what_is_accepted_has_targets_of_a_name_s_length(text: str) -> None:
    try:
        parsed: Iterable[Term] = terms(f"v=spf1 {text}")
    except BadSPF:
        return
    assert all(term.target is None or 0 < len(term.target) <= 253 for term in parsed)


@pytest.mark.parametrize(
    "record",
    ["v=spf1 a mx -all", "v=spf1 include:_x.test a:h.test ~all", "v=spf1 redirect=_x.test"],
)
def test_an_independent_judge_counts_the_same(record: str) -> None:
    names = texts(_x="v=spf1 a:h.test mx:h.test ip4:192.0.2.0/24 -all") | {
        ("h.test", "A"): ["192.0.2.1"],
        ("h.test", "MX"): ["10 h.test"],
        ("here.test", "A"): ["192.0.2.1"],
        ("here.test", "MX"): ["10 h.test"],
    }
    DNS_CACHE.clear()
    judged = parse_spf_record(record, "here.test", resolver=_Resolver(names))
    assert count(record, names).lookups == judged["dns_lookups"]


class _Resolver:
    """As much of dnspython's as the judge uses: the names above."""

    nameservers: tuple[str, ...] = ("192.0.2.53",)
    timeout = lifetime = 1.0

    def __init__(self, names: Names) -> None:
        self._names = names

    def resolve(self, name: object, kind: str, **_: object) -> object:
        import dns.message
        import dns.rdatatype
        import dns.resolver
        import dns.rrset

        host = str(name).rstrip(".")
        data = self._names.get((host, kind), [])
        if not data:
            raise dns.resolver.NXDOMAIN(qnames=[host], responses={})
        values = [
            f'"{text}"' if kind == "TXT" else f"{text}." if kind == "MX" else text for text in data
        ]
        return dns.rrset.from_text_list(f"{host}.", 300, "IN", kind, values)
