"""The half of I12 that is a property of the code: whatever changes something leaves a deed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app import main

APP = Path(__file__).parents[2] / "app"

LEAVE_NOTHING = {
    "POST /api/v1/auth/refresh": "the same session goes on; a token used twice is written down",
    "POST /api/v1/auth/resend-verification": "the same mail again, by somebody who proved nothing",
    "POST /api/v1/domains/search": "asks the registrar and changes nothing",
    "POST /webhooks/stripe": "stores what Stripe says; the job that believes it writes it down",
}


def silent(document: dict[str, Any]) -> set[str]:
    """Operations that may change something and name no audit event."""
    return {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method not in {"get", "head", "options"}
        and operation.get("x-audit-event", "none") == "none"
    }


def named(document: dict[str, Any]) -> set[str]:
    return {
        operation["x-audit-event"]
        for item in document["paths"].values()
        for operation in item.values()
        if operation.get("x-audit-event", "none") != "none"
    }


def literals(folder: Path) -> set[str]:
    """Every text in the code below `folder`."""
    return {
        node.value
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_operation_that_changes_something_names_its_event() -> None:
    assert silent(main.app.openapi()) == set(LEAVE_NOTHING)


def test_every_named_event_is_written_by_a_service() -> None:
    events = named(main.app.openapi())
    assert len(events) > 30
    assert events <= literals(APP / "services")


def test_the_check_finds_what_is_planted_for_it() -> None:
    planted = FastAPI()

    @planted.delete("/things/{id_}")
    def delete_thing(id_: int) -> None: ...

    @planted.post("/things", openapi_extra={"x-audit-event": "never_written"})
    def make_thing() -> None: ...

    assert silent(planted.openapi()) == {"DELETE /things/{id_}"}
    assert named(planted.openapi()) - literals(APP / "services") == {"never_written"}


def test_routes_leave_the_writing_to_services() -> None:
    """So that a job or a command which does the same leaves the same deed."""
    writers = [
        file.name
        for file in (APP / "api").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in {"write", "write_many", "write_difference"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "audit"
    ]
    assert writers == []
