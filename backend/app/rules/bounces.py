"""What kind of failure a bounce is: which of the counters it moves, and whether to mail again.

Four kinds, in the order in which they are told apart:
- block: the receiver refuses us (reputation, policy, authentication); the address may be fine;
- unknown user: the mailbox does not exist; the mark of a bad list;
- hard: the mailbox or domain exists no more or takes no mail;
- soft: full, slow, broken or expired; another try may succeed.

Text is looked at before codes where codes are known to lie: 5.1.1 is also said to blocked senders
and Microsoft says "5.4.1 Recipient address rejected: Access denied" of mailboxes that do not exist
(learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online).
Enhanced codes are RFC 3463 and its IANA registry; `classification` is kumod's own label
(assets/bounce_classifier/iana.toml), or a custom one, which counts for nothing.
"""

from __future__ import annotations

import re
from enum import StrEnum


class BounceClass(StrEnum):
    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"
    UNKNOWN_USER = "unknown_user"


_BLOCKED_TEXT = re.compile(
    r"spamhaus|barracuda|\bspamcop|\bsorbs\b|\bs25r\b|block ?list|black ?list|deny ?list|\bdnsbl\b"
    r"|\brbl\b|reputation|unsolicited|\bspam\b|unusual rate|rate limit"
    r"|\bdmarc\b|\bdkim\b|\bspf\b|unauthenticated|banned sending ip|client host (?:was )?blocked"
    r"|(?:ip|message|sender|mail|connection)s? (?:\S+ )?(?:is |was |are |has been )?blocked"
    r"|local policy|policy reasons|user complaints|\[(?:bl|ts|tss|cs)\d+\]"
)
_UNKNOWN_TEXT = re.compile(
    r"user (?:is )?unknown|unknown (?:user|recipient|mailbox|address|or illegal alias)"
    r"|no such (?:user|recipient|mailbox|person|address)|no mailbox (?:here )?by that name"
    r"|(?:user|account|mailbox|address|recipient)[^.]{0,60}(?:does not|doesn't|not) exist"
    r"|email account that you tried to reach does not exist"
    r"|doesn't have an? \S+ account|not our customer|(?:user|recipient|mailbox|address) not found"
    r"|invalid (?:recipient|mailbox|user)|recipient address rejected: access denied"
    r"|recipient (?:address )?rejected: (?:undeliverable|user)|recipientnotfound"
)
_GONE_TEXT = re.compile(
    r"mailbox (?:is |has been |account is )?(?:disabled|inactive|deactivated|suspended)"
    r"|account (?:that you tried to reach )?(?:is |has been )?"
    r"(?:disabled|inactive|deactivated|suspended|closed)"
    r"|null mx|domain (?:does not exist|not found)|nxdomain"
)
_FULL_TEXT = re.compile(
    r"over ?quota|quota exceeded|(?:mailbox|inbox|account) (?:is )?(?:full|out of storage)"
    r"|insufficient (?:system )?storage"
)

_LABELS: dict[str, BounceClass] = {
    "InvalidRecipient": BounceClass.UNKNOWN_USER,
    "BadDomain": BounceClass.HARD,
    "InactiveMailbox": BounceClass.HARD,
    "InvalidSender": BounceClass.BLOCK,
    "SpamBlock": BounceClass.BLOCK,
    "SpamContent": BounceClass.BLOCK,
    "SpamRelated": BounceClass.BLOCK,
    "VirusRelated": BounceClass.BLOCK,
    "PolicyRelated": BounceClass.BLOCK,
    "AuthenticationFailed": BounceClass.BLOCK,
    "RelayDenied": BounceClass.BLOCK,
    "QuotaIssues": BounceClass.SOFT,
    "MessageExpired": BounceClass.SOFT,
    "RoutingErrors": BounceClass.SOFT,
    "DNSFailure": BounceClass.SOFT,
    "NoAnswerFromHost": BounceClass.SOFT,
    "BadConnection": BounceClass.SOFT,
    "BadConfiguration": BounceClass.SOFT,
    "ProtocolErrors": BounceClass.SOFT,
    "TransientFailure": BounceClass.SOFT,
}

# (subject, detail) of a permanent failure.
_ENHANCED: dict[tuple[int, int], BounceClass] = {
    (1, 1): BounceClass.UNKNOWN_USER,
    (1, 2): BounceClass.HARD,
    (1, 3): BounceClass.HARD,
    (1, 6): BounceClass.HARD,
    (1, 7): BounceClass.BLOCK,
    (1, 8): BounceClass.BLOCK,
    (1, 10): BounceClass.HARD,
    (2, 1): BounceClass.HARD,
    (2, 2): BounceClass.SOFT,
    (4, 4): BounceClass.HARD,
    (4, 7): BounceClass.SOFT,
}
_SUBJECTS: dict[int, BounceClass] = {
    1: BounceClass.HARD,
    2: BounceClass.SOFT,
    3: BounceClass.SOFT,
    4: BounceClass.SOFT,
    5: BounceClass.SOFT,
    6: BounceClass.BLOCK,
    7: BounceClass.BLOCK,
}


def classify(
    code: int | None,
    enhanced: tuple[int, int, int] | None,
    text: str,
    classification: str | None = None,
) -> BounceClass:
    """The class of a failure that is final for us.

    `code` is the SMTP reply code, `enhanced` its RFC 3463 code (class, subject, detail), `text` the
    receiver's words. What says nothing is soft after 4xx and hard after 5xx, so that an address is
    not given up without a permanent answer.
    """
    words = text.lower()
    if _FULL_TEXT.search(words):
        return BounceClass.SOFT
    if _BLOCKED_TEXT.search(words):
        return BounceClass.BLOCK
    if _UNKNOWN_TEXT.search(words):
        return BounceClass.UNKNOWN_USER
    if _GONE_TEXT.search(words):
        return BounceClass.HARD
    if classification in _LABELS:
        return _LABELS[classification]
    if enhanced is not None and enhanced[0] == 5:
        subject, detail = enhanced[1:]
        found = _ENHANCED.get((subject, detail)) or _SUBJECTS.get(subject)
        if found is not None:
            return found
    permanent = enhanced[0] == 5 if enhanced is not None else (code or 0) >= 500
    return BounceClass.HARD if permanent else BounceClass.SOFT
