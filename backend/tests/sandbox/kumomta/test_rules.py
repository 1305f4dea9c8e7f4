"""What a logged-in inbox may send: its own address, to whom, and how much."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage

import pytest

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


def answer_to(port: int, *messages: EmailMessage, **envelope: str) -> list[int]:
    """The code of the answer to each message, in one session; 250 when it was taken."""
    codes = []
    with Client(port) as client:
        client.secure().login()
        for message in messages:
            try:
                client.smtp.send_message(message, from_addr=envelope.get("sender", ANNA))
                codes.append(250)
            except smtplib.SMTPRecipientsRefused as error:
                codes.append(next(iter(error.recipients.values()))[0])
            except smtplib.SMTPResponseException as error:
                codes.append(error.smtp_code)
    return codes


def raw(port: int, content: str, sender: str = ANNA, recipient: str = BOB) -> tuple[int, bytes]:
    """The last answer to a message given as text, or the first refusal."""
    with Client(port) as client:
        smtp = client.secure().login().smtp
        for verb in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
            code, text = smtp.docmd(verb)
            if code >= 400:
                return code, text
        answer: tuple[int, bytes] = smtp.data(content.encode())
        return answer


@pytest.mark.parametrize("sender", ["boss@acme.test", "anna@other.test", ""])
async def test_the_envelope_sender_is_the_inbox(plane: Plane, sender: str) -> None:
    code, text = await asyncio.to_thread(raw, plane.port, "From: x\r\n\r\n", sender)
    assert code == 550
    assert text.startswith(b"5.7.1")


@pytest.mark.parametrize(
    "headers",
    [
        "From: boss@acme.test",
        f"From: {ANNA}, boss@acme.test",
        f"From: {ANNA}\r\nFrom: boss@acme.test",
        f"From: boss@acme.test\r\nFrom: {ANNA}",
        f'From: "{ANNA}" <boss@acme.test>',
        f"From: {ANNA} <boss@acme.test>",
        f"From: group:{ANNA}, boss@acme.test;",
        f"From: {ANNA}\r\nSender: boss@acme.test",
        f"From: {ANNA}\r\nResent-From: boss@acme.test",
        f"From: {ANNA}\r\nResent-Sender: boss@acme.test",
        f"From : {ANNA}\r\nFrom: boss@acme.test",
        "Subject: nobody",
    ],
)
async def test_the_header_sender_is_the_inbox(plane: Plane, headers: str) -> None:
    code, text = await asyncio.to_thread(raw, plane.port, f"{headers}\r\n\r\nHi\r\n")
    assert (code, text[:5]) == (550, b"5.7.1")
    assert plane.redis.keys("ig:q:*") == []


@pytest.mark.parametrize(
    "headers",
    [
        f"From: {ANNA}",
        "From: Anna <ANNA@Acme.Test>",
        "From: =?utf-8?q?Ann=C3=A4?=\r\n <anna@acme.test>",
        f"From: {ANNA}\r\nSender: Anna <{ANNA}>\r\nReply-To: desk@elsewhere.test",
    ],
)
async def test_ordinary_senders_pass(plane: Plane, headers: str) -> None:
    code, text = await asyncio.to_thread(raw, plane.port, f"{headers}\r\n\r\nHi\r\n")
    assert (code, text[:2]) == (250, b"OK")


async def test_blind_copies_stay_blind_and_missing_headers_are_added(plane: Plane) -> None:
    content = f"From: {ANNA}\r\nBcc: secret@corp.test\r\nSubject: x\r\n\r\nHi\r\n"
    await asyncio.to_thread(raw, plane.port, content)
    delivered = (await eventually(lambda: plane.receiver.to(BOB)))[0].content
    assert b"secret@corp.test" not in delivered
    assert b"\r\nDate: " in delivered
    assert b"\r\nMessage-ID: <" in delivered


async def test_suppressed_addresses_and_domains_are_refused_one_by_one(plane: Plane) -> None:
    plane.redis.sadd(f"ig:suppressed:{TENANT}", "gone@corp.test", "@never.test")

    def attempt() -> dict[str, tuple[int, bytes]]:
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            recipients = ["Gone@Corp.test", "anyone@never.test", BOB]
            return smtp.sendmail(ANNA, recipients, mail().as_bytes())

    refused = await asyncio.to_thread(attempt)
    assert {address: answer[0] for address, answer in refused.items()} == {
        "Gone@Corp.test": 550,
        "anyone@never.test": 550,
    }
    await eventually(lambda: plane.receiver.to(BOB))
    assert {mail.recipient for mail in plane.receiver.mails} == {BOB}


async def test_without_a_login_nothing_is_relayed(plane: Plane) -> None:
    def attempt() -> tuple[int, bytes]:
        with Client(plane.port) as client:
            client.secure().smtp.mail(ANNA)
            return client.smtp.rcpt(BOB)

    code, text = await asyncio.to_thread(attempt)
    assert code == 550
    assert b"relaying not permitted" in text


async def test_the_quota_is_exact_under_fifty_parallel_sends(plane: Plane) -> None:
    plane.add_inbox(day_limit=20)
    jobs = (asyncio.to_thread(answer_to, plane.port, mail()) for _ in range(50))
    codes = [code for answers in await asyncio.gather(*jobs) for code in answers]
    assert sorted(codes) == [250] * 20 + [550] * 30
    day = plane.world.clock.now().strftime("%Y%m%d")
    assert plane.redis.get(f"ig:q:{INBOX}:d:{day}") == "20"
    assert 0 < plane.redis.ttl(f"ig:q:{INBOX}:d:{day}") <= 2 * 86400
    await eventually(lambda: len(plane.receiver.mails) == 20, 20)


async def test_recipients_count_and_a_transaction_is_all_or_nothing(plane: Plane) -> None:
    plane.add_inbox(day_limit=4)

    def attempt() -> list[tuple[int, bytes]]:
        answers = []
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            for count in (3, 2, 1):
                smtp.mail(ANNA)
                for n in range(count):
                    smtp.rcpt(f"r{n}@corp.test")
                answers.append(smtp.data(mail().as_bytes()))
            answers.append(smtp.mail(ANNA))
        return answers

    answers = await asyncio.to_thread(attempt)
    assert [code for code, _ in answers] == [250, 550, 250, 550]
    assert answers[1][1].startswith(b"5.4.5 daily sending limit exceeded (4 a day")
    assert answers[3][1].startswith(b"5.4.5 daily")
    month = plane.world.clock.now().strftime("%Y%m")
    assert plane.redis.get(f"ig:q:{INBOX}:m:{month}") == "4"


async def test_the_monthly_limit_is_named(plane: Plane) -> None:
    plane.add_inbox(month_limit=1)
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [250]
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        await asyncio.to_thread(send, plane.port)
    assert b"monthly sending limit exceeded (1 a month" in caught.value.smtp_error


async def test_the_hourly_limit_asks_the_client_to_come_back(plane: Plane) -> None:
    plane.add_inbox(hour_limit=2)
    assert await asyncio.to_thread(answer_to, plane.port, mail(), mail(), mail()) == [250, 250, 450]
    await plane.later(3600)
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [250]


async def test_each_recipient_domain_has_a_limit_of_its_own(plane: Plane) -> None:
    plane.add_inbox(domain_limit=2)
    recipients = [BOB, "Eve@CORP.test", "carl@corp.test", "dora@other.test"]
    messages = [mail(recipient=recipient) for recipient in recipients]
    codes = await asyncio.to_thread(answer_to, plane.port, *messages)
    assert codes == [250, 250, 550, 250]
    day = plane.world.clock.now().strftime("%Y%m%d")
    assert plane.redis.hgetall(f"ig:q:{INBOX}:r:{day}") == {"corp.test": "2", "other.test": "1"}
    assert plane.redis.get(f"ig:q:{INBOX}:d:{day}") == "3"
    assert 0 < plane.redis.ttl(f"ig:q:{INBOX}:r:{day}") <= 2 * 86400


async def test_a_refused_limit_takes_nothing_from_the_others(plane: Plane) -> None:
    plane.add_inbox(hour_limit=10, domain_limit=1)

    def attempt() -> tuple[int, bytes]:
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            smtp.mail(ANNA)
            for recipient in ("a@other.test", BOB, "eve@corp.test"):
                smtp.rcpt(recipient)
            answer: tuple[int, bytes] = smtp.data(mail().as_bytes())
            return answer

    code, text = await asyncio.to_thread(attempt)
    assert code == 550
    assert text.startswith(b"5.4.5 daily limit for corp.test exceeded (1 a day")
    assert plane.redis.keys("ig:q:*") == []


async def test_a_new_day_is_a_new_quota(plane: Plane) -> None:
    plane.add_inbox(day_limit=1)
    assert await asyncio.to_thread(answer_to, plane.port, mail(), mail()) == [250, 550]
    await plane.later(86400)
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [250]


async def test_without_a_key_nothing_leaves_and_nothing_counts(plane: Plane) -> None:
    plane.control_plane.dkim = False
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [451]
    assert plane.redis.keys("ig:q:*") == []


async def test_a_transaction_that_cannot_be_signed_gives_its_quota_back(plane: Plane) -> None:
    plane.control_plane.damaged_key = True
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [451]
    counters = sorted(plane.redis.keys("ig:q:*"))
    assert [str(name).split(":")[3] for name in counters] == ["d", "h", "m", "r"]
    assert [plane.redis.get(name) for name in counters[:3]] == ["0", "0", "0"]
    assert plane.redis.hgetall(counters[3]) == {"corp.test": "0"}
    assert plane.receiver.mails == []


async def test_a_suspended_domain_sends_nothing(plane: Plane) -> None:
    plane.redis.hset("ig:domain:acme.test", "status", "suspended")
    assert await asyncio.to_thread(answer_to, plane.port, mail()) == [550]


async def test_one_session_sends_many(plane: Plane) -> None:
    messages = [mail(recipient=f"r{n}@corp.test") for n in range(10)]
    assert await asyncio.to_thread(answer_to, plane.port, *messages) == [250] * 10
    await eventually(lambda: len(plane.receiver.mails) == 10)
