"""Complaints and bounces: what counts, whom it silences, and whom it stops."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from redis import Redis
from sqlalchemy import delete, select

from app import clock, events
from app.database import outbox
from app.database.models import (
    AuditLog,
    BillingNotice,
    Complaint,
    Decision,
    DeliveryEvent,
    Inbox,
    InboxStatus,
    Suppression,
    Tenant,
    TenantDay,
)
from app.database.session import ALL_TENANTS, transaction
from app.rules import abuse, suspensions, traces
from app.services import kill_switch
from tests.fixtures.customer import Customer
from tests.fixtures.money import alerts
from tests.fixtures.world import SECRET, Running, eventually

FBL = "fbl@fbl.mta.inboxgrove.test"


class Sender:
    """A tenant's inbox, and what a relay node tells about its mail."""

    def __init__(self, owner: Customer, inbox: dict[str, Any]) -> None:
        self.owner, self.api_url = owner, owner.world.api_url
        self.inbox, self.tenant = UUID(inbox["id"]), UUID(owner.tenant_id)
        self.domain = inbox["full_email"].partition("@")[2]

    def tell(self, kind: str, recipient: str, **more: Any) -> dict[str, Any]:
        at = more.pop("at", None) or clock.now()
        meta = {"tenant": str(self.tenant), "x_inbox": str(self.inbox), **more.pop("meta", {})}
        record = {
            "type": kind,
            "id": uuid4().hex,
            "recipient": recipient,
            "event_time": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "timestamp": int(at.timestamp()),
            "nodeid": "node-1",
            "response": {"code": 250, "content": "OK"},
            "meta": meta,
            **more,
        }
        self.post(record)
        return record

    def post(self, record: dict[str, Any]) -> None:
        answer = httpx.post(
            f"{self.api_url}/webhooks/kumomta",
            json={"records": [{"event_id": uuid4().hex, "node": "node-1", "record": record}]},
            headers={"Authorization": f"Bearer {SECRET}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text

    def send(self, recipient: str, at: datetime | None = None) -> str:
        """Hand a message in; its trace."""
        spool_id = uuid4().hex
        trace = traces.make(SECRET, self.inbox, spool_id)
        self.tell("Reception", recipient, id=spool_id, at=at, meta={"x_trace": trace})
        return trace

    def complain(
        self, trace: str, reporter: str = "fbl.gmail.test", kind: str = "abuse", **more: Any
    ) -> dict[str, Any]:
        meta = {"x_trace": trace, "x_reporter": reporter}
        report = {"feedback_type": kind}
        return self.tell("Feedback", FBL, meta=meta, feedback_report=report, **more)

    def check(self) -> None:
        """What the calendar does every few minutes."""
        with transaction(tenant=ALL_TENANTS) as db:
            outbox.record(db, events.AbuseCheckDue())
        self.owner.drain()


@pytest.fixture
def sender(paying: Customer, own_domain: Callable[..., str]) -> Sender:
    made = paying.post("/infrastructure/provision", domain_id=own_domain(paying), inbox_count=1)
    paying.drain()
    return Sender(paying, made["inboxes"][0])


def complaints() -> list[tuple[str, bool, str | None]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(Complaint).order_by(Complaint.id))
        return [(row.recipient, row.verified, row.why_not) for row in rows]


def suppressed() -> dict[str, str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return {row.target: row.reason for row in db.scalars(select(Suppression))}


def decisions() -> list[Decision]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(Decision).order_by(Decision.id)))


def stopped(tenant_id: UUID) -> bool:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Tenant, tenant_id).is_suspended


def test_a_verified_complaint_suppresses_its_recipient(sender: Sender, redis: Redis) -> None:
    trace = sender.send("Bob@gmail.test")
    sender.complain(trace)
    assert complaints() == [("bob@gmail.test", True, None)]
    assert suppressed() == {"bob@gmail.test": "complaint"}
    assert redis.smembers(f"ig:suppressed:{sender.tenant}") == {"bob@gmail.test"}
    with transaction(tenant=ALL_TENANTS) as db:
        actions = db.scalars(select(AuditLog.action).order_by(AuditLog.seq)).all()
    assert actions[-2:] == ["complaint_recorded", "suppressions_added"]
    listed = sender.owner.get("/analytics/complaints")
    assert [(row["recipient"], row["verified"]) for row in listed] == [("bob@gmail.test", True)]


