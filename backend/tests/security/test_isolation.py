"""One tenant with another's ids: the answer is that of an id of nothing, and nothing is touched.

The walk goes over every operation of the OpenAPI document that takes an id in its path, its query
or its body. It runs twice: as the product is, and with the session's tenant filter switched off, so
that row-level security alone has to hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.database.models import Base, new_id
from app.database.session import ALL_TENANTS, _filter_by_tenant, transaction
from app.main import app
from tests.fixtures.world import Running
from tests.people import forgive
from tests.security.calls import PLATFORM, QUERIES, Caller, call
from tests.security.estate import KINDS, Estate
from tests.security.operations import DOCUMENT, OPERATIONS, Operation, Request
from tests.security.verdicts import OTHERWISE

ID = "{id}"
"""Stands in an answer for the id that was asked for."""


@dataclass(frozen=True)
class Probe:
    """One way to name one object in one operation."""

    operation: Operation
    place: str
    parameter: str
    kind: str

    def __str__(self) -> str:
        return f"{self.operation.name} with {self.kind} as {self.parameter}"

    def request(self, caller: Caller, id_: str) -> Request:
        """The operation's own request, with this id where the probe puts it."""
        own = call(
            self.operation,
            caller,
            ids=lambda kind: id_ if kind == self.kind else caller.own(kind),
            kind_of=lambda name: self.kind if name == self.parameter else KINDS[name][0],
        )
        if self.place == "query":
            return replace(own, params={self.parameter: id_})
        if self.place == "body":
            named = set(self.operation.ids_in_body())
            rest = {name: value for name, value in (own.body or {}).items() if name not in named}
            return replace(own, body=rest | {self.parameter: self._in_body(id_)})
        return own

    def _in_body(self, id_: str) -> Any:
        return [id_] if self.parameter.endswith("_ids") else id_


def probes() -> Iterator[Probe]:
    for operation in OPERATIONS:
        places = {
            "path": operation.ids_in("path"),
            "query": operation.ids_in("query"),
            "body": operation.ids_in_body(),
        }
        for place, parameters in places.items():
            for parameter in parameters:
                if parameter not in PLATFORM:
                    for kind in KINDS[parameter]:
                        yield Probe(operation, place, parameter, kind)


NOT_FOR = [
    probe
    for probe in probes()
    # Somebody invited is not changed, but invited again.
    if (probe.operation.name, probe.kind) == ("PATCH /auth/users/{user_id}", "invitation")
]
"""Where one's own is not found either."""


@pytest.fixture
def two(world: Running, make_tenant: Callable[..., Any]) -> tuple[Estate, Estate]:
    with transaction(tenant=ALL_TENANTS) as db:
        a, b = (make_tenant(db, plan="enterprise") for _ in range(2))
        return Estate(str(a.id)), Estate(str(b.id))


@pytest.fixture
def without_filter() -> Iterator[None]:
    """The session adds no WHERE any more, in this process, which is the API's as well."""
    event.remove(Session, "do_orm_execute", _filter_by_tenant)
    assert not event.contains(Session, "do_orm_execute", _filter_by_tenant)
    yield
    event.listen(Session, "do_orm_execute", _filter_by_tenant)


def test_every_id_is_of_a_known_kind() -> None:
    unknown = {
        f"{operation.name}: {name}"
        for operation in OPERATIONS
        for name in (
            *operation.ids_in("path"),
            *operation.ids_in("query"),
            *operation.ids_in_body(),
        )
        if name not in KINDS and name not in PLATFORM
    }
    assert unknown == set(), "say in KINDS what these are ids of, and make one in an Estate"


def test_anothers_ids_are_nobodys(two: tuple[Estate, Estate], world: Running) -> None:
    walk(two, world)


def test_without_the_filter_row_level_security_holds_alone(
    two: tuple[Estate, Estate], world: Running, without_filter: None
) -> None:
    walk(two, world)


def walk(two: tuple[Estate, Estate], world: Running) -> None:
    a, b = two
    theirs = b.everything()
    before = checksums(b)
    empty = {table for table, (rows, _) in before.items() if rows == 0}
    assert empty <= {"outbox", "jobs", "trial_claims"}, "a table without a row proves nothing"
    wrong: list[str] = []
    with httpx.Client(base_url=world.api_url, timeout=30) as client:
        for probe in probes():
            forgive()
            wrong += [f"{probe}: {fault}" for fault in faults(client, probe, a, theirs)]
    assert wrong == []
    assert checksums(b) == before, "something of the other tenant's was changed"


