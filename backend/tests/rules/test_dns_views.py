"""Several resolvers' answers about one record: all must see it, half may call it wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules import dns_views
from app.rules.dns_records import Record

RECORD = Record("TXT", "_dmarc.acme-mail.com", "v=DMARC1; p=none", purpose="dmarc")
QUESTION = (RECORD.type, RECORD.name)
RIGHT, OTHER = [RECORD.content], ["v=DMARC1; p=reject"]

Answers = list[list[str] | None]


def views(answers: Answers) -> dict[str, dict[tuple[str, str], list[str]]]:
    """One resolver for each answer; None is silence."""
    return {
        f"192.0.2.{number}": {} if answer is None else {QUESTION: answer}
        for number, answer in enumerate(answers, 1)
    }


@pytest.mark.parametrize(
    ("answers", "state", "agreeing", "asked", "differs"),
    [
        ([RIGHT], "ok", 1, 1, False),
        ([RIGHT, RIGHT, RIGHT], "ok", 3, 3, False),
        # One is lame: the others decide.
        ([RIGHT, None, RIGHT], "ok", 2, 2, False),
        # One still remembers that there was nothing: not ready to be used, and no drift either.
        ([RIGHT, [], RIGHT], "missing", 2, 3, False),
        ([OTHER, RIGHT, RIGHT], "different", 2, 3, False),
        ([RIGHT, OTHER], "different", 1, 2, True),
        ([OTHER, OTHER, RIGHT], "different", 1, 3, True),
        ([[], []], "missing", 0, 2, True),
        ([None, None], "missing", 0, 0, True),
    ],
)
def test_together(answers: Answers, state: str, agreeing: int, asked: int, differs: bool) -> None:
    (verdict,) = dns_views.compare([RECORD], views(answers))
    assert (verdict.state, verdict.agreeing, verdict.asked) == (state, agreeing, asked)
    assert dns_views.differs(verdict) == differs
    assert (verdict.fix is None) == (state == "ok")


def test_who_sees_it_otherwise_is_named() -> None:
    (verdict,) = dns_views.compare([RECORD], views([RIGHT, OTHER, RIGHT]))
    assert verdict.difference == (
        "p is reject, it should be none (1 of 3 resolvers see it so: 192.0.2.2)"
    )
    (same,) = dns_views.compare([RECORD], views([OTHER, OTHER]))
    assert same.difference == "p is reject, it should be none"


@given(st.lists(st.sampled_from([RIGHT, OTHER, [], None]), min_size=1, max_size=5))
def test_the_order_of_resolvers_decides_nothing(answers: Answers) -> None:
    (one,) = dns_views.compare([RECORD], views(answers))
    (two,) = dns_views.compare([RECORD], views(answers[::-1]))
    assert (one.ok, one.agreeing, one.asked) == (two.ok, two.agreeing, two.asked)
    assert one.ok == (one.asked > 0 and one.agreeing == one.asked)
    assert one.ok <= (not dns_views.differs(one))
