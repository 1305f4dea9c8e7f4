"""Appeals: what a stopped tenant sees and says, and how a person of the platform answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from redis import Redis
from sqlalchemy import select

from app.database.models import (
    AuditLog,
    DecisionAction,
    Inbox,
    InboxStatus,
    OperatorAct,
    SuspensionReason,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import kill_switch
from app.services.inbox_service import InboxService
from tests.fixtures.customer import Customer
from tests.fixtures.money import letters
from tests.fixtures.operators import OperatorClient
from tests.fixtures.world import Running, eventually

EVIDENCE = {"rule": "complaints", "complainers_long": 12}


@pytest.fixture
def alerted() -> Iterator[str]:
    """The address that operators are written to."""
    before, address = ports.current(), "operators@corp.test"
    ports.install(replace(before, platform=replace(before.platform, alert_email=address)))
    yield address
    ports.install(before)


def stop(tenant_id: str, reason: str = "spam_complaint") -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(tenant_id))
        kill_switch.turn_on(tenant, reason, db, note="Twelve reports.", evidence=EVIDENCE)


def stopped(tenant_id: str) -> bool:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Tenant, UUID(tenant_id)).is_suspended


def appeal(owner: Customer, message: str = "They agreed.") -> httpx.Response:
    """Against the latest decision."""
    (latest, *_) = owner.get("/decisions")
    return owner.try_post(f"/decisions/{latest['id']}/appeal", message=message)


def test_a_stopped_tenant_appeals_and_is_let_in_again(
    paying: Customer, operator: OperatorClient, redis: Redis, world: Running, alerted: str
) -> None:
    stop(paying.tenant_id)
    paying.drain()
    assert f"t:{paying.tenant_id}" in redis.smembers("ig:killed")
    (seen,) = paying.get("/decisions")
    assert (seen["action"], seen["reason"], seen["note"]) == (
        "suspend", "spam_complaint", "Twelve reports.",
    )  # fmt: skip
    assert (seen["evidence"], seen["by_rule"], seen["appeal"]) == (EVIDENCE, True, None)
    filed = appeal(paying)
    assert filed.status_code == 201, filed.text
    assert appeal(paying).status_code == 409
    assert paying.get("/decisions")[0]["appeal"]["state"] == "open"
    paying.drain()
    (mail,) = eventually(
        lambda: httpx.get(
            f"{world.sandbox_url}/mail/messages",
            params={"to": alerted, "subject": "appeal filed"},
            timeout=20,
        ).json()["messages"],
        within=30,
        why="operators are called",
    )
    assert mail["rcpt_to"] == alerted

    (listed,) = operator.get("/admin/appeals", params={"state": "open"}).json()["data"]
    assert (listed["message"], listed["decision"]["evidence"]) == ("They agreed.", EVIDENCE)
    answer = operator.post(f"/admin/appeals/{listed['id']}/reverse", json={"note": "Welcome back."})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["state"] == "reversed"
    assert not stopped(paying.tenant_id)
    paying.drain()
    assert f"t:{paying.tenant_id}" not in redis.smembers("ig:killed")
    newest, oldest = paying.get("/decisions")
    assert (newest["action"], newest["note"], newest["evidence"]) == (
        "reinstate", "Welcome back.", None,
    )  # fmt: skip
    assert oldest["appeal"]["answer"] == "Welcome back."
    told = {"Your account is suspended", "Your appeal was granted", "Your account is active again"}
    paying.settle(lambda: told <= set(letters(paying)), within=30, why="the company is told")
    # In one's favour there is nothing to appeal against, and no answer is given twice.
    assert appeal(paying).status_code == 409
    again = operator.post(f"/admin/appeals/{listed['id']}/uphold")
    assert (again.status_code, again.json()["details"]) == (409, {"state": "reversed"})
    with transaction(tenant=ALL_TENANTS) as db:
        deeds = db.scalars(select(AuditLog.action).order_by(AuditLog.seq)).all()
        acts = db.scalars(select(OperatorAct.action)).all()
    assert [deed for deed in deeds if "appeal" in deed] == ["appeal_filed", "appeal_reversed"]
    assert "appeal_reversed" in acts


def test_an_upheld_decision_stands(paying: Customer, operator: OperatorClient) -> None:
    stop(paying.tenant_id)
    filed = paying.ok(appeal(paying))
    answer = operator.post(f"/admin/appeals/{filed['id']}/uphold", json={"note": "No."})
    assert answer.json()["data"]["state"] == "upheld"
    assert stopped(paying.tenant_id)
    assert paying.get("/decisions")[0]["appeal"]["answer"] == "No."
    told = "Your appeal was not granted"
    paying.settle(lambda: told in letters(paying), within=30, why="the company is told")


def test_a_later_decision_is_not_lifted_by_an_appeal_against_an_earlier(
    paying: Customer, operator: OperatorClient
) -> None:
    stop(paying.tenant_id)
    filed = paying.ok(appeal(paying))
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, UUID(paying.tenant_id)), db)
    stop(paying.tenant_id)
    answer = operator.post(f"/admin/appeals/{filed['id']}/reverse")
    assert answer.json()["data"]["state"] == "reversed"
    assert stopped(paying.tenant_id)


def test_nobody_appeals_for_others(paying: Customer, other: Customer) -> None:
    stop(paying.tenant_id)
    (decision,) = paying.get("/decisions")
    assert other.get("/decisions") == []
    for id_ in (decision["id"], str(uuid4())):
        answer = other.try_post(f"/decisions/{id_}/appeal", message="Let them in.")
        assert answer.status_code == 404


def test_a_paused_inbox_is_resumed(
    paying: Customer, own_domain: Callable[..., str], operator: OperatorClient, redis: Redis
) -> None:
    made = paying.post("/infrastructure/provision", domain_id=own_domain(paying), inbox_count=1)
    paying.drain()
    inbox_id = UUID(made["inboxes"][0]["id"])
    with transaction(tenant=ALL_TENANTS) as db:
        inbox = InboxService.set_status(inbox_id, InboxStatus.PAUSED, db)
        tenant = db.get_one(Tenant, inbox.tenant_id)
        reason = SuspensionReason.TERMS_VIOLATION
        kill_switch.decide(tenant, DecisionAction.PAUSE, reason, db, None, {}, inbox_id=inbox_id)
    filed = paying.ok(appeal(paying))
    assert operator.post(f"/admin/appeals/{filed['id']}/reverse").status_code == 200
    paying.drain()
    with transaction(tenant=ALL_TENANTS) as db:
        inbox = db.get_one(Inbox, inbox_id)
        assert inbox.status == InboxStatus.ACTIVE
        assert redis.hget(f"ig:inbox:{inbox.username}", "status") == "active"
    assert [row["action"] for row in paying.get("/decisions")] == ["reinstate", "pause"]


def ops(*words: str) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", "appeals", *words, "--json"],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ},
    )
    assert said.returncode == 0, said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def test_from_a_shell(paying: Customer) -> None:
    stop(paying.tenant_id)
    filed = paying.ok(appeal(paying))
    (listed,) = ops("list")["appeals"]
    assert (listed["appeal_id"], listed["evidence"]) == (filed["id"], EVIDENCE)
    assert ops("reverse", filed["id"], "--note", "Fine.")["state"] == "reversed"
    assert not stopped(paying.tenant_id)
    assert ops("list")["appeals"] == []
