"""Reports from other hosts: complaints and bounces that come by mail."""

from __future__ import annotations

import asyncio
import base64
import re
from uuid import UUID

import dkim
from cryptography.hazmat.primitives import serialization

from app.rules import traces
from tests.sandbox.kumomta.plane import (
    ANNA,
    BOB,
    INBOX,
    TENANT,
    TRACE_KEY,
    Client,
    Delivered,
    Plane,
    dkim_key,
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


def dsn(recipient: str, original: str = "") -> str:
    return (
        f"From: <mailer-daemon@corp.test>\r\nTo: <{recipient}>\r\nSubject: failed\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.corp.test\r\n\r\n"
        f"Final-Recipient: rfc822; {BOB}\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        "Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + original + "\r\n--b--\r\n"
    )


async def delivered(plane: Plane) -> Delivered:
    await asyncio.to_thread(send, plane.port)
    found: list[Delivered] = await eventually(lambda: plane.receiver.to(BOB))
    return found[-1]


async def report(plane: Plane, recipient: str, content: str) -> int:
    port = plane.world.ports["inbound"]
    code, _ = await asyncio.to_thread(hand_in, port, "", recipient, content)
    return code


def token_of(mail: Delivered) -> str:
    (found,) = re.findall(rb"(?m)^X-InboxGrove-Trace: (\S+)\r$", mail.content)
    token: str = found.decode()
    return token


async def test_every_mail_carries_its_trace_in_header_return_path_and_records(
    plane: Plane,
) -> None:
    sent = await delivered(plane)
    token = token_of(sent)
    assert traces.read(TRACE_KEY, token) == UUID(INBOX)
    assert sent.sender == traces.return_path(token, "mta.inboxgrove.test")
    (reception,) = await eventually(lambda: plane.control_plane.of("Reception"))
    (delivery,) = await eventually(lambda: plane.control_plane.of("Delivery"))
    assert token == traces.make(TRACE_KEY, UUID(INBOX), reception["id"])
    assert reception["meta"]["x_trace"] == delivery["meta"]["x_trace"] == token
    # Neither the tenant nor the inbox can be read from the mail.
    assert TENANT.encode() not in sent.content
    assert INBOX.encode() not in sent.content
    (feedback_id,) = re.findall(rb"(?m)^Feedback-ID: (\S+)\r$", sent.content)
    assert re.fullmatch(rb"([a-z2-7]{16}:){3}inboxgrove", feedback_id)
    signed = re.search(rb"h=([^;]*);", sent.content.replace(b"\r\n\t", b""))
    assert signed is not None
    assert b"x-inboxgrove-trace" in signed[1].lower()


async def test_each_message_of_a_transaction_has_its_own_trace(plane: Plane) -> None:
    def attempt() -> None:
        with Client(plane.port) as client:
            recipients = [BOB, "eve@corp.test"]
            client.secure().login().smtp.sendmail(ANNA, recipients, mail().as_bytes())

    await asyncio.to_thread(attempt)
    await eventually(lambda: len(plane.receiver.mails) == 2)
    assert len({token_of(mail) for mail in plane.receiver.mails}) == 2


async def test_a_trace_that_the_author_wrote_is_taken_out(plane: Plane) -> None:
    message = mail()
    message["X-InboxGrove-Trace"] = "somebody.elses"
    message["Feedback-ID"] = "a:b:c:d"
    await asyncio.to_thread(send, plane.port, message)
    content = (await eventually(lambda: plane.receiver.to(BOB)))[0].content
    assert b"somebody.elses" not in content
    assert b"a:b:c:d" not in content


async def test_a_complaint_finds_its_way_back_to_the_inbox(plane: Plane) -> None:
    original = await delivered(plane)
    assert await report(plane, FBL, complaint(original.content.decode())) == 250
    (record,) = await eventually(lambda: plane.control_plane.of("Feedback"))
    feedback = record["feedback_report"]
    assert feedback["feedback_type"] == "abuse"
    assert feedback["original_rcpto_to"] == [f"<{BOB}>"]
    assert feedback["reported_domain"] == ["acme.test"]
    assert record["meta"] == {
        "tenant": TENANT, "x_inbox": INBOX, "x_trace": token_of(original), "x_reporter": "",
    }  # fmt: skip
    assert len(plane.control_plane.of("Reception")) == 1
    assert len(plane.receiver.mails) == 1


async def test_the_record_names_the_domains_that_proved_to_have_sent_the_report(
    plane: Plane,
) -> None:
    content = complaint((await delivered(plane)).content.decode()).encode()
    key = dkim_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signature = dkim.sign(content, b"fbl", b"reporter.test", key, include_headers=[b"From"])
    for sender, text, status in (
        ("fbl@feedback.yahoo.test", content, 250),
        ("fbl@elsewhere.test", signature + content, 250),
        ("fbl@feedback.yahoo.test", signature + content, 250),
        # One changed letter of the body.
        ("", signature + content.replace(b"a complaint", b"A complaint"), 250),
        # Nobody can say now whether it may; it comes again.
        ("fbl@dark.test", content, 451),
    ):
        port = plane.world.ports["inbound"]
        code, _ = await asyncio.to_thread(hand_in, port, sender, FBL, text.decode())
        assert code == status
    records = await eventually(
        lambda: (found := plane.control_plane.of("Feedback")) and len(found) == 4 and found
    )
    assert [record["meta"]["x_reporter"] for record in records] == [
        "feedback.yahoo.test", "reporter.test", "reporter.test feedback.yahoo.test", "",
    ]  # fmt: skip


async def test_a_made_up_complaint_is_nobodys(plane: Plane) -> None:
    original = await delivered(plane)
    token = token_of(original)
    forged = "b" if token[0] != "b" else "c"
    public = base64.b64encode(
        b'{"_@_":"\\\\_/","recipient":"x@y.test","tenant":"%s","x_inbox":"%s"}'
        % (TENANT.encode(), INBOX.encode())
    ).decode()
    content = f"X-InboxGrove-Trace: {forged}{token[1:]}\r\nX-KumoRef: {public}\r\n\r\nHi\r\n"
    assert await report(plane, FBL, complaint(content)) == 250
    (record,) = await eventually(lambda: plane.control_plane.of("Feedback"))
    assert "meta" not in record
    assert "supplemental_trace" not in record["feedback_report"]


async def test_a_bounce_message_to_the_return_path_names_inbox_and_message(plane: Plane) -> None:
    original = await delivered(plane)
    assert await report(plane, original.sender, dsn(original.sender)) == 250
    (record,) = await eventually(lambda: plane.control_plane.of("OOB"))
    assert (record["sender"], record["recipient"]) == (original.sender, BOB)
    assert record["response"]["code"] == 552
    assert record["bounce_classification"] == "QuotaIssues"
    assert record["meta"] == {
        "tenant": TENANT, "x_inbox": INBOX, "x_trace": token_of(original),
    }  # fmt: skip
    # The report itself is not mail of the tenant.
    mails = [r for r in plane.control_plane.of("Reception") if "tenant" in r["meta"]]
    assert len(mails) == 1
    assert len(plane.receiver.mails) == 1


async def test_a_bounce_message_to_the_author_is_tied_by_the_headers_it_quotes(
    plane: Plane,
) -> None:
    original = await delivered(plane)
    assert await report(plane, ANNA, dsn(ANNA, original.content.decode())) == 250
    (record,) = await eventually(lambda: plane.control_plane.of("OOB"))
    assert record["meta"]["x_trace"] == token_of(original)


async def test_nobody_can_guess_a_return_path(plane: Plane) -> None:
    token = traces.make("another-key", UUID(INBOX), "x")
    address = traces.return_path(token, "mta.inboxgrove.test")
    assert await report(plane, address, dsn(address)) == 550


async def test_a_report_waits_at_its_sender_until_its_owner_can_be_told(plane: Plane) -> None:
    original = await delivered(plane)
    owners, plane.control_plane.owners = plane.control_plane.owners, {}
    plane.control_plane.broken = True
    assert await report(plane, original.sender, dsn(original.sender)) == 451
    assert plane.control_plane.of("OOB") == []
    plane.control_plane.owners, plane.control_plane.broken = owners, False
    await plane.later(61)
    assert await report(plane, original.sender, dsn(original.sender)) == 250
    await eventually(lambda: plane.control_plane.of("OOB"))


async def test_letters_to_an_inbox_are_refused_not_swallowed(plane: Plane) -> None:
    content = mail("someone@corp.test", ANNA).as_string()
    code, text = await asyncio.to_thread(hand_in, plane.port, "someone@corp.test", ANNA, content)
    assert code == 550
    assert b"delivery reports only" in text
