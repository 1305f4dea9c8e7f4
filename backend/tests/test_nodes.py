"""Nodes as operators' objects: added, drained, resumed and removed while everything runs."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import httpx
import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from app.database.models import new_id
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import directory_repair
from app.services.directory_repair import Repairs
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running, eventually

PATH = "/admin/mta-nodes"


def reconcile(*, thorough: bool = True) -> Repairs:
    with transaction(tenant=ALL_TENANTS) as db:
        return directory_repair.reconcile(db, ports.current().mail, thorough=thorough)


@pytest.fixture
def second(world: Running) -> Iterator[dict[str, Any]]:
    """One more machine, which nobody told the control plane about."""
    made = httpx.post(f"{world.sandbox_url}/control/kumomta/nodes", timeout=30).json()
    yield {**made, "url": f"{world.sandbox_url}{made['admin']}"}
    httpx.post(f"{world.sandbox_url}/control/kumomta/nodes/{made['number']}/stop", timeout=30)


@pytest.fixture
def nodes(operator: httpx.Client) -> Callable[[], dict[str, Any]]:
    def look() -> dict[str, Any]:
        return {node["url"]: node for node in operator.get(PATH).json()["data"]}

    return look


def test_the_first_list_is_that_of_the_settings(nodes: Callable[[], Any], world: Running) -> None:
    (node,) = nodes().values()
    assert node["url"] == f"{world.sandbox_url}/kumomta"
    assert (node["mode"], node["reachable"], node["queued"]) == ("active", True, 0)
    assert node["node_id"] is None
    assert nodes()[node["url"]]["id"] == node["id"]
    reconcile()
    assert nodes()[node["url"]]["node_id"]


def test_a_node_that_is_added_gets_every_order(
    paying: Customer,
    operator: httpx.Client,
    second: dict[str, Any],
    nodes: Callable[[], Any],
    drain: Callable[..., list[str]],
) -> None:
    operator.post(f"/admin/tenants/{paying.tenant_id}/suspend", json={"reason": "blacklisted"})
    drain()
    answer = operator.post(PATH, json={"url": second["url"] + "/"})
    assert answer.status_code == 201
    assert answer.json()["data"]["suspensions"] == 0
    assert "monitoring.reconcile_mail_plane" in drain()
    assert {node["suspensions"] for node in nodes().values()} == {1}
    operator.post(f"/admin/tenants/{paying.tenant_id}/reinstate")
    drain()
    told = nodes()
    assert {node["suspensions"] for node in told.values()} == {0}
    assert {node["orders"][0]["order"] for node in told.values()} == {f"revive {paying.tenant_id}"}
    (act,) = operator.get("/admin/audit?action=node_added").json()["data"]
    assert act["changes"] == {"url": [None, second["url"]]}
    # The same machine once more, by the same name and by another.
    assert operator.post(PATH, json={"url": second["url"]}).status_code == 409
    other = second["url"].replace("127.0.0.1", "localhost")
    assert operator.post(PATH, json={"url": other}).status_code == 409


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("ftp://10.0.0.5", 400),
        ("http://user:word@10.0.0.5", 400),
        ("http://10.0.0.5/?a=b", 400),
        ("http://127.0.0.1:9", 503),
        ("http://10.0.0.5:99999", 400),
    ],
)
def test_what_is_no_node_is_not_added(
    operator: httpx.Client, nodes: Callable[[], Any], url: str, status: int
) -> None:
    assert operator.post(PATH, json={"url": url}).status_code == status
    assert url not in nodes()


def test_a_draining_node_takes_nobody_in_and_sends_what_it_has(
    customer: Customer,
    operator: httpx.Client,
    second: dict[str, Any],
    nodes: Callable[[], Any],
    world: Running,
    redis: Redis,
) -> None:
    customer.sign_up().add_card()
    (row, *_) = customer.provision(customer.buy_domain()["id"], 5)
    assert operator.post(PATH, json={"url": second["url"]}).is_success
    reconcile()
    ids = {url: node["id"] for url, node in nodes().items()}
    first = f"{world.sandbox_url}/kumomta"
    session = customer.login(row)
    assert operator.post(f"{PATH}/{ids[first]}/drain").json()["data"]["mode"] == "draining"
    assert operator.post(f"{PATH}/{ids[first]}/drain").is_success
    eventually(lambda: _refused(customer, row))
    code, text = session.mail(row["email"])
    assert (code, text[:5]) == (421, b"4.3.2")
    # The other host takes the customer in.
    customer.login(row, second["submission"]).quit()
    # Nobody is left without a host, and a node that drains still gets orders.
    assert operator.post(f"{PATH}/{ids[second['url']]}/drain").status_code == 409
    operator.post(f"/admin/tenants/{customer.tenant_id}/suspend", json={"reason": "blacklisted"})
    customer.drain()
    assert {node["suspensions"] for node in nodes().values()} == {1}
    operator.post(f"/admin/tenants/{customer.tenant_id}/reinstate")
    customer.drain()
    # A wiped Redis forgets who drains, and the comparison says it again before mail flows.
    redis.flushdb()
    assert reconcile().draining == 1
    eventually(lambda: _refused(customer, row))
    assert operator.post(f"{PATH}/{ids[first]}/resume").json()["data"]["draining_since"] is None
    eventually(lambda: not _refused(customer, row))


def _refused(customer: Customer, row: dict[str, str]) -> bool:
    try:
        with customer.login(row):
            return False
    except smtplib.SMTPServerDisconnected:
        return True
    except smtplib.SMTPResponseException as error:
        return error.smtp_code == 421


def test_a_node_goes_only_when_it_is_drained_and_empty_or_lost(
    operator: httpx.Client, second: dict[str, Any], nodes: Callable[[], Any], world: Running
) -> None:
    operator.post(PATH, json={"url": second["url"]})
    reconcile()
    ids = {url: node["id"] for url, node in nodes().items()}
    path = f"{PATH}/{ids[second['url']]}"
    assert operator.delete(path).status_code == 409
    operator.post(f"{path}/drain")
    assert operator.delete(f"{PATH}/{ids[f'{world.sandbox_url}/kumomta']}").status_code == 409
    assert operator.delete(path).json()["data"]["url"] == second["url"]
    assert list(nodes()) == [f"{world.sandbox_url}/kumomta"]
    assert reconcile().unreachable == 0

    operator.post(PATH, json={"url": second["url"]})
    path = f"{PATH}/{nodes()[second['url']]['id']}"
    httpx.post(f"{world.sandbox_url}/control/kumomta/nodes/{second['number']}/stop", timeout=30)
    assert nodes()[second["url"]]["reachable"] is False
    assert reconcile().unreachable == 1
    operator.post(f"{path}/drain")
    assert operator.delete(path).status_code == 409
    assert operator.delete(f"{path}?lost=true").is_success
    assert reconcile().unreachable == 0
    acts = operator.get("/admin/audit").json()["data"]
    assert {act["action"] for act in acts} >= {"node_added", "node_drained", "node_removed"}
    assert operator.post(f"{PATH}/{new_id()}/drain").status_code == 404


def test_from_a_shell(second: dict[str, Any], world: Running, clean: None) -> None:
    from app.ops_nodes import nodes_app

    def invoke(*words: str) -> Result:
        # A command says for the rest of its process that an operator acts; ours goes on.
        return copy_context().run(CliRunner().invoke, nodes_app, words)

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        result = invoke(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout.splitlines()[-1]) if code == 0 else {}

    assert run("add", second["url"])["mode"] == "active"
    assert run("drain", second["url"])["mode"] == "draining"
    told = {node["url"]: node for node in run("list")["nodes"]}
    assert told[second["url"]]["queued"] == 0
    assert told[f"{world.sandbox_url}/kumomta"]["unacknowledged"] == []
    assert run("resume", second["url"])["mode"] == "active"
    run("remove", second["url"], code=1)
    run("drain", second["url"])
    assert run("remove", second["url"]) == {"removed": second["url"]}
    run("drain", "http://10.9.9.9:8000", code=1)
    assert "active, online since" in invoke("list").output
