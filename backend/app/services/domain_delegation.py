"""Name servers of an active name that are not those of its zone: put back, or told.

Without them nothing we publish is seen, so the records are not looked at while they are wrong.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Domain
from app.integrations import ports
from app.services import domain_steps

SPREADS_FOR = timedelta(days=1)
"""Resolvers may keep the former name servers for so long after they were put back."""


def lost(domain: Domain, resolver: ports.DNSResolver) -> str | None:
    """What stands in place of our name servers, in words; None while they are as they should be.

    Raises ProviderUnavailable when no server answers.
    """
    if not domain.name_servers:
        return None
    wanted = {server.lower() for server in domain.name_servers}
    seen = {server.lower().rstrip(".") for server in resolver.lookup(domain.domain_name, "NS")}
    if seen == wanted:
        return None
    return (
        f"NS {domain.domain_name}: expected {', '.join(sorted(wanted))};"
        f" seen {', '.join(sorted(seen)) or 'none'}"
    )


def put_back(
    domain: Domain, why: str, mark: str, db: Session, providers: ports.Providers
) -> str | None:
    """Set them again where we hold the name: what is still wrong to tell, or None to wait for it.

    Each is tried once a day: what was put back a moment ago is not seen everywhere yet.
    """
    if domain.registrar_provider is None:
        return f"{why}. At your registrar, set those that are expected and no others."
    stands = (domain.failure or "").startswith(f"{mark}NS ")
    if stands and clock.now() - domain.updated_at < SPREADS_FOR:
        return None
    try:
        registrar = providers.at(domain.registrar_provider).registrar
        registrar.set_nameservers(domain.domain_name, domain.name_servers)
    except errors.ProviderFailed as refusal:
        # Its time stands on the name, so that tomorrow is the next try.
        domain_steps.move(domain, "domain_nameservers_stuck", db, name_servers=[why, None])
        return f"{why}. They cannot be put back: {refusal.message}"
    domain_steps.move(domain, "domain_nameservers_healed", db, name_servers=[why, None])
    return f"{why}. We have put them back; resolvers may take a day to notice."
