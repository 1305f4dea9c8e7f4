"""What each kind of notice says, from its details and from who it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.database.models import BillingNotice, NoticeKind, Tenant
from app.integrations import ports
from app.utils import email_service as mails
from app.utils.email_service import Mail


@dataclass(frozen=True)
class _About:
    """What a letter is made from."""

    known: dict[str, Any]
    tenant: Tenant
    noted_at: datetime
    site: str

    @property
    def company(self) -> str:
        return self.tenant.company_name

    @property
    def billing(self) -> str:
        return f"{self.site}/billing"

    @property
    def decisions(self) -> str:
        return f"{self.site}/decisions"

    @property
    def money(self) -> dict[str, Any]:
        return {"cents": self.known["cents"], "currency": self.known["currency"]}

    def instant(self, name: str) -> datetime | None:
        text = self.known[name]
        return None if text is None else datetime.fromisoformat(text)


def write(notice: BillingNotice, tenant: Tenant, platform: ports.Platform) -> Mail:
    """The mail of a notice. Raises KeyError where its details lack something."""
    about = _About(notice.details, tenant, notice.created_at, platform.public_url)
    return _WRITERS[notice.kind](about)


# Money ------------------------------------------------------------------------------------------


def _receipt(it: _About) -> Mail:
    return mails.receipt(
        company=it.company,
        **it.money,
        paid_at=it.noted_at,
        description=it.known["description"],
        reference=it.known["reference"],
        link=it.known["link"],
    )


def _payment_failed(it: _About) -> Mail:
    return mails.payment_failed(
        company=it.company,
        **it.money,
        reason=it.known["reason"],
        next_attempt=it.instant("next_attempt"),
        link=it.known["link"] or it.billing,
    )


def _action_required(it: _About) -> Mail:
    link = it.known["link"] or it.billing
    return mails.action_required(company=it.company, **it.money, link=link)


def _trial_ending(it: _About) -> Mail:
    return mails.trial_ending(
        company=it.company,
        ends_at=it.tenant.trial_ends_at,
        days=it.known["days"],
        has_card=it.tenant.stripe_subscription_id is not None,
        plan=it.known["plan"],
        cents=it.known["cents"],
        link=it.billing,
    )


def _trial_expired(it: _About) -> Mail:
    return mails.trial_expired(company=it.company, link=it.billing)


def _renewal(it: _About) -> Mail:
    return mails.renewal(company=it.company, **it.money, at=it.instant("at"), link=it.billing)


def _refunded(it: _About) -> Mail:
    return mails.refunded(company=it.company, **it.money, cause=it.known["cause"])


def _canceled(it: _About) -> Mail:
    return mails.canceled(company=it.company, link=it.billing)


# Conduct ----------------------------------------------------------------------------------------


def _suspended(it: _About) -> Mail:
    return mails.suspended(
        company=it.company,
        reason=it.known["reason"],
        note=it.known.get("note"),
        link=it.decisions,
    )


def _reinstated(it: _About) -> Mail:
    return mails.reinstated(company=it.company, note=it.known["note"])


def _appeal_answered(it: _About) -> Mail:
    return mails.appeal_answered(
        company=it.company,
        granted=it.known["state"] == "reversed",
        answer=it.known["answer"],
        link=it.decisions,
    )


def _warned(it: _About) -> Mail:
    return mails.warned(
        company=it.company,
        note=it.known["note"],
        paused=bool(it.known["paused"]),
        link=it.decisions,
    )


# Names ------------------------------------------------------------------------------------------


def _domain_expiring(it: _About) -> Mail:
    return mails.domain_expiring(
        company=it.company,
        domain=it.known["domain_name"],
        at=datetime.fromisoformat(it.known["at"]),
        days=it.known["days"],
        kept=it.known["kept"] == "yes",
        # Not in the notices of earlier releases.
        price=None if it.known.get("cents") is None else mails.money(**it.money),
        charged_at=None if it.known.get("charged_at") is None else it.instant("charged_at"),
    )


def _domain_expired(it: _About) -> Mail:
    until = datetime.fromisoformat(it.known["at"])
    return mails.domain_expired(company=it.company, domain=it.known["domain_name"], until=until)


def _domain_dns_differs(it: _About) -> Mail:
    name, why = it.known["domain_name"], it.known["why"]
    return mails.domain_dns_differs(company=it.company, domain=name, why=why)


def _domain_ownership(it: _About) -> Mail:
    name, what = it.known["domain_name"], it.known["what"]
    return mails.domain_ownership(company=it.company, domain=name, what=what)


def _domain_transfer(it: _About) -> Mail:
    name, what = it.known["domain_name"], it.known["what"]
    return mails.domain_transfer(company=it.company, domain=name, what=what)


def _domain_renewal_failed(it: _About) -> Mail:
    return mails.domain_renewal_failed(
        company=it.company,
        **it.money,
        domain=it.known["domain_name"],
        why=it.known["why"],
        at=datetime.fromisoformat(it.known["at"]),
        again=it.instant("again"),
        link=it.billing,
    )


def _dkim_record_needed(it: _About) -> Mail:
    return mails.dkim_record_needed(
        company=it.company,
        domain=it.known["domain_name"],
        name=it.known["record_name"],
        record=it.known["record"],
    )


def _limit_near(it: _About) -> Mail:
    what, used, limit = it.known["what"], it.known["used"], it.known["limit"]
    return mails.limit_near(company=it.company, what=what, used=used, limit=limit, link=it.billing)


def _domain_listed(it: _About) -> Mail:
    return mails.domain_listed(
        company=it.company,
        domain=it.known["domain_name"],
        blocklist=it.known["list"],
        answer=it.known["answer"],
        minutes=it.known["minutes"],
        link=it.decisions,
    )


_WRITERS: dict[NoticeKind, Callable[[_About], Mail]] = {
    NoticeKind.RECEIPT: _receipt,
    NoticeKind.PURCHASE_RECEIPT: _receipt,
    NoticeKind.PAYMENT_FAILED: _payment_failed,
    NoticeKind.ACTION_REQUIRED: _action_required,
    NoticeKind.TRIAL_ENDING: _trial_ending,
    NoticeKind.TRIAL_EXPIRED: _trial_expired,
    NoticeKind.RENEWAL: _renewal,
    NoticeKind.REFUNDED: _refunded,
    NoticeKind.CANCELED: _canceled,
    NoticeKind.SUSPENDED: _suspended,
    NoticeKind.REINSTATED: _reinstated,
    NoticeKind.APPEAL_ANSWERED: _appeal_answered,
    NoticeKind.WARNED: _warned,
    NoticeKind.DOMAIN_EXPIRING: _domain_expiring,
    NoticeKind.DOMAIN_EXPIRED: _domain_expired,
    NoticeKind.DOMAIN_DNS_DIFFERS: _domain_dns_differs,
    NoticeKind.DOMAIN_OWNERSHIP: _domain_ownership,
    NoticeKind.DOMAIN_TRANSFER: _domain_transfer,
    NoticeKind.DOMAIN_RENEWAL_FAILED: _domain_renewal_failed,
    NoticeKind.DKIM_RECORD_NEEDED: _dkim_record_needed,
    NoticeKind.LIMIT_NEAR: _limit_near,
    NoticeKind.DOMAIN_LISTED: _domain_listed,
}
