"""The trail as its tenant reads it."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.database import audit
from app.database.session import transaction
from app.rules import audit_chain
from tests.fixtures.customer import Customer

PATH = "/analytics/audit-log"


@pytest.fixture
def trail(paying: Customer) -> Customer:
    """An owner with forty more deeds, the last by the system."""
    tenant = UUID(paying.tenant_id)
    with transaction(tenant=tenant) as db:
        for number in range(40):
            audit.write(db, tenant, f"step_{number % 4}", "thing", None, {"n": [None, number]})
        audit.write(db, tenant, "label_changed", "thing", tenant, {"label": ["", "=1+1"]})
    return paying


def test_pages_follow_the_numbers_down_to_the_first(trail: Customer) -> None:
    seqs: list[int] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 7, **({"cursor": cursor} if cursor else {})}
        body = trail.http.get(PATH, params=params).json()
        seqs += [entry["seq"] for entry in body["data"]]
        cursor = body["meta"]["next_cursor"]
        if cursor is None:
            break
    assert seqs == list(range(len(seqs), 0, -1))
    assert len(seqs) > 41


def test_entries_show_their_place_in_the_chain(trail: Customer) -> None:
    newest, before = trail.get(PATH, limit=2)
    assert newest["previous_hash"] == before["hash"]
    form = audit_chain.as_text({name: newest[name] for name in audit_chain.FIELDS})
    told = hashlib.sha256(bytes.fromhex(newest["previous_hash"]) + form.encode()).hexdigest()
    assert newest["hash"] == told


def test_filters(trail: Customer) -> None:
    assert len(trail.get(PATH, action="step_1", limit=100)) == 10
    assert len(trail.get(PATH, resource_type="thing", limit=100)) == 41
    assert len(trail.get(PATH, resource_id=trail.tenant_id, resource_type="thing")) == 1
    by_user = trail.get(PATH, actor_type="user", limit=100)
    assert by_user
    assert {entry["actor_type"] for entry in by_user} == {"user"}
    me = next(entry["actor_id"] for entry in by_user if entry["actor_id"])
    assert {e["actor_id"] for e in trail.get(PATH, actor_id=me, limit=100)} == {me}
    assert trail.get(PATH, actor_type="operator") == []
    entries = trail.get(PATH, limit=100)
    middle = entries[len(entries) // 2]["created_at"]
    since, until = (
        trail.get(PATH, **{"from": middle}, limit=100),
        trail.get(PATH, to=middle, limit=100),
    )
    assert {e["seq"] for e in since} | {e["seq"] for e in until} == {e["seq"] for e in entries}
    assert {e["seq"] for e in since} & {e["seq"] for e in until} == set()
    day = middle[:10]
    assert len(trail.get(PATH, **{"from": day}, limit=100)) == len(entries)
    assert trail.get(PATH, to=day) == []


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday", "from=0", "from=2026-02-30", "to=2026-01-01T00:00:00", "action=A%00",
        "action=x%27", "actor_type=god", "actor_id=1", "format=xml", "limit=0", "cursor=junk",
        "from=٢٠٢٦-٠١-٠١",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(paying: Customer, query: str) -> None:
    assert paying.http.get(f"{PATH}?{query}").status_code == 400


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "0001-01-01"]
)
@pytest.mark.parametrize("side", ["from", "to"])
def test_the_ends_of_time_are_no_accident(paying: Customer, moment: str, side: str) -> None:
    assert paying.http.get(f"{PATH}?{side}={moment}").status_code == 200


def test_a_file_of_it(trail: Customer) -> None:
    answer = trail.http.get(PATH, params={"format": "csv", "resource_type": "thing"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 41
    entries = trail.get(PATH, resource_type="thing", limit=100)
    for row, entry in zip(rows, entries, strict=True):
        assert row["hash"] == entry["hash"]
        assert row["created_at"] == entry["created_at"]
        assert row["changes"] == audit_chain.as_text(entry["changes"])


def test_who_may_read_it(
    paying: Customer, other: Customer, set_role: Any, api: httpx.Client
) -> None:
    mine = {entry["id"] for entry in paying.get(PATH, limit=100)}
    assert mine
    theirs = {entry["id"] for entry in other.get(PATH, limit=100)}
    assert not mine & theirs
    set_role(paying, "member")
    assert paying.http.get(PATH).status_code == 403
    set_role(paying, "admin")
    assert paying.http.get(PATH).status_code == 200
    assert api.get(f"/api/v1{PATH}").status_code == 401
