"""The chain that audit rows form, so that what was written cannot be changed unseen.

Each tenant has a chain of its own, numbered 1, 2, 3, … An outsider can check one from a data export
with these rules alone:

    hash of row n = SHA-256(hash of row n-1, as 32 raw bytes, followed by the canonical form of n)

For row 1 the hash before it is 32 zero bytes. The canonical form is the UTF-8 text of one JSON
object with exactly the members of `FIELDS`, written as RFC 8785 (JCS) says: sorted by name, without
white space, no escapes but \\" \\\\ \\b \\f \\n \\r \\t and \\u00xx for other control characters.
UUIDs are 36 characters in lower case, null stands for what is not there, `created_at` is RFC 3339
in UTC with six digits of a second and a Z, and every number is an integer below 2^53.

A chain shows what was changed inside it. Its end can be cut off unseen, and who owns the database
could write all of it anew; both show against heads, (seq, hash) pairs that were kept elsewhere.
The order of the rows is that of `seq`: clocks of several machines may differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, Final
from uuid import UUID

GENESIS: Final = bytes(32)
"""What stands for the hash before the first row."""

FIELDS: Final = (
    "action",
    "actor_id",
    "actor_type",
    "changes",
    "created_at",
    "id",
    "ip",
    "request_id",
    "resource_id",
    "resource_type",
    "seq",
    "tenant_id",
)

Heads = Mapping[UUID, Mapping[int, bytes]]
"""By tenant: hashes that were seen at the end of its chain, by the seq they had."""

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


@dataclass(frozen=True, slots=True)
class Row:
    """One deed, as it is hashed."""

    tenant_id: UUID
    seq: int
    id: UUID
    created_at: datetime
    action: str
    resource_type: str
    resource_id: UUID | None
    actor_type: str
    actor_id: UUID | None
    changes: Mapping[str, Any]
    ip: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row and its place in the chain, as they are stored."""

    row: Row
    previous_hash: bytes
    hash: bytes


class Form:
    """The canonical form of rows that differ in seq, id and resource_id only.

    What they share is written once: ten thousand inboxes are one deed.
    """

    def __init__(
        self,
        *,
        tenant_id: UUID,
        created_at: datetime,
        action: str,
        resource_type: str,
        actor_type: str,
        actor_id: UUID | None,
        changes: str,
        ip: str | None,
        request_id: str | None,
    ) -> None:
        """`changes` is what `as_text` made of them."""
        self._before_id = (
            f'{{"action":{_encode(action)},"actor_id":{_id(actor_id)}'
            f',"actor_type":{_encode(actor_type)},"changes":{changes}'
            f',"created_at":"{instant(created_at)}","id":"'
        )
        self._before_resource = (
            f'","ip":{_encode(ip)},"request_id":{_encode(request_id)},"resource_id":'
        )
        self._before_seq = f',"resource_type":{_encode(resource_type)},"seq":'
        self._end = f',"tenant_id":"{tenant_id}"}}'

    def text(self, seq: int, id_: UUID, resource_id: UUID | None) -> bytes:
        """What is hashed of one row."""
        return (
            f"{self._before_id}{id_}{self._before_resource}{_id(resource_id)}"
            f"{self._before_seq}{seq}{self._end}"
        ).encode()

    def link(self, previous: bytes, seq: int, id_: UUID, resource_id: UUID | None) -> bytes:
        """The hash of one row after a row with the hash `previous`."""
        return hashlib.sha256(previous + self.text(seq, id_, resource_id)).digest()


def as_text(changes: Mapping[str, Any]) -> str:
    """Changes in the canonical form; raises TypeError or ValueError for what is not plain JSON."""
    return _encode(changes)


def link(previous: bytes, row: Row) -> bytes:
    """The hash of `row` after a row with the hash `previous`."""
    form = Form(
        tenant_id=row.tenant_id,
        created_at=row.created_at,
        action=row.action,
        resource_type=row.resource_type,
        actor_type=row.actor_type,
        actor_id=row.actor_id,
        changes=as_text(row.changes),
        ip=row.ip,
        request_id=row.request_id,
    )
    return form.link(previous, row.seq, row.id, row.resource_id)


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC, always with six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _id(id_: UUID | None) -> str:
    return "null" if id_ is None else f'"{id_}"'


# Verification -----------------------------------------------------------------------------------


class FaultKind(StrEnum):
    ALTERED = "altered"
    """The row does not have the content that was hashed."""
    REMOVED = "removed"
    """Rows are missing before others."""
    INSERTED = "inserted"
    """The row is not the one that its successor continues: put in, or rewritten with its hash."""
    CUT = "cut"
    """Rows are missing at the end: a head that was kept elsewhere knew of them."""
    REWRITTEN = "rewritten"
    """Another row than the one of which a head was kept elsewhere; so are all before it."""


@dataclass(frozen=True)
class Fault:
    tenant_id: UUID
    seq: int
    kind: FaultKind
    until: int | None = None
    """The last seq that is missing, of REMOVED and CUT."""


def faults(
    rows: Iterable[Sealed], heads: Heads | None = None, *, whole: bool = True
) -> Iterator[Fault]:
    """What is wrong with the chains of `rows`, which come sorted by tenant and seq.

    With `whole` false the first row of each tenant is believed, for looking at the recent part.
    """
    known = dict(heads or {})
    for tenant_id, chain in groupby(rows, key=lambda sealed: sealed.row.tenant_id):
        yield from _chain_faults(tenant_id, chain, known.pop(tenant_id, {}), whole)
    for tenant_id, lost in known.items():
        yield Fault(tenant_id, 1, FaultKind.CUT, until=max(lost))


def _chain_faults(
    tenant_id: UUID, chain: Iterable[Sealed], heads: Mapping[int, bytes], whole: bool
) -> Iterator[Fault]:
    before: Sealed | None = None
    last = 0
    for here in chain:
        seq = here.row.seq
        due = last + 1 if whole or before is not None else seq
        if seq > due:
            yield Fault(tenant_id, due, FaultKind.REMOVED, until=seq - 1)
        elif before is not None and here.previous_hash != before.hash:
            if link(before.hash, here.row) != here.hash:
                yield Fault(tenant_id, last, FaultKind.INSERTED)
        elif whole and before is None and seq < 1:
            yield Fault(tenant_id, seq, FaultKind.INSERTED)
        starts_wrong = whole and seq == 1 and here.previous_hash != GENESIS
        if starts_wrong or link(here.previous_hash, here.row) != here.hash:
            yield Fault(tenant_id, seq, FaultKind.ALTERED)
        if heads.get(seq, here.hash) != here.hash:
            yield Fault(tenant_id, seq, FaultKind.REWRITTEN)
        before, last = here, seq
    if heads and max(heads) > last:
        yield Fault(tenant_id, last + 1, FaultKind.CUT, until=max(heads))
