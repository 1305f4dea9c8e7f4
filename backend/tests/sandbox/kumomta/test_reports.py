"""Reports from other hosts: complaints and bounces that come by mail."""

from __future__ import annotations

import asyncio
import re

from tests.sandbox.kumomta.plane import (
    ANNA,
    BOB,
    INBOX,
    TENANT,
    Client,
    Plane,
    eventually,
    mail,
    send,
)

FBL = "fbl@mta.inboxgrove.test"


def hand_in(port: int, sender: str, recipient: str, content: str) -> tuple[int, bytes]:
    """As another mail host does: no login, maybe no TLS."""
    with Client(port) as client:
        client.smtp.mail(sender)
        code, text = client.smtp.rcpt(recipient)
        if code != 250:
            return code, text
        return client.smtp.data(content.encode())


def complaint(original: str) -> str:
    return (
        "From: <abuse@yahoo.test>\r\nTo: <" + FBL + ">\r\nSubject: FW: Hello\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
        "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        "Feedback-Type: abuse\r\nUser-Agent: Test/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{ANNA}>\r\nOriginal-Rcpt-To: <{BOB}>\r\nReported-Domain: acme.test\r\n"
        "Source-IP: 127.0.0.1\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\n" + original + "\r\n--b--\r\n"
    )


async def test_a_complaint_finds_its_way_back_to_the_inbox(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    delivered = (await eventually(lambda: plane.receiver.to(BOB)))[0]
    report = complaint(delivered.content.decode())
    code, _ = await asyncio.to_thread(hand_in, plane.world.ports["inbound"], "", FBL, report)
    assert code == 250
    (record,) = await eventually(lambda: plane.control_plane.of("Feedback"))
    feedback = record["feedback_report"]
    assert feedback["feedback_type"] == "abuse"
    assert feedback["original_rcpto_to"] == [f"<{BOB}>"]
    assert feedback["reported_domain"] == ["acme.test"]
    assert feedback["supplemental_trace"] == {
        "recipient": BOB, "tenant": TENANT, "x_inbox": INBOX,
    }  # fmt: skip
    assert len(plane.control_plane.of("Reception")) == 1
    assert len(plane.receiver.mails) == 1


async def test_a_bounce_message_is_logged_and_dropped(plane: Plane) -> None:
    content = (
        f"From: <mailer-daemon@corp.test>\r\nTo: <{ANNA}>\r\nSubject: failed\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.corp.test\r\n\r\n"
        f"Final-Recipient: rfc822; {BOB}\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        "Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n\r\n--b--\r\n"
    )
    code, _ = await asyncio.to_thread(hand_in, plane.world.ports["inbound"], "", ANNA, content)
    assert code == 250
    (record,) = await eventually(lambda: plane.control_plane.of("OOB"))
    assert (record["sender"], record["recipient"]) == (ANNA, BOB)
    assert record["response"]["code"] == 552
    assert record["bounce_classification"] == "QuotaIssues"
    assert plane.receiver.mails == []


async def test_letters_to_an_inbox_are_refused_not_swallowed(plane: Plane) -> None:
    content = mail("someone@corp.test", ANNA).as_string()
    code, text = await asyncio.to_thread(hand_in, plane.port, "someone@corp.test", ANNA, content)
    assert code == 550
    assert b"delivery reports only" in text


async def test_the_trace_header_holds_ids_only(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    content = (await eventually(lambda: plane.receiver.to(BOB)))[0].content
    assert len(re.findall(rb"(?m)^X-KumoRef:", content)) == 1
