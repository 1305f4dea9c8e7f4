"""Our own mails: texts in mails/*.txt, and a page made of the same words.

The page is written in MJML (mails/layout.mjml), which knows what mail programs can show. A button
is where the text has a link of its own; the address stands below it, for those who would rather
see where they go. Rendering only: integrations/mailer.py sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import mjml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).with_name("mails")
_BEGIN, _END = "\x02", "\x03"
"""Around a button's label. What people write cannot hold them: a name must not become a button."""
_BUTTON: Final = re.compile(f"{_BEGIN}([^{_END}]*){_END}(.*)")
_CONTROLS: Final = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n\r"}
"""Taken out of what people write; the page's markup could not hold them either."""


@dataclass(frozen=True)
class Mail:
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class _Part:
    text: str
    label: str = ""

    @property
    def lines(self) -> Markup:
        """Lines that are short on purpose, as in a list, stay lines."""
        return Markup("<br />").join(self.text.splitlines())


def _button(label: str, link: str) -> str:
    return f"{_BEGIN}{label}{_END}{link}"


# Plain text must not be escaped, the page must be: two environments say so.
_plain = Environment(
    loader=FileSystemLoader(_FOLDER),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701  # Plain text: escaping would spoil links.
    trim_blocks=True,
)
_plain.globals["button"] = _button
_page = Environment(
    loader=FileSystemLoader(_FOLDER), undefined=StrictUndefined, autoescape=True, trim_blocks=True
)


def _render(template: str, subject: str, **values: object) -> Mail:
    """The mail of mails/`template`.txt; `{{ button("Label", link) }}` alone there is a button."""
    harmless = {
        name: value.translate(_CONTROLS) if isinstance(value, str) else value
        for name, value in values.items()
    }
    text = _plain.get_template(f"{template}.txt").render(**harmless)
    subject = " ".join(subject.translate(_CONTROLS).split())
    parts = [_part(block) for block in re.split(r"\n\s*\n", text) if block.strip()]
    page = _page.get_template("layout.mjml").render(subject=subject, parts=parts)
    return Mail(subject, _BUTTON.sub(r"\2", text), mjml.mjml2html(page))


def _part(block: str) -> _Part:
    found = _BUTTON.fullmatch(block.strip())
    if found is not None:
        return _Part(found[2].strip(), found[1])
    # A label within a sentence has no place in it; its link has.
    return _Part(_BUTTON.sub(r"\2", block.strip()))


def verification(*, name: str, link: str, hours: int) -> Mail:
    """Asks a new user to confirm the address."""
    return _render("verification", "Confirm your e-mail address", name=name, link=link, hours=hours)


def password_reset(*, name: str, link: str, minutes: int) -> Mail:
    """Carries the link by which a forgotten password is replaced."""
    return _render("password_reset", "Choose a new password", name=name, link=link, minutes=minutes)


def password_changed(*, name: str, changed_at: datetime, link: str) -> Mail:
    """Tells a person that the password is another one now; `link` leads to a new one."""
    return _render(
        "password_changed",
        "Your password was changed",
        name=name,
        changed_at=f"{changed_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        link=link,
    )


def invitation(*, inviter: str, company: str, link: str, days: int) -> Mail:
    """Asks somebody to join a company; `inviter` is a name, or words for somebody who left."""
    return _render(
        "invitation",
        f"{company} invites you to InboxGrove",
        inviter=inviter,
        company=company,
        link=link,
        days=days,
    )


SECOND_FACTOR = {
    "enabled": (
        "Two-factor authentication is on",
        "two-factor authentication was switched on for your account; every other session ended.",
    ),
    "disabled": (
        "Two-factor authentication is off",
        "two-factor authentication was switched off for your account; every other session ended.",
    ),
    "recovery_codes_renewed": (
        "New recovery codes",
        "new recovery codes were made for your account. Earlier ones do not work any more.",
    ),
    "recovery_code_used": (
        "A recovery code was used",
        "a recovery code was used to confirm that it is you. It does not work again.",
    ),
}
"""What happened to (subject, in words)."""


def second_factor(*, name: str, what: str, left: int) -> Mail:
    """Tells a person what was done to their second factor; KeyError unless SECOND_FACTOR has it.

    `left` is how many recovery codes can still be used.
    """
    subject, event = SECOND_FACTOR[what]
    if what == "recovery_code_used":
        event += f" Codes left: {left}."
    remedy = "If this was not you, change your password now and answer this message."
    return _render("second_factor", subject, name=name, event=event, remedy=remedy)


