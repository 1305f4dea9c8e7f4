"""The Magic Button, inboxes, files, suppressions, over HTTP."""

from __future__ import annotations

import csv
import io
import json

import pytest
from redis import Redis
from sqlalchemy import select

from app.database.models import AuditLog
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import directory_repair
from tests.fixtures.customer import Customer
from tests.fixtures.world import SECRET, Running

INSTANTLY = (
    "Email,First Name,Last Name,IMAP Username,IMAP Password,IMAP Host,IMAP Port,SMTP Username,"
    "SMTP Password,SMTP Host,SMTP Port,Daily Limit,Warmup Enabled,Warmup Limit,Warmup Increment"
)


def made(customer: Customer, domain_id: str, count: int = 3, **fields: object) -> dict:
    body = {"domain_id": domain_id, "inbox_count": count, **fields}
    return customer.post("/infrastructure/provision", **body)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def actions() -> list[tuple[str, str]]:
    with transaction(tenant=ALL_TENANTS) as db:
        return [(entry.action, entry.actor_type) for entry in db.scalars(select(AuditLog))]


def test_fifty_inboxes_by_default(paying: Customer, own_domain) -> None:
    answer = paying.try_post("/infrastructure/provision", domain_id=own_domain(paying))
    assert answer.status_code == 201
    data = answer.json()["data"]
    rows = rows_of(data["csv_data"])
    assert data["inboxes_created"] == len(data["inboxes"]) == len(rows) == 50
    assert set(data["inboxes"][0]) == {"id", "full_email", "status"}
    assert data["csv_data"].startswith("email,username,password,")
    assert all(len(row["password"]) == 32 for row in rows)
    assert paying.get("/auth/me")["usage"]["inboxes"] == 50


def test_active_only_when_the_relay_takes_mail(
    paying: Customer, own_domain, drain, redis: Redis
) -> None:
    domain_id = own_domain(paying)
    # A Redis that was wiped: until the reconciler has run the nodes defer everything.
    redis.srem("ig:killed", "!")
    made(paying, domain_id)
    drain()

    def statuses() -> set[str]:
        listed = paying.get("/infrastructure/inboxes", domain_id=domain_id)
        return {inbox["status"] for inbox in listed}

    assert statuses() == {"pending"}
    with transaction(tenant=ALL_TENANTS) as db:
        directory_repair.reconcile(db, ports.current().mail)
    drain(due_too=True)
    assert statuses() == {"active"}


def test_spread_over_domains(paying: Customer, own_domain) -> None:
    ids = [own_domain(paying), own_domain(paying)]
    data = paying.post("/infrastructure/provision", domain_ids=ids, inbox_count=5)
    domains = {inbox["full_email"].partition("@")[2] for inbox in data["inboxes"]}
    assert len(domains) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"domain_id": "x"},
        {"domain_id": "01890000-0000-7000-8000-000000000000", "domain_ids": []},
        {"inbox_count": 0},
        {"inbox_count": 25_001},
        {"inbox_count": "many"},
        {"naming_convention": "initials"},
        {"naming_convention": "custom"},
        {"naming_convention": "custom", "names": ["not valid @"]},
        {"names": ["ann"]},
        {"password": "mine"},
    ],
)
def test_requests_that_make_no_sense(paying: Customer, own_domain, body: dict) -> None:
    if body and not any(name.startswith("domain") for name in body):
        body = {"domain_id": own_domain(paying), "inbox_count": 1, **body}
    answer = paying.try_post("/infrastructure/provision", **body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")


def test_the_trial_has_room_for_five(signed_in: Customer, own_domain) -> None:
    domain_id = own_domain(signed_in)
    answer = signed_in.try_post("/infrastructure/provision", domain_id=domain_id)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "INBOX_LIMIT_EXCEEDED")
    assert answer.json()["details"] == {"limit": 5, "used": 0, "requested": 50}
    made(signed_in, domain_id, 5)


def test_an_unready_domain(paying: Customer, own_domain) -> None:
    domain_id = own_domain(paying, status="verifying_dns")
    answer = paying.try_post("/infrastructure/provision", domain_id=domain_id)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "DOMAIN_NOT_READY")


