"""No regular expression of ours takes long over what an attacker sends."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest

BACKEND = Path(__file__).parents[2]
SIZE = 40_000
NOTICEABLE = 0.02
"""Seconds of CPU; below them nobody gains anything by an attack, and growth cannot be measured."""

GROWTH = 8
"""At four times the length a linear pattern takes four times as long, a quadratic one sixteen."""

_FUNCTIONS = {
    "compile",
    "search",
    "match",
    "fullmatch",
    "sub",
    "subn",
    "split",
    "findall",
    "finditer",
}


Found = tuple[str, str, int, str]
"""Where, pattern, flags, and how it is asked: `fullmatch`, or `search` for all the others."""


def patterns() -> list[Found]:
    """Every pattern written in the product, also in schemas."""
    found: dict[tuple[str, int, str], str] = {}
    for path in sorted((BACKEND / "app").rglob("*.py")):
        tree = ast.parse(path.read_text())
        asked = _asked(tree)
        for text, flags, line in _written(tree):
            for how in asked.get(line, {"search"}):
                found.setdefault((text, flags, how), f"{path.relative_to(BACKEND)}:{line}")
    return [(where, text, flags, how) for (text, flags, how), where in found.items()]


def _asked(tree: ast.AST) -> dict[int, set[str]]:
    """By the line of a pattern: how it is asked. One that is not asked here is left out."""
    asked: dict[int, set[str]] = {}
    names: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _of_re(node.value):
            names |= {name.id: node.value.lineno for name in node.targets if _is_name(name)}
        if _of_re(node) and node.func.attr == "fullmatch":
            asked.setdefault(node.lineno, set()).add("fullmatch")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_name(node.value) and node.value.id in names:
            how = "fullmatch" if node.attr == "fullmatch" else "search"
            asked.setdefault(names[node.value.id], set()).add(how)
    return asked


def _is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def _of_re(node: ast.AST) -> Any:
    """A call like `re.compile(...)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _is_name(node.func.value)
        and node.func.value.id == "re"
        and node.func.attr in _FUNCTIONS
    )


def _written(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        texts: list[ast.expr] = [call.args[0]] if _of_re(call) else []
        texts += [word.value for word in call.keywords if word.arg in {"pattern", "regex"}]
        for node in texts:
            text = _constant(node)
            assert text is not None, f"line {call.lineno}: a pattern that cannot be read"
            attributes = [part for part in ast.walk(call) if isinstance(part, ast.Attribute)]
            yield text, sum(map(_flag, attributes)), call.lineno


def _flag(node: ast.Attribute) -> int:
    flag = getattr(re, node.attr, None)
    return int(flag) if isinstance(flag, re.RegexFlag) else 0


def _constant(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = _constant(node.left), _constant(node.right)
        return None if None in parts else "".join(part or "" for part in parts)
    if isinstance(node, ast.JoinedStr):
        parts = [value.value if isinstance(value, ast.Constant) else "a" for value in node.values]
        return "".join(map(str, parts))
    return None


def hostile(pattern: str) -> Iterator[str]:
    """Repetitions of what the pattern is made of, with an end that spoils the match."""
    literals = re.sub(r"\\.|\(\?[^)]*\)|[\[\](){}|^$*+?]", " ", pattern).split()
    alphabet = sorted({char for word in literals for char in word} | set("a0A.-_ @\n\\\"'"))[:24]
    pieces = {*alphabet, *literals, *(a + b for a in alphabet for b in alphabet[:8])}
    pieces |= {"".join(literals), "a.", "a-", "0.", "a@", "a:", "../", "\r\n", "é", "\ud800"}
    for piece in sorted(pieces - {""}):
        body = (piece * (SIZE // len(piece) + 1))[: SIZE - 1]
        yield body + "\x00"
        yield "!" + body


ALL = patterns()


def test_the_patterns_were_found() -> None:
    assert len(ALL) > 20


@pytest.mark.parametrize("found", ALL, ids=[f"{found[0]}-{found[3]}" for found in ALL])
def test_a_pattern_is_quick(found: Found) -> None:
    where, pattern, flags, how = found
    ask = getattr(re.compile(pattern, flags), how)
    for text in hostile(pattern):
        if _timed(ask, text) < NOTICEABLE:
            continue
        # The same ends, a quarter of the middle; the best of three, as machines are noisy.
        quarter = text[: SIZE // 8] + text[-SIZE // 8 :]
        short, full = (min(_timed(ask, t) for _ in range(3)) for t in (quarter, text))
        assert full < GROWTH * short, (
            f"{short:.3f} s, and {full:.3f} s at four times the length, over {text[:30]!r}:"
            f" {where} {pattern}"
        )


def _timed(ask: Callable[[str], Any], text: str) -> float:
    began = time.thread_time()
    ask(text)
    return time.thread_time() - began
