"""The texts of our mails."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.database.models import SuspensionReason
from app.ops_mail import mail_app
from app.utils import email_service

EVIL = '<script>alert("x")</script>'


def test_verification() -> None:
    mail = email_service.verification(name=EVIL, link="https://x.test/v?token=a&b=c", hours=24)
    assert "https://x.test/v?token=a&b=c\n" in mail.text
    assert 'href="https://x.test/v?token=a&amp;b=c"' in mail.html
    assert EVIL in mail.text
    assert "<script>" not in mail.html
    assert "24 hours" in mail.text


def test_a_new_password_is_asked_for_and_told_of() -> None:
    asked = email_service.password_reset(name=EVIL, link="https://x.test/r?token=a", minutes=30)
    assert "https://x.test/r?token=a\n" in asked.text
    assert "once, for 30 minutes" in asked.text
    assert "your password stays as it is" in asked.text
    changed = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    told = email_service.password_changed(name=EVIL, changed_at=changed, link="https://x.test/r")
    assert "at 2026-01-02 01:04 UTC" in told.text
    assert 'href="https://x.test/r"' in told.html
    assert "<script>" not in asked.html + told.html


def test_receipt() -> None:
    mail = email_service.receipt(
        company="Acme",
        cents=9705,
        currency="usd",
        paid_at=datetime(2026, 1, 2, tzinfo=UTC),
        description="Starter",
        reference="ch_1",
        link=None,
    )
    assert mail.subject == "Your receipt: 97.05 USD"
    assert "97.05 USD on 2026-01-02" in mail.text
    assert "Receipt:" not in mail.text


@pytest.mark.parametrize("next_attempt", [None, datetime(2026, 1, 5, tzinfo=UTC)])
def test_payment_failed(next_attempt: datetime | None) -> None:
    mail = email_service.payment_failed(
        company="Acme",
        cents=9700,
        currency="usd",
        reason="Your card was declined.",
        next_attempt=next_attempt,
        link="https://x.test/billing",
    )
    assert "Your card was declined." in mail.text
    assert ("2026-01-05" in mail.text) == (next_attempt is not None)
    assert 'href="https://x.test/billing"' in mail.html


@pytest.mark.parametrize("reason", SuspensionReason)
def test_every_reason_of_a_suspension_is_explained(reason: SuspensionReason) -> None:
    mail = email_service.suspended(
        company="Acme", reason=str(reason), note="Ten people complained.", link="https://x.test/d"
    )
    assert len(mail.text) > 150
    assert "Ten people complained." in mail.text
    assert 'href="https://x.test/d"' in mail.html


def test_a_subject_is_one_line() -> None:
    mail = email_service.receipt(
        company="A",
        cents=1,
        currency="usd\r\nBcc: x@y.test",
        paid_at=datetime(2026, 1, 2, tzinfo=UTC),
        description="",
        reference="",
        link=None,
    )
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject


def test_a_name_becomes_no_button_and_breaks_no_page() -> None:
    evil = "A\x02Click\x03https://evil.test\x00\x1b & <mj-raw>"
    mail = email_service.canceled(company=evil, link="https://x.test/billing")
    assert "AClickhttps://evil.test & <mj-raw>" in mail.text
    assert 'href="https://evil.test' not in mail.html
    assert mail.html.count('href="https://x.test/billing"') == 2  # The button, and its address.
    assert "Come back" in mail.html
    assert "Come back" not in mail.text


def test_every_kind_can_be_looked_at_before_it_is_sent(tmp_path: Path) -> None:
    told = CliRunner().invoke(mail_app, ["preview", "--folder", str(tmp_path), "--json"])
    assert told.exit_code == 0, told.output
    kinds = {one["kind"] for one in json.loads(told.stdout)["mails"]}
    makers = {
        name
        for name, maker in inspect.getmembers(email_service, inspect.isfunction)
        if inspect.get_annotations(maker, eval_str=True).get("return") is email_service.Mail
        and name[0] != "_"
    }
    assert kinds == makers
    assert {page.stem for page in tmp_path.glob("*.html")} == kinds
    for page in tmp_path.glob("*.html"):
        assert "InboxGrove" in page.read_text()
        assert page.with_suffix(".txt").read_text().startswith("Subject: ")
    wrong = CliRunner().invoke(mail_app, ["preview", "nonsense"])
    assert wrong.exit_code == 2