def test_pages_go_through_all_and_each_once(paying: Customer, own_domain) -> None:
    wanted = {inbox["id"] for inbox in made(paying, own_domain(paying), 25)["inboxes"]}
    seen: list[str] = []
    cursor = None
    while True:
        page = paying.http.get(
            "/infrastructure/inboxes",
            params={"limit": 10, **({"cursor": cursor} if cursor else {})},
        ).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["meta"]["next_cursor"]
        assert page["meta"]["has_more"] == (cursor is not None)
        if cursor is None:
            break
    assert len(seen) == 25
    assert set(seen) == wanted
    assert paying.http.get("/infrastructure/inboxes?limit=101").status_code == 400


def test_inboxes_are_found(paying: Customer, own_domain) -> None:
    here, there = own_domain(paying), own_domain(paying)
    made(paying, here, 2, naming_convention="custom", names=["needle", "hay"])
    made(paying, there, 1)
    listed = paying.get("/infrastructure/inboxes", domain_id=here)
    assert len(listed) == 2
    assert "password" not in listed[0]
    assert [row["full_email"][:6] for row in paying.get("/infrastructure/inboxes", q="NEED")] == [
        "needle"
    ]
    assert paying.get("/infrastructure/inboxes", q="%") == []
    assert len(paying.get("/infrastructure/inboxes", status="pending")) == 3
    assert paying.http.get("/infrastructure/inboxes?status=sleeping").status_code == 400


def test_the_life_of_an_inbox(paying: Customer, own_domain, drain) -> None:
    inbox_id = made(paying, own_domain(paying), 1)["inboxes"][0]["id"]
    drain()
    path = f"/infrastructure/inboxes/{inbox_id}"
    assert paying.get(path)["status"] == "active"
    paused = paying.http.patch(path, json={"status": "paused"})
    assert paused.json()["data"]["status"] == "paused"
    assert paying.http.patch(path, json={"status": "deleted"}).status_code == 400
    assert paying.http.patch(path, json={"status": "active"}).json()["data"]["status"] == "active"
    rotated = paying.post(f"{path}/rotate-password")
    assert len(rotated["password"]) == 32
    assert paying.http.delete(path).json()["data"]["status"] == "deleted"
    assert paying.http.get(path).status_code == 404
    assert paying.http.delete(path).status_code == 404
    assert paying.get("/auth/me")["usage"]["inboxes"] == 0
    assert {
        ("inbox_provisioned", "user"),
        ("inbox_activated", "system"),
        ("inbox_paused", "user"),
        ("inbox_resumed", "user"),
        ("inbox_password_rotated", "user"),
        ("inbox_deleted", "user"),
    } <= set(actions())


def test_an_inbox_moves_to_another_domain(
    paying: Customer, other: Customer, own_domain, drain, redis: Redis
) -> None:
    here, there = own_domain(paying), own_domain(paying)
    (old, *_) = made(paying, here, 2)["inboxes"]
    drain()
    path = f"/infrastructure/inboxes/{old['id']}"
    moved = paying.post(f"{path}/move", domain_id=there)
    assert moved["moved_from"] == old["id"]
    assert moved["username"].split("@")[0] == old["full_email"].split("@")[0]
    assert len(moved["password"]) == 32
    drain()
    assert paying.http.get(path).status_code == 404
    row = paying.get(f"/infrastructure/inboxes/{moved['id']}")
    assert (row["domain_id"], row["status"], row["warmup_stage"]) == (there, "active", 0)
    assert row["first_name"]
    assert paying.get("/auth/me")["usage"]["inboxes"] == 2
    assert not redis.exists(f"ig:inbox:{old['full_email']}")
    assert redis.hget(f"ig:inbox:{moved['username']}", "inbox") == moved["id"]
    # Where it is already, to where its name is taken, and to somebody else's domain: nothing ends.
    path = f"/infrastructure/inboxes/{moved['id']}/move"
    assert paying.try_post(path, domain_id=there).status_code == 409
    assert paying.try_post(path, domain_id=here).status_code == 400
    assert paying.try_post(path, domain_id=own_domain(other)).status_code == 404
    assert paying.get("/auth/me")["usage"]["inboxes"] == 2
    assert "inbox_moved" in {action for action, _ in actions()}


