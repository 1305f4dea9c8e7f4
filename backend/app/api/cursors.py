"""Cursors of lists: sealed, so that nobody builds or reads one."""

from __future__ import annotations

import base64
from typing import Annotated
from uuid import UUID

from fastapi import Query

from app.errors import Invalid
from app.utils import security

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before.")
]


def seal(of: str, last: UUID | int | None) -> str | None:
    """A cursor of the list `of` that continues after `last`, an id or a number of a row."""
    if last is None:
        return None
    if isinstance(last, int):
        last = UUID(int=last)
    return base64.urlsafe_b64encode(security.encrypt(last.bytes, f"cursor:{of}")).decode()


def unseal(of: str, cursor: str | None) -> UUID | None:
    """The id, or the number as that of a UUID.

    Raises Invalid for a cursor that we did not give out for this list.
    """
    if cursor is None:
        return None
    try:
        sealed = base64.urlsafe_b64decode(cursor.encode())
        return UUID(bytes=security.decrypt(sealed, f"cursor:{of}"))
    except ValueError:
        raise Invalid("This cursor is not one of this list.", cursor=cursor) from None
