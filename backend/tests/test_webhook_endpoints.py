"""Tenants' servers are told what happened: signed, in order, once each, and again when they fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from app import clock, events
from app.database import outbox
from app.database.models import (
    AuditLog,
    DeliveryState,
    Job,
    JobState,
    Tenant,
    WebhookDelivery,
    WebhookEndpoint,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations.webhook_sender import MAX_ANSWER, WebhookSender
from app.rules import webhooks
from app.services import kill_switch, webhook_delivery
from tests.fixtures.customer import Customer
from tests.fixtures.money import letters

PATH = "/infrastructure/webhook-endpoints"


@dataclass
class Server:
    """A tenant's own: what it was told, and what it answers."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """One after another; 200 when there are no more."""
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        with self.lock:
            self.told.append((headers, body))
            return self.answers.pop(0) if self.answers else 200

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.told]

    @property
    def types(self) -> list[str]:
        return [body["type"] for body in self.bodies]


@pytest.fixture
def server() -> Iterator[Server]:
    mine = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = mine.take({k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(b"x" * 3 * MAX_ANSWER if status == 500 else b"thanks")

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        mine.url = f"http://127.0.0.1:{listening.server_port}/hook"
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield mine
        listening.shutdown()
        thread.join()


def listen(customer: Customer, server: Server, *types: str) -> dict[str, Any]:
    made: dict[str, Any] = customer.post(PATH, url=server.url, event_types=list(types))
    return made


def happen(customer: Customer, count: int = 1) -> None:
    """The plan changes, as far as anybody is told."""
    for _ in range(count):
        with transaction(tenant=ALL_TENANTS) as db:
            outbox.record(db, events.PlanChanged(tenant_id=UUID(customer.tenant_id)))


def patch(customer: Customer, path: str, **body: Any) -> None:
    answer = customer.http.patch(path, json=body)
    assert answer.is_success, answer.text


def deliveries(customer: Customer, endpoint: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = customer.get(f"{PATH}/{endpoint['id']}/deliveries", **query)
    return found


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the library's own check, which would look at the machine's clock."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
    return expected in headers["webhook-signature"].split()


def endpoint_of(customer: Customer, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = customer.get(f"{PATH}/{made['id']}")
    return found


# What is told -----------------------------------------------------------------------------------


def test_a_company_is_told_of_its_domain_and_inboxes(customer: Customer, server: Server) -> None:
    customer.sign_up().add_card()
    made = listen(customer, server)
    domain = customer.buy_domain()
    provision = customer.post("/infrastructure/provision", domain_id=domain["id"], inbox_count=3)
    customer.settle(lambda: "inboxes.provisioned" in server.types, why="all is told")
    assert server.types == ["domain.registered", "domain.active", "inboxes.provisioned"]
    assert [body["sequence"] for body in server.bodies] == [1, 2, 3]
    active, inboxes = server.bodies[1]["data"], server.bodies[2]["data"]
    assert active["domain_name"] == domain["domain_name"]
    assert (inboxes["provision_id"], inboxes["inbox_count"]) == (provision["provision_id"], 3)
    rows = deliveries(customer, made)
    assert [row["state"] for row in rows] == ["delivered"] * 3
    assert rows[0]["id"] == server.told[2][0]["webhook-id"]
    assert rows[0]["tries"][0]["status_code"] == 200
    assert rows[0]["tries"][0]["answer"] == "thanks"


def test_only_the_chosen_events_are_told_and_numbered(signed_in: Customer, server: Server) -> None:
    listen(signed_in, server, "plan.changed")
    other = listen(signed_in, server, "domain.active")
    happen(signed_in, 2)
    signed_in.drain()
    assert [(body["type"], body["sequence"]) for body in server.bodies] == [
        ("plan.changed", 1),
        ("plan.changed", 2),
    ]
    assert deliveries(signed_in, other) == []


def test_what_was_before_the_endpoint_is_not_told(signed_in: Customer, server: Server) -> None:
    happen(signed_in)
    signed_in.drain()
    listen(signed_in, server)
    happen(signed_in)
    signed_in.drain()
    assert server.types == ["plan.changed"]


def test_a_repeated_job_tells_nothing_twice(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    happen(signed_in)
    signed_in.drain()
    for _ in range(2):
        with transaction(tenant=UUID(signed_in.tenant_id)) as db:
            webhook_delivery.publish(UUID(signed_in.tenant_id), db)
    signed_in.drain()
    assert len(server.told) == len(deliveries(signed_in, made)) == 1


# Signatures -------------------------------------------------------------------------------------


def test_a_message_is_signed_as_standard_webhooks_say(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    assert made["secret"].startswith("whsec_")
    assert "secret" not in endpoint_of(signed_in, made)
    signed_in.post(f"{PATH}/{made['id']}/test")
    signed_in.drain()
    ((headers, body),) = server.told
    assert is_signed(made["secret"], headers, body)
    assert not is_signed(made["secret"], headers, body + b" ")
    (told,) = server.bodies
    assert (told["type"], told["id"]) == ("webhook.test", headers["webhook-id"])


def test_for_a_day_two_secrets_sign(signed_in: Customer, server: Server) -> None:
    first = listen(signed_in, server)
    second = signed_in.post(f"{PATH}/{first['id']}/rotate-secret")
    signed_in.post(f"{PATH}/{first['id']}/test")
    signed_in.drain()
    headers, body = server.told[-1]
    for known in (first, second):
        assert is_signed(known["secret"], headers, body)
    signed_in.world.advance(hours=25)
    signed_in.sign_in_again()
    signed_in.post(f"{PATH}/{first['id']}/test", key="later")
    signed_in.drain()
    headers, body = server.told[-1]
    assert is_signed(second["secret"], headers, body)
    assert not is_signed(first["secret"], headers, body)


# Failures ---------------------------------------------------------------------------------------


def test_a_server_that_fails_is_told_everything_in_order(
    signed_in: Customer, server: Server
) -> None:
    made = listen(signed_in, server)
    server.answers = [500, 302]
    happen(signed_in, 3)
    signed_in.drain()
    assert [body["sequence"] for body in server.bodies] == [1]
    assert endpoint_of(signed_in, made)["failing_since"] is not None
    signed_in.world.advance(seconds=6)
    signed_in.drain()
    # A redirect is no success, and nobody went there.
    assert [body["sequence"] for body in server.bodies] == [1, 1]
    signed_in.world.advance(seconds=360)
    signed_in.drain()
    assert [body["sequence"] for body in server.bodies] == [1, 1, 1, 2, 3]
    assert len({headers["webhook-id"] for headers, _ in server.told}) == 3
    oldest = deliveries(signed_in, made)[-1]
    assert [one["status_code"] for one in oldest["tries"]] == [500, 302, 200]
    assert len(oldest["tries"][0]["answer"]) == MAX_ANSWER
    assert endpoint_of(signed_in, made)["failing_since"] is None


def test_after_the_ladder_a_message_is_given_up_and_can_be_replayed(
    signed_in: Customer, server: Server
) -> None:
    made = listen(signed_in, server)
    server.answers = [503] * (len(webhooks.LADDER) + 1)
    happen(signed_in, 2)
    signed_in.drain()
    for wait in webhooks.LADDER:
        signed_in.world.advance(seconds=wait.total_seconds() + 1)
        signed_in.drain()
    # The second was held back by the first until it was given up, and shows the gap.
    assert [body["sequence"] for body in server.bodies] == [1] * 8 + [2]
    signed_in.sign_in_again()
    (lost,) = deliveries(signed_in, made, state="given_up")
    assert signed_in.post(f"{PATH}/{made['id']}/replay", sequences=[]) == {"queued": 1}
    signed_in.drain()
    assert server.bodies[-1]["id"] == lost["id"]
    assert deliveries(signed_in, made, state="given_up") == []


def test_gone_disables_and_writes_a_letter(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    server.answers = [410]
    happen(signed_in, 2)
    signed_in.drain()
    shown = endpoint_of(signed_in, made)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "It answered 410 Gone.")
    assert "A webhook endpoint was switched off" in letters(signed_in)
    happen(signed_in)
    signed_in.drain()
    assert len(server.told) == 1
    # Woken up, it is told what waited, and not what happened while it was off.
    patch(signed_in, f"{PATH}/{made['id']}", status="active")
    signed_in.world.advance(seconds=6)
    signed_in.drain()
    assert [body["sequence"] for body in server.bodies] == [1, 1, 2]
    happen(signed_in)
    signed_in.drain()
    assert server.bodies[-1]["sequence"] == 3


def test_five_days_of_nothing_good_disable(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    server.answers = [500] * 2
    happen(signed_in)
    signed_in.drain()
    signed_in.world.advance(days=5, hours=1)
    signed_in.drain()
    signed_in.sign_in_again()
    assert endpoint_of(signed_in, made)["status"] == "disabled"


def test_what_happens_in_a_pause_is_told_after_it(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    patch(signed_in, f"{PATH}/{made['id']}", status="paused")
    assert signed_in.try_post(f"{PATH}/{made['id']}/test").status_code == 409
    happen(signed_in, 2)
    signed_in.drain()
    assert server.told == []
    patch(signed_in, f"{PATH}/{made['id']}", status="active")
    signed_in.drain()
    assert [body["sequence"] for body in server.bodies] == [1, 2]


def test_a_suspended_tenant_is_told_afterwards(signed_in: Customer, server: Server) -> None:
    listen(signed_in, server)
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(signed_in.tenant_id))
        kill_switch.turn_on(tenant, "terms_violation", db)
    happen(signed_in)
    signed_in.drain()
    assert server.told == []
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, UUID(signed_in.tenant_id)), db)
    signed_in.drain()
    assert server.types == ["plan.changed", "account.reinstated"]


def test_a_worker_that_dies_after_the_answer_tells_the_same_again(
    signed_in: Customer, server: Server
) -> None:
    made = listen(signed_in, server)
    happen(signed_in)
    with transaction(tenant=UUID(signed_in.tenant_id)) as db:
        webhook_delivery.publish(UUID(signed_in.tenant_id), db)
    with pytest.raises(KeyboardInterrupt), transaction(tenant=UUID(signed_in.tenant_id)) as db:
        webhook_delivery.deliver(UUID(made["id"]), db)
        raise KeyboardInterrupt
    assert len(server.told) == 1
    signed_in.drain(due_too=True)
    assert len(server.told) == 2
    assert server.told[0][0]["webhook-id"] == server.told[1][0]["webhook-id"]
    assert [row["state"] for row in deliveries(signed_in, made)] == ["delivered"]


def test_one_job_is_at_work_however_much_happens(signed_in: Customer, server: Server) -> None:
    listen(signed_in, server)
    server.answers = [500]
    for _ in range(5):
        happen(signed_in, 2)
        signed_in.drain()
    with transaction(tenant=ALL_TENANTS) as db:
        due = select(Job).where(Job.task == "webhooks.deliver", Job.state == JobState.WAITING)
        assert len(db.scalars(due).all()) == 1
        waiting = select(WebhookDelivery).where(WebhookDelivery.state == DeliveryState.WAITING)
        assert len(db.scalars(waiting).all()) == 10


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.com/x",
        "https://user:pass@hooks.example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[::1]/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com:0/",
        "https://exämple.com/",
        "not a url",
    ],
)
def test_an_address_that_cannot_be_called_is_refused(signed_in: Customer, url: str) -> None:
    answer = signed_in.try_post(PATH, url=url)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")


def test_there_are_ten_at_most(signed_in: Customer) -> None:
    for number in range(webhooks.MAX_ENDPOINTS):
        signed_in.post(PATH, url=f"https://hooks.example.com/{number}")
    assert signed_in.try_post(PATH, url="https://hooks.example.com/more").status_code == 409


def test_another_tenants_endpoint_does_not_exist(
    signed_in: Customer, other: Customer, server: Server
) -> None:
    made = listen(signed_in, server)
    assert other.http.get(f"{PATH}/{made['id']}/deliveries").status_code == 404
    mine = listen(other, server)
    signed_in.post(f"{PATH}/{made['id']}/test")
    signed_in.drain()
    (row,) = deliveries(signed_in, made)
    answer = other.try_post(f"{PATH}/{mine['id']}/replay", sequences=[row["sequence"] + 1])
    assert answer.status_code == 404


def test_changes_are_in_the_trail_without_the_secret(signed_in: Customer, server: Server) -> None:
    made = listen(signed_in, server)
    patch(signed_in, f"{PATH}/{made['id']}", description="ours")
    signed_in.post(f"{PATH}/{made['id']}/rotate-secret")
    assert signed_in.http.delete(f"{PATH}/{made['id']}").status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(AuditLog).where(AuditLog.resource_type == "webhook_endpoint"))
        actions = [(row.action, json.dumps(row.changes)) for row in rows]
        assert db.scalars(select(WebhookEndpoint)).all() == []
    assert sorted(action for action, _ in actions) == [
        "webhook_endpoint_changed",
        "webhook_endpoint_created",
        "webhook_endpoint_removed",
        "webhook_secret_rotated",
    ]
    assert not any(made["secret"] in changes for _, changes in actions)


# The sender -------------------------------------------------------------------------------------


def test_without_leave_nothing_private_is_called(server: Server) -> None:
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        answer = WebhookSender().post(url, b"{}", {})
        assert answer.status_code is None
        assert "not on the public net" in answer.text
    assert server.told == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/", "gopher://x/"])
def test_a_server_that_is_not_there_is_an_answer(url: str) -> None:
    answer = WebhookSender(allowed=[webhooks.ip_network("127.0.0.0/8")]).post(url, b"", {})
    assert answer.status_code is None
    assert answer.text


def test_old_deliveries_are_forgotten_and_waiting_ones_kept(
    signed_in: Customer, server: Server
) -> None:
    from app.database.queries import webhooks as queries

    made = listen(signed_in, server)
    server.answers = [200, 500]
    happen(signed_in, 2)
    signed_in.drain()
    with transaction(tenant=ALL_TENANTS) as db:
        queries.forget(db, clock.now() + timedelta(seconds=1))
    assert [row["state"] for row in deliveries(signed_in, made)] == ["waiting"]
