"""The reports a receiver writes: complaints (RFC 5965) and late bounces (RFC 3464)."""

from __future__ import annotations

import secrets
from datetime import datetime
from email.utils import format_datetime

from sandbox.receivers.mailbox import source
from sandbox.store import Document


def complaint(document: Document, to: str, now: datetime) -> bytes:
    """A feedback report of type abuse about one kept message, which is attached in full."""
    domain = document["rcpt_to"].rpartition("@")[2]
    fields = [
        "Feedback-Type: abuse",
        "User-Agent: InboxGrove-Sandbox/1.0",
        "Version: 1",
        f"Original-Mail-From: <{document['mail_from']}>",
        f"Original-Rcpt-To: <{document['rcpt_to']}>",
        f"Arrival-Date: {_date(document['received_at'])}",
        f"Reporting-MTA: dns; mx.{domain}",
        f"Source-IP: {document['client_ip']}",
        f"Authentication-Results: {document['authentication_results']}",
    ]
    if document["author_domain"]:
        fields.append(f"Reported-Domain: {document['author_domain']}")
    told = (
        f"This is an email abuse report for an email message received from IP"
        f" {document['client_ip']} on {_date(document['received_at'])}.\r\n"
        f"For more information about this format please see RFC 5965.\r\n"
    )
    return _report(
        kind="feedback-report",
        sender=f"Feedback loop of {domain} <feedback@{domain}>",
        to=to,
        subject=f"FW: {document['subject']}",
        told=told,
        machine=("message/feedback-report", "\r\n".join(fields) + "\r\n"),
        original=source(document),
        now=now,
    )


def late_bounce(document: Document, now: datetime) -> bytes:
    """A delivery status notification that reports a full mailbox after acceptance."""
    domain = document["rcpt_to"].rpartition("@")[2]
    fields = (
        f"Reporting-MTA: dns; mx.{domain}\r\n"
        f"Arrival-Date: {_date(document['received_at'])}\r\n"
        "\r\n"
        f"Final-Recipient: rfc822; {document['rcpt_to']}\r\n"
        "Action: failed\r\n"
        "Status: 5.2.2\r\n"
        "Diagnostic-Code: smtp; 550 5.2.2 mailbox full\r\n"
        f"Last-Attempt-Date: {format_datetime(now)}\r\n"
    )
    told = (
        "Your message was accepted, but it could not be put into the mailbox of\r\n"
        f"{document['rcpt_to']}: the mailbox is full.\r\n"
    )
    return _report(
        kind="delivery-status",
        sender=f"Mail Delivery Subsystem <mailer-daemon@{domain}>",
        to=document["mail_from"],
        subject="Delivery Status Notification (Failure)",
        told=told,
        machine=("message/delivery-status", fields),
        original=source(document),
        now=now,
    )


def _report(
    *,
    kind: str,
    sender: str,
    to: str,
    subject: str,
    told: str,
    machine: tuple[str, str],
    original: bytes,
    now: datetime,
) -> bytes:
    """A multipart/report (RFC 6522), written by hand so that the original keeps its bytes."""
    boundary = f"=_report_{secrets.token_hex(12)}"
    domain = sender.rpartition("@")[2].rstrip(">")
    head = (
        f"From: {sender}\r\n"
        f"To: <{to}>\r\n"
        f"Subject: {_one_line(subject)}\r\n"
        f"Date: {format_datetime(now)}\r\n"
        f"Message-ID: <{secrets.token_hex(12)}@{domain}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={kind};\r\n"
        f'\tboundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        f"{told}"
        f"\r\n--{boundary}\r\n"
        f"Content-Type: {machine[0]}\r\n"
        "\r\n"
        f"{machine[1]}"
        f"\r\n--{boundary}\r\n"
        "Content-Type: message/rfc822\r\n"
        "Content-Disposition: inline\r\n"
        "\r\n"
    )
    return head.encode("utf-8", "replace") + original + f"\r\n--{boundary}--\r\n".encode()


def _one_line(text: str) -> str:
    """A hostile subject must not become a second header field."""
    return "".join(c for c in text if c.isascii() and c.isprintable())[:200]


def _date(stored: str) -> str:
    return format_datetime(datetime.fromisoformat(stored))
