"""Figures, and what operators do."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import pytest

from app import clock
from app.database.models import Job, new_id
from tests.fixtures.customer import Customer
from tests.fixtures.relay import Node
from tests.fixtures.world import Running


@pytest.fixture
def inbox(paying: Customer, own_domain, world: Running) -> dict[str, str]:
    """An inbox with mail of today, yesterday and 40 days ago."""
    domain_id = own_domain(paying, name="figures-mail.com")
    made = paying.post("/infrastructure/provision", domain_id=domain_id, inbox_count=1)
    inbox_id = made["inboxes"][0]["id"]
    node = Node(world.api_url, (UUID(paying.tenant_id), UUID(domain_id), UUID(inbox_id)))
    # One that does not speak of abuse, for which the tenant would be stopped.
    full = {"code": 552, "content": "5.2.2 mailbox full"}
    today = clock.now().replace(hour=0, minute=0)
    records = []
    for ago, accepted in ((0, 10), (1, 100), (40, 50)):
        at = today - timedelta(days=ago)
        records += [node.record("Reception", at) for _ in range(accepted)]
        records += [
            node.record("Delivery", at, recipient="a@gmail.com") for _ in range(accepted * 9 // 10)
        ]
        records += [
            node.record("Bounce", at, recipient="a@corp.test", response=full)
            for _ in range(accepted // 10)
        ]
    assert node.post(records).json()["data"]["stored"] == len(records)
    return {"id": inbox_id, "email": made["inboxes"][0]["full_email"], "domain": domain_id}


def test_overview_and_usage(paying: Customer, inbox: dict[str, str]) -> None:
    data = paying.get("/analytics/overview")
    assert data["domains"] == {"active": 1}
    assert data["inboxes"] == {"pending": 1}
    assert data["today"]["accepted"] == 10
    assert data["last_7_days"]["accepted"] == data["last_30_days"]["accepted"] == 110
    assert data["last_7_days"]["delivery_rate"] == 0.9
    assert data["last_7_days"]["complaint_rate"] == 0
    usage = paying.get("/analytics/usage")
    assert (usage["inboxes"], usage["domains"], usage["sends_today"]) == (1, 1, 10)
    assert usage["limits"]["daily_sends"] == 50_000


def test_deliverability_by_everything(paying: Customer, inbox: dict[str, str]) -> None:
    by_day = paying.get("/analytics/deliverability")
    assert [group["accepted"] for group in by_day["groups"]] == [100, 10]
    assert by_day["totals"]["accepted"] == 110
    today = clock.now().date()
    older = paying.get(
        "/analytics/deliverability",
        **{"from": str(today - timedelta(days=50)), "to": str(today), "group_by": "domain"},
    )
    (group,) = older["groups"]
    assert (group["key"], group["id"], group["accepted"]) == (
        "figures-mail.com",
        inbox["domain"],
        160,
    )
    (group,) = paying.get("/analytics/deliverability", group_by="inbox")["groups"]
    assert (group["key"], group["id"]) == (inbox["email"], inbox["id"])
    groups = paying.get("/analytics/deliverability", group_by="provider")["groups"]
    assert [(g["key"], g["delivered"], g["bounced"], g["soft_bounced"]) for g in groups] == [
        ("other", 0, 11, 11),
        ("google", 99, 0, 0),
    ]
    report = paying.get(f"/analytics/inboxes/{inbox['id']}")
    assert report["inbox"]["full_email"] == inbox["email"]
    assert [day["soft_bounced"] for day in report["days"]] == [10, 1]
    assert report["totals"] == by_day["totals"]


@pytest.mark.parametrize("by", ["day", "domain", "inbox", "provider"])
def test_figures_as_a_file(paying: Customer, inbox: dict[str, str], by: str) -> None:
    told = paying.get("/analytics/deliverability", group_by=by)["groups"]
    answer = paying.http.get(f"/analytics/deliverability?group_by={by}&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"deliverability-{by}-" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row[by] for row in rows] == [group["key"] for group in told]
    for row, group in zip(rows, told, strict=True):
        for name in ("accepted", "delivered", "soft_bounced", "complained"):
            assert int(row[name]) == group[name]
        for name in ("delivery_rate", "complaint_rate"):
            assert row[name] == ("" if group[name] is None else str(group[name]))
    days = paying.http.get(f"/analytics/inboxes/{inbox['id']}?format=csv").text
    assert [row["accepted"] for row in csv.DictReader(io.StringIO(days))] == ["100", "10"]


@pytest.mark.parametrize(
    "query", ["from=2026-02-30", "from=2026-03-02&to=2026-03-01", "from=2020-01-01", "group_by=x"]
)
def test_periods_that_make_no_sense(paying: Customer, query: str) -> None:
    assert paying.http.get(f"/analytics/deliverability?{query}").status_code == 400


def test_another_tenant_sees_none_of_it(other: Customer, inbox: dict[str, str]) -> None:
    assert other.get("/analytics/overview")["last_30_days"]["accepted"] == 0
    for by in ("day", "domain", "inbox", "provider"):
        assert other.get("/analytics/deliverability", group_by=by)["groups"] == []
    assert inbox["id"] not in str(other.get("/analytics/audit-log"))


def test_the_audit_trail(paying: Customer, inbox: dict[str, str]) -> None:
    entries = paying.get("/analytics/audit-log", resource_id=inbox["id"])
    assert [entry["action"] for entry in entries] == ["inbox_provisioned"]
    assert entries[0]["changes"] == {"status": [None, "pending"]}
    assert entries[0]["actor_type"] == "user"
    assert datetime.fromisoformat(entries[0]["created_at"]).utcoffset() == timedelta(0)
    assert datetime.fromisoformat(entries[0]["created_at"]) <= clock.now()
    actions = {entry["action"] for entry in paying.get("/analytics/audit-log", limit=100)}
    assert {"tenant_registered", "trial_started"} <= actions


def test_operators_see_tenants_and_turn_them_off(
    paying: Customer, other: Customer, operator: httpx.Client
) -> None:
    listed = operator.get("/admin/tenants").json()["data"]
    assert {row["id"] for row in listed} == {paying.tenant_id, other.tenant_id}
    assert listed[0]["stripe_customer_id"].startswith("cus_")
    path = f"/admin/tenants/{paying.tenant_id}"
    assert operator.post(f"{path}/suspend", json={"reason": "boredom"}).status_code == 400
    data = operator.post(f"{path}/suspend", json={"reason": "spam_complaint"}).json()["data"]
    assert (data["is_suspended"], data["suspension_reason"]) == (True, "spam_complaint")
    found = operator.get("/admin/tenants?suspended=true").json()["data"]
    assert [row["id"] for row in found] == [paying.tenant_id]
    assert operator.get(f"/admin/tenants?q={other.tag}").json()["data"][0]["id"] == other.tenant_id
    assert paying.http.get("/domains").status_code == 403
    assert other.http.get("/domains").status_code == 200
    assert operator.post(f"{path}/reinstate").json()["data"]["is_suspended"] is False
    trail = paying.get("/analytics/audit-log", action="tenant_suspended")
    assert trail[0]["actor_type"] == "operator"
    absent = f"/admin/tenants/{new_id()}/suspend"
    assert operator.post(absent, json={"reason": "blacklisted"}).status_code == 404


def test_dead_jobs_are_seen_and_replayed(operator: httpx.Client, dead_job: Job) -> None:
    (row,) = operator.get("/admin/jobs?state=dead").json()["data"]
    assert (row["id"], row["last_error"]) == (str(dead_job.id), "RuntimeError: broken")
    path = f"/admin/jobs/{dead_job.id}/replay"
    assert operator.post(path).json()["data"] == {"replayed": 1}
    assert operator.post(path).status_code == 404
    (act,) = operator.get("/admin/audit?action=job_replayed").json()["data"]
    assert (act["resource_type"], act["resource_id"]) == ("job", str(dead_job.id))
    (row,) = operator.get("/admin/jobs").json()["data"]
    assert (row["state"], row["attempts"]) == ("waiting", 0)


def test_nodes_are_shown(operator: httpx.Client, world: Running) -> None:
    (node,) = operator.get("/admin/mta-nodes").json()["data"]
    assert node["url"].endswith("/kumomta")
    assert node["reachable"] is True
    # The node outlives a test, and with it whoever was suspended there.
    assert node["suspensions"] >= 0
    assert node["online_since"]
    world.fault("kumomta", "suspend", "fail_before", times=1, status=503)
    (node,) = operator.get("/admin/mta-nodes").json()["data"]
    assert node["reachable"] is False
    assert "503" in node["detail"]
