"""The rows of one press of the Magic Button, drawn before they are written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from uuid import UUID

from faker.providers.person.en_US import Provider as EnglishNames
from sqlalchemy import ARRAY, String, Table, cast, func, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit, bulk
from app.database.models import Domain, Inbox, InboxStatus, Provision, Tenant, new_id
from app.integrations import ports
from app.rules import exports, naming, plans, warmup
from app.utils import security


@dataclass
class Batch:
    """The columns of the new rows, side by side."""

    names: list[naming.Name]
    domains: list[Domain]
    """One a name."""
    ids: list[UUID] = field(init=False)
    emails: list[str] = field(init=False)
    passwords: list[str] = field(init=False, repr=False)
    daily_limit: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.ids = [new_id() for _ in self.names]
        self.emails = [
            f"{name.local_part}@{domain.domain_name}"
            for name, domain in zip(self.names, self.domains, strict=True)
        ]
        self.passwords = security.inbox_passwords(len(self.names))

    def insert(self, db: Session, tenant: Tenant, provision: Provision) -> None:
        now = clock.now()
        cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
        self.daily_limit = warmup.daily_limit(0, cap)
        count = len(self.ids)
        inboxes = Inbox.__table__
        assert isinstance(inboxes, Table)  # noqa: S101  # Declarative classes are mapped to tables.
        bulk.insert(
            db,
            inboxes,
            {
                "id": self.ids,
                "domain_id": [domain.id for domain in self.domains],
                "local_part": [name.local_part for name in self.names],
                "username": self.emails,
                "full_email": self.emails,
                "first_name": [name.first for name in self.names],
                "last_name": [name.last for name in self.names],
                "password": [
                    security.encrypt(password.encode(), password_context(id_))
                    for id_, password in zip(self.ids, self.passwords, strict=True)
                ],
                "password_hmac": [security.inbox_hmac(password) for password in self.passwords],
                "tenant_id": tenant.id,
                "provision_id": provision.id,
                "status": InboxStatus.PENDING.value,
                "health_score": 100,
                "warmup_stage": 0,
                "warmup_started_on": now.date(),
                "emails_sent_today": 0,
                "emails_sent_this_month": 0,
                "daily_limit": self.daily_limit,
                "monthly_limit": warmup.monthly_limit(cap),
                "created_at": now,
                "updated_at": now,
            },
            count,
        )
        audit.write_many(
            db, tenant.id, "inbox_provisioned", "inbox", self.ids, {"status": [None, "pending"]}
        )

    def credentials(self, platform: ports.Platform) -> Iterator[exports.Credential]:
        for name, email, password in zip(self.names, self.emails, self.passwords, strict=True):
            yield exports.Credential(
                email=email,
                username=email,
                password=password,
                first_name=name.first or "",
                last_name=name.last or "",
                smtp_host=platform.submission_host,
                smtp_port=platform.submission_port,
                daily_limit=self.daily_limit,
            )


def password_context(inbox_id: UUID) -> str:
    """What an encrypted password is bound to, so that it cannot be moved to another row."""
    return f"inboxes.password:{inbox_id}"


def draw(
    domains: list[Domain],
    count: int,
    convention: str,
    names: Sequence[str] | None,
    db: Session,
) -> Batch:
    """`count` names spread over the domains, as evenly as they go."""
    if names is not None and len(names) != count:
        raise errors.Invalid(
            f"{count} inboxes were asked for and {len(names)} names given.", inbox_count=count
        )
    drawn: list[naming.Name] = []
    owners: list[Domain] = []
    share, rest = divmod(count, len(domains))
    for position, domain in enumerate(domains):
        wanted = share + (1 if position < rest else 0)
        if wanted == 0:
            continue
        given = None if names is None else names[len(drawn) : len(drawn) + wanted]
        drawn += _free_names(domain, wanted, convention, given, db)
        owners += [domain] * wanted
    return Batch(drawn, owners)


def _free_names(
    domain: Domain, wanted: int, convention: str, given: Sequence[str] | None, db: Session
) -> list[naming.Name]:
    if given is not None:
        try:
            taken = _taken(domain, [name.strip().lower() for name in given], db)
            return naming.custom(given, wanted, taken)
        except naming.BadName as error:
            raise errors.Invalid(str(error), name=error.name, why=error.why) from None
    firsts, lasts = _word_lists()
    seed = secrets.randbits(64)
    known: set[str] = set()
    window = wanted
    # A domain may have very many inboxes: ask about candidates instead of reading all names.
    while True:
        candidates = naming.generate(
            convention,
            window,
            known,
            first_names=firsts,
            last_names=lasts,
            rng=Random(seed),  # noqa: S311  # Names are no secret.
        )
        known |= _taken(domain, [name.local_part for name in candidates], db)
        free = [name for name in candidates if name.local_part not in known]
        if len(free) >= wanted:
            return free[:wanted]
        # What is still missing, and as much again as was found taken; then twice as far each time.
        window = wanted + 2 * len(known)


def _taken(domain: Domain, candidates: Sequence[str], db: Session) -> set[str]:
    # Deleted inboxes count: an address is never given to somebody else. The candidates are joined
    # as a table: IN would make ten thousand parameters, and ANY a list that a prepared statement
    # walks through for every inbox of the domain.
    asked = func.unnest(cast(list(candidates), ARRAY(String))).table_valued("name")
    return set(
        db.scalars(
            select(Inbox.local_part)
            .join(asked, asked.c.name == Inbox.local_part)
            .where(Inbox.domain_id == domain.id)
        )
    )


@lru_cache
def _word_lists() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(set(EnglishNames.first_names))), tuple(sorted(set(EnglishNames.last_names)))


def credential_of(inbox: Inbox, platform: ports.Platform) -> exports.Credential:
    return exports.Credential(
        email=inbox.full_email,
        username=inbox.username,
        password=security.decrypt(inbox.password, password_context(inbox.id)).decode(),
        first_name=inbox.first_name or "",
        last_name=inbox.last_name or "",
        smtp_host=platform.submission_host,
        smtp_port=platform.submission_port,
        daily_limit=inbox.daily_limit,
    )