def webhook_disabled(*, company: str, url: str, why: str, link: str) -> Mail:
    """Tells a company that one of its servers is not called any more."""
    return _render(
        "webhook_disabled",
        "A webhook endpoint was switched off",
        company=company,
        url=url,
        why=why,
        link=link,
    )


def receipt(
    *,
    company: str,
    cents: int,
    currency: str,
    paid_at: datetime,
    description: str,
    reference: str,
    link: str | None,
) -> Mail:
    """Says that money arrived; `cents` in the smallest unit of `currency`."""
    amount = money(cents, currency)
    return _render(
        "receipt",
        f"Your receipt: {amount}",
        company=company,
        amount=amount,
        date=_day(paid_at),
        description=description,
        reference=reference,
        link=link,
    )


def payment_failed(
    *,
    company: str,
    cents: int,
    currency: str,
    reason: str,
    next_attempt: datetime | None,
    link: str,
) -> Mail:
    """Says that a charge was declined, and when the next attempt is."""
    return _render(
        "payment_failed",
        "Your payment did not go through",
        company=company,
        amount=money(cents, currency),
        reason=reason,
        next_attempt=None if next_attempt is None else _day(next_attempt),
        link=link,
    )


def action_required(*, company: str, cents: int, currency: str, link: str) -> Mail:
    """Asks the card holder to authenticate a payment."""
    return _render(
        "action_required",
        "Your bank wants you to confirm a payment",
        company=company,
        amount=money(cents, currency),
        link=link,
    )


def trial_ending(
    *,
    company: str,
    ends_at: datetime,
    days: int,
    has_card: bool,
    plan: str,
    cents: int,
    link: str,
) -> Mail:
    """Reminds of the end of the trial, and of what it will cost or what is missing."""
    return _render(
        "trial_ending",
        f"Your trial ends in {days} {'day' if days == 1 else 'days'}",
        company=company,
        date=_day(ends_at),
        days=days,
        has_card=has_card,
        plan=plan,
        amount=money(cents, "usd"),
        link=link,
    )


def trial_expired(*, company: str, link: str) -> Mail:
    """Says that the trial is over and no card was given."""
    return _render("trial_expired", "Your trial has ended", company=company, link=link)


def renewal(*, company: str, cents: int, currency: str, at: datetime | None, link: str) -> Mail:
    """Says ahead what the next month will cost."""
    return _render(
        "renewal",
        f"Your next payment: {money(cents, currency)}",
        company=company,
        amount=money(cents, currency),
        date="the day of renewal" if at is None else _day(at),
        link=link,
    )


def refunded(*, company: str, cents: int, currency: str, cause: str) -> Mail:
    """Says that money went back."""
    return _render(
        "refunded",
        f"Your refund: {money(cents, currency)}",
        company=company,
        amount=money(cents, currency),
        cause=cause,
    )


def canceled(*, company: str, link: str) -> Mail:
    """Says that the subscription has ended."""
    return _render("canceled", "Your subscription has ended", company=company, link=link)


def domain_expiring(
    *,
    company: str,
    domain: str,
    at: datetime,
    days: int,
    kept: bool,
    price: str | None = None,
    charged_at: datetime | None = None,
) -> Mail:
    """Says ahead that a name ends, what becomes of it, and what that costs and when."""
    return _render(
        "domain_expiring",
        f"{domain} ends in {days} {'day' if days == 1 else 'days'}",
        company=company,
        domain=domain,
        date=_day(at),
        kept=kept,
        price=price,
        charged_at=None if charged_at is None else _day(charged_at),
    )


def domain_renewal_failed(
    *,
    company: str,
    domain: str,
    cents: int,
    currency: str,
    why: str,
    at: datetime,
    again: datetime | None,
    link: str,
) -> Mail:
    """Says that a name was not renewed, why, and what happens next."""
    return _render(
        "domain_renewal_failed",
        f"{domain} could not be renewed",
        company=company,
        domain=domain,
        amount=money(cents, currency),
        why=why,
        date=_day(at),
        again=None if again is None else _day(again),
        link=link,
    )


def domain_expired(*, company: str, domain: str, until: datetime) -> Mail:
    """Says that a name is over, and how long it can be had back."""
    return _render(
        "domain_expired", f"{domain} has ended", company=company, domain=domain, date=_day(until)
    )


