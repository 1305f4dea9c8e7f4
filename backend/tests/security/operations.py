"""Every operation of the OpenAPI document: who may call it, what ids it takes, how it is called.

A walk takes its requests from here: the document's own examples, with live values where an example
cannot hold one. An operation that takes an id of an unknown kind, or a body without an example,
fails the walk, so that a new route cannot be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.main import app

DOCUMENT: dict[str, Any] = json.loads(json.dumps(app.openapi()))

ElsewhereIds = frozenset({"operator_id", "job_id", "mta_node_id"})
"""Ids of the platform's own objects, for operators only."""


@dataclass(frozen=True)
class Request:
    """One call, to be sent by an httpx client whose base is the server's root."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def arguments(self, headers: dict[str, str]) -> dict[str, Any]:
        """Of `httpx.Client.request`."""
        given: dict[str, Any] = {"headers": self.headers | headers, "params": self.params}
        if self.body is not None:
            given["json"] = self.body
        return {"method": self.method, "url": self.path, **given}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    described: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path.removeprefix('/api/v1')}"

    @property
    def id(self) -> str:
        return str(self.described["operationId"])

    @property
    def role(self) -> str:
        """The weakest role, or anonymous, operator, node, stripe."""
        return str(self.described["x-role"])

    @property
    def permission(self) -> str:
        return str(self.described["x-scope"])

    @property
    def for_people(self) -> bool:
        return bool(self.described.get("x-person-only", False))

    @property
    def is_tenants(self) -> bool:
        """Whether tenants' people and programs are who it is for."""
        return self.role in {"read_only", "member", "admin", "owner"}

    @property
    def success(self) -> int:
        return min(int(code) for code in self.described["responses"] if code.startswith("2"))

    def ids_in(self, place: str) -> list[str]:
        """Names of parameters in `path` or `query` that are ids."""
        return [
            parameter["name"]
            for parameter in self.described.get("parameters", [])
            if parameter["in"] == place and _is_id(parameter["name"], parameter["schema"])
        ]

    def ids_in_body(self) -> list[str]:
        properties = self.body_schema().get("properties", {})
        return [name for name, schema in properties.items() if _is_id(name, schema)]

    def body_schema(self) -> dict[str, Any]:
        """The schema of the JSON body; empty for an operation without one."""
        content = self.described.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        for choice in schema.get("anyOf", [schema]):
            if "$ref" in choice:
                return resolved(choice)
        return dict(schema)

    def example(self) -> dict[str, Any] | None:
        """The document's own example of a body; None for an operation without a body."""
        if "requestBody" not in self.described:
            return None
        examples = self.body_schema().get("examples")
        assert examples, f"{self.name} has a body and no example of it."
        return dict(examples[0])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a `$ref` stands for."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _is_id(name: str, schema: dict[str, Any]) -> bool:
    """Also something that has an id within it."""
    named = name.endswith(("_id", "_ids")) or name == "id"
    return named or _holds_uuid(schema, frozenset())


def _holds_uuid(schema: Any, seen: frozenset[str]) -> bool:
    if isinstance(schema, list):
        return any(_holds_uuid(item, seen) for item in schema)
    if not isinstance(schema, dict):
        return False
    reference = schema.get("$ref")
    if reference is not None and reference not in seen:
        return _holds_uuid(resolved(schema), seen | {reference})
    return schema.get("format") == "uuid" or any(
        _holds_uuid(value, seen) for value in schema.values()
    )


def _all() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            yield Operation(method.upper(), path, described)


OPERATIONS = sorted(_all(), key=lambda operation: (operation.path, operation.method))
BY_NAME = {operation.name: operation for operation in OPERATIONS}
