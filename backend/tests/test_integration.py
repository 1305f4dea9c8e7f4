"""The main job through the public API: sign-up, trial, payment, domain, inboxes, mail, kill."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running, eventually

Check = Callable[[], None]


def test_sign_up_to_kill_switch(
    customer: Customer, operator: httpx.Client, invariants: Check
) -> None:
    # Sign up: a trial of seven days, nothing charged.
    customer.sign_up()
    me = customer.get("/auth/me")
    assert me["tenant"]["subscription_status"] == "trialing"
    assert me["trial_days_remaining"] == 7
    customer.add_card()
    assert customer.get("/billing/transactions") == []

    # A domain: held, registered, captured, set up and verified by real queries.
    domain = customer.buy_domain()
    assert [step["state"] for step in domain["steps"]] == ["done"] * len(domain["steps"])
    customer.settle(
        lambda: (
            {row["transaction_type"] for row in customer.get("/billing/transactions")}
            >= {"authorisation", "capture"}
        ),
        why="the ledger shows hold and capture",
    )

    # Five inboxes in the trial, and not one more.
    rows = customer.provision(domain["id"], 5)
    answer = customer.try_post("/infrastructure/provision", domain_id=domain["id"], inbox_count=1)
    assert answer.status_code == 403
    assert answer.json()["details"] == {"limit": 5, "used": 5, "requested": 1}

    # Starter: paid now, fifty more.
    customer.upgrade("starter")
    customer.settle(
        lambda: customer.get("/auth/me")["tenant"]["trial_converted"], why="the trial is paid"
    )
    rows += customer.provision(domain["id"], 50)
    assert len({row["email"] for row in rows}) == 55

    # Mail: judged by the receiver, counted by us.
    for number, row in enumerate(rows[:3]):
        customer.send(row, "ann@gmail.test", f"integration {customer.tag} {number}")
    received = eventually(
        lambda: (m := customer.received(f"integration {customer.tag}")) and len(m) == 3 and m
    )
    assert {(m["spf"], m["dkim"], m["dmarc"]) for m in received} == {("pass", "pass", "pass")}
    assert {m["dkim_domain"] for m in received} == {domain["domain_name"]}
    eventually(lambda: customer.get("/analytics/overview")["today"]["delivered"] == 3)
    invariants()

    # The kill switch: open sessions, new logins and the API.
    session = customer.login(rows[0])
    session.mail(rows[0]["email"])
    session.rcpt("ann@gmail.test")
    answer = operator.post(
        f"/admin/tenants/{customer.tenant_id}/suspend", json={"reason": "terms_violation"}
    )
    assert answer.status_code == 200
    customer.drain()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        customer.login(rows[1])
    code, _ = session.data(b"Subject: too late\r\n\r\n")
    assert code >= 400
    refused = customer.http.get("/domains")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "TENANT_SUSPENDED")

    # And back.
    assert operator.post(f"/admin/tenants/{customer.tenant_id}/reinstate").status_code == 200
    customer.drain()
    customer.login(rows[1]).quit()
    invariants()


def test_day_eight_is_charged_by_itself(customer: Customer, world: Running) -> None:
    customer.sign_up().add_card()
    customer.settle(lambda: customer.get("/billing/subscription")["status"] == "trialing")
    world.advance(days=7, hours=2)
    customer.sign_in_again()
    customer.settle(
        lambda: customer.get("/auth/me")["tenant"]["trial_converted"],
        within=30,
        why="the first invoice is paid",
    )
    me = customer.get("/auth/me")
    assert me["tenant"]["subscription_status"] == "active"
    (charge,) = customer.get("/billing/transactions")
    assert (charge["transaction_type"], charge["amount"]) == ("charge", 9700)
    (invoice,) = [i for i in customer.get("/billing/invoices") if i["amount_paid_cents"] > 0]
    assert invoice["amount_paid_cents"] == 9700


def test_without_a_card_the_trial_ends_and_nothing_is_charged(
    customer: Customer, world: Running
) -> None:
    from app.database.session import ALL_TENANTS, transaction
    from app.tasks import schedule

    customer.sign_up()
    world.advance(days=7, seconds=1)
    with transaction(tenant=ALL_TENANTS) as db:
        schedule.tick(db)
    customer.drain()
    customer.sign_in_again()
    assert customer.get("/auth/me")["tenant"]["subscription_status"] == "trial_expired"
    answer = customer.try_post("/billing/domain-purchase-intent", domain_name="late-mail.com")
    assert (answer.status_code, answer.json()["error_code"]) == (402, "TRIAL_EXPIRED")
    assert customer.get("/billing/transactions") == []


def test_wiping_redis_loses_nothing(customer: Customer, invariants: Check) -> None:
    """The directory, the kill set and the queue come back from PostgreSQL."""
    from redis import Redis

    from app.config import get_settings
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import directory_repair
    from app.services.directory_repair import Repairs

    customer.sign_up().add_card()
    domain = customer.buy_domain()
    (row, *_) = customer.provision(domain["id"], 5)

    def reconcile() -> Repairs:
        with transaction(tenant=ALL_TENANTS) as db:
            return directory_repair.reconcile(db, ports.current().mail)

    # The first look at a node counts as a restart, because nothing is known of it.
    assert reconcile().restarted == 1
    assert reconcile() == Repairs(checked=5, inboxes=0, killed=0, revived=0)
    with Redis.from_url(get_settings().redis_url) as redis:
        redis.flushdb()
    wiped = Repairs(
        checked=5, inboxes=5, killed=0, revived=0, restored=True, restarted=1, domains=1
    )
    assert reconcile() == wiped
    customer.send(row, "ann@gmail.test", f"after the wipe {customer.tag}")
    eventually(lambda: customer.received(f"after the wipe {customer.tag}"))
    invariants()


def test_a_suspension_survives_a_wiped_redis_and_is_no_drift(
    customer: Customer, operator: httpx.Client
) -> None:
    from redis import Redis

    from app.config import get_settings
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import directory_repair
    from app.services.directory_repair import Repairs

    customer.sign_up().add_card()
    (row, *_) = customer.provision(customer.buy_domain()["id"], 5)
    path = f"/admin/tenants/{customer.tenant_id}"
    assert operator.post(f"{path}/suspend", json={"reason": "blacklisted"}).is_success
    customer.drain()

    def reconcile() -> Repairs:
        with transaction(tenant=ALL_TENANTS) as db:
            return directory_repair.reconcile(db, ports.current().mail)

    assert reconcile().restarted == 1
    assert reconcile() == Repairs(checked=5, inboxes=0, killed=0, revived=0)
    with Redis.from_url(get_settings().redis_url) as redis:
        redis.flushdb()
    assert reconcile().killed == 1
    with pytest.raises(smtplib.SMTPAuthenticationError):
        customer.login(row)
    assert operator.post(f"{path}/bounce-queue").is_success
    customer.drain()
    orders = {o["order"] for o in operator.get("/admin/mta-nodes").json()["data"][0]["orders"]}
    assert f"bounce {customer.tenant_id}" in orders
    assert operator.post(f"{path}/reinstate").is_success
    assert operator.post(f"{path}/bounce-queue").status_code == 409
    customer.drain()
    customer.login(row).quit()
