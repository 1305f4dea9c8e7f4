"""The SMTP surface: who may write to whom, sizes, line ends, magic mailboxes and faults."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import time

import pytest

from sandbox.faults import Fault

from .conftest import Names, Side, letter


@pytest.mark.parametrize(
    "to",
    [
        "bob@gmail.test",
        "Bob@OUTLOOK.test",
        "bob@yahoo.test",
        "bob@corp.test",
        "owner@inboxgrove.test",
        "reply@customer.test",
    ],
)
async def test_receives_for(side: Side, names: Names, to: str) -> None:
    names.mx("customer.test", "mx2.mta.inboxgrove.test", 20)
    assert (await side.send(letter(), to=to))[0] == 250
    assert (await side.only())["rcpt_to"] == to


@pytest.mark.parametrize("to", ["bob@else.test", "bob@mygmail.test", "bob@null.test", "bob"])
async def test_relaying_is_denied(side: Side, names: Names, to: str) -> None:
    names.mx("else.test", "mail.else.test")
    names.mx("null.test", ".", 0)
    code, answer = await side.send(letter(), to=to)
    assert (code, answer) == (550, "5.7.1 Relaying denied")
    assert await side.messages() == []


async def test_the_platforms_own_letters_go_anywhere(side: Side, names: Names) -> None:
    code, _ = await side.send(letter(), sender="noreply@inboxgrove.test", to="bob@else.test")
    assert code == 250
    assert (await side.only())["rcpt_to"] == "bob@else.test"


async def test_dns_trouble_is_no_reason_to_refuse_for_good(side: Side, names: Names) -> None:
    names.broken.add("customer.test")
    assert (await side.send(letter(), to="bob@customer.test"))[0] == 451


async def test_each_recipient_gets_a_copy(side: Side) -> None:
    await side.send(letter(), to="a@gmail.test,b@yahoo.test")
    assert [m["rcpt_to"] for m in await side.messages()] == ["b@yahoo.test", "a@gmail.test"]


@pytest.mark.parametrize(
    ("local", "code", "status"),
    [
        ("bounce", 550, "5.1.1"),
        ("Bounce+17", 550, "5.1.1"),
        ("full", 552, "5.2.2"),
        ("quota", 452, "4.2.2"),
        ("defer", 450, "4.2.0"),
        ("block", 554, "5.7.1"),
    ],
)
async def test_magic_mailboxes(side: Side, local: str, code: int, status: str) -> None:
    got, answer = await side.send(letter(), to=f"{local}@yahoo.test")
    assert (got, answer.split()[0]) == (code, status)
    stats = (await side.http.get("/mail/stats")).json()
    assert stats["refused"] == {f"{code} {status}": 1}


async def test_magic_is_for_providers_only(side: Side) -> None:
    assert (await side.send(letter(), to="bounce@inboxgrove.test"))[0] == 250


async def test_greylisting_takes_the_second_try(side: Side) -> None:
    assert (await side.send(letter(), to="greylist@gmail.test"))[0] == 451
    assert (await side.send(letter(), to="greylist@gmail.test", sender="other@acme.test"))[0] == 451
    assert (await side.send(letter(), to="greylist@gmail.test"))[0] == 250


async def test_slow_mailbox_takes_its_time(side: Side) -> None:
    started = time.perf_counter()
    assert (await side.send(letter(), to="slow+1@gmail.test"))[0] == 250
    assert time.perf_counter() - started >= 1


async def test_size_limit_is_announced_and_kept(side: Side) -> None:
    def session() -> tuple[str, int, int]:
        with smtplib.SMTP("127.0.0.1", side.port, "client.test", timeout=60) as client:
            client.ehlo()
            announced = client.esmtp_features["size"]
            told, _ = client.mail("a@acme.test", [f"SIZE={25 * 1024 * 1024 + 1}"])
            client.rset()
            client.mail("a@acme.test")
            client.rcpt("bob@gmail.test")
            sent, _ = client.data(letter(body=("x" * 900 + "\r\n") * 30_000))
            return announced, told, sent

    assert await asyncio.to_thread(session) == (str(25 * 1024 * 1024), 552, 552)
    assert await side.messages() == []


async def test_a_message_just_below_the_limit_is_taken(side: Side) -> None:
    body = ("x" * 900 + "\r\n") * 29_000
    code, answer = await side.send(letter(body=body))
    assert code == 250, answer
    assert int(str((await side.messages())[0]["size"])) > 26_000_000


async def test_bare_line_feeds_are_refused(side: Side) -> None:
    code, answer = await side.send(letter(body="one\ntwo\r\n\nthree"))
    assert (code, answer.split()[0]) == (550, "5.6.11")
    long = letter(body="\n".join(["line"] * 5000))
    assert (await side.send(long))[1].split()[0] == "5.6.11"


async def test_a_smuggled_second_message_stays_text(side: Side) -> None:
    body = "x\n.\r\nMAIL FROM:<evil@evil.test>\r\nRCPT TO:<bob@gmail.test>\r\nDATA"
    code, _ = await side.send(letter(body=body))
    assert code == 550
    assert await side.messages() == []


async def test_long_lines_are_refused(side: Side) -> None:
    assert (await side.send(letter(body="x" * 998)))[0] == 250
    assert (await side.send(letter(body="x" * 999)))[0] == 500


async def test_leading_dots_survive(side: Side) -> None:
    await side.send(letter(body=".hidden\r\n..twice"))
    assert str((await side.only())["raw"]).endswith("\r\n\r\n.hidden\r\n..twice\r\n")


@pytest.mark.parametrize("subject", ["Grüße aus Köln", "=?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?="])
async def test_subjects_outside_ascii(side: Side, subject: str) -> None:
    assert (await side.send(letter(subject=subject)))[0] == 250
    (kept,) = await side.messages(subject="KÖLN")
    assert kept["subject"] == "Grüße aus Köln"


@pytest.mark.parametrize(
    "subject", [b"\xff\xfe\x00", b"=?utf-8?B?!?=", b"=?no-such?Q?x?=", b"a\x1bb"]
)
async def test_undecodable_subjects_do_no_harm(side: Side, subject: bytes) -> None:
    assert (await side.send(letter().replace(b"Hello", subject)))[0] == 250
    kept = await side.only()
    assert (await side.http.get(f"/mail/messages/{kept['id']}.html")).status_code == 200
    download = await side.http.get(f"/mail/messages/{kept['id']}.eml")
    assert download.content.endswith(letter().replace(b"Hello", subject))


async def test_starttls_starts_over(side: Side) -> None:
    """RFC 3207: what was said before the handshake is forgotten."""

    def session() -> int:
        with smtplib.SMTP("127.0.0.1", side.port, "client.test", timeout=20) as client:
            client.ehlo()
            client.mail("a@acme.test")
            client.starttls()
            client.ehlo()
            return client.rcpt("bob@gmail.test")[0]

    assert await asyncio.to_thread(session) == 503


@pytest.mark.parametrize(
    ("rule", "code", "kept"),
    [
        (Fault("mail", "^CONNECT", "refuse", status=554), 554, 0),
        (Fault("mail", "^(EHLO|HELO)", "defer", times=2), 450, 0),
        (Fault("mail", "^MAIL news@", "refuse"), 550, 0),
        (Fault("mail", "^RCPT bob@gmail", "defer", status=421), 421, 0),
        (Fault("mail", "^RCPT", "refuse", status=552, params={"text": "5.3.4 No"}), 552, 0),
        (Fault("mail", "^RCPT", "stall", seconds=0.2), 250, 1),
        (Fault("mail", "^DATA .*\n(?s:.*)Subject: Hello", "fail_before"), 451, 0),
        (Fault("mail", "^DATA", "rate_limit", status=421), 421, 0),
        (Fault("mail", "^DATA", "fail_after"), 451, 1),
        (Fault("mail", "^DATA", "timeout_after", seconds=0.2), 250, 1),
        (Fault("mail", "^DATA", "garbage"), -1, 1),
    ],
)
async def test_faults(side: Side, rule: Fault, code: int, kept: int) -> None:
    side.world.faults.add(rule)
    try:
        answered = (await side.send(letter()))[0]
    except smtplib.SMTPConnectError as error:
        answered = error.smtp_code
    except smtplib.SMTPHeloError as error:
        answered = error.smtp_code
    assert answered == code
    assert len(await side.messages()) == kept
    assert side.world.faults.rules == []
    if code != 250:
        assert (await side.send(letter()))[0] == 250


@pytest.mark.parametrize(
    ("match", "mode", "kept"),
    [
        ("^CONNECT", "drop", 0),
        ("^RCPT", "reset", 0),
        ("^DATA", "drop", 0),
        ("^DATA", "drop_after", 1),
    ],
)
async def test_dropped_connections(side: Side, match: str, mode: str, kept: int) -> None:
    side.world.faults.add(Fault("mail", match, mode))
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        await side.send(letter())
    assert len(await side.messages()) == kept


async def test_refusing_a_domain_by_order(side: Side) -> None:
    order = {"domain": "Outlook.test", "code": 421, "text": "4.7.0 Busy"}
    assert (await side.http.post("/control/mail/refuse", json=order)).status_code == 200
    assert await side.send(letter(), to="a@outlook.test") == (421, "4.7.0 Busy")
    assert (await side.send(letter(), to="a@gmail.test"))[0] == 250
    await side.http.post("/control/mail/refuse", json={"domain": "outlook.test", "code": None})
    assert (await side.send(letter(), to="a@outlook.test"))[0] == 250
    for bad in ({}, {"domain": "x", "code": 250}, {"domain": "x", "text": "a\r\n250 b"}):
        assert (await side.http.post("/control/mail/refuse", json=bad)).status_code == 400


async def test_stopping_drops_open_connections(side: Side) -> None:
    with socket.create_connection(("127.0.0.1", side.port), 5) as client:
        client.settimeout(5)
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"220 ")
        await side.part.stop()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 100) == b""
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", side.port), 5)