def test_the_queue_of_an_inbox_follows_it(
    paying: Customer, own_domain, drain, world: Running
) -> None:
    """On every node: held while it is paused, let go when it resumes, failed when it is deleted."""
    inbox_id = made(paying, own_domain(paying), 1)["inboxes"][0]["id"]
    drain()
    path = f"/infrastructure/inboxes/{inbox_id}"

    def rules(what: str) -> list[dict[str, str]]:
        answer = world.sandbox.get(
            f"/kumomta/api/admin/{what}/v1", headers={"Authorization": f"Bearer {SECRET}"}
        )
        return [rule for rule in answer.json() if rule.get("campaign") == inbox_id]

    paying.http.patch(path, json={"status": "paused"})
    drain()
    assert len(rules("suspend")) == 1
    paying.http.patch(path, json={"status": "active"})
    drain()
    assert rules("suspend") == []
    paying.http.delete(path)
    drain()
    assert len(rules("bounce")) == 1


def test_another_tenants_things_do_not_exist(paying: Customer, other: Customer, own_domain) -> None:
    domain_id = own_domain(other)
    provision = made(other, domain_id, 2)
    inbox_id = provision["inboxes"][0]["id"]
    other.post("/infrastructure/suppressions", targets=["a@b.test"])
    suppression_id = other.get("/infrastructure/suppressions")[0]["id"]
    attempts = [
        ("GET", f"/domains/{domain_id}", None),
        ("GET", f"/domains/{domain_id}/dns", None),
        ("GET", f"/domains/{domain_id}/events", None),
        ("POST", f"/domains/{domain_id}/verify", None),
        ("POST", "/infrastructure/provision", {"domain_id": domain_id, "inbox_count": 1}),
        ("GET", f"/infrastructure/provisions/{provision['provision_id']}/csv", None),
        ("GET", f"/infrastructure/inboxes/{inbox_id}", None),
        ("PATCH", f"/infrastructure/inboxes/{inbox_id}", {"status": "paused"}),
        ("DELETE", f"/infrastructure/inboxes/{inbox_id}", None),
        ("POST", f"/infrastructure/inboxes/{inbox_id}/rotate-password", None),
        ("POST", "/infrastructure/exports", {"domain_id": domain_id}),
        ("DELETE", f"/infrastructure/suppressions/{suppression_id}", None),
        ("GET", f"/analytics/inboxes/{inbox_id}", None),
    ]
    for method, path, body in attempts:
        answer = paying.http.request(method, path, json=body)
        absent = paying.http.request(
            method,
            path.replace(domain_id, _ABSENT)
            .replace(inbox_id, _ABSENT)
            .replace(suppression_id, _ABSENT)
            .replace(provision["provision_id"], _ABSENT),
            json={**body, "domain_id": _ABSENT} if body and "domain_id" in body else body,
        )
        assert answer.status_code == 404, (method, path)
        drop = {"request_id"}
        assert {k: v for k, v in answer.json().items() if k not in drop} == {
            k: v for k, v in absent.json().items() if k not in drop
        }
    exported = paying.http.post("/infrastructure/exports", json={"inbox_ids": [inbox_id]})
    assert rows_of(exported.text) == []
    for path in ("/domains", "/infrastructure/inboxes", "/infrastructure/suppressions"):
        assert paying.get(path) == []
    assert other.get(f"/infrastructure/inboxes/{inbox_id}")["status"] != "paused"


_ABSENT = "01890000-0000-7000-8000-000000000000"


