"""Mail of our own to people, over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

from app import clock
from app.errors import ProviderFailed, ProviderUnavailable

TIMEOUT_SECONDS = 15.0
_PERMANENT = 500


class SMTPMailer:
    """`url` is smtp://[user:password@]host[:port] or smtps://…; STARTTLS is used when offered."""

    def __init__(self, *, url: str, sender: str) -> None:
        self._parts = urlsplit(url)
        self._sender = sender

    def send(self, *, to: str, subject: str, text: str, html: str, key: str) -> None:
        """Raises ProviderFailed when the address is refused for good, else ProviderUnavailable."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = format_datetime(clock.now())
        # The same key makes the same id, so that a repeated job's mail is known as a repeat.
        message["Message-ID"] = f"<{key}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away.
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        try:
            with self._connect() as session:
                session.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, reason = next(iter(error.recipients.values()))
            raise self._refused(code, reason) from error
        except smtplib.SMTPResponseException as error:
            raise self._refused(error.smtp_code, error.smtp_error) from error
        except (OSError, smtplib.SMTPException) as error:
            raise ProviderUnavailable(provider="SMTP", reason=str(error)) from error

    def _connect(self) -> smtplib.SMTP:
        host, user = self._parts.hostname or "localhost", self._parts.username
        context = ssl.create_default_context()
        if host in {"127.0.0.1", "::1", "localhost"}:
            # On this very machine there is nobody in between, and certificates are self-made.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        session: smtplib.SMTP
        if self._parts.scheme == "smtps":
            session = smtplib.SMTP_SSL(
                host, self._parts.port or 465, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            session = smtplib.SMTP(host, self._parts.port or 25, timeout=TIMEOUT_SECONDS)
        try:
            session.ehlo()
            if self._parts.scheme != "smtps" and session.has_extn("starttls"):
                session.starttls(context=context)
                session.ehlo()
            if user:
                session.login(unquote(user), unquote(self._parts.password or ""))
        except BaseException:
            session.close()
            raise
        return session

    @staticmethod
    def _refused(code: int, reason: bytes | str) -> ProviderFailed | ProviderUnavailable:
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        kind = ProviderFailed if code >= _PERMANENT else ProviderUnavailable
        return kind(provider="SMTP", reason=f"{code} {text}")
