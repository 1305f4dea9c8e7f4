"""Mail of our own to people, over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

from app import clock
from app.errors import ProviderFailed, ProviderUnavailable

PROVIDER = "SMTP"
TIMEOUT_SECONDS = 15.0
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_PERMANENT = 500


class SMTPMailer:
    """`url` is smtp://[user:password@]host[:port] or smtps://…; STARTTLS is used when offered."""

    def __init__(self, *, url: str, sender: str, timeout: float = TIMEOUT_SECONDS) -> None:
        """`timeout` is for each step of the conversation, in seconds."""
        self._parts = urlsplit(url)
        self._sender = sender
        self._timeout = timeout
        # Once, because it reads every certificate of the machine.
        self._tls = ssl.create_default_context()
        if self._parts.hostname in {None, *_HERE}:
            # On this very machine there is nobody in between, and certificates are self-made.
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    def send(self, *, to: str, subject: str, text: str, html: str, key: str) -> None:
        """Raises ProviderFailed when the message is refused for good, else ProviderUnavailable."""
        message = EmailMessage()
        try:
            message["From"] = self._sender
            message["To"] = to
            message["Subject"] = subject
            message["Date"] = format_datetime(clock.now())
            # The same key makes the same id, so that a repeated job's mail is known as a repeat.
            message["Message-ID"] = f"<{key}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        except ValueError as error:
            # A line break in a header would begin another header.
            raise ProviderFailed(provider=PROVIDER, reason=str(error)) from error
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away.
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        try:
            session = self._connect()
            try:
                session.send_message(message)
                # It is sent; a server that is rude at the goodbye has it all the same.
                with suppress(OSError, smtplib.SMTPException):
                    session.quit()
            finally:
                session.close()
        except smtplib.SMTPRecipientsRefused as error:
            code, reason = next(iter(error.recipients.values()))
            raise _refused(code, reason) from error
        except smtplib.SMTPAuthenticationError as error:
            # Our password is wrong, not the message: it is sent once that is put right.
            told = f"login refused with {error.smtp_code}"
            raise ProviderUnavailable(provider=PROVIDER, reason=told) from error
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, error.smtp_error) from error
        except (OSError, smtplib.SMTPException) as error:
            raise ProviderUnavailable(provider=PROVIDER, reason=str(error)) from error

    def _connect(self) -> smtplib.SMTP:
        host, user = self._parts.hostname or "localhost", self._parts.username
        session: smtplib.SMTP
        if self._parts.scheme == "smtps":
            session = smtplib.SMTP_SSL(
                host, self._parts.port or 465, timeout=self._timeout, context=self._tls
            )
        else:
            session = smtplib.SMTP(host, self._parts.port or 25, timeout=self._timeout)
        try:
            session.ehlo()
            safe = self._parts.scheme == "smtps" or host in _HERE
            if self._parts.scheme != "smtps" and session.has_extn("starttls"):
                session.starttls(context=self._tls)
                session.ehlo()
                safe = True
            if user and not safe:
                # Somebody in between may have hidden STARTTLS to be told the password.
                raise smtplib.SMTPException("no login without TLS")
            if user:
                session.login(unquote(user), unquote(self._parts.password or ""))
        except BaseException:
            session.close()
            raise
        return session


def _refused(code: int, reason: bytes | str) -> ProviderFailed | ProviderUnavailable:
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    kind = ProviderFailed if code >= _PERMANENT else ProviderUnavailable
    return kind(provider=PROVIDER, reason=f"{code} {text}"[:300])
