"""The canonical form that outsiders rely on, and what a chain shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from app.rules import audit_chain as chain
from app.rules.audit_chain import FaultKind, Row, Sealed

A, B = UUID(int=0xA), UUID(int=0xB)


def row(seq: int, tenant: UUID = A, **fields: object) -> Row:
    return replace(
        Row(
            tenant_id=tenant,
            seq=seq,
            id=UUID(int=seq),
            created_at=datetime(2026, 11, 23, 4, 5, 6, 70, tzinfo=UTC),
            action="inbox_paused",
            resource_type="inbox",
            resource_id=UUID(int=7),
            actor_type="user",
            actor_id=None,
            changes={"status": ["active", "paused"], "a": 1},
            ip="127.0.0.1",
            request_id=None,
        ),
        **fields,
    )


def sealed(*rows: Row) -> list[Sealed]:
    made, previous = [], chain.GENESIS
    for each in rows:
        hash_ = chain.link(previous, each)
        made.append(Sealed(each, previous, hash_))
        previous = hash_
    return made


def whole(length: int = 5, tenant: UUID = A) -> list[Sealed]:
    return sealed(*(row(seq, tenant) for seq in range(1, length + 1)))


def told(rows: list[Sealed], **more: object) -> list[tuple[str, int]]:
    return [(fault.kind, fault.seq) for fault in chain.faults(rows, **more)]  # type: ignore[arg-type]


def test_the_hash_of_a_known_row_never_changes() -> None:
    text = (
        '{"action":"inbox_paused","actor_id":null,"actor_type":"user",'
        '"changes":{"a":1,"status":["active","paused"]},"created_at":"2026-11-23T04:05:06.000070Z",'
        '"id":"00000000-0000-0000-0000-000000000001","ip":"127.0.0.1","request_id":null,'
        '"resource_id":"00000000-0000-0000-0000-000000000007","resource_type":"inbox","seq":1,'
        '"tenant_id":"00000000-0000-0000-0000-00000000000a"}'
    )
    expected = hashlib.sha256(bytes(32) + text.encode()).hexdigest()
    assert chain.link(chain.GENESIS, row(1)).hex() == expected
    assert expected == "6f4b7dbee3e5a25aa97012cb24105b1e06285f5b07530f378501de43be994315"


def test_the_form_is_sorted_json_of_exactly_the_fields() -> None:
    odd = row(
        2**40,
        action='quote " backslash \\ newline \n bell \x07 delete \x7f',
        request_id="ünïcödé 🌳 \u2028",
        changes={"z": {"y": [True, None, -1], "é": "é"}, "A": "<&>"},
        actor_id=B,
        ip=None,
        resource_id=None,
        created_at=datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
    )
    members = {
        "action": odd.action,
        "actor_id": str(B),
        "actor_type": "user",
        "changes": odd.changes,
        "created_at": "2025-12-31T22:30:00.000000Z",
        "id": str(odd.id),
        "ip": None,
        "request_id": odd.request_id,
        "resource_id": None,
        "resource_type": "inbox",
        "seq": 2**40,
        "tenant_id": str(A),
    }
    assert tuple(members) == chain.FIELDS
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert chain.link(b"p" * 32, odd) == hashlib.sha256(b"p" * 32 + text.encode()).digest()


def test_an_orderly_chain_has_no_fault() -> None:
    assert told([*whole(), *whole(3, B)]) == []
    assert told(whole()[2:], whole=False) == []
    rows = whole()
    heads = {A: {2: rows[1].hash, 5: rows[4].hash}}
    assert told(rows, heads=heads) == []
    assert told([]) == []


def test_every_altered_field_is_found() -> None:
    rows = whole()
    others = {
        "id": UUID(int=99), "created_at": rows[2].row.created_at + timedelta(microseconds=1),
        "action": "inbox_resumed", "resource_type": "domain", "resource_id": None,
        "actor_type": "system", "actor_id": B, "changes": {}, "ip": None, "request_id": "r",
    }  # fmt: skip
    assert {*others, "seq", "tenant_id"} == set(chain.FIELDS)
    for name, value in others.items():
        bad = replace(rows[2], row=replace(rows[2].row, **{name: value}))
        assert told([*rows[:2], bad, *rows[3:]]) == [(FaultKind.ALTERED, 3)], name


def test_altered_hashes_are_found() -> None:
    rows = whole()
    assert told([*rows[:2], replace(rows[2], previous_hash=b"x" * 32), *rows[3:]]) == [
        (FaultKind.ALTERED, 3)
    ]
    assert (FaultKind.ALTERED, 3) in told([*rows[:2], replace(rows[2], hash=b"x" * 32), *rows[3:]])
    assert told([replace(rows[0], previous_hash=b"x" * 32), *rows[1:]]) == [(FaultKind.ALTERED, 1)]
    first = Sealed(row(1), b"x" * 32, chain.link(b"x" * 32, row(1)))
    assert (FaultKind.ALTERED, 1) in told([first])


def test_removed_rows_are_found() -> None:
    rows = whole()
    (fault,) = chain.faults([rows[0], *rows[3:]])
    assert (fault.kind, fault.seq, fault.until) == (FaultKind.REMOVED, 2, 3)
    (fault,) = chain.faults(rows[2:])
    assert (fault.kind, fault.seq, fault.until) == (FaultKind.REMOVED, 1, 2)
    assert told(rows[:3] + rows[4:], whole=False) == [(FaultKind.REMOVED, 4)]


def test_a_row_rewritten_with_its_hash_is_found() -> None:
    rows = whole()
    forged = row(3, action="nothing_happened")
    forged_link = Sealed(forged, rows[1].hash, chain.link(rows[1].hash, forged))
    assert told([*rows[:2], forged_link, *rows[3:]]) == [(FaultKind.INSERTED, 3)]


def test_an_inserted_row_is_found() -> None:
    rows = whole(3)
    forged = row(2, action="nothing_happened")
    between = Sealed(forged, rows[0].hash, chain.link(rows[0].hash, forged))
    shifted = [replace(each, row=replace(each.row, seq=each.row.seq + 1)) for each in rows[1:]]
    assert (FaultKind.INSERTED, 2) in told([rows[0], between, *shifted])
    before = Sealed(row(0), chain.GENESIS, chain.link(chain.GENESIS, row(0)))
    assert (FaultKind.INSERTED, 0) in told([before, *rows])


def test_a_cut_end_is_found_by_heads_alone() -> None:
    rows = whole()
    heads = {A: {5: rows[4].hash}, B: {2: b"h" * 32}}
    assert told(rows[:3]) == []
    found = list(chain.faults(rows[:3], heads))
    assert [(f.tenant_id, f.kind, f.seq, f.until) for f in found] == [
        (A, FaultKind.CUT, 4, 5),
        (B, FaultKind.CUT, 1, 2),
    ]


def test_a_chain_written_anew_is_found_by_heads_alone() -> None:
    rows = whole()
    anew = sealed(*(row(seq, ip="192.0.2.1") for seq in range(1, 7)))
    assert told(anew) == []
    assert told(anew, heads={A: {4: rows[3].hash}}) == [(FaultKind.REWRITTEN, 4)]
