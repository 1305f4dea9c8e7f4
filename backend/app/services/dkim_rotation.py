"""Replacing a name's signing key while its mail flows: one job takes a rotation from step to step.

Each step is committed before the next begins and does nothing twice, so a worker may die anywhere.
What is published follows from the rotation's stage (dkim_keys.beside), and the look for drift keeps
it so: healing a zone and rotating a key want the same records.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import DKIMKey, DKIMRotation, Domain, DomainStatus, NoticeKind, new_id
from app.integrations import ports
from app.rules import dkim_rotation as rules
from app.rules.dkim_rotation import Stage
from app.services import (
    dkim_keys,
    domain_drift,
    domain_setup,
    domain_steps,
    domain_views,
    notices,
)
from app.services.domain_steps import NotYet

LOOK_SECONDS = 30.0
"""Between looks for a key that we published ourselves."""

OWNER_SECONDS = 900.0
"""Between looks for a key that the owner of the name must publish."""


def request(domain_id: UUID, db: Session, *, leaked: bool = False) -> DKIMRotation:
    """Begin to replace the key that a name signs with.

    A leaked key that is being replaced already is ended by that rotation as soon as the new one
    signs. Raises NotFound, and Conflict for a name that does not send yet or whose key is being
    replaced.
    """
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.ACTIVE or domain.dkim_selector is None:
        raise errors.Conflict("Only the key of an active domain can be replaced.")
    running = dkim_keys.rotation_of(domain, db)
    if running is not None and leaked and running.stage in (Stage.PUBLISHING, Stage.KEEPING):
        # The key that is on its way out is in other hands: it is not waited for any longer.
        running.leaked = True
        _note(domain, running, "dkim_key_leaked", db)
        outbox.record(
            db, events.DKIMRotationBegun(tenant_id=domain.tenant_id, rotation_id=running.id)
        )
        return running
    if running is not None:
        raise errors.Conflict(
            "The key of this domain is being replaced already.", rotation_id=str(running.id)
        )
    rotation = DKIMRotation(
        id=new_id(),
        tenant_id=domain.tenant_id,
        domain_id=domain.id,
        old_selector=domain.dkim_selector,
        new_selector=dkim_keys.make(domain, db).selector,
        stage=Stage.PUBLISHING,
        leaked=leaked,
    )
    db.add(rotation)
    try:
        db.flush()  # Whoever asks at the same moment is told here that it runs already.
    except IntegrityError:
        raise errors.Conflict("The key of this domain is being replaced already.") from None
    _note(domain, rotation, "dkim_rotation_requested", db)
    outbox.record(db, events.DKIMRotationBegun(tenant_id=domain.tenant_id, rotation_id=rotation.id))
    return rotation


def advance(
    rotation_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Take the next step whose time has come; else what is waited for. Repeats are harmless."""
    providers = providers or ports.current()
    rotation = db.get(DKIMRotation, rotation_id)
    if rotation is None:
        return None
    domain = domain_steps.lock(rotation.domain_id, db)
    db.refresh(rotation)
    match Stage(rotation.stage):
        case Stage.PUBLISHING:
            return _publish_and_switch(rotation, domain, db, providers)
        case Stage.KEEPING:
            return _revoke(rotation, domain, db, providers)
        case Stage.REVOKED:
            return _remove(rotation, domain, db, providers)
        case Stage.UNDONE:
            _publish(domain, db, providers)
    return None


def undo(rotation_id: UUID, db: Session) -> DKIMRotation:
    """Sign with the old key again; the new one goes the way that the old one would have gone.

    Raises NotFound, and Conflict once the old key was revoked: receivers may remember that.
    """
    rotation = db.get(DKIMRotation, rotation_id)
    if rotation is None:
        raise errors.NotFound(resource="rotation")
    domain = domain_steps.lock(rotation.domain_id, db)
    db.refresh(rotation)
    if rotation.stage == Stage.PUBLISHING:
        # Nothing was signed by it, so nothing needs it.
        rotation.stage, rotation.ended_at, rotation.detail = Stage.UNDONE, clock.now(), None
        _wipe(domain, rotation.new_selector, db)
        _note(domain, rotation, "dkim_rotation_undone", db)
    elif rotation.stage == Stage.KEEPING and not rotation.leaked:
        rotation.old_selector, rotation.new_selector = (
            rotation.new_selector,
            rotation.old_selector,
        )
        _switch(rotation, domain, db, ports.current())
        _note(domain, rotation, "dkim_rotation_undone", db)
    else:
        raise errors.Conflict(f"The old key cannot be used again: it is {rotation.stage}.")
    outbox.record(db, events.DKIMRotationBegun(tenant_id=domain.tenant_id, rotation_id=rotation.id))
    return rotation


def plan(db: Session, every: timedelta) -> int:
    """Begin the rotations whose turn it is; how many. Expects a session that sees all tenants.

    A name whose DNS is not as it should be waits: what is wrong must be mended first.
    """
    rows = db.execute(
        select(Domain.id, Domain.tenant_id, DKIMKey.created_at)
        .join(DKIMKey, DKIMKey.domain_id == Domain.id)
        .where(
            Domain.status == DomainStatus.ACTIVE,
            Domain.failure.is_(None),
            DKIMKey.selector == Domain.dkim_selector,
            ~select(DKIMRotation.id)
            .where(DKIMRotation.domain_id == Domain.id, DKIMRotation.ended_at.is_(None))
            .exists(),
        )
        .order_by(Domain.id)
    ).all()
    begun = 0
    for domain_id, tenant_id, made_at in rows:
        if rules.is_due(domain_id, made_at, clock.now(), every):
            outbox.record(db, events.DKIMKeyDue(tenant_id=tenant_id, domain_id=domain_id))
            begun += 1
    return begun


