"""Restored mode: a database that was put back in time buys nothing until a person says so.

What such a database says was done may be less than what was done: it would buy, charge and renew
again. So whoever finds it in another cluster than it last lived in, or on another timeline (which a
recovery to a point in time begins, and the promotion of a standby), takes it for restored.
"""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Restoration
from app.services import notices

CLUSTER: LiteralString = (
    "SELECT system_identifier || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8)"
    " FROM pg_control_system()"
)
_TURN = text("SELECT pg_advisory_xact_lock(7264002)")


def cluster(db: Session) -> str:
    """Which PostgreSQL this is: its system identifier, and the timeline in hex."""
    return str(db.scalar(text(CLUSTER)))


def newest(db: Session) -> Restoration | None:
    """The life that the database is in."""
    return db.scalars(select(Restoration).order_by(Restoration.id.desc()).limit(1)).one_or_none()


def is_held(db: Session) -> bool:
    """Whether money, names and mail must wait. A database that never ran before is not held."""
    life = newest(db)
    return life is not None and (life.released_at is None or life.cluster != cluster(db))


def refuse(db: Session) -> None:
    """Raises Restoring while the installation is held."""
    if is_held(db):
        raise errors.Restoring


def observe(db: Session) -> bool:
    """Write down that the database lives elsewhere than before; whether it is held from now on."""
    life, here = newest(db), cluster(db)
    if life is not None and life.cluster == here:
        return False
    db.execute(_TURN)  # Several relays may see it at once.
    life = newest(db)
    if life is None:
        now = clock.now()
        cause = "The first start of this installation."
        db.add(Restoration(cluster=here, cause=cause, data_until=now, released_at=now))
    elif life.released_at is None:
        # A restore that said so itself, and could not know where the product would find it.
        life.cluster = here
    elif life.cluster != here:
        hold(db, "The database was found in another cluster, or on another timeline.", None)
        return True
    db.flush()  # The next look is at what was written.
    return False


def present(db: Session) -> Restoration:
    """The restoration that is held. Raises Conflict when none is."""
    observe(db)
    life = newest(db)
    if life is None or life.released_at is not None:
        raise errors.Conflict("Nothing is held.")
    return life


def hold(db: Session, cause: str, data_until: datetime | None) -> Restoration:
    """Begin to hold; an operator is called. `data_until` is the instant the data is from."""
    row = Restoration(cluster=cluster(db), cause=cause[:300], data_until=data_until)
    db.add(row)
    db.flush()  # Its id is the fact that the alert is about.
    notices.alert(
        db,
        "restored",
        str(row.id),
        f"{cause} Purchases, payments, renewals and mail to people wait until"
        " `inboxgrove ops restored reconcile` and `inboxgrove ops restored release` have run.",
    )
    return row


def release(db: Session, *, unseen: bool = False) -> Restoration:
    """Let everything go on. Raises Conflict when nothing is held, or nobody has reconciled.

    `unseen` releases all the same.
    """
    life = present(db)
    if life.reconciled_at is None and not unseen:
        raise errors.Conflict(
            "Nobody has compared this database with Stripe and the registrar yet:"
            " run `inboxgrove ops restored reconcile` first."
        )
    life.released_at = clock.now()
    return life
