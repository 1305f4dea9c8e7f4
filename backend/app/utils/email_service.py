"""The texts of our own mails. Rendering only: integrations/mailer.py sends them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import DictLoader, Environment, StrictUndefined


@dataclass(frozen=True)
class Mail:
    subject: str
    text: str
    html: str


_TEXTS = {
    "verification": """\
Hello {{ name }},

please confirm that this address is yours:

{{ link }}

The link works for {{ hours }} hours. If you did not sign up at InboxGrove, ignore this message.
""",
    "invitation": """\
Hello,

{{ inviter }} invites you to join {{ company }} at InboxGrove. Choose a password here:

{{ link }}

The link works once, for {{ days }} days. If you did not expect it, ignore this message.
""",
    "second_factor": """\
Hello {{ name }},

{{ event }}

{{ remedy }}
""",
    "password_reset": """\
Hello {{ name }},

somebody asked for a new password for your account. Choose it here:

{{ link }}

The link works once, for {{ minutes }} minutes. If it was not you, ignore this message: your \
password stays as it is.
""",
    "password_changed": """\
Hello {{ name }},

the password of your account was changed at {{ changed_at }} UTC, and every other session was \
signed out.

If this was not you, choose a new password at once and answer this message:

{{ link }}
""",
    "webhook_disabled": """\
Hello {{ company }},

we stopped calling your webhook endpoint {{ url }}: {{ why }}

Nothing new is kept for it. Set it to active again when your server is well:

{{ link }}
""",
    "receipt": """\
Hello {{ company }},

we received your payment of {{ amount }} on {{ date }}.

For: {{ description }}
Reference: {{ reference }}
{% if link %}
Receipt: {{ link }}
{% endif %}""",
    "payment_failed": """\
Hello {{ company }},

your payment of {{ amount }} did not go through: {{ reason }}

{% if next_attempt %}We will try again on {{ next_attempt }}. \
{% endif %}Check or change your card here:

{{ link }}

After three failed attempts the account is suspended.
""",
    "action_required": """\
Hello {{ company }},

your bank wants you to confirm the payment of {{ amount }}. Please do so here:

{{ link }}

Until then the invoice stays open.
""",
    "trial_ending": """\
Hello {{ company }},

your trial ends on {{ date }}, in {{ days }} {{ "day" if days == 1 else "days" }}.

{% if has_card %}You need not do anything: your card is charged {{ amount }} for {{ plan }} then, \
and every month after that. If you do not want that, cancel before:
{% else %}There is no card on file yet. Without one, sending stops at that moment; your data \
stays. Add a card here:
{% endif %}

{{ link }}
""",
    "trial_expired": """\
Hello {{ company }},

your trial has ended without a card. Sending has stopped; nothing was deleted. Add a card and \
everything goes on:

{{ link }}
""",
    "renewal": """\
Hello {{ company }},

on {{ date }} your card will be charged {{ amount }} for the next month.

Your plan and your cards:

{{ link }}
""",
    "refunded": """\
Hello {{ company }},

we have given back {{ amount }} to your card: {{ cause }}

Banks take five to ten days to show it.
""",
    "canceled": """\
Hello {{ company }},

your subscription has ended. Sending has stopped and your inboxes are paused; nothing was deleted. \
You can come back at any time:

{{ link }}
""",
    "domain_expiring": """\
Hello {{ company }},

the registration of {{ domain }} ends on {{ date }}. {% if kept %}You have asked us to keep it, \
and we see to its renewal.{% else %}You have switched its renewal off: mail from it stops on that \
day. Switch the renewal on again to keep it.{% endif %}
""",
    "domain_expired": """\
Hello {{ company }},

the registration of {{ domain }} has ended, and mail from it has stopped. It can be had back at \
the ordinary price until {{ date }}: answer this message.
""",
    "domain_ownership": """\
Hello {{ company }},

{{ domain }}: {{ what }}.
""",
    "alert": """\
{{ message }}

Kind: {{ kind }}
About: {{ fact }}
{% if tenant_id %}
Tenant: {{ tenant_id }}
{% endif %}""",
    "warned": """\
Hello {{ company }},

{{ note }}

{% if paused %}The inbox is paused: it sends nothing until you have looked at its list and resumed \
it. {% else %}Sending goes on. If it gets worse, it will be stopped. {% endif %}The figures, the \
thresholds and a way to object are here:

{{ link }}
""",
    "suspended": """\
Hello {{ company }},

your account is suspended ({{ reason }}). Sending has stopped and your inboxes are paused; nothing \
was deleted.

{{ remedy }}
""",
}

# A link that stands alone on its line becomes a real one; everything else is escaped text.
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ subject }}</title></head>
<body style="font-family:sans-serif;max-width:36em;margin:2em auto;line-height:1.5">
{% for paragraph in paragraphs %}\
<p>{% if paragraph.startswith("http") %}<a href="{{ paragraph }}">{{ paragraph }}</a>\
{% else %}{{ paragraph }}{% endif %}</p>
{% endfor %}\
<p style="color:#777">InboxGrove</p>
</body></html>
"""

# Plain text must not be escaped, HTML must be: two environments say so.
_plain = Environment(
    loader=DictLoader(_TEXTS),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701  # Plain text: escaping would spoil links.
    trim_blocks=True,
)
_html = Environment(undefined=StrictUndefined, autoescape=True)


def _render(template: str, subject: str, **values: object) -> Mail:
    text = _plain.get_template(template).render(**values)
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    html = _html.from_string(_PAGE).render(subject=subject, paragraphs=paragraphs)
    return Mail(" ".join(subject.split()), text, html)


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


def domain_expiring(*, company: str, domain: str, at: datetime, days: int, kept: bool) -> Mail:
    """Says ahead that a name ends, and what becomes of it."""
    return _render(
        "domain_expiring",
        f"{domain} ends in {days} {'day' if days == 1 else 'days'}",
        company=company,
        domain=domain,
        date=_day(at),
        kept=kept,
    )


def domain_expired(*, company: str, domain: str, until: datetime) -> Mail:
    """Says that a name is over, and how long it can be had back."""
    return _render(
        "domain_expired", f"{domain} has ended", company=company, domain=domain, date=_day(until)
    )


def domain_ownership(*, company: str, domain: str, what: str) -> Mail:
    """Says what became of the proof that a connected name is theirs."""
    subject = f"About your domain {domain}"
    return _render("domain_ownership", subject, company=company, domain=domain, what=what)


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


def suspended(*, company: str, reason: str) -> Mail:
    """Says that the kill switch was thrown. `reason` is a key of REASONS, else KeyError."""
    words, remedy = REASONS[reason]
    return _render(
        "suspended", "Your account is suspended", company=company, reason=words, remedy=remedy
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