def test_the_file_of_a_provision(paying: Customer, own_domain) -> None:
    data = made(paying, own_domain(paying), 3)
    answer = paying.http.get(f"/infrastructure/provisions/{data['provision_id']}/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text == data["csv_data"]
    assert ("credentials_exported", "user") in actions()


def test_exports_have_the_headers_that_importers_want(paying: Customer, own_domain) -> None:
    domain_id = own_domain(paying)
    known = {row["email"]: row["password"] for row in rows_of(made(paying, domain_id)["csv_data"])}
    answer = paying.http.post("/infrastructure/exports", json={"format": "instantly"})
    assert answer.text.splitlines()[0] == INSTANTLY
    for row in rows_of(answer.text):
        assert row["SMTP Password"] == known[row["Email"]]
        assert row["IMAP Host"] == row["IMAP Password"] == ""
        assert row["Warmup Enabled"] == "FALSE"
    for fmt, first in [("smartlead", "from_name"), ("salesforge", "address"), ("generic", "email")]:
        answer = paying.http.post(
            "/infrastructure/exports", json={"format": fmt, "domain_id": domain_id}
        )
        assert answer.text.startswith(first + ",")
        assert len(rows_of(answer.text)) == 3
    assert paying.http.post("/infrastructure/exports", json={"format": "x"}).status_code == 400


def test_suppressions_reach_the_relay(paying: Customer, redis: Redis) -> None:
    key = f"ig:suppressed:{paying.tenant_id}"
    targets = ["Ann@Example.com", "@spamtrap.test", "ann@example.com"]
    assert paying.post("/infrastructure/suppressions", targets=targets) == {"added": 2}
    assert redis.smembers(key) == {"ann@example.com", "@spamtrap.test"}
    assert paying.post("/infrastructure/suppressions", targets=targets) == {"added": 0}
    bad = paying.try_post("/infrastructure/suppressions", targets=["ok@x.test", "nothing"])
    assert (bad.status_code, bad.json()["details"]["target"]) == (400, "nothing")
    listed = paying.get("/infrastructure/suppressions")
    assert {row["target"] for row in listed} == {"ann@example.com", "@spamtrap.test"}
    found = paying.get("/infrastructure/suppressions", q="ann")
    path = f"/infrastructure/suppressions/{found[0]['id']}"
    assert paying.http.delete(path).status_code == 200
    assert paying.http.delete(path).status_code == 404
    assert redis.smembers(key) == {"@spamtrap.test"}


def test_nodes_are_told_what_redis_does_not_know(
    paying: Customer, own_domain, node_api, redis: Redis, drain, world: Running, operator
) -> None:
    data = made(paying, own_domain(paying), 2)
    emails = [inbox["full_email"] for inbox in data["inboxes"]]
    assert (
        node_api.get(f"/internal/mta/v1/inboxes/{emails[0]}").status_code == 404
    )  # not active yet
    drain()
    answer = node_api.get(f"/internal/mta/v1/inboxes/{emails[0].upper()}").json()
    assert answer["status"] == "success"
    assert answer["data"] == redis.hgetall(f"ig:inbox:{emails[0]}")
    inbox_id = data["inboxes"][1]["id"]
    paying.http.patch(f"/infrastructure/inboxes/{inbox_id}", json={"status": "paused"})
    assert (
        node_api.get(f"/internal/mta/v1/inboxes/{emails[1]}").json()["data"]["status"] == "paused"
    )
    kills = node_api.get("/internal/mta/v1/kills").json()["data"]
    assert kills == {"tenants": [], "inboxes": [inbox_id]}
    operator.post(f"/admin/tenants/{paying.tenant_id}/suspend", json={"reason": "blacklisted"})
    kills = node_api.get("/internal/mta/v1/kills").json()["data"]
    assert kills["tenants"] == [paying.tenant_id]
    # The kill list refuses a suspended tenant; its entries stay as they are in Redis.
    answer = node_api.get(f"/internal/mta/v1/inboxes/{emails[0]}").json()["data"]
    assert answer == redis.hgetall(f"ig:inbox:{emails[0]}")
    assert node_api.get("/internal/mta/v1/inboxes/nobody@x.test").status_code == 404
    assert node_api.get("/internal/mta/v1/domains/x.test/dkim").status_code == 404
    first = node_api.get("/internal/mta/v1/snapshot")
    head, *lines, last = first.text.splitlines()
    told = json.loads(head)
    assert (told["tenants"], told["inboxes"]) == ([paying.tenant_id], [inbox_id])
    assert last == f"end\t{told['etag']}"
    entries = dict(line.split("\t") for line in lines)
    assert list(entries) == sorted(emails)
    for email in emails:
        assert json.loads(entries[email]) == redis.hgetall(f"ig:inbox:{email}") | {
            "status": "paused" if email == emails[1] else "active"
        }
    (row, _) = csv.DictReader(io.StringIO(data["csv_data"]))
    assert row["password"] not in first.text
    unchanged = {"If-None-Match": first.headers["etag"]}
    assert node_api.get("/internal/mta/v1/snapshot", headers=unchanged).status_code == 304
    operator.post(f"/admin/tenants/{paying.tenant_id}/reinstate")
    assert node_api.get("/internal/mta/v1/snapshot", headers=unchanged).status_code == 200
    owner = node_api.get(f"/internal/mta/v1/owners/{inbox_id}").json()["data"]
    assert owner == {"inbox": inbox_id, "tenant": paying.tenant_id}
    assert node_api.get(f"/internal/mta/v1/owners/{paying.tenant_id}").status_code == 404