def test_what_does_not_count(sender: Sender) -> None:
    old = sender.send("bob@gmail.test", clock.now() - timedelta(days=31))
    own = sender.send(f"bob@{sender.domain}")
    other = sender.send("eve@gmail.test")
    sender.complain(old)
    sender.complain(own)
    sender.complain(other, reporter="evil.test")
    sender.complain(other, reporter="")
    sender.complain(other, kind="not-spam")
    sender.complain(traces.make("another-key", sender.inbox, "x"))
    sender.complain(traces.make(SECRET, uuid4(), "x"))
    sender.complain("nonsense")
    assert complaints() == [
        ("", False, "no_such_message"),
        (f"bob@{sender.domain}", False, "own_domain"),
        ("eve@gmail.test", False, "reporter_not_enrolled"),
    ]
    assert suppressed() == {}
    # The forged report does not stand in the way of the true one.
    sender.complain(other)
    assert complaints()[2] == ("eve@gmail.test", True, None)
    assert suppressed() == {"eve@gmail.test": "complaint"}


def test_nobody_complains_for_another_tenant(sender: Sender, other: Customer) -> None:
    trace = sender.send("bob@gmail.test")
    sender.tell(
        "Feedback",
        FBL,
        meta={"x_trace": trace, "x_reporter": "gmail.test", "tenant": other.tenant_id},
        feedback_report={"feedback_type": "abuse"},
    )
    assert complaints() == []
    assert other.get("/analytics/complaints") == []


def test_a_report_may_be_faster_than_the_record_of_its_message(sender: Sender) -> None:
    spool_id = uuid4().hex
    trace = traces.make(SECRET, sender.inbox, spool_id)
    # On its way the token lost its dot.
    sender.complain(trace.replace(".", ""))
    assert complaints() == [("", False, "no_such_message")]
    sender.check()
    assert complaints() == [("", False, "no_such_message")]
    sender.tell("Reception", "bob@gmail.test", id=spool_id, meta={"x_trace": trace})
    sender.check()
    assert complaints() == [("bob@gmail.test", True, None)]
    assert suppressed() == {"bob@gmail.test": "complaint"}
    assert sender.owner.get("/analytics/complaints")[0]["feedback_type"] == "abuse"


def test_who_mails_people_who_do_not_exist_loses_the_inbox(sender: Sender, redis: Redis) -> None:
    for number in range(20):
        sender.send(f"guess{number}@corp.test")
    for number in range(5):
        bounce(sender, f"guess{number}@corp.test", "InvalidRecipient")
    (warning,) = decisions()
    assert (warning.action, warning.inbox_id) == ("warn", sender.inbox)
    with transaction(tenant=ALL_TENANTS) as db:
        (notice,) = db.scalars(select(BillingNotice)).all()
        assert (notice.kind, notice.details["note"]) == ("warned", warning.note)
    for number in range(5, 10):
        bounce(sender, f"guess{number}@corp.test", "InvalidRecipient")
    assert [(d.action, d.inbox_id) for d in decisions()] == [
        ("warn", sender.inbox),
        ("pause", sender.inbox),
    ]
    assert decisions()[1].evidence["unknown_users"] == 10
    assert not stopped(sender.tenant)
    sender.owner.drain()
    with transaction(tenant=ALL_TENANTS) as db:
        inbox = db.get_one(Inbox, sender.inbox)
        assert inbox.status == InboxStatus.PAUSED
        assert redis.hget(f"ig:inbox:{inbox.username}", "status") == "paused"
    # Its owner looks at the list and resumes it; what was judged is not judged again.
    sender.owner.ok(
        sender.owner.http.patch(
            f"/infrastructure/inboxes/{sender.inbox}", json={"status": "active"}
        )
    )
    bounce(sender, "guess11@corp.test", "InvalidRecipient")
    assert len(decisions()) == 2


def test_ten_people_stop_a_tenant_and_one_person_ten_times_does_not(sender: Sender) -> None:
    for _ in range(12):
        sender.complain(sender.send("bob@gmail.test"))
    for number in range(8):
        record = sender.complain(sender.send(f"user{number}@gmail.test"))
        sender.post(record)
        sender.complain(record["meta"]["x_trace"])
    assert not stopped(sender.tenant)
    sender.complain(sender.send("last@gmail.test"))
    assert stopped(sender.tenant)
    (decision,) = decisions()
    assert (decision.action, decision.reason) == ("suspend", "spam_complaint")
    assert alerts() == ["tenant_stopped"]
    assert decision.rule_version == suspensions.VERSION
    assert decision.evidence["rule"] == "complaints"
    assert decision.evidence["complainers_long"] == 10
    listed = sender.owner.get("/decisions")[0]["evidence"]["complaints"]
    assert len(listed) == 21
    assert decision.note == "10 recipients reported your mail as spam within 30 days."


