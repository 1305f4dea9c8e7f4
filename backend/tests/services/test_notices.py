"""Every kind of message about money is written, sent once, and never twice for one fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock, errors
from app.database.models import BillingNotice, NoticeKind
from app.database.session import ALL_TENANTS, transaction
from app.services import notices
from tests.fakes import FakeWorld

MONEY = {"cents": 9_700, "currency": "usd"}
DETAILS: dict[NoticeKind, dict[str, Any]] = {
    NoticeKind.RECEIPT: {**MONEY, "description": "A", "reference": "B", "link": None},
    NoticeKind.PURCHASE_RECEIPT: {**MONEY, "description": "A", "reference": "B", "link": None},
    NoticeKind.PAYMENT_FAILED: {
        **MONEY,
        "reason": "declined",
        "next_attempt": "2026-12-01T00:00:00+00:00",
        "link": None,
    },
    NoticeKind.ACTION_REQUIRED: {**MONEY, "link": None},
    NoticeKind.TRIAL_ENDING: {"days": 3, "plan": "Starter", "cents": 9_700},
    NoticeKind.TRIAL_EXPIRED: {},
    NoticeKind.RENEWAL: {**MONEY, "at": None},
    NoticeKind.REFUNDED: {**MONEY, "cause": "by agreement"},
    NoticeKind.SUSPENDED: {"reason": "payment_failed"},
    NoticeKind.WARNED: {"note": "Too many bounces.", "paused": 0},
    NoticeKind.CANCELED: {},
    NoticeKind.DOMAIN_EXPIRING: {
        "domain_name": "acme-mail.com",
        "at": "2026-12-01T00:00:00+00:00",
        "days": 7,
        "kept": "no",
    },
    NoticeKind.DOMAIN_TRANSFER: {"domain_name": "acme-mail.com", "what": "is locked again"},
    NoticeKind.DOMAIN_RENEWAL_FAILED: {
        "domain_name": "acme-mail.com",
        "cents": 1872,
        "currency": "usd",
        "why": "Your card was declined.",
        "at": "2026-12-01T00:00:00+00:00",
        "again": "2026-11-24T00:00:00+00:00",
    },
    NoticeKind.DOMAIN_DNS_DIFFERS: {"domain_name": "acme-mail.com", "why": "Add the MX record."},
    NoticeKind.DOMAIN_EXPIRED: {"domain_name": "acme-mail.com", "at": "2026-12-01T00:00:00+00:00"},
    NoticeKind.REINSTATED: {"note": None},
    NoticeKind.DKIM_RECORD_NEEDED: {"domain_name": "a.test", "record_name": "b", "record": "c"},
    NoticeKind.LIMIT_NEAR: {"what": "inboxes", "used": 92, "limit": 100},
    NoticeKind.DOMAIN_LISTED: {
        "domain_name": "acme-mail.com",
        "list": "dbl.test",
        "answer": "127.0.1.2",
        "minutes": 60,
    },
    NoticeKind.APPEAL_ANSWERED: {"state": "upheld", "answer": "The list was bought."},
    NoticeKind.DOMAIN_OWNERSHIP: {"domain_name": "acme-mail.com", "what": "its proof is gone"},
}


@pytest.fixture
def tenant(outside: FakeWorld, make_tenant: Callable[..., Any]) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        return UUID(str(make_tenant(db).id))


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_a_notice_is_written_once(
    tenant: UUID, outside: FakeWorld, drain: Callable[..., list[str]], kind: NoticeKind
) -> None:
    for _ in range(3):
        with transaction(tenant=ALL_TENANTS) as db:
            notices.owe(db, tenant, kind, "fact", **DETAILS[kind])
    assert drain().count("billing.send_notice") == 1
    ((to, subject),) = outside.mailer.sent
    assert to.startswith("owner")
    assert subject
    with transaction(tenant=ALL_TENANTS) as db:
        notice = db.scalars(select(BillingNotice)).one()
        assert notice.sent_at is not None
        notices.send(notice.id, db)
    assert len(outside.mailer.sent) == 1


def test_a_letter_box_that_is_away_is_tried_again(
    tenant: UUID, outside: FakeWorld, drain: Callable[..., list[str]]
) -> None:
    outside.accidents.plan("send", errors.ProviderUnavailable(provider="SMTP"))
    with transaction(tenant=ALL_TENANTS) as db:
        notices.owe(db, tenant, NoticeKind.TRIAL_EXPIRED, clock.now().isoformat())
    drain()
    assert outside.mailer.sent == []
    drain(due_too=True)
    assert len(outside.mailer.sent) == 1


def test_alerts_go_to_the_operators(outside: FakeWorld, drain: Callable[..., list[str]]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        assert notices.alert(db, "loss", "p1", "Look after it.")
    assert drain() == ["billing.send_alert"]
    assert outside.mailer.sent == [("ops@platform.test", "InboxGrove: loss")]
