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
PATIENCE_SECONDS = 60.0
"""For how long a deferred message is offered again."""
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


def send_from_all(addresses: Addresses, inboxes: list[Inbox], subject: str) -> int:
    """One message from every inbox, ten sessions at once; how often one was deferred."""

    def send(numbered: tuple[int, Inbox]) -> int:
        number, inbox = numbered
        message = compose(inbox, RECIPIENTS[number % len(RECIPIENTS)], f"{subject} {number + 1}")
        return _send(addresses, inbox, message)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(send, enumerate(inboxes)))


def _send(addresses: Addresses, inbox: Inbox, message: EmailMessage) -> int:
    """Offer one message until it is taken; how often it was deferred before.

    Mail programs and servers keep what is answered with 4yz and come back (RFC 5321, 4.5.4.1).
    """
    began, deferrals = time.monotonic(), 0
    while True:
        try:
            with login(addresses, inbox) as session:
                session.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            if not _is_deferral(error) or time.monotonic() - began > PATIENCE_SECONDS:
                raise DemoFailed(f"{inbox.email} could not send: {error}") from error
        else:
            return deferrals
        deferrals += 1
        time.sleep(1.0)


def _is_deferral(error: Exception) -> bool:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(400 <= code < 500 for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPResponseException) and 400 <= error.smtp_code < 500


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
