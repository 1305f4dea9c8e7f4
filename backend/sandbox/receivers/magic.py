"""Local parts that make a mailbox behave badly, on request of whoever writes to it."""

from __future__ import annotations

from dataclasses import dataclass

# Mailboxes of the four imitated providers; elsewhere `bounce` is an ordinary local part.
PROVIDERS = ("gmail.test", "outlook.test", "yahoo.test", "corp.test")
# Longer than any client waits for the answer to DATA (RFC 5321 section 4.5.3.2.6: 10 minutes).
MAX_WAIT = 660


@dataclass(frozen=True)
class Manner:
    """How a mailbox treats a message.

    `refusal` is the answer to RCPT; `once` refuses only the first try of a client, sender and
    recipient; `wait` is in seconds before the answer to DATA; `report` is what is sent after
    acceptance: "arf" (a complaint, RFC 5965) or "dsn" (a late bounce, RFC 3464).
    """

    refusal: str | None = None
    once: bool = False
    wait: float = 0.0
    report: str | None = None


ORDINARY = Manner()
MANNERS = {
    "bounce": Manner("550 5.1.1 The email account that you tried to reach does not exist"),
    "full": Manner("552 5.2.2 The recipient's inbox is full"),
    "quota": Manner("452 4.2.2 The recipient's inbox is out of storage space, try again later"),
    "defer": Manner("450 4.2.0 Mailbox is temporarily unavailable, try again later"),
    "greylist": Manner("451 4.7.1 Greylisted, please try again shortly", once=True),
    "block": Manner("554 5.7.1 Message blocked by the recipient's policy"),
    "slow": Manner(wait=5.0),
    "complain": Manner(report="arf"),
    "oob": Manner(report="dsn"),
}


def manner_of(address: str) -> Manner:
    """Look at the local part without its +tag, so that many addresses can share one manner.

    The tag of `slow` is how many seconds to wait: slow+30@gmail.test.
    """
    local, _, domain = address.lower().rpartition("@")
    if domain not in PROVIDERS:
        return ORDINARY
    name, _, tag = local.partition("+")
    if name == "slow" and tag.isdecimal():
        return Manner(wait=float(min(int(tag), MAX_WAIT)))
    return MANNERS.get(name, ORDINARY)
