"""Plan and apply over zones of any content: ours exactly as wanted, a customer's own untouched."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.integrations.cloudflare_client import MARK, body_of, join_txt, plan
from app.integrations.ports import DNSRecord

NAMES = st.sampled_from(["a.test", "_dmarc.a.test", "bounce.a.test", "t.a.test", "www.a.test"])
TEXTS = st.sampled_from(
    ["v=spf1 -all", "v=spf1 include:_spf.m.test -all", "v=DMARC1; p=none", "x", 'q"uo\\te', "é", ""]
) | st.text(max_size=20)
HOSTS = st.sampled_from(["mx1.m.test", "MX2.m.test", "elsewhere.test"])
COMMENTS = st.none() | st.sampled_from(
    ["", "mine", "not inboxgrove:spf", f"{MARK}spf", f"{MARK}replies", f"{MARK}old"]
)

WANTED = st.lists(
    st.one_of(
        st.builds(DNSRecord, st.just("TXT"), NAMES, TEXTS, purpose=st.just("spf")),
        st.builds(DNSRecord, st.just("CNAME"), NAMES, HOSTS, purpose=st.just("tracking")),
        st.builds(
            lambda name, host, priority: DNSRecord("MX", name, host, priority=priority),
            NAMES,
            HOSTS,
            st.sampled_from([10, 20]),
        ),
    ),
    max_size=8,
    # Two that mean the same are one wish.
    unique_by=lambda r: (r.type, r.name, r.content.lower(), r.priority),
)


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A zone as the provider lists it: anybody's records, some of them like ours, some ours."""
    found = []
    for number, record in enumerate(draw(WANTED) + draw(WANTED)):
        row = body_of(record) | {"id": f"r{number}", "comment": draw(COMMENTS)}
        if record.type == "TXT" and draw(st.booleans()) and not record.content.startswith('"'):
            row["content"] = record.content  # As whoever typed it by hand left it.
        found.append(row)
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["A", "CAA", "SRV"]), max_size=3))):
        found.append({"id": f"o{number}", "type": kind, "name": "a.test", "content": "whatever"})
    return draw(st.permutations(found))


def carried_out(
    zone: list[dict[str, Any]], batch: dict[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    gone = {item["id"] for item in batch.get("deletes", [])}
    put = {item["id"]: item for item in batch.get("puts", [])}
    kept = [put.get(row["id"], row) for row in zone if row["id"] not in gone]
    return kept + [row | {"id": f"n{i}"} for i, row in enumerate(batch.get("posts", []))]


def is_ours(row: dict[str, Any]) -> bool:
    return str(row.get("comment") or "").startswith(MARK)


def meaning(kind: str, name: str, content: str, priority: int | None) -> tuple[object, ...]:
    content = join_txt(content) if kind == "TXT" else content.lower()
    return kind, name, content, priority


def of_rows(zone: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [meaning(r["type"], r["name"], r["content"], r.get("priority")) for r in zone]


def of_wanted(wanted: list[DNSRecord]) -> list[tuple[object, ...]]:
    return [
        (r.type, r.name, r.content if r.type == "TXT" else r.content.lower(), r.priority)
        for r in wanted
    ]


@given(rows(), WANTED)
def test_what_is_wanted_is_there_and_a_customer_s_own_stays(
    zone: list[dict[str, Any]], wanted: list[DNSRecord]
) -> None:
    batch = plan(zone, wanted)
    after = carried_out(zone, batch)
    theirs = [row for row in zone if not is_ours(row)]
    assert [row for row in after if not is_ours(row)] == theirs
    assert set(of_wanted(wanted)) <= set(of_rows(after))
    # Nothing of ours is left over, and nothing of ours stands twice.
    ours = of_rows([row for row in after if is_ours(row)])
    assert set(ours) <= set(of_wanted(wanted))
    assert len(ours) == len(set(ours))
    assert plan(after, wanted) == {}


@given(rows(), WANTED)
def test_only_marked_records_are_named_in_a_batch(
    zone: list[dict[str, Any]], wanted: list[DNSRecord]
) -> None:
    batch = plan(zone, wanted)
    ours = {row["id"] for row in zone if is_ours(row)}
    named = {item["id"] for step in ("deletes", "puts", "patches") for item in batch.get(step, [])}
    assert named <= ours
    assert all(is_ours(row) for row in batch.get("posts", []))


@given(rows())
def test_letting_go_takes_away_ours_alone(zone: list[dict[str, Any]]) -> None:
    after = carried_out(zone, plan(zone, []))
    assert after == [row for row in zone if not is_ours(row)]
