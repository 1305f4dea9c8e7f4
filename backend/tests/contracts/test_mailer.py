"""Mailer over SMTP: one message for each key, and no for an answer told apart from not now."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP, AuthResult

from app.errors import ProviderFailed, ProviderUnavailable
from app.integrations.mailer import SMTPMailer
from sandbox.receivers.certificate import server_context
from tests.contracts.tools import Sandbox, eventually

SENDER = "InboxGrove <noreply@inboxgrove.test>"


@pytest.fixture
def mailer(sandbox: Sandbox) -> SMTPMailer:
    return SMTPMailer(url=f"smtp://127.0.0.1:{sandbox.world.ports['mx']}", sender=SENDER)


def send(mailer: SMTPMailer, to: str, **more: str) -> str:
    given = {
        "subject": "Grüße aus dem Hain",
        "text": "Click:\nhttps://x.test/v?a=1&b=2\n",
        "html": '<p>Click <a href="https://x.test/v?a=1&amp;b=2">here</a></p>',
        "key": f"verify-{uuid4()}",
        **more,
    }
    mailer.send(to=to, **given)
    return given["key"]


def received(sandbox: Sandbox, to: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{sandbox.url}/mail/messages", params={"to": to})
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


def source(sandbox: Sandbox, to: str) -> EmailMessage:
    (entry,) = eventually(lambda: received(sandbox, to))
    raw = httpx.get(f"{sandbox.url}/mail/messages/{entry['id']}").json()["raw"]
    return cast("EmailMessage", email.message_from_string(raw, policy=email.policy.default))


@pytest.fixture
def somebody() -> str:
    return f"u{uuid4().hex[:12]}@corp.test"


def test_a_message_arrives_in_both_forms(
    sandbox: Sandbox, mailer: SMTPMailer, somebody: str
) -> None:
    key = send(mailer, somebody)
    message = source(sandbox, somebody)
    assert message["Subject"] == "Grüße aus dem Hain"
    assert (message["From"], message["To"]) == (SENDER, somebody)
    assert message["Message-ID"] == f"<{key}@inboxgrove.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "https://x.test/v?a=1&b=2" in plain.get_content()
    assert "a=1&amp;b=2" in html.get_content()
    (entry,) = received(sandbox, somebody)
    # STARTTLS was offered, and the envelope sender is ours.
    assert (entry["tls"], entry["mail_from"]) == (True, "noreply@inboxgrove.test")


@pytest.mark.parametrize("local", ["bounce", "full", "block"])
def test_a_mailbox_that_is_no_more_is_a_clear_no(
    mailer: SMTPMailer, sandbox: Sandbox, local: str
) -> None:
    with pytest.raises(ProviderFailed) as caught:
        send(mailer, f"{local}@gmail.test")
    assert caught.value.details["reason"].startswith("55")


def test_not_now_is_tried_again(mailer: SMTPMailer, sandbox: Sandbox) -> None:
    to = f"greylist+{uuid4().hex[:8]}@gmail.test"
    with pytest.raises(ProviderUnavailable):
        send(mailer, to)
    send(mailer, to)
    assert len(eventually(lambda: received(sandbox, to))) == 1
    with pytest.raises(ProviderUnavailable):
        send(mailer, "defer@gmail.test")


@pytest.mark.parametrize(
    ("step", "mode", "kind"),
    [
        ("CONNECT", "reset", ProviderUnavailable),
        ("CONNECT", "defer", ProviderUnavailable),
        ("MAIL", "refuse", ProviderFailed),
        ("MAIL", "reset", ProviderUnavailable),
        ("RCPT", "defer", ProviderUnavailable),
        ("DATA", "refuse", ProviderFailed),
        ("DATA", "garbage", ProviderUnavailable),
        ("DATA", "drop_after", ProviderUnavailable),
        ("DATA", "fail_after", ProviderUnavailable),
    ],
)
def test_refusals_and_accidents_at_every_step(
    sandbox: Sandbox, mailer: SMTPMailer, somebody: str, step: str, mode: str, kind: type[Exception]
) -> None:
    more = {"status": 554} if mode == "refuse" else {}
    sandbox.fault("mail", step, mode, **more)
    with pytest.raises(kind) as caught:
        send(mailer, somebody)
    assert type(caught.value) is kind
    assert len(repr(caught.value)) < 600


def test_a_repeat_is_known_by_its_id(sandbox: Sandbox, mailer: SMTPMailer, somebody: str) -> None:
    sandbox.fault("mail", "DATA", "drop_after")
    with pytest.raises(ProviderUnavailable):
        send(mailer, somebody, key="welcome-7")
    send(mailer, somebody, key="welcome-7")
    entries = eventually(lambda: [e for e in [received(sandbox, somebody)] if len(e) == 2])[0]
    ids = set()
    for entry in entries:
        raw = httpx.get(f"{sandbox.url}/mail/messages/{entry['id']}").json()["raw"]
        ids.add(email.message_from_string(raw)["Message-ID"])
    assert ids == {"<welcome-7@inboxgrove.test>"}


def test_slow_and_absent_servers(sandbox: Sandbox, somebody: str, nowhere: str) -> None:
    sandbox.fault("mail", "RCPT", "stall", seconds=5)
    hasty = SMTPMailer(
        url=f"smtp://127.0.0.1:{sandbox.world.ports['mx']}", sender=SENDER, timeout=0.4
    )
    begun = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        send(hasty, somebody)
    assert time.monotonic() - begun < 3
    with pytest.raises(ProviderUnavailable):
        send(SMTPMailer(url=f"smtp://{nowhere}", sender=SENDER), somebody)


@pytest.mark.parametrize("field", ["to", "subject"])
def test_a_line_break_does_not_begin_another_header(
    sandbox: Sandbox, mailer: SMTPMailer, somebody: str, field: str
) -> None:
    given = {"to": somebody, field: f"{somebody}\r\nBcc: victim@corp.test"}
    with pytest.raises(ProviderFailed):
        send(mailer, given.pop("to"), **given)
    assert received(sandbox, "victim@corp.test") == []


# A relay that wants a login ---------------------------------------------------------------------


class Kept(Message):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def handle_message(self, message: Any) -> None:
        self.ids.append(str(message["Message-ID"]))

    async def handle_QUIT(self, server: Any, *_: Any) -> str:
        server.transport.abort()
        return "221 2.0.0 never heard"


class Relay:
    """Takes user "a b" with password "p@ss:word", under TLS only."""

    def __init__(self, *, implicit: bool) -> None:
        self.kept, self._implicit = Kept(), implicit
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tls = server_context(["localhost"])
        server = await self._loop.create_server(
            lambda: SMTP(
                self.kept,
                authenticator=self._check,
                auth_required=True,
                auth_require_tls=not self._implicit,
                tls_context=None if self._implicit else tls,
                loop=self._loop,
            ),
            "127.0.0.1",
            0,
            ssl=tls if self._implicit else None,
        )
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()

    def _check(self, _: Any, __: Any, ___: Any, ____: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (b"a b", b"p@ss:word")
        return AuthResult(success=good, handled=False)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay(implicit=False)
    yield made
    made.close()


# aiosmtpd does not know that the listener around it speaks TLS already.
implicit_tls = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@pytest.fixture
def wrapped() -> Iterator[Relay]:
    """The same behind TLS from the first byte."""
    made = Relay(implicit=True)
    yield made
    made.close()


@implicit_tls
def test_a_login_under_tls_and_a_rude_goodbye(relay: Relay, wrapped: Relay, somebody: str) -> None:
    for scheme, server in (("smtp", relay), ("smtps", wrapped)):
        url = f"{scheme}://a%20b:p%40ss%3Aword@{server.address}"
        send(SMTPMailer(url=url, sender=SENDER), somebody, key="k1")
        assert server.kept.ids == ["<k1@inboxgrove.test>"]


def test_a_wrong_password_is_ours_to_mend_and_is_not_told(relay: Relay, somebody: str) -> None:
    mailer = SMTPMailer(url=f"smtp://a%20b:hunter2@{relay.address}", sender=SENDER)
    with pytest.raises(ProviderUnavailable) as caught:
        send(mailer, somebody)
    assert "hunter2" not in repr(caught.value.details)
    assert relay.kept.ids == []


@implicit_tls
def test_plain_text_to_a_tls_port_and_back(relay: Relay, wrapped: Relay, somebody: str) -> None:
    for url in (f"smtps://{relay.address}", f"smtp://{wrapped.address}"):
        with pytest.raises(ProviderUnavailable):
            send(SMTPMailer(url=url, sender=SENDER, timeout=1), somebody)
