"""Sending as an ordinary mail program does: STARTTLS, AUTH PLAIN, one message."""

from __future__ import annotations

import smtplib
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from demo.world import Addresses, DemoFailed

AT_ONCE = 10
RECIPIENTS = ("ann@gmail.test", "bob@outlook.test", "cid@yahoo.test", "dora@corp.test")


@dataclass(frozen=True)
class Inbox:
    email: str
    username: str
    password: str


def login(addresses: Addresses, inbox: Inbox) -> smtplib.SMTP:
    """A logged-in session. Raises smtplib.SMTPException when the server refuses."""
    # The sandbox's certificate is its own; what is shown here is the login, not the trust chain.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session = smtplib.SMTP(addresses.submission_host, addresses.submission_port, timeout=30)
    try:
        session.starttls(context=context)
        session.user, session.password = inbox.username, inbox.password
        session.ehlo()
        session.auth("PLAIN", session.auth_plain)
    except BaseException:
        session.close()
        raise
    return session


def compose(inbox: Inbox, recipient: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = inbox.email
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=inbox.email.rpartition("@")[2])
    message.set_content(f"Hello,\n\nthis message was sent by {inbox.email}.\n")
    return message


def send_from_all(addresses: Addresses, inboxes: list[Inbox], subject: str) -> float:
    """One message from every inbox, ten sessions at once; seconds it took."""

    def send(numbered: tuple[int, Inbox]) -> str | None:
        number, inbox = numbered
        recipient = RECIPIENTS[number % len(RECIPIENTS)]
        try:
            with login(addresses, inbox) as session:
                session.send_message(compose(inbox, recipient, f"{subject} {number + 1}"))
        except (OSError, smtplib.SMTPException) as error:
            return f"{inbox.email}: {error}"
        return None

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [text for text in pool.map(send, enumerate(inboxes)) if text]
    if failures:
        raise DemoFailed(f"{len(failures)} inboxes could not send, the first: {failures[0]}")
    return time.monotonic() - began


class OpenSession:
    """A session that was let in before the kill switch, with a message half way."""

    def __init__(self, addresses: Addresses, inbox: Inbox) -> None:
        self._smtp = login(addresses, inbox)
        code, text = self._smtp.mail(inbox.email)
        code2, text2 = self._smtp.rcpt(RECIPIENTS[0])
        if code >= 400 or code2 >= 400:
            raise DemoFailed(f"The session could not begin a message: {text!r} {text2!r}")
        self._message = compose(inbox, RECIPIENTS[0], "after the kill").as_bytes()

    def data_is_refused(self) -> bool:
        """Send the message; whether the server said no."""
        try:
            code, _ = self._smtp.data(self._message)
        except (smtplib.SMTPException, OSError):
            return True
        finally:
            self._smtp.close()
        return code >= 400


def login_is_refused(addresses: Addresses, inbox: Inbox) -> bool:
    try:
        login(addresses, inbox).close()
    except smtplib.SMTPException:
        return True
    return False