def test_what_was_forgiven_does_not_count_again(sender: Sender) -> None:
    for number in range(10):
        sender.complain(sender.send(f"user{number}@gmail.test"))
    assert stopped(sender.tenant)
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, sender.tenant), db)
    sender.complain(sender.send("late@gmail.test"))
    assert not stopped(sender.tenant)


def bounce(sender: Sender, recipient: str, label: str, code: int = 550, **more: Any) -> None:
    response = {"code": code, "content": more.pop("words", "no"), "command": None}
    kind = more.pop("kind", "Bounce")
    sender.tell(kind, recipient, response=response, bounce_classification=label, **more)


def test_hard_bounces_suppress_and_others_do_not(sender: Sender, redis: Redis) -> None:
    bounce(sender, "Gone@corp.test", "InvalidRecipient")
    bounce(sender, "full@corp.test", "QuotaIssues", 552)
    bounce(sender, "spam@corp.test", "SpamBlock", 554)
    # The receiver's words count for more than the label.
    bounce(sender, "blocked@corp.test", "InvalidRecipient", 550, words="5.7.1 blocked using dnsbl")
    bounce(sender, "killed@corp.test", "InvalidRecipient", kind="AdminBounce")
    assert suppressed() == {"gone@corp.test": "hard_bounce"}
    assert redis.smembers(f"ig:suppressed:{sender.tenant}") == {"gone@corp.test"}


def test_a_bounce_by_mail_speaks_for_its_own_recipient_only(sender: Sender) -> None:
    meta = {"x_trace": sender.send("bob@corp.test")}
    bounce(sender, "victim@corp.test", "InvalidRecipient", kind="OOB", meta=meta)
    bounce(sender, "bob@corp.test", "InvalidRecipient", kind="OOB", meta={"x_trace": "made-up"})
    assert suppressed() == {}
    bounce(sender, "bob@corp.test", "InvalidRecipient", kind="OOB", meta=meta)
    assert suppressed() == {"bob@corp.test": "hard_bounce"}


def record_days(sender: Sender, **counts: int) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.execute(delete(TenantDay))
        db.add(
            TenantDay(
                tenant_id=sender.tenant,
                day=clock.now().date() - timedelta(days=6),
                **counts,
            )
        )
    sender.check()


def test_rates_warn_once_and_then_stop(sender: Sender) -> None:
    record_days(sender, accepted=99, hard_bounced=99)
    # What a receiver's outage or a block of a shared address brings speaks against nobody.
    record_days(sender, accepted=100, bounced=100, soft_bounced=60, blocked=40)
    assert decisions() == []
    record_days(sender, accepted=100, hard_bounced=4)
    record_days(sender, accepted=100, hard_bounced=4, unknown_users=1)
    (warning,) = decisions()
    assert (warning.action, warning.reason) == ("warn", "terms_violation")
    assert (warning.evidence["bounced"], warning.evidence["sent"]) == (4, 100)
    assert not stopped(sender.tenant)
    record_days(sender, accepted=100, hard_bounced=2, unknown_users=6)
    assert stopped(sender.tenant)
    evidence = decisions()[1].evidence
    assert evidence["thresholds"]["bounce_rate"] == 0.08
    again = abuse.judge(abuse.Signals.of_evidence(evidence))
    assert again is not None
    assert again.evidence() == evidence
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, sender.tenant), db)
    record_days(sender, accepted=100, hard_bounced=2, unknown_users=6)
    assert not stopped(sender.tenant)


# Through real sockets ---------------------------------------------------------------------------


def forge(world: Running, token: str, recipient: str) -> None:
    """A complaint that anybody could write who has seen the mail."""
    report = (
        f"From: <abuse@gmail.test>\r\nTo: <{FBL}>\r\nSubject: FW: spam\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSpam.\r\n"
        "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        "Feedback-Type: abuse\r\nUser-Agent: Forger/1.0\r\nVersion: 1\r\n"
        f"Original-Rcpt-To: <{recipient}>\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"{traces.HEADER}: {token}\r\n\r\n--b--\r\n"
    )
    with smtplib.SMTP("127.0.0.1", world.world.ports["inbound"], timeout=20) as client:
        client.sendmail("abuse@forger.test", [FBL], report.encode())


