"""The people who run the platform: their access, and what they do to tenants and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, operator_trail, outbox
from app.database.models import Operator, Tenant, new_id
from app.database.queries import jobs
from app.database.session import transaction
from app.rules import two_factor
from app.services import kill_switch
from app.utils import security

PREFIX = "ig_op_"
LONGEST_NAME = 100
_NOBODY = "nobody"
"""Scope: no tenant's rows are visible."""


@dataclass(frozen=True)
class Credentials:
    """What an operator is given; each of it is shown once and can be read nowhere later."""

    operator: Operator
    totp_secret: str
    otpauth_uri: str
    token: str | None = None
    """None when only the second factor is new."""


class OperatorService:
    @staticmethod
    def create(name: str, db: Session) -> Credentials:
        """Make an operator. Raises Invalid for a name that cannot be, Conflict for one in use.

        A revoked operator keeps the name, so that the trail stays readable.
        """
        name = name.strip()
        if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
            raise errors.Invalid(f"A name has 1 to {LONGEST_NAME} printable characters.")
        token = f"{PREFIX}{security.new_token()}"
        operator = Operator(
            id=new_id(), name=name, token_hash=security.token_hash(token), session_version=1
        )
        made = _give_second_factor(operator, token)
        try:
            with db.begin_nested():
                db.add(operator)
        except IntegrityError:
            raise errors.Conflict(f"There is, or was, an operator named {name}.") from None
        operator_trail.write(
            db, "operator_created", "operator", operator.id, {"name": [None, name]}
        )
        return made

    @staticmethod
    def revoke(name: str, db: Session) -> Operator:
        """End an operator's access for good, open sessions too; repeating it changes nothing."""
        operator = _named(name, db)
        if operator.revoked_at is None:
            operator.revoked_at = clock.now()
            operator.session_version += 1
            operator_trail.write(db, "operator_revoked", "operator", operator.id)
        return operator

    @staticmethod
    def reset_two_factor(name: str, db: Session) -> Credentials:
        """A new second factor; what was signed in with the old one is over. Raises Conflict."""
        operator = _named(name, db)
        if operator.revoked_at is not None:
            raise errors.Conflict(f"The operator {name} is revoked.")
        made = _give_second_factor(operator)
        operator.session_version += 1
        operator_trail.write(db, "operator_two_factor_reset", "operator", operator.id)
        return made

    @staticmethod
    def open_session(token: str, code: str) -> str:
        """An access token for an operator's own token and a code that was not used before.

        Owns its transaction, because a refused attempt is put down, too. Raises InvalidCredentials,
        which does not say what was wrong.
        """
        with transaction(tenant=_NOBODY) as db:
            operator = db.scalars(
                select(Operator)
                .where(
                    Operator.token_hash == security.token_hash(token), Operator.revoked_at.is_(None)
                )
                # Of two who send the same code at the same moment one is too late.
                .with_for_update()
            ).one_or_none()
            opened = operator is not None and _spend_code(operator, code)
            if operator is not None:
                _act_as(operator)
                action = "operator_session_opened" if opened else "operator_session_refused"
                operator_trail.write(db, action, "operator", operator.id)
        if operator is None or not opened:
            raise errors.InvalidCredentials("The token or the code is wrong.")
        return security.operator_token(
            operator_id=operator.id,
            session_version=operator.session_version,
            authenticated_at=clock.now(),
        )

    @staticmethod
    def end_sessions(operator: Operator, db: Session) -> None:
        """Sign an operator out everywhere."""
        operator.session_version += 1
        operator_trail.write(db, "operator_sessions_ended", "operator", operator.id)

    @staticmethod
    def suspend(
        tenant_id: UUID,
        reason: str,
        db: Session,
        *,
        note: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Turn a tenant off, by hand. Raises NotFound, and Invalid for an unknown reason."""
        tenant = _tenant(tenant_id, db)
        before = _standing(tenant)
        tenant = kill_switch.turn_on(tenant, reason, db, note=note, evidence=evidence)
        _put_down("tenant_suspended", tenant, before, db)
        return tenant

    @staticmethod
    def reinstate(tenant_id: UUID, db: Session, *, note: str | None = None) -> Tenant:
        """Let a tenant back in, by hand. Raises NotFound."""
        tenant = _tenant(tenant_id, db)
        before = _standing(tenant)
        tenant = kill_switch.turn_off(tenant, db, note=note)
        _put_down("tenant_reinstated", tenant, before, db)
        return tenant

    @staticmethod
    def bounce_queue(tenant_id: UUID, db: Session) -> Tenant:
        """Have the queued mail of a suspended tenant fail, which nothing brings back.

        Raises NotFound, and Conflict for a tenant that is not suspended.
        """
        tenant = _tenant(tenant_id, db)
        if not tenant.is_suspended:
            raise errors.Conflict("Only the queue of a suspended tenant can be bounced.")
        outbox.record(db, events.QueueBounceRequested(tenant_id=tenant.id))
        audit.write(db, tenant.id, "tenant_queue_bounced", "tenant", tenant.id, {})
        operator_trail.write(db, "tenant_queue_bounced", "tenant", tenant.id, {})
        return tenant

    @staticmethod
    def replay(job_id: UUID | None, db: Session) -> int:
        """Give one dead job, or all of them, a fresh set of tries; how many."""
        replayed = jobs.replay(db, job_id)
        if replayed:
            changes = {} if job_id is not None else {"jobs": [0, replayed]}
            operator_trail.write(db, "job_replayed", "job", job_id, changes)
        return replayed


def _give_second_factor(operator: Operator, token: str | None = None) -> Credentials:
    secret = security.new_totp_secret()
    operator.totp_secret = security.encrypt(secret.encode(), _context(operator))
    operator.totp_step = None
    uri = two_factor.otpauth_uri(secret, account=operator.name)
    return Credentials(operator, secret, uri, token)


def _context(operator: Operator) -> str:
    return f"operators.totp_secret:{operator.id}"


def _spend_code(operator: Operator, code: str) -> bool:
    if operator.totp_secret is None:
        return False
    secret = security.decrypt(operator.totp_secret, _context(operator)).decode()
    step = two_factor.accepted_step(secret, code, clock.now(), after=operator.totp_step)
    if step is None:
        return False
    operator.totp_step, operator.last_used_at = step, clock.now()
    return True


def _act_as(operator: Operator) -> None:
    before = audit.actor()
    audit.acting_as(audit.Actor("operator", operator.id, before.ip, before.request_id))


def _named(name: str, db: Session) -> Operator:
    operator = db.scalars(
        select(Operator).where(Operator.name == name.strip()).with_for_update()
    ).one_or_none()
    if operator is None:
        raise errors.NotFound(resource="operator")
    return operator


def _tenant(tenant_id: UUID, db: Session) -> Tenant:
    # Locked, so that what was before is what this act changes.
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is None:
        raise errors.NotFound(resource="tenant")
    return tenant


def _standing(tenant: Tenant) -> str | None:
    return None if tenant.suspension_reason is None else str(tenant.suspension_reason)


def _put_down(action: str, tenant: Tenant, before: str | None, db: Session) -> None:
    after = _standing(tenant)
    if after != before:
        operator_trail.write(
            db, action, "tenant", tenant.id, {"suspension_reason": [before, after]}
        )
