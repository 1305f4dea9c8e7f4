"""Names over HTTP: search, offer, purchase, progress, records."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running


def test_search(signed_in: Customer) -> None:
    found = signed_in.post("/domains/search", query="company-mail", tlds=["com", "net"])
    by_name = {row["domain_name"]: row for row in found}
    row = by_name["company-mail.com"]
    assert row["available"]
    assert row["price"] > 1000
    assert (row["currency"], row["years"]) == ("usd", 1)
    assert "company-mail.net" in by_name
    assert signed_in.try_post("/domains/search", query="").status_code == 400
    assert signed_in.try_post("/domains/search", query="!!").status_code == 400


def test_an_unpaid_purchase_is_refused(signed_in: Customer) -> None:
    offer = signed_in.offer()
    assert offer["amount"] > 1000
    assert offer["client_secret"]
    answer = signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    assert (answer.status_code, answer.json()["error_code"]) == (402, "PAYMENT_NOT_COMPLETED")


def test_a_purchase_needs_one_name_for_it(signed_in: Customer) -> None:
    for body in ({}, {"purchase_id": "01890000-0000-7000-8000-000000000000",
                      "payment_intent_id": "pi_1"}, {"purchase_id": "x"}):  # fmt: skip
        assert signed_in.try_post("/domains/purchase", **body).status_code == 400
    absent = signed_in.try_post("/domains/purchase", payment_intent_id="pi_unknown")
    assert (absent.status_code, absent.json()["error_code"]) == (404, "NOT_FOUND")


def test_another_tenants_purchase_does_not_exist(signed_in: Customer, other: Customer) -> None:
    offer = other.offer()
    other.confirm("payment_intent", offer)
    for body in (
        {"purchase_id": offer["purchase_id"]},
        {"payment_intent_id": offer["payment_intent_id"]},
    ):
        assert signed_in.try_post("/domains/purchase", **body).status_code == 404


def test_from_purchase_to_active_and_its_records(
    signed_in: Customer, node_api: httpx.Client
) -> None:
    offer = signed_in.offer()
    assert signed_in.confirm("payment_intent", offer).is_success
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: signed_in.try_post(
                    "/domains/purchase", payment_intent_id=offer["payment_intent_id"]
                ),
                range(8),
            )
        )
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["data"]["domain"]["id"] for answer in answers}
    assert len(ids) == 1
    domain_id = ids.pop()
    first = signed_in.get(f"/domains/{domain_id}")
    assert first["status"] == "registering"
    assert [step["name"] for step in first["steps"]][:2] == ["payment", "registration"]

    def active() -> bool:
        status = signed_in.get(f"/domains/{domain_id}")["status"]
        assert status != "failed"
        return bool(status == "active")

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(_events, signed_in, domain_id)
        signed_in.settle(active, within=60, why="the domain is active")
        events = watching.result(timeout=30)
    assert events[0][0] == "steps"
    assert events[-1][0] == "done"
    assert events[-1][1]["status"] == "active"
    assert len(events) >= 3

    dns = signed_in.get(f"/domains/{domain_id}/dns")
    assert dns["all_ok"], dns
    assert {record["state"] for record in dns["records"]} == {"ok"}
    zone = signed_in.http.get(f"/domains/{domain_id}/dns?format=bind")
    assert zone.headers["content-type"].startswith("text/dns")
    assert zone.text.startswith(f"$ORIGIN {first['domain_name']}.")

    key = node_api.get(f"/internal/mta/v1/domains/{first['domain_name']}/dkim").json()["data"]
    assert key["private_key"].startswith("-----BEGIN")
    assert key["selector"] == signed_in.get(f"/domains/{domain_id}")["dkim_selector"]

    assert signed_in.try_post(f"/domains/{domain_id}/verify").status_code == 202
    assert [row["id"] for row in signed_in.get("/domains", status="active")] == [domain_id]
    assert signed_in.get("/domains", status="failed") == []


def _events(customer: Customer, domain_id: str) -> list[tuple[str, dict]]:
    seen: list[tuple[str, dict]] = []
    kind = ""
    with customer.http.stream("GET", f"/domains/{domain_id}/events", timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                seen.append((kind, json.loads(line[6:])))
    return seen


def test_renewal_is_switched_off_and_on(signed_in: Customer) -> None:
    offer = signed_in.offer()
    signed_in.confirm("payment_intent", offer)
    bought = signed_in.post("/domains/purchase", purchase_id=offer["purchase_id"])["domain"]
    path = f"/domains/{bought['id']}"
    assert signed_in.get(path)["auto_renew"] is True
    for wanted in (False, False, True):
        answer = signed_in.http.patch(path, json={"auto_renew": wanted})
        assert answer.status_code == 200, answer.text
        assert signed_in.get(path)["auto_renew"] is wanted
    assert signed_in.http.patch(path, json={}).status_code == 400
    assert signed_in.get(path)["dmarc_policy"] == "none"
    answer = signed_in.http.patch(path, json={"dmarc_policy": "reject"})
    assert answer.json()["data"]["dmarc_policy"] == "reject"
    assert signed_in.get(path)["auto_renew"] is True
    assert signed_in.http.patch(path, json={"dmarc_policy": "nothing"}).status_code == 400
    assert signed_in.http.patch(path, json={"auto_renew": True, "status": "x"}).status_code == 400


def test_the_registrant_is_shown_and_changed(signed_in: Customer) -> None:
    from tests.rules.test_registrants import ANN

    path = "/domains/registrant"
    assert signed_in.get(path) == {"registrant": None}
    answer = signed_in.http.put(path, json=ANN)
    assert answer.status_code == 200, answer.text
    assert signed_in.get(path)["registrant"] == {**ANN, "country": "US"}
    for wrong in ({"phone": "12345678"}, {"country": "XX"}, {"email": "nobody"}, {"city": ""}):
        refused = signed_in.http.put(path, json={**ANN, **wrong})
        assert refused.status_code == 400, refused.text
        assert next(iter(wrong)) in refused.text
    assert signed_in.get(path)["registrant"]["phone"] == ANN["phone"]


def test_asking_to_verify_makes_the_waiting_job_due(
    signed_in: Customer, drain, world: Running
) -> None:
    from sqlalchemy import select

    from app import clock
    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction

    offer = signed_in.offer()
    signed_in.confirm("payment_intent", offer)
    # The registrar names our servers, but no name server shows the zone.
    world.fault("cloudflare", "dns_records", "fail_before", times=500, status=500)
    bought = signed_in.post("/domains/purchase", purchase_id=offer["purchase_id"])["domain"]
    drain()
    with transaction(tenant=ALL_TENANTS) as db:
        waiting = db.scalars(select(Job).where(Job.state == JobState.WAITING)).all()
        assert waiting
        assert all(job.next_try_at > clock.now() for job in waiting)
    assert signed_in.try_post(f"/domains/{bought['id']}/verify").status_code == 202
    with transaction(tenant=ALL_TENANTS) as db:
        due = db.scalars(select(Job).where(Job.next_try_at <= clock.now())).all()
        assert [job.id for job in due if job.state == JobState.WAITING]


def test_a_name_is_connected_shown_and_let_go(signed_in: Customer, other: Customer) -> None:
    made = signed_in.post("/domains/connect", domain_name="Mail.Brought-Name.com", dns="manual")
    domain, token = made["domain"], made["ownership_token"]
    assert (domain["domain_name"], domain["status"]) == (
        "mail.brought-name.com",
        "verifying_ownership",
    )
    assert [step["name"] for step in domain["steps"]] == [
        "ownership",
        "verification",
        "authorization",
    ]
    records = {record["purpose"]: record for record in made["required_records"]}
    assert records["ownership"]["name"] == "_inboxgrove-challenge.mail.brought-name.com"
    assert records["ownership"]["content"].endswith(f"={token}")
    assert {"spf", "dkim", "dmarc"} <= set(records)
    path = f"/domains/{domain['id']}"
    assert signed_in.get(f"{path}/connection")["ownership_token"] == token
    assert signed_in.get(f"{path}/conflicts")["conflicts"] == []
    assert not signed_in.get(f"{path}/dns")["all_ok"]
    hcl = signed_in.http.get(f"{path}/dns", params={"format": "terraform"})
    wanted = len(made["required_records"]) - 1
    assert hcl.text.count('resource "cloudflare_dns_record"') == wanted
    assert signed_in.try_post(f"{path}/verify").status_code == 202
    with signed_in.http.stream("GET", f"{path}/events") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        assert json.loads(next(lines)[5:])["steps"][0]["name"] == "ownership"
    theirs = other.post("/domains/connect", domain_name="mail.brought-name.com", dns="manual")
    assert theirs["ownership_token"] != token
    assert other.http.get(f"{path}/connection").status_code == 404
    for name in ("co.uk", "a..com", "ümlaut.com", "x" * 64 + ".com"):
        refused = signed_in.try_post("/domains/connect", domain_name=name, dns="manual")
        assert (refused.status_code, refused.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert signed_in.http.delete(f"{path}/connection").status_code == 204
    assert signed_in.get(path)["status"] == "expired"
