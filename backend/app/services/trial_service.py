"""One trial for each company and for each card.

The first to write a claim down has the trial; row by row in PostgreSQL, so that of many who sign up
at once exactly one does. A claim stays when its tenant goes, and holds a hash only.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import SubscriptionStatus, Tenant, TrialClaim, TrialClaimKind, new_id
from app.rules import signup
from app.services import subscription_state


class TrialService:
    @staticmethod
    def claim_for_address(tenant: Tenant, email: str, db: Session) -> bool:
        """Claim the trial of the owner's company, or of the mailbox where anybody can have one.

        False, and no trial for this tenant, when another tenant had it.
        """
        company = signup.company_domain(email)
        if company is not None:
            kind, value = TrialClaimKind.COMPANY_DOMAIN, company
        else:
            kind, value = TrialClaimKind.MAILBOX, signup.mailbox(email)
        return _claim(kind, value, tenant, db)

    @staticmethod
    def claim_for_card(tenant: Tenant, fingerprint: str | None, db: Session) -> bool:
        """Claim the trial that goes with a card; `fingerprint` is Stripe's, the same wherever the
        card is used, and None where Stripe knows none.

        False when another tenant had it. The trial ends then, unless it rests on another card.
        """
        if fingerprint is None or tenant.trial_refused_for is not None:
            return tenant.trial_refused_for is None
        return _claim(TrialClaimKind.CARD, fingerprint, tenant, db)


def _claim(kind: TrialClaimKind, value: str, tenant: Tenant, db: Session) -> bool:
    key = hashlib.sha256(f"{kind}:{value}".encode()).digest()
    db.execute(
        insert(TrialClaim)
        .values(id=new_id(), created_at=clock.now(), kind=kind, value_hash=key, tenant_id=tenant.id)
        .on_conflict_do_nothing()
    )
    holder = db.scalar(
        select(TrialClaim.tenant_id).where(TrialClaim.kind == kind, TrialClaim.value_hash == key)
    )
    mine = holder == tenant.id
    if not mine and tenant.stripe_subscription_id is None:
        _refuse(tenant, kind, db)
    return mine


def _refuse(tenant: Tenant, kind: TrialClaimKind, db: Session) -> None:
    """End the trial. The account stays, and may pay at once."""
    tenant.trial_refused_for = kind
    tenant.trial_ends_at = min(tenant.trial_ends_at, clock.now())
    audit.write(
        db,
        tenant.id,
        "trial_refused",
        "tenant",
        tenant.id,
        {"trial_refused_for": [None, str(kind)]},
    )
    if tenant.subscription_status == SubscriptionStatus.TRIALING:
        subscription_state.set_status(tenant, SubscriptionStatus.TRIAL_EXPIRED, db)