def overview(db: Session) -> list[dict[str, object]]:
    """Rotations under way, for operators; the session sees all tenants."""
    rows = db.execute(
        select(DKIMRotation, Domain.domain_name)
        .join(Domain, Domain.id == DKIMRotation.domain_id)
        .where(DKIMRotation.ended_at.is_(None))
        .order_by(DKIMRotation.id)
    )
    return [
        {
            "id": str(rotation.id),
            "domain": name,
            "tenant_id": str(rotation.tenant_id),
            "stage": str(rotation.stage),
            "old_selector": rotation.old_selector,
            "new_selector": rotation.new_selector,
            "leaked": rotation.leaked,
            "begun_at": rotation.created_at.isoformat(),
            "waits_for": rotation.detail,
        }
        for rotation, name in rows
    ]


# The steps --------------------------------------------------------------------------------------


def _publish_and_switch(
    rotation: DKIMRotation, domain: Domain, db: Session, providers: ports.Providers
) -> NotYet | None:
    ours = _publish(domain, db, providers)
    name = f"{rotation.new_selector}._domainkey.{domain.domain_name}"
    (wanted,) = (one for one in domain_setup.planned(domain) if one.name == name)
    (verdict,) = domain_views.inspect([wanted], providers.resolver)
    if not verdict.ok:
        if not ours:
            notices.owe(
                db,
                domain.tenant_id,
                NoticeKind.DKIM_RECORD_NEEDED,
                str(rotation.id),
                domain_name=domain.domain_name,
                record_name=name,
                record=wanted.content,
            )
        why = f"{name} is not seen by every resolver yet: {verdict.difference}"
        return _wait(rotation, LOOK_SECONDS if ours else OWNER_SECONDS, why)
    _switch(rotation, domain, db, providers)
    _note(domain, rotation, "dkim_key_switched", db)
    # In a run of its own, so that what comes next finds the switch committed.
    return _wait(rotation, 1.0, "mail is signed by the new key")


def _switch(
    rotation: DKIMRotation, domain: Domain, db: Session, providers: ports.Providers
) -> None:
    """Have the nodes sign with the new key.

    A node that has not heard of it signs with the old key, which is published as well.
    """
    domain.dkim_selector = rotation.new_selector
    rotation.stage, rotation.switched_at = Stage.KEEPING, clock.now()
    db.flush()  # What is published follows from both.
    providers.mail.add_relay(
        domain.domain_name, tenant_id=str(domain.tenant_id), selector=rotation.new_selector
    )
    providers.mail.reload()


def _revoke(
    rotation: DKIMRotation, domain: Domain, db: Session, providers: ports.Providers
) -> NotYet | None:
    switched = rotation.switched_at or clock.now()
    left = switched + (timedelta(0) if rotation.leaked else rules.KEEP) - clock.now()
    if left > timedelta(0):
        _publish(domain, db, providers)
        return _wait(rotation, left.total_seconds(), "mail signed by the old key may be under way")
    rotation.stage, rotation.revoked_at = Stage.REVOKED, clock.now()
    _wipe(domain, rotation.old_selector, db)
    db.flush()  # What is published follows from it.
    _publish(domain, db, providers)
    _note(domain, rotation, "dkim_key_revoked", db)
    return _wait(rotation, rules.REVOKED_FOR.total_seconds(), "the old key stands there empty")


def _remove(
    rotation: DKIMRotation, domain: Domain, db: Session, providers: ports.Providers
) -> NotYet | None:
    left = (rotation.revoked_at or clock.now()) + rules.REVOKED_FOR - clock.now()
    if left > timedelta(0):
        _publish(domain, db, providers)
        return _wait(rotation, left.total_seconds(), "the old key stands there empty")
    rotation.stage, rotation.ended_at, rotation.detail = Stage.DONE, clock.now(), None
    db.flush()  # What is published follows from it.
    _publish(domain, db, providers)
    _note(domain, rotation, "dkim_rotation_done", db)
    return None


def _publish(domain: Domain, db: Session, providers: ports.Providers) -> bool:
    """Put what must stand there now into the zone; whether the zone is ours.

    In a zone of the owner's it is only written down what must stand there.
    """
    if domain.cloudflare_zone_id is not None:
        domain_drift.publish(domain, db, providers)
        return True
    records = domain_setup.wanted_records(domain, providers.platform, db)
    domain.dns_records = [domain_setup.as_json(record) for record in records]
    return False


def _wipe(domain: Domain, selector: str, db: Session) -> None:
    """Nothing is signed by it again, so nobody needs the private half."""
    dkim_keys.below(domain, selector, db).private_key = b""


def _wait(rotation: DKIMRotation, seconds: float, why: str) -> NotYet:
    rotation.detail = why[:500]
    return NotYet(seconds, why)


def _note(domain: Domain, rotation: DKIMRotation, action: str, db: Session) -> None:
    domain_steps.move(
        domain,
        action,
        db,
        rotation=[None, str(rotation.id)],
        stage=[None, str(rotation.stage)],
        selectors=[rotation.old_selector, rotation.new_selector],
    )
