"""`inboxgrove admin …` and `inboxgrove ops kill`: access from a shell, put down like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from app import clock
from app.database.models import AuditLog, Decision, Job, Operator, OperatorAct, OperatorAlert
from app.database.session import ALL_TENANTS, transaction
from app.services import notices
from tests.fixtures.customer import Customer
from tests.fixtures.operators import OperatorClient, totp_code
from tests.fixtures.world import Running

BACKEND = Path(__file__).resolve().parents[1]


def inboxgrove(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )


def asked(*words: str) -> dict[str, Any]:
    said = inboxgrove(*words, "--json")
    assert said.returncode == 0, said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def test_names_that_end_are_listed(world: Running) -> None:
    assert asked("ops", "domains") == {"ending": [], "leaving": []}


def test_claims_are_listed_and_looked_for(world: Running) -> None:
    assert asked("ops", "domain-claims") == {"claims": []}
    unknown = inboxgrove("ops", "domain-claims", "--retry", "01890000-0000-7000-8000-000000000000")
    assert unknown.returncode == 1
    assert "Not done" in unknown.stderr


def test_alerts_are_listed_in_pages_newest_first_those_about_nobody_too(
    make_tenant: Callable[..., Any], world: Running
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        about = make_tenant(db).id
        notices.alert(db, "loss", "p1", "First.", tenant_id=about)
        notices.alert(db, "job_dead", "j1", "Second.")
        notices.alert(db, "loss", "p2", "Third.")
        db.flush()
        first = db.scalars(select(OperatorAlert).where(OperatorAlert.fact == "p1")).one()
        first.resolved_at = clock.now()
    page = asked("ops", "alerts", "--limit", "2")
    assert [row["message"] for row in page["alerts"]] == ["Third.", "Second."]
    assert page["alerts"][0]["tenant_id"] is None
    rest = asked("ops", "alerts", "--limit", "2", "--before", page["next"])
    assert [row["message"] for row in rest["alerts"]] == ["First."]
    assert rest["next"] is None
    assert rest["alerts"][0]["tenant_id"] == str(about)

    def found(*words: str) -> list[str]:
        return [row["message"] for row in asked("ops", "alerts", *words)["alerts"]]

    assert found("--open") == ["Third.", "Second."]
    assert found("--kind", "loss") == ["Third.", "First."]
    assert found("--tenant", str(about)) == ["First."]
    said = inboxgrove("ops", "alerts", "--limit", "1")
    assert said.returncode == 0
    assert "open loss p2: Third." in said.stdout
    assert "More: --before" in said.stdout


def acts() -> list[tuple[str, Any]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(OperatorAct).order_by(OperatorAct.id)).all()
        return [(row.action, row.operator_id) for row in rows]


def test_an_operator_is_made_signs_in_and_is_revoked(world: Running) -> None:
    made = asked("admin", "create-operator", "Ann Lee")
    assert set(made) == {"operator_id", "name", "token", "totp_secret", "otpauth_uri"}
    assert made["token"].startswith("ig_op_")
    uri = urlsplit(made["otpauth_uri"])
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/InboxGrove:Ann%20Lee")
    assert parse_qs(uri.query)["secret"] == [made["totp_secret"]]
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(Operator)).one()
        # Neither is kept in the clear.
        stored = repr([getattr(row, column.key) for column in Operator.__table__.columns])
    assert made["token"] not in stored
    assert made["totp_secret"] not in stored

    with OperatorClient(world) as client:
        client.token, client.secret = made["token"], made["totp_secret"]
        assert client.sign_in().get("/admin/tenants").status_code == 200
        new = asked("admin", "reset-operator-2fa", "Ann Lee")
        assert "token" not in new
        assert new["totp_secret"] != made["totp_secret"]
        assert client.get("/admin/tenants").status_code == 401
        assert client.try_sign_in().status_code == 401
        client.secret = new["totp_secret"]
        assert client.sign_in().get("/admin/tenants").status_code == 200
        listed = {row["name"]: row for row in asked("admin", "list-operators")["operators"]}
        assert listed["Ann Lee"]["second_factor"] is True
        assert listed["Ann Lee"]["last_used_at"] is not None
        assert made["token"] not in str(listed)
        assert asked("admin", "revoke-operator", "Ann Lee")["revoked_at"] is not None
        assert client.get("/admin/tenants").status_code == 401
        assert client.try_sign_in(totp_code=totp_code(client.secret, steps=1)).status_code == 401
    assert [action for action, who in acts() if who is None] == [
        "operator_created",
        "operator_created",  # The client's own, whose place was taken.
        "operator_two_factor_reset",
        "operator_revoked",
    ]
    said = inboxgrove("admin", "reset-operator-2fa", "Ann Lee")
    assert (said.returncode, said.stderr) == (1, "Not done: The operator Ann Lee is revoked.\n")


def test_people_get_a_picture_for_their_phone_and_a_readable_list(clean: None) -> None:
    said = inboxgrove("admin", "create-operator", "bob")
    assert said.returncode == 0, said.stderr
    assert "token: ig_op_" in said.stdout
    assert "otpauth_uri: otpauth://totp/InboxGrove:bob?" in said.stdout
    assert said.stdout.count("█") > 200
    assert "not shown again" in said.stdout
    listed = inboxgrove("admin", "list-operators").stdout
    assert "bob: active, never used" in listed
    inboxgrove("admin", "revoke-operator", "bob")
    assert "bob: revoked 20" in inboxgrove("admin", "list-operators").stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("create-operator", "twice"), "There is, or was, an operator named twice."),
        (("create-operator", "  "), "A name has 1 to 100 printable characters."),
        (("create-operator", "a\x1b[2J"), "A name has 1 to 100 printable characters."),
        (("create-operator", "x" * 101), "A name has 1 to 100 printable characters."),
        (("revoke-operator", "nobody"), "There is no such operator."),
        (("reset-operator-2fa", "nobody"), "There is no such operator."),
    ],
)
def test_what_cannot_be_is_said_and_leaves_with_1(
    world: Running, words: tuple[str, str], reason: str
) -> None:
    from app.services.operator_service import OperatorService

    with transaction(tenant=ALL_TENANTS) as db:
        OperatorService.create("twice", db)
    said = inboxgrove("admin", *words)
    assert (said.returncode, said.stdout, said.stderr) == (1, "", f"Not done: {reason}\n")


def test_kill_and_unkill_are_decisions_from_a_shell(paying: Customer) -> None:
    told = asked("ops", "kill", paying.tenant_id, "--reason", "blacklisted", "--note", "On a list.")
    assert (told["is_suspended"], told["reason"]) == (True, "blacklisted")
    assert paying.get("/auth/me")["suspension"]["note"] == "On a list."
    assert asked("ops", "unkill", paying.tenant_id)["is_suspended"] is False
    with transaction(tenant=ALL_TENANTS) as db:
        decided = db.scalars(select(Decision).order_by(Decision.id)).all()
        assert [(row.action, row.actor_type, row.actor_id) for row in decided] == [
            ("suspend", "operator", None),
            ("reinstate", "operator", None),
        ]
        trail = db.scalars(select(AuditLog).where(AuditLog.action == "tenant_suspended")).one()
        assert (trail.actor_type, trail.actor_id) == ("operator", None)
    assert acts() == [("tenant_suspended", None), ("tenant_reinstated", None)]
    for words in (("kill", "x"), ("kill", paying.tenant_id, "--reason", "boredom")):
        said = inboxgrove("ops", *words)
        assert said.returncode == 1
        assert said.stderr.startswith("Not done: ")


def test_replaying_the_dead_is_put_down(clean: None, dead_job: Job) -> None:
    said = inboxgrove("ops", "outbox", "--replay", "all", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["replayed"] == 1
    assert acts() == [("job_replayed", None)]
    inboxgrove("ops", "outbox", "--replay", "all")
    assert len(acts()) == 1
