"""`inboxgrove ops replay-events`: what a node logged is stored once, however it came before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import select

from app.database.models import DeliveryEvent, OperatorAct, TenantDay
from app.database.session import ALL_TENANTS, transaction
from app.rules import records
from app.rules.records import KINDS
from tests.fixtures.relay import Node, noon
from tests.test_operator_commands import inboxgrove

Segment = Callable[..., Path]


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """`segment(records)`: a log file as kumod writes it."""

    def write(lines: list[dict[str, Any]], *, packed: bool = True, cut: int = 0) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}-segment"
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        data = zstandard.compress(text) if packed else text
        path.write_bytes(data[: len(data) - cut])
        return path

    return write


def replay(*files: Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was counted that is not nothing."""
    said = inboxgrove("ops", "replay-events", *map(str, files), "--json")
    assert said.stdout, said.stderr
    return said.returncode, {name: n for name, n in json.loads(said.stdout).items() if n}


def everything() -> tuple[list[Any], list[tuple[int, ...]]]:
    """All that is stored and counted."""
    with transaction(tenant=ALL_TENANTS) as db:
        events = db.scalars(select(DeliveryEvent.natural_key).order_by(DeliveryEvent.natural_key))
        days = db.scalars(select(TenantDay).order_by(TenantDay.day))
        return list(events), [tuple(getattr(day, kind) for kind in KINDS) for day in days]


def logged(node: Node, record: dict[str, Any]) -> dict[str, Any]:
    """A report as the node's own log has it, whose mail it is about beside the listener's tenant."""
    meta = {**record["meta"], "x_tenant": record["meta"]["tenant"], "tenant": "somebody-else"}
    return {**record, "meta": meta}


def test_what_was_ingested_is_not_stored_again(node: Node, segment: Segment) -> None:
    lines = [node.record(kind) for kind in ("Reception", "Delivery", "TransientFailure")]
    # A bounce that came by mail; hook and log tell its tenant in different ways.
    lines.append(node.record("OOB", response={"code": 552, "content": "mailbox full"}))
    assert node.post(lines).json()["data"]["stored"] == 4
    before = everything()
    file = segment([logged(node, line) if line["type"] == "OOB" else line for line in lines])
    assert replay(file) == (0, {"records": 4, "repeated": 4})
    assert everything() == before


def test_what_was_lost_is_stored_and_counted_once(node: Node, segment: Segment) -> None:
    lines = [node.record("Reception", noon() + timedelta(seconds=n)) for n in range(6000)]
    node.post(lines[:1000])
    files = segment(lines[:4000]), segment(lines[3000:], packed=False)
    code, counts = replay(*files)
    assert (code, counts) == (0, {"records": 7000, "stored": 5000, "repeated": 2000})
    events, days = everything()
    assert (len(events), sum(day[0] for day in days)) == (6000, 6000)
    with transaction(tenant=ALL_TENANTS) as db:
        (act,) = db.scalars(select(OperatorAct))
        assert (act.action, act.changes) == ("events_replayed", {"stored": [0, 5000]})


def test_joined_segments_and_what_the_hook_does_not_send(node: Node, segment: Segment) -> None:
    first = segment([node.record("Reception"), node.record("XferOut"), node.record("Delayed")])
    second = segment([node.record("Reception"), node.record("Reception", meta={})])
    first.write_bytes(first.read_bytes() + second.read_bytes())
    assert replay(first) == (0, {"records": 2, "stored": 2, "ignored": 3})


@pytest.mark.parametrize("packed", [True, False])
def test_a_segment_cut_short_by_a_crash(node: Node, segment: Segment, packed: bool) -> None:
    lines = [node.record("Reception") for _ in range(3000)]
    code, counts = replay(segment(lines, packed=packed, cut=50))
    assert code == 1
    assert counts["unreadable"] == 1
    assert 0 < counts["stored"] < 3000


def test_bad_lines_are_named_and_do_not_stop_the_rest(node: Node, segment: Segment) -> None:
    file = segment([node.record("Reception"), node.record("Bounce", event_time="x")], packed=False)
    file.write_bytes(b"[]\nno json\n\n" + file.read_bytes())
    code, counts = replay(file)
    assert (code, counts["stored"], counts["unreadable"]) == (1, 1, 3)
    assert [fault.split(": ")[0] for fault in counts["faults"]] == [
        f"{file}:{n}" for n in (1, 2, 4)
    ]


def test_dead_letters_are_taken_as_the_hook_sent_them(node: Node, segment: Segment) -> None:
    items = [
        {"event_id": "e", "node": "n", "record": node.record(kind, response={"code": 452})}
        for kind in ("Reception", "OOB")
    ]
    file = segment([{"answer": "400", "item": item} for item in items], packed=False)
    assert replay(file) == (0, {"records": 2, "stored": 2})


def test_people_see_how_far_it_is(node: Node, segment: Segment) -> None:
    said = inboxgrove("ops", "replay-events", str(segment([node.record()])))
    assert "replayed" in said.stderr
    assert "100%" in said.stderr
    assert "stored: 1" in said.stdout


def test_a_password_does_not_come_in_by_the_log() -> None:
    refused = {"type": "Rejection", "response": {"code": 535, "command": "AHVzZXIAcGFzcw=="}}
    assert "AHVz" not in json.dumps(records.from_log_file(refused))
    harmless = {"type": "Rejection", "response": {"code": 550, "command": "RCPT TO:<a@b.test>\r\n"}}
    assert records.from_log_file(harmless) == harmless


def test_a_report_is_nobodys_without_proof() -> None:
    forged = {
        "type": "Feedback",
        "meta": {"tenant": "victim"},
        "feedback_report": {"supplemental_trace": {"tenant": "victim"}},
    }
    assert records.from_log_file(forged) == {
        "type": "Feedback", "meta": {"tenant": None}, "feedback_report": None,
    }  # fmt: skip
