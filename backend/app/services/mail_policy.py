"""What mail to tenants' domains needs beyond their own DNS: our zone, and the MTA-STS policy."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import Domain, DomainStatus
from app.integrations import ports
from app.rules import dns_records, mail_zone, mta_sts

_OURS = (DomainStatus.ACTIVE, DomainStatus.SUSPENDED, DomainStatus.AUTHORIZING)
"""Mail comes for these; a suspended tenant's replies still do."""


def findings(providers: ports.Providers) -> tuple[mail_zone.Finding, ...]:
    """The platform's own zone, by real queries. Raises ProviderUnavailable without an answer."""
    platform = providers.platform
    return mail_zone.check(
        platform.mail_zone,
        providers.resolver.lookup,
        tracking_host=platform.tracking_host,
        has_mta_sts=bool(platform.mta_sts_mode),
    )


def of(domain_name: str, db: Session, platform: ports.Platform) -> str | None:
    """The MTA-STS policy of a domain whose mail we take; None for any other name."""
    if not platform.mta_sts_mode:
        return None
    known = db.scalar(
        select(Domain.id).where(Domain.domain_name == domain_name, Domain.status.in_(_OURS))
    )
    if known is None:
        return None
    return mta_sts.policy(platform.mta_sts_mode, dns_records.mail_hosts(platform.mail_zone))
