"""Who asks, for reads in plain SQL: what api/deps.py asks the ORM, in one statement each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import inspect

from app.database.models import APIKey, Base, Tenant, User
from app.database.reading import Reading
from app.database.tables.base import Text
from app.utils.security import AccessClaims

Model = TypeVar("Model", bound=Base)


class _Whole(Generic[Model]):
    """Every column of a table, and the object that a row of them makes: detached, to be read."""

    def __init__(self, model: type[Model], alias: str) -> None:
        self._model = model
        columns = {each.key: each.columns[0] for each in inspect(model).column_attrs}
        self.names = tuple(columns)
        self.columns = ", ".join(f"{alias}.{column.name}" for column in columns.values())
        self._enums = [
            (name, column.type.enum)
            for name, column in columns.items()
            if isinstance(column.type, Text)
        ]

    def made_of(self, values: Sequence[Any]) -> Model:
        fields = dict(zip(self.names, values, strict=True))
        for name, enum in self._enums:
            if fields[name] is not None:
                fields[name] = enum(fields[name])
        # Set one by one the fields would cost more than the query.
        made = self._model()
        made.__dict__.update(fields)
        return made


_USER, _TENANT, _KEY = _Whole(User, "u"), _Whole(Tenant, "t"), _Whole(APIKey, "k")

# The family must live, so that signing out is felt by the next request.
_PERSON = f"""
SELECT {_USER.columns}, {_TENANT.columns}
FROM users u JOIN tenants t ON t.id = u.tenant_id
WHERE u.id = %(user)s AND t.id = %(tenant)s AND u.is_active AND EXISTS (
    SELECT FROM refresh_tokens r
    WHERE r.family_id = %(family)s AND r.user_id = u.id AND r.tenant_id = t.id
        AND r.revoked_at IS NULL AND r.expires_at > %(now)s
)
"""  # noqa: S608  # Names of our own columns.

_PROGRAM = f"""
SELECT {_KEY.columns}, {_TENANT.columns}
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
WHERE k.token_hash = %(hash)s AND k.revoked_at IS NULL
"""  # noqa: S608

_NOTE = """
SELECT note FROM decisions WHERE tenant_id = %(tenant)s AND action = 'suspend'
ORDER BY id DESC LIMIT 1
"""


async def person(
    reading: Reading, claims: AccessClaims, now: datetime
) -> tuple[User, Tenant] | None:
    """The signed-in person of a token, and their company; None when the token is good no more."""
    found = await reading.row(
        _PERSON,
        {
            "user": claims.user_id,
            "tenant": claims.tenant_id,
            "family": claims.family_id,
            "now": now,
        },
    )
    if found is None:
        return None
    cut = len(_USER.names)
    return _USER.made_of(found[:cut]), _TENANT.made_of(found[cut:])


async def program(reading: Reading, token_hash: bytes) -> tuple[APIKey, Tenant] | None:
    """A key that was not revoked, and whose it is. Expects to see all tenants."""
    found = await reading.row(_PROGRAM, {"hash": token_hash})
    if found is None:
        return None
    cut = len(_KEY.names)
    return _KEY.made_of(found[:cut]), _TENANT.made_of(found[cut:])


async def suspension_note(reading: Reading, tenant_id: UUID) -> str | None:
    """What was written when the tenant was last suspended."""
    found = await reading.row(_NOTE, {"tenant": tenant_id})
    return None if found is None else found[0]
