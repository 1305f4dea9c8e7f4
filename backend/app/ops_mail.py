"""`inboxgrove mail …`: our own mail to people, looked at before anybody gets it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.ops import AsJSON, show
from app.utils import email_service as mails

mail_app = typer.Typer(no_args_is_help=True, help="Our own mail to people.")

_COMPANY, _NAME = "Fern & Sons Ltd.", "Ada Fern"
_WHEN = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
_LINK = "https://mail.example.com/billing"

EXAMPLES: dict[str, Callable[[], mails.Mail]] = {
    "verification": lambda: mails.verification(name=_NAME, link=_LINK, hours=24),
    "password_reset": lambda: mails.password_reset(name=_NAME, link=_LINK, minutes=30),
    "password_changed": lambda: mails.password_changed(name=_NAME, changed_at=_WHEN, link=_LINK),
    "invitation": lambda: mails.invitation(inviter=_NAME, company=_COMPANY, link=_LINK, days=7),
    "second_factor": lambda: mails.second_factor(name=_NAME, what="recovery_code_used", left=7),
    "webhook_disabled": lambda: mails.webhook_disabled(
        company=_COMPANY, url="https://hooks.example.com/x", why="it answered 410.", link=_LINK
    ),
    "receipt": lambda: mails.receipt(
        company=_COMPANY,
        cents=29_700,
        currency="usd",
        paid_at=_WHEN,
        description="Growth, December 2026",
        reference="ch_3Qx",
        link=_LINK,
    ),
    "payment_failed": lambda: mails.payment_failed(
        company=_COMPANY,
        cents=29_700,
        currency="usd",
        reason="Your card has insufficient funds.",
        next_attempt=_WHEN,
        link=_LINK,
    ),
    "action_required": lambda: mails.action_required(
        company=_COMPANY, cents=29_700, currency="usd", link=_LINK
    ),
    "trial_ending": lambda: mails.trial_ending(
        company=_COMPANY,
        ends_at=_WHEN,
        days=3,
        has_card=True,
        plan="Starter",
        cents=9_700,
        link=_LINK,
    ),
    "trial_expired": lambda: mails.trial_expired(company=_COMPANY, link=_LINK),
    "renewal": lambda: mails.renewal(
        company=_COMPANY, cents=29_700, currency="usd", at=_WHEN, link=_LINK
    ),
    "refunded": lambda: mails.refunded(
        company=_COMPANY, cents=1_428, currency="usd", cause="fern.com could not be registered"
    ),
    "canceled": lambda: mails.canceled(company=_COMPANY, link=_LINK),
    "domain_expiring": lambda: mails.domain_expiring(
        company=_COMPANY,
        domain="fern.com",
        at=_WHEN,
        days=14,
        kept=True,
        price="18.72 USD",
        charged_at=_WHEN,
    ),
    "domain_transfer": lambda: mails.domain_transfer(
        company=_COMPANY,
        domain="fern.com",
        what="was unlocked for a transfer to another registrar",
    ),
    "transfer_code": lambda: mails.transfer_code(
        company=_COMPANY, domain="fern.com", code="aB3-x9-Kq"
    ),
    "domain_renewal_failed": lambda: mails.domain_renewal_failed(
        company=_COMPANY,
        domain="fern.com",
        cents=1872,
        currency="usd",
        why="Your card was declined.",
        at=_WHEN,
        again=_WHEN,
        link=_LINK,
    ),
    "domain_expired": lambda: mails.domain_expired(
        company=_COMPANY, domain="fern.com", until=_WHEN
    ),
    "domain_dns_differs": lambda: mails.domain_dns_differs(
        company=_COMPANY, domain="fern.com", why="MX fern.com: expected 10 mx1.example.com."
    ),
    "domain_ownership": lambda: mails.domain_ownership(
        company=_COMPANY, domain="fern.com", what="The record that proves it is yours is gone."
    ),
    "dkim_record_needed": lambda: mails.dkim_record_needed(
        company=_COMPANY,
        domain="fern.com",
        name="ig202612._domainkey.fern.com",
        record="v=DKIM1; k=rsa; p=MIIB…",
    ),
    "limit_near": lambda: mails.limit_near(
        company=_COMPANY, what="inboxes", used=92, limit=100, link=_LINK
    ),
    "domain_listed": lambda: mails.domain_listed(
        company=_COMPANY,
        domain="fern.com",
        blocklist="dbl.example.org",
        answer="127.0.1.2",
        minutes=60,
        link=_LINK,
    ),
    "alert": lambda: mails.alert(
        kind="job_dead", fact="01a2…", message="domains.register was given up.", tenant_id="01a2…"
    ),
    "suspended": lambda: mails.suspended(
        company=_COMPANY,
        reason="spam_complaint",
        note="Ten people reported your mail as spam within 30 days.",
        link=_LINK,
    ),
    "reinstated": lambda: mails.reinstated(company=_COMPANY, note=None),
    "appeal_answered": lambda: mails.appeal_answered(
        company=_COMPANY, granted=False, answer="The list was bought.", link=_LINK
    ),
    "warned": lambda: mails.warned(
        company=_COMPANY,
        note="4.2 % of your mail bounced this week.",
        paused=False,
        link=_LINK,
    ),
}
"""Every kind of mail, with made-up people."""


@mail_app.callback()
def _group() -> None:
    """Keeps the name of the one command there is."""


@mail_app.command()
def preview(
    kind: Annotated[
        str | None, typer.Argument(help="One of the kinds; all when left out.", show_default=False)
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the pages and texts are put.")] = Path(
        ".data/mails"
    ),
    as_json: AsJSON = False,
) -> None:
    """Write each kind of mail as a page and as text, with made-up people in it."""
    if kind is not None and kind not in EXAMPLES:
        raise typer.BadParameter(f"There is no mail {kind!r}. There are: {', '.join(EXAMPLES)}.")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in [kind] if kind else EXAMPLES:
        mail = EXAMPLES[name]()
        page, text = folder / f"{name}.html", folder / f"{name}.txt"
        page.write_text(mail.html)
        text.write_text(f"Subject: {mail.subject}\n\n{mail.text}")
        written.append(
            {"kind": name, "subject": mail.subject, "page": str(page), "text": str(text)}
        )
    if as_json:
        show({"mails": written}, as_json)
        return
    for one in written:
        typer.echo(f"{one['kind']:<18} {one['subject']:<48} {one['page']}")
