"""Taking a bought name to another registrar: unlocked, its code handed over, and gone or stayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import Domain, DomainStatus, NoticeKind, Tenant
from app.integrations import ports
from app.services import domain_steps, notices
from app.utils import email_service

LOCKED_FOR = timedelta(days=60)
"""After a registration no registrar lets a name go (ICANN Transfer Policy, I.A.3.7.5)."""


@dataclass(frozen=True)
class Transfer:
    """What the owner needs at the new registrar."""

    domain_name: str
    since: datetime
    auth_code: str | None
    """None where the registrar hands it to people only: it comes by mail from an operator."""
    next_step: str


def begin(domain: Domain, db: Session, *, providers: ports.Providers | None = None) -> Transfer:
    """Unlock the name and fetch its code. A repeat fetches the code again.

    Nothing is renewed while a transfer is under way. Raises Invalid for a name that was not bought
    here, Conflict for one that cannot be moved now, and provider errors.
    """
    providers = providers or ports.current()
    domain = domain_steps.lock(domain.id, db)
    _refuse(domain)
    registrar = providers.at(domain.registrar_provider).registrar
    by_hand = None
    try:
        registrar.unlock(domain.domain_name)
    except errors.ProviderFailed as refusal:
        by_hand = refusal.message
    code = registrar.auth_code(domain.domain_name)
    if domain.transfer_out_at is None:
        domain.transfer_out_at, domain.protected_at = clock.now(), None
        domain_steps.move(
            domain,
            "domain_transfer_begun",
            db,
            transfer_out_at=[None, domain.transfer_out_at.isoformat()],
        )
        _tell(domain, "was unlocked for a transfer to another registrar", db)
    if code is None or by_hand is not None:
        wanted = "Send its owner the authorisation code: inboxgrove ops transfer-code."
        if by_hand is not None:
            wanted = f"Unlock it by hand ({by_hand}). {wanted}"
        notices.alert(
            db,
            "transfer_code_wanted",
            f"{domain.id}:{domain.transfer_out_at:%Y-%m-%d}",
            f"{domain.domain_name} is to be transferred out. {wanted}",
            tenant_id=domain.tenant_id,
        )
    return Transfer(
        domain_name=domain.domain_name,
        since=domain.transfer_out_at,
        auth_code=code,
        next_step=(
            "Give the code to the new registrar and confirm the transfer there."
            if code is not None
            else "We mail you the code, by hand, within a working day; the registrar gives it to"
            " people only."
        ),
    )


def cancel(domain: Domain, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Lock the name again; it stays. A repeat changes nothing."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain.id, db)
    since = domain.transfer_out_at
    if since is None:
        return
    providers.at(domain.registrar_provider).registrar.protect(domain.domain_name)
    domain.transfer_out_at, domain.protected_at = None, clock.now()
    domain_steps.move(
        domain, "domain_transfer_cancelled", db, transfer_out_at=[since.isoformat(), None]
    )
    _tell(domain, "is locked again and stays with us", db)


def send_code(
    domain_name: str, code: str, db: Session, *, providers: ports.Providers | None = None
) -> str:
    """Mail the owner a code that an operator took from the registrar's panel; the address.

    Raises NotFound for a name that is not being transferred, Invalid for no code.
    """
    providers = providers or ports.current()
    domain = db.scalars(
        select(Domain).where(
            Domain.domain_name == domain_name.lower(), Domain.transfer_out_at.is_not(None)
        )
    ).one_or_none()
    if domain is None:
        raise errors.NotFound(resource="domain that is being transferred")
    if not code.strip():
        raise errors.Invalid("Give the code that the registrar shows.")
    tenant = db.get_one(Tenant, domain.tenant_id)
    mail = email_service.transfer_code(
        company=tenant.company_name, domain=domain.domain_name, code=code.strip()
    )
    audit.write(db, tenant.id, "domain_transfer_code_sent", "domain", domain.id)
    providers.mailer.send(
        to=tenant.company_email,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        key=f"transfer-code-{domain.id}-{clock.now().timestamp():.0f}",
    )
    return tenant.company_email


def left(domain: Domain, db: Session) -> None:
    """It is not in our account any more, as its owner wanted."""
    since = domain.transfer_out_at
    domain.transfer_out_at, domain.auto_renew = None, False
    domain_steps.move(
        domain,
        "domain_transferred",
        db,
        status=DomainStatus.DELETED,
        transfer_out_at=[None if since is None else since.isoformat(), None],
    )
    _tell(domain, "was transferred to another registrar, and mail from it has stopped", db)


def _refuse(domain: Domain) -> None:
    if domain.registrar_provider is None:
        raise errors.Invalid(
            f"{domain.domain_name} was not registered here: transfer it where it is registered."
        )
    if domain.status not in (DomainStatus.ACTIVE, DomainStatus.DELETED):
        raise errors.Conflict("Only a living name can be moved.", status=str(domain.status))
    if domain.purchase_date is not None:
        free_at = domain.purchase_date + LOCKED_FOR
        if clock.now() < free_at:
            raise errors.Conflict(
                "A name cannot be moved within 60 days of its registration.",
                possible_from=free_at.isoformat(),
            )


def _tell(domain: Domain, what: str, db: Session) -> None:
    notices.owe(
        db,
        domain.tenant_id,
        NoticeKind.DOMAIN_TRANSFER,
        f"{domain.id}:{clock.now().isoformat()}",
        domain_name=domain.domain_name,
        what=what,
    )
