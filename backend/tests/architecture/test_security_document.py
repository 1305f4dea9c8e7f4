"""docs/security.md names tests that exist, and standards by ids that can."""

from __future__ import annotations

import ast
import re
from pathlib import Path

BACKEND = Path(__file__).parents[2]
DOCUMENT = (BACKEND / "docs/security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in DOCUMENT.partition("## Requirements")[2].partition("## Threat")[0].splitlines()
    if line.startswith("|") and "`tests/" in line
]


def names_in(file: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse((BACKEND / file).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", DOCUMENT)
    assert len(named) > 100
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (BACKEND / file).exists() or test not in names_in(file)
    ]
    assert missing == []


def test_every_line_names_a_standard_and_a_proof() -> None:
    assert len(ROWS) > 35
    for requirement, standard, risk, proofs in ROWS:
        assert re.fullmatch(r"(\d{1,2}\.\d{1,2}\.\d{1,2} ?)+", standard), requirement
        assert re.fullmatch(r"(API([1-9]|10) ?)+", risk), requirement
        assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+` ?)+", proofs), requirement


def test_every_risk_that_applies_is_met() -> None:
    """API7, forged requests by the server, has nothing to hold on to: no tenant names a URL."""
    met = {risk for row in ROWS for risk in row[2].split()}
    assert met == {f"API{number}" for number in range(1, 11)} - {"API7"}


def test_every_file_it_leads_to_exists() -> None:
    for path in re.findall(r"`((?:docs|app|nginx)/[\w./-]+)`", DOCUMENT):
        assert (BACKEND / path).exists(), path


def test_the_figures_are_those_in_force() -> None:
    from app.rules.throttles import DAY, HOUR, LIMITS

    table = DOCUMENT.partition("| door |")[2].partition("##")[0]
    words = {300: "in 5 min", HOUR: "an hour", DAY: "a day"}
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            continue
        doors, by, limits = (cell.strip() for cell in line.strip("|").split("|"))
        subjects = {
            "account": ("account",),
            "tenant": ("account",),
            "address": ("address",),
            "account and address": ("account", "address"),
        }[by]
        for door in re.findall(r"`(\w+)`", doors):
            real = [
                f"{limit.number} {words[limit.seconds]}"
                for limit in LIMITS[door]
                if limit.by == subjects
            ]
            assert limits == ", ".join(real), door