def faults(client: httpx.Client, probe: Probe, a: Estate, theirs: dict[str, str]) -> Iterator[str]:
    def ask(id_: str | None = None) -> tuple[int, str]:
        # Each by somebody new, so that no answer depends on the one before.
        caller = Caller(a, a.person("owner"))
        id_ = caller.own(probe.kind) if id_ is None else id_
        answer = client.request(**probe.request(caller, id_).arguments(a.bearer(caller.person)))
        return answer.status_code, shape(answer, id_)

    foreign, absent, own = ask(theirs[probe.kind]), ask(nothings(probe.kind)), ask()
    wanted = 404
    if probe.operation.role == "operator":
        wanted = 403
    elif probe.operation.role == "node":
        wanted = 401
    elif probe.place == "query":
        wanted = 200
    if foreign[0] != wanted:
        yield f"{foreign[0]} instead of {wanted}: {foreign[1]}"
    if foreign != absent:
        yield f"{foreign} tells it from {absent}"
    if any(id_ in foreign[1] for id_ in theirs.values()):
        yield f"{foreign[1]} holds what is the other's"
    elsewhere = OTHERWISE.get(probe.operation.name, ())
    answered = 200 <= own[0] < 300 or own[0] in elsewhere
    if probe not in NOT_FOR and probe.operation.is_tenants and not answered:
        yield f"one's own is answered {own}"


def shape(answer: httpx.Response, id_: str) -> str:
    """The answer without what differs from call to call."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return answer.text.replace(id_, ID)
    body = answer.json()
    body.pop("request_id", None)
    return json.dumps(body, sort_keys=True).replace(id_, ID)


def nothings(kind: str) -> str:
    return f"pi_{new_id().hex[:24]}" if kind == "intent" else str(new_id())


def checksums(estate: Estate) -> dict[str, tuple[int, str]]:
    """How many rows of a tenant there are, and a sum over them, by table."""
    sums = {}
    with transaction(tenant=ALL_TENANTS) as db:
        for table in Base.metadata.sorted_tables:
            column = "id" if table.name == "tenants" else "tenant_id"
            if column not in table.c:
                continue
            rows, total = db.execute(
                text(
                    f"SELECT count(*), md5(coalesce(string_agg(t::text, ',' ORDER BY t.id), ''))"
                    f" FROM {table.name} t WHERE t.{column} = :tenant"
                ),
                {"tenant": estate.tenant_id},
            ).one()
            sums[table.name] = (rows, total)
    return sums


# What is not asked for by id --------------------------------------------------------------------


def test_no_list_and_no_report_holds_anything_of_anothers(
    two: tuple[Estate, Estate], world: Running
) -> None:
    a, b = two
    a.everything()
    theirs = set(b.everything().values()) | {str(b.tenant_id)}
    headers = a.bearer(a.person("owner"))
    read = 0
    with httpx.Client(base_url=world.api_url, timeout=30, headers=headers) as client:
        for operation in OPERATIONS:
            if operation.method == "GET" and operation.is_tenants and "{" not in operation.path:
                answer = client.get(operation.path, params=QUERIES.get(operation.name))
                expected = {200, *OTHERWISE.get(operation.name, ())}
                assert answer.status_code in expected, (operation.name, answer.text)
                assert not [id_ for id_ in theirs if id_ in answer.text], operation.name
                read += 1
    assert read > 15


def test_a_cursor_of_anothers_list_opens_nothing(
    two: tuple[Estate, Estate], world: Running
) -> None:
    a, b = two
    for estate in two:
        for _ in range(2):
            estate.make("domain")
    with httpx.Client(base_url=f"{world.api_url}/api/v1", timeout=30) as client:
        theirs = client.get("/domains", params={"limit": 1}, headers=b.bearer(b.person("owner")))
        cursor = theirs.json()["meta"]["next_cursor"]
        mine = client.get(
            "/domains", params={"cursor": cursor}, headers=a.bearer(a.person("owner"))
        ).json()["data"]
    with transaction(tenant=b.tenant_id) as db:
        assert not [domain for domain in mine if db.scalar(
            text("SELECT 1 FROM domains WHERE id = :id"), {"id": UUID(domain["id"])}
        )]  # fmt: skip


def test_anothers_idempotency_key_is_nobodys(two: tuple[Estate, Estate], world: Running) -> None:
    headers = {"Idempotency-Key": "the-same"}
    answers = []
    with httpx.Client(base_url=f"{world.api_url}/api/v1", timeout=30) as client:
        for estate in two:
            answers.append(
                client.post(
                    "/infrastructure/suppressions",
                    json={"targets": ["no@example.com"]},
                    headers=headers | estate.bearer(estate.person("owner")),
                )
            )
    assert [answer.status_code for answer in answers] == [201, 201]
    assert "Idempotency-Replayed" not in answers[1].headers


def test_no_route_outside_the_document_takes_an_id(world: Running) -> None:
    """The walks go by the document, so whatever it does not show may name nothing."""
    shown = set(DOCUMENT["paths"])
    hidden = {
        served.path
        for route in app.routes
        for served in getattr(route, "effective_route_contexts", lambda route=route: [route])()
        if hasattr(served, "path") and served.path not in shown
    }
    assert "/verify-email" in hidden, "there are some"
    assert not [path for path in hidden if "{" in path]
