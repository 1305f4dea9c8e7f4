"""What operators look at; expects a session that sees all tenants."""

from __future__ import annotations

from sqlalchemy import Select, or_, select

from app.database.models import Job, Tenant


def tenants(*, suspended: bool | None, text: str | None) -> Select[Tenant]:
    """`text` is a part of the company's name or address."""
    statement = select(Tenant)
    if suspended is not None:
        statement = statement.where(Tenant.is_suspended == suspended)
    if text is not None:
        statement = statement.where(
            or_(
                Tenant.company_name.icontains(text, autoescape=True),
                Tenant.company_email.icontains(text, autoescape=True),
            )
        )
    return statement


def jobs(*, state: str | None) -> Select[Job]:
    statement = select(Job)
    return statement if state is None else statement.where(Job.state == state)
