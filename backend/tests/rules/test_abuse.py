"""What counts as a complaint, and when a sender is warned or stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.database.models import SuspensionReason
from app.rules import abuse
from app.rules.abuse import Doubt, Rule, Signals

GOOD: dict[str, Any] = {
    "recipient": "bob@gmail.test",
    "feedback_type": "abuse",
    "reporter": "gmail.test",
    "own_domains": ["acme.test"],
}


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({}, None),
        ({"feedback_type": "Fraud"}, None),
        ({"recipient": None}, Doubt.NO_SUCH_MESSAGE),
        ({"reporter": None}, Doubt.REPORTER),
        ({"feedback_type": "not-spam"}, Doubt.TYPE),
        ({"feedback_type": ""}, Doubt.TYPE),
        ({"recipient": "bob@acme.test"}, Doubt.OWN_DOMAIN),
        ({"recipient": "bob@eu.ACME.test"}, Doubt.OWN_DOMAIN),
        ({"recipient": "bob@notacme.test"}, None),
    ],
)
def test_doubts(change: dict[str, Any], doubt: Doubt | None) -> None:
    assert abuse.doubt(**{**GOOD, **change}) == doubt


@pytest.mark.parametrize(
    ("proven", "found"),
    [
        (["yahoo.com"], "yahoo.com"),
        (["evil.test", "arf.mail.yahoo.com"], "arf.mail.yahoo.com"),
        (["notyahoo.com", "yahoo.com.evil.test"], None),
        ([], None),
    ],
)
def test_reporters(proven: list[str], found: str | None) -> None:
    assert abuse.reporter(proven, ["Yahoo.com"]) == found
    assert abuse.reporter(proven, []) is None


@pytest.mark.parametrize(
    ("signals", "finding"),
    [
        (Signals(), None),
        (Signals(complainers_long=9), None),
        (Signals(complainers_long=10), (True, Rule.COMPLAINTS)),
        (Signals(sent=99, bounced=99), None),
        (Signals(sent=100, bounced=3), None),
        (Signals(sent=100, bounced=4), (False, Rule.BOUNCE_RATE)),
        (Signals(sent=100, bounced=8), (True, Rule.BOUNCE_RATE)),
        (Signals(sent=1_000, complainers=2), (False, Rule.COMPLAINT_RATE)),
        (Signals(sent=1_000, complainers=3), (True, Rule.COMPLAINT_RATE)),
        (Signals(sent=1_001, complainers=3), (False, Rule.COMPLAINT_RATE)),
        (Signals(sent=1_250, complainers=1), (False, Rule.COMPLAINT_RATE)),
        (Signals(sent=1_251, complainers=1), None),
        # One person cannot stop a small sender.
        (Signals(sent=100, complainers=2), (False, Rule.COMPLAINT_RATE)),
        (Signals(sent=99, complainers=9), None),
    ],
)
def test_thresholds(signals: Signals, finding: tuple[bool, Rule] | None) -> None:
    found = abuse.judge(signals)
    assert (found and (found.stop, found.rule)) == finding
    if found is not None:
        assert SuspensionReason(found.reason)
        assert found.note
        # As it comes back from the database, a decision's evidence leads to the same decision.
        evidence = json.loads(json.dumps(found.evidence()))
        assert abuse.judge(Signals.of_evidence(evidence)) == found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Signals,
        sent=st.integers(0, 5_000),
        bounced=st.integers(0, 500),
        complainers=st.integers(0, 20),
        complainers_long=st.integers(0, 20),
    ),
    st.sampled_from(["bounced", "complainers", "complainers_long"]),
)
def test_worse_figures_are_never_judged_milder(signals: Signals, name: str) -> None:
    def gravity(s: Signals) -> int:
        found = abuse.judge(s)
        return 0 if found is None else 1 + found.stop

    worse = replace(signals, **{name: getattr(signals, name) + 1})
    assert gravity(worse) >= gravity(signals)


@pytest.mark.parametrize(
    ("kind", "counter", "hard"),
    [
        ("Bounce", "unknown_users", True),
        ("OOB", "hard_bounced", True),
        ("Bounce", "soft_bounced", False),
        ("Bounce", "blocked", False),
        ("Expiration", "hard_bounced", False),
        ("AdminBounce", None, False),
        ("TransientFailure", None, False),
    ],
)
def test_hard_bounces(kind: str, counter: str | None, hard: bool) -> None:
    assert abuse.is_hard_bounce(kind, counter) is hard


@pytest.mark.parametrize(
    ("accepted", "unknown", "stop"),
    [
        (4, 4, None),
        (5, 5, False),
        (50, 5, False),
        (51, 5, None),
        (10, 10, True),
        (50, 10, True),
        (51, 10, False),
        (0, 10, True),
    ],
)
def test_storms(accepted: int, unknown: int, stop: bool | None) -> None:
    found = abuse.storm(accepted, unknown)
    assert (None if found is None else found.stop) is stop
