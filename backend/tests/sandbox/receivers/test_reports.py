"""Complaints and late bounces on their way back, over real SMTP."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from .conftest import Names, Side, letter


@dataclass
class Relay:
    """The sender's own listener for reports, as the relay has one."""

    answer: str = "250 OK"
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        raw = envelope.original_content or b""
        self.taken.append((str(envelope.mail_from), list(envelope.rcpt_tos), raw))
        return self.answer

    def report(self) -> EmailMessage:
        ((_, _, raw),) = self.taken
        parsed = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@pytest.fixture
async def relay(side: Side, names: Names) -> AsyncIterator[Relay]:
    relay = Relay()
    loop = asyncio.get_running_loop()
    connections: list[SMTP] = []

    def protocol() -> SMTP:
        connections.append(SMTP(relay, loop=loop, hostname="relay"))
        return connections[-1]

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    side.world.ports["inbound"] = server.sockets[0].getsockname()[1]
    names.mx("fbl.mta.inboxgrove.test", "mx1.mta.inboxgrove.test")
    names.mx("bounce.acme.test", "mx1.mta.inboxgrove.test")
    yield relay
    server.close()
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    await asyncio.sleep(0)


async def ticking(side: Side, done: Callable[[], bool]) -> None:
    """Tick as the sandbox does until `done`, for at most ten seconds."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, (await side.http.get("/mail/reports")).text
        await side.part.tick()
        await asyncio.sleep(0.02)


async def reports(side: Side) -> list[dict[str, object]]:
    return list((await side.http.get("/mail/reports")).json()["reports"])


async def test_complaint_is_a_feedback_report(side: Side, relay: Relay) -> None:
    raw = letter(subject="Grüße")
    await side.send(raw, to="complain+7@yahoo.test", sender="b+tok@bounce.acme.test")
    await ticking(side, lambda: bool(relay.taken))
    sender, to, _ = relay.taken[0]
    assert (sender, to) == ("fbl@feedback.yahoo.test", ["fbl@fbl.mta.inboxgrove.test"])
    report = relay.report()
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "feedback-report"
    _, machine, original = list(report.iter_parts())
    assert machine.get_content_type() == "message/feedback-report"
    fields = email.message_from_string(machine.as_string().partition("\n\n")[2])
    assert fields["Feedback-Type"] == "abuse"
    assert fields["Version"] == "1"
    assert fields["Original-Mail-From"] == "<b+tok@bounce.acme.test>"
    assert fields["Original-Rcpt-To"] == "<complain+7@yahoo.test>"
    assert fields["Source-IP"] == "127.0.0.1"
    assert fields["Reported-Domain"] == "acme.test"
    assert original.get_content_type() == "message/rfc822"
    assert raw in relay.taken[0][2]
    # The relay has it before the sender of the report has read its answer.
    async with asyncio.timeout(15):
        while (await reports(side))[0]["status"] != "delivered":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_late_bounce_is_a_delivery_status_notification(side: Side, relay: Relay) -> None:
    await side.send(letter(), to="oob@corp.test", sender="b+tok@bounce.acme.test")
    await ticking(side, lambda: bool(relay.taken))
    assert relay.taken[0][:2] == ("<>", ["b+tok@bounce.acme.test"])
    _, machine, _ = list(relay.report().iter_parts())
    assert machine.get_content_type() == "message/delivery-status"
    whole, recipient = machine.iter_parts()
    assert whole["Reporting-MTA"] == "dns; mx.corp.test"
    assert recipient["Final-Recipient"] == "rfc822; oob@corp.test"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")


async def test_bounces_are_never_bounced(side: Side, relay: Relay) -> None:
    await side.send(letter(), to="oob@corp.test", sender="")
    assert await reports(side) == []


async def test_without_a_relay_the_report_arrives_at_our_own_host(side: Side, names: Names) -> None:
    names.mx("fbl.mta.inboxgrove.test", "mx1.mta.inboxgrove.test")
    await side.send(letter(), to="complain@gmail.test")
    await ticking(side, lambda: len(side.world.store.collection("mail.messages")) == 2)
    newest = (await side.messages())[0]
    assert newest["rcpt_to"] == "fbl@fbl.mta.inboxgrove.test"


async def test_report_waits_while_the_dns_has_no_host(side: Side) -> None:
    await side.send(letter(), to="complain@gmail.test")
    tried = lambda: bool(  # noqa: E731
        next(iter(side.world.store.collection("mail.reports").values()))["detail"]
    )
    await ticking(side, tried)
    (kept,) = await reports(side)
    assert kept["status"] == "waiting"
    assert "no mail host" in str(kept["detail"])
    assert "Feedback-Type: abuse" in str(kept["raw"])


async def test_refused_report_is_given_up_and_deferred_one_retried(
    side: Side, relay: Relay
) -> None:
    relay.answer = "451 4.3.0 later"
    await side.send(letter(), to="complain@gmail.test")
    await ticking(side, lambda: len(relay.taken) == 1)
    relay.answer = "554 5.7.1 no"
    side.world.clock.advance(6)
    await ticking(side, lambda: len(relay.taken) == 2)
    (report,) = side.world.store.collection("mail.reports").values()
    await ticking(side, lambda: report["status"] == "undeliverable")
    assert "5.7.1 no" in report["detail"]


async def test_deliveries_can_be_doubled_delayed_and_dropped(side: Side, relay: Relay) -> None:
    manner = side.world.faults.deliveries("mail")
    manner.duplicate, manner.delay_seconds = 1, 3600
    await side.send(letter(), to="complain@gmail.test")
    await side.part.tick()
    assert [r["status"] for r in await reports(side)] == ["waiting", "waiting"]
    side.world.clock.advance(3601)
    await ticking(side, lambda: len(relay.taken) == 2)
    manner.duplicate, manner.drop = 0, 1.0
    await side.send(letter(), to="complain@gmail.test")
    assert (await reports(side))[0]["status"] == "dropped"


async def test_complaint_by_order(side: Side, relay: Relay) -> None:
    await side.send(letter(), to="bob@gmail.test")
    kept = await side.only()
    for wanted in (kept["id"], kept["message_id"]):
        answer = await side.http.post("/control/mail/complain", json={"message_id": wanted})
        assert answer.status_code == 202
    await ticking(side, lambda: len(relay.taken) == 2)
    unknown = await side.http.post("/control/mail/complain", json={"message_id": "nope"})
    assert unknown.status_code == 404


async def test_hostile_subjects_stay_in_one_line(side: Side, relay: Relay) -> None:
    encoded = "=?utf-8?Q?a=0D=0ABcc:_x@evil.test?="
    await side.send(letter(subject=encoded), to="complain@gmail.test")
    await ticking(side, lambda: bool(relay.taken))
    assert relay.report()["Bcc"] is None