def domain_dns_differs(*, company: str, domain: str, why: str) -> Mail:
    """Says which record is wrong, and how to cure it."""
    subject = f"A DNS record of {domain} is wrong"
    return _render("domain_dns_differs", subject, company=company, domain=domain, why=why)


def domain_ownership(*, company: str, domain: str, what: str) -> Mail:
    """Says what became of the proof that a connected name is theirs."""
    subject = f"About your domain {domain}"
    return _render("domain_ownership", subject, company=company, domain=domain, what=what)


def domain_transfer(*, company: str, domain: str, what: str) -> Mail:
    """Says what became of a name's way to another registrar."""
    return _render(
        "domain_transfer",
        f"About the transfer of {domain}",
        company=company,
        domain=domain,
        what=what,
    )


def transfer_code(*, company: str, domain: str, code: str) -> Mail:
    """Carries the code by which another registrar takes a name over."""
    return _render(
        "transfer_code",
        f"The authorisation code of {domain}",
        company=company,
        domain=domain,
        code=code,
    )


def dkim_record_needed(*, company: str, domain: str, name: str, record: str) -> Mail:
    """Asks the owner of a zone for the record of a new signing key."""
    subject = f"A new DKIM record for {domain}"
    return _render(
        "dkim_record_needed", subject, company=company, domain=domain, name=name, record=record
    )


def limit_near(*, company: str, what: str, used: int, limit: int, link: str) -> Mail:
    """Says that a limit of the plan is nearly used up."""
    subject = f"{used} of {limit} {what} are used"
    return _render(
        "limit_near", subject, company=company, what=what, used=used, limit=limit, link=link
    )


def domain_listed(
    *, company: str, domain: str, blocklist: str, answer: str, minutes: int, link: str
) -> Mail:
    """Says that a blocklist names a domain, before sending is stopped for it."""
    return _render(
        "domain_listed",
        f"{domain} is on a blocklist",
        company=company,
        domain=domain,
        blocklist=blocklist,
        answer=answer,
        minutes=minutes,
        link=link,
    )


def alert(*, kind: str, fact: str, message: str, tenant_id: str) -> Mail:
    """Calls an operator."""
    return _render(
        "alert",
        f"InboxGrove: {kind.replace('_', ' ')}",
        kind=kind,
        fact=fact,
        message=message,
        tenant_id=tenant_id,
    )


REASONS = {
    "erasure": (
        "we were asked to erase your account",
        "If it was not you who asked, answer this message before that day.",
    ),
    "payment_disputed": (
        "a payment is disputed at the bank",
        "Answer this message, so that we can settle it together.",
    ),
    "payment_failed": (
        "three payments failed",
        "Settle the open invoice or add another card, and sending goes on by itself.",
    ),
    "spam_complaint": (
        "too many spam complaints",
        "Answer this message, so that we can look at what was sent together.",
    ),
    "blacklisted": (
        "a domain or address of yours is on a blocklist",
        "Answer this message, so that we can have it removed together.",
    ),
    "terms_violation": (
        "a violation of the terms of service",
        "Answer this message if you think this is wrong.",
    ),
}
"""Suspension reason to (in words, what to do)."""


def suspended(*, company: str, reason: str, note: str | None, link: str) -> Mail:
    """Says that the kill switch was thrown, on what evidence, and how to object.

    `reason` is a key of REASONS, else KeyError; `note` is what the rule or the operator found.
    """
    words, remedy = REASONS[reason]
    return _render(
        "suspended",
        "Your account is suspended",
        company=company,
        reason=words,
        remedy=remedy,
        note=note,
        link=link,
    )


def reinstated(*, company: str, note: str | None) -> Mail:
    """Says that everything goes on."""
    return _render("reinstated", "Your account is active again", company=company, note=note)


def appeal_answered(*, company: str, granted: bool, answer: str | None, link: str) -> Mail:
    """What a person of the platform made of an appeal, with their words."""
    subject = "Your appeal was granted" if granted else "Your appeal was not granted"
    return _render(
        "appeal_answered", subject, company=company, granted=granted, answer=answer, link=link
    )


def warned(*, company: str, note: str, paused: bool, link: str) -> Mail:
    """Says that the mail of a tenant comes near a stop, or that one of its inboxes was paused."""
    subject = "One of your inboxes is paused" if paused else "Your sending needs attention"
    return _render("warned", subject, company=company, note=note, paused=paused, link=link)


def money(cents: int, currency: str) -> str:
    """`97.00 USD`"""
    return f"{cents // 100}.{cents % 100:02d} {currency.upper()}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"
