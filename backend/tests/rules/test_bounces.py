"""Each answer of a receiver falls into its class."""

from __future__ import annotations

import pytest

from app.rules.bounces import BounceClass, classify

CASES: list[tuple[str, int | None, tuple[int, int, int] | None, str, str | None]] = [
    # Receivers' own words.
    ("unknown_user", 550, (5, 1, 1), "The email account that you tried to reach does not exist.", "InvalidRecipient"),
    ("unknown_user", 550, (5, 4, 1), "Recipient address rejected: Access denied. AS(201806281)", "RoutingErrors"),
    ("unknown_user", 550, (5, 5, 0), "Requested action not taken: mailbox unavailable; user unknown", None),
    ("unknown_user", 554, None, "delivery error: dd This user doesn't have a yahoo.com account (b@yahoo.com)", None),
    ("unknown_user", 550, (5, 1, 1), "<b@icloud.com>: user does not exist", "InvalidRecipient"),
    ("unknown_user", 550, (5, 1, 10), "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", None),
    ("unknown_user", 550, None, "No such user here", "Uncategorized"),
    ("unknown_user", 550, (5, 1, 1), "", None),
    ("hard", 550, (5, 2, 1), "The email account that you tried to reach is disabled.", "InactiveMailbox"),
    ("hard", 554, None, "30 Sorry, your message cannot be delivered. This mailbox is disabled (554.30).", None),
    ("hard", 556, (5, 1, 10), "Recipient domain has a null MX record", "BadDomain"),
    ("hard", 550, (5, 1, 2), "Bad destination system address", None),
    ("hard", 550, (5, 4, 4), "Host not found", None),
    ("hard", 550, None, "Rejected", "Uncategorized"),
    ("hard", 550, None, "Rejected", "OurOwnLabel"),
    ("hard", None, (5, 0, 0), "", None),
    ("block", 550, (5, 7, 1), "Service unavailable, Client host [203.0.113.9] blocked using Spamhaus", "SpamBlock"),
    ("block", 550, (5, 1, 1), "Mail from 203.0.113.9 rejected, see the Barracuda reputation page", "InvalidRecipient"),
    ("block", 421, (4, 7, 28), "Gmail has detected an unusual rate of unsolicited mail", "SpamBlock"),
    ("block", 550, (5, 7, 26), "This mail is unauthenticated, which poses a security risk", "AuthenticationFailed"),
    ("block", 550, (5, 7, 515), "Access denied, sending domain does not meet the required level", None),
    ("block", 421, (4, 7, 0), "[TSS04] Messages temporarily deferred due to user complaints", None),
    ("block", 554, (5, 7, 1), "[CS01] Message rejected due to local policy", None),
    ("block", 550, None, "Access denied", "PolicyRelated"),
    ("soft", 552, (5, 2, 2), "The email account that you tried to reach is over quota", "QuotaIssues"),
    ("soft", 452, (4, 2, 2), "The recipient's inbox is out of storage space", "QuotaIssues"),
    ("soft", 550, (5, 1, 1), "mailbox full", "InvalidRecipient"),
    ("soft", 551, (5, 4, 7), "Next delivery time would be 7days 3h after creation", "MessageExpired"),
    ("soft", 451, (4, 3, 0), "Try again", None),
    ("soft", 421, None, "failed to connect to any candidate hosts", "NoAnswerFromHost"),
    ("soft", 550, (5, 3, 4), "Message too big for system", None),
    ("soft", None, None, "", None),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "code", "enhanced", "text", "label"), CASES)
def test_class_of_an_answer(
    expected: str, code: int | None, enhanced: tuple[int, int, int] | None, text: str,
    label: str | None,
) -> None:  # fmt: skip
    assert classify(code, enhanced, text, label) == BounceClass(expected)
