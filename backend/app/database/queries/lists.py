"""Lists that are asked for again and again, shaped by the query as the API tells them.

The columns are those of the schemas in app/api/schemas; tests/api/test_reads.py holds them to that.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow

from app.database.models import InboxStatus
from app.database.reading import Reading

_INBOXES = """
SELECT id, domain_id, provision_id, username, full_email, first_name, last_name, status,
    health_score, warmup_stage, daily_limit, monthly_limit, created_at,
    CASE WHEN sent_on = %(today)s THEN emails_sent_today ELSE 0 END AS emails_sent_today,
    CASE WHEN sent_on >= date_trunc('month', %(today)s::date) THEN emails_sent_this_month ELSE 0
        END AS emails_sent_this_month
FROM inboxes
"""
_DOMAINS = """
SELECT id, domain_name, status, registrar_provider, name_servers, kumo_authorized, dkim_selector,
    dmarc_policy, auto_renew, purchase_date, expiry_date, failure, created_at, updated_at
FROM domains
"""


async def inboxes(
    reading: Reading,
    tenant_id: UUID,
    *,
    today: date,
    domain_id: UUID | None,
    status: InboxStatus | None,
    text: str | None,
    after: UUID | None,
    limit: int,
) -> tuple[list[DictRow], UUID | None]:
    """In the order of their making; and the id to continue after, None on the last page.

    Living ones, unless `status` asks for deleted ones; `text` is a part of the address.
    """
    where = ["tenant_id = %(tenant)s"]
    where.append("status <> 'deleted'" if status is None else "status = %(status)s")
    if domain_id is not None:
        where.append("domain_id = %(domain)s")
    if text is not None:
        where.append("position(%(text)s in full_email) > 0")
    if after is not None:
        where.append("id > %(after)s")
    values = {
        "tenant": tenant_id,
        "today": today,
        "status": None if status is None else str(status),
        "domain": domain_id,
        "text": None if text is None else text.lower(),
        "after": after,
    }
    return await _page(reading, _INBOXES, where, "id", values, limit)


async def domains(
    reading: Reading, tenant_id: UUID, *, status: str | None, after: UUID | None, limit: int
) -> tuple[list[DictRow], UUID | None]:
    """The newest first; and the id to continue after, None on the last page."""
    where = ["tenant_id = %(tenant)s"]
    if status is not None:
        where.append("status = %(status)s")
    if after is not None:
        where.append("id < %(after)s")
    values = {
        "tenant": tenant_id,
        "status": None if status is None else str(status),
        "after": after,
    }
    return await _page(reading, _DOMAINS, where, "id DESC", values, limit)


async def _page(
    reading: Reading, select: str, where: list[str], order: str, values: dict[str, Any], limit: int
) -> tuple[list[DictRow], UUID | None]:
    # One more than is shown tells whether there are more.
    sql = f"{select} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT %(limit)s"
    rows = await reading.rows(sql, {**values, "limit": limit + 1})
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1]["id"]