def press_spam(world: Running, message_id: str) -> None:
    answer = httpx.post(
        f"{world.sandbox_url}/control/mail/complain", json={"message_id": message_id}, timeout=20
    )
    assert answer.status_code == 202, answer.text


def refused_at_rcpt(customer: Customer, row: dict[str, str], recipient: str) -> bool:
    with customer.login(row) as session:
        assert session.mail(row["email"])[0] == 250
        code, text = session.rcpt(recipient)
        assert code == 250 or b"suppression list" in text
        return code == 550


def token_of(world: Running, mail: dict[str, Any]) -> str:
    """The trace in a mail that somebody received."""
    url = f"{world.sandbox_url}/mail/messages/{mail['id']}"
    raw = httpx.get(url, timeout=20).json()["raw"]
    (token,) = [
        line.partition(": ")[2].strip()
        for line in raw.splitlines()
        if line.startswith(traces.HEADER)
    ]
    return str(token)


def test_the_very_next_mail_is_refused(customer: Customer, world: Running) -> None:
    customer.sign_up().add_card()
    (row,) = customer.provision(customer.buy_domain()["id"], 1)
    for recipient in ("bob@gmail.test", "bounce@corp.test"):
        customer.send(row, recipient, f"hello {customer.tag}")
    # A bounce on the wire.
    eventually(lambda: refused_at_rcpt(customer, row, "bounce@corp.test"), within=30, why="refused")
    # The relay knows a moment before the row that it is about is committed.
    eventually(lambda: suppressed() == {"bounce@corp.test": "hard_bounce"}, within=30)
    # A complaint, and nothing is waited for: when our answer is there, the relay refuses.
    (mail,) = eventually(lambda: customer.received(f"hello {customer.tag}"), within=30)
    token = token_of(world, mail)
    eventually(lambda: is_recorded(token), within=30, why="the relay reported the message")
    assert not refused_at_rcpt(customer, row, "bob@gmail.test")
    (inbox,) = customer.get("/infrastructure/inboxes")
    Sender(customer, inbox).complain(token)
    assert refused_at_rcpt(customer, row, "bob@gmail.test")


def is_recorded(token: str) -> bool:
    with transaction(tenant=ALL_TENANTS) as db:
        found = select(DeliveryEvent.id).where(
            DeliveryEvent.trace == token, DeliveryEvent.event_type == "Reception"
        )
        return db.scalar(found) is not None


def test_forged_reports_do_nothing_and_true_ones_silence_and_stop(
    customer: Customer, world: Running
) -> None:
    customer.sign_up().add_card()
    # The first inbox sends all that it may in an hour; suppressions hold for the tenant.
    row, another = customer.provision(customer.buy_domain()["id"], 2)
    people = [f"person{number}@gmail.test" for number in range(10)]
    for person in people:
        customer.send(row, person, f"offer {customer.tag}")
    mails = eventually(
        lambda: (m := customer.received(f"offer {customer.tag}")) and len(m) == 10 and m, within=30
    )
    for mail in mails:
        forge(world, token_of(world, mail), mail["rcpt_to"])
    eventually(lambda: len(complaints()) == 10, within=30, why="forged reports are kept")
    assert {(verified, why) for _, verified, why in complaints()} == {
        (False, "reporter_not_enrolled")
    }
    assert suppressed() == {}
    assert decisions() == []

    press_spam(world, mails[0]["id"])
    victim = mails[0]["rcpt_to"]
    eventually(lambda: refused_at_rcpt(customer, another, victim), within=30, why="refused")
    assert not refused_at_rcpt(customer, another, mails[1]["rcpt_to"])

    for mail in mails[1:]:
        press_spam(world, mail["id"])
    eventually(
        lambda: stopped(UUID(customer.tenant_id)), within=30, why="ten complaints stop the tenant"
    )
    customer.drain()
    (decision,) = decisions()
    assert (decision.reason, decision.evidence["complainers_long"]) == ("spam_complaint", 10)

    def locked_out() -> bool:
        try:
            customer.login(row).close()
        except smtplib.SMTPException:
            return True
        return False

    eventually(locked_out, within=30, why="the relay refuses the tenant")
