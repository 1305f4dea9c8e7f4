"""Who gets which of our mails: what each person chose, and who is written to because of it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import audit
from app.database.models import NoticeKind, Role, Tenant, User
from app.rules import notifications
from app.rules.notifications import Topic


def of(user: User, tenant: Tenant) -> dict[Topic, bool]:
    """Every topic, and whether this person gets it."""
    by_default = _by_default(user, tenant)
    return {topic: user.notifications.get(topic, by_default) for topic in Topic}


def choose(
    user: User, tenant: Tenant, wanted: Mapping[Topic, bool], db: Session
) -> dict[Topic, bool]:
    """Switch topics on and off for one person; those not named stay. Returns all of them."""
    before = of(user, tenant)
    changes = {
        f"notifications.{topic}": [before[topic], on]
        for topic, on in wanted.items()
        if on != before[topic]
    }
    if changes:
        user.notifications = {**user.notifications, **{str(key): on for key, on in wanted.items()}}
        audit.write(db, user.tenant_id, "user_changed", "user", user.id, changes)
    return of(user, tenant)


def recipients(tenant: Tenant, kind: NoticeKind, db: Session) -> list[tuple[UUID | None, str]]:
    """Who is written to: the company's address (None), and people by their ids.

    Owners get everything they did not switch off, others what they switched on; where nobody can
    opt out, owners and the company's address get it. An address that is not confirmed, other than
    the company's, is not written to.
    """
    people = db.scalars(
        select(User).where(User.tenant_id == tenant.id, User.is_active).order_by(User.id)
    ).all()
    found: list[tuple[UUID | None, str]] = []
    if not any(_at_company(user, tenant) for user in people):
        found.append((None, tenant.company_email))
    for user in people:
        at_company = _at_company(user, tenant)
        if (user.is_verified or at_company) and notifications.wants(
            user.notifications, kind, by_default=_by_default(user, tenant)
        ):
            found.append((None if at_company else user.id, user.email))
    return found


def _at_company(user: User, tenant: Tenant) -> bool:
    return user.email == tenant.company_email.lower()


def _by_default(user: User, tenant: Tenant) -> bool:
    return user.role == Role.OWNER or _at_company(user, tenant)
