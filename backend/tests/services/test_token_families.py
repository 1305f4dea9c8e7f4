"""Families of refresh tokens under load, and how long they are kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app import errors, wiring
from app.database.models import MailToken, RefreshToken, User, new_id
from app.database.session import ALL_TENANTS, transaction
from app.services import mail_tokens, token_families
from app.services.session_service import SessionService
from app.services.token_families import Device, Tokens
from app.utils import security

Travel = Callable[..., None]
DEVICE = Device(ip="192.0.2.1", user_agent="test")


@pytest.fixture
def ann(make_tenant: Callable[..., Any]) -> User:
    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        user = User(
            id=new_id(),
            tenant_id=make_tenant(db).id,
            email="ann@acme.test",
            password_hash=security.hash_password("correct horse battery"),
        )
        db.add(user)
    return user


def begin(user: User) -> Tokens:
    with transaction(tenant=ALL_TENANTS) as db:
        held = token_families.lock(user.id, db)
        assert held is not None
        return token_families.begin(held, DEVICE, db)


def count(table: type[Any]) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(select(func.count()).select_from(table)) or 0


def family_of(tokens: Tokens) -> UUID:
    return security.read_access_token(tokens.access_token).family_id


def test_a_token_stolen_before_or_after_its_use_ends_the_session(ann: User) -> None:
    for thief_first in (True, False):
        stolen = begin(ann)
        _, fresh = SessionService.refresh(stolen.refresh_token, DEVICE)
        late = stolen if thief_first else fresh
        if not thief_first:
            SessionService.refresh(fresh.refresh_token, DEVICE)
        with pytest.raises(errors.Unauthenticated):
            SessionService.refresh(late.refresh_token, DEVICE)
        with pytest.raises(errors.Unauthenticated):
            SessionService.refresh(fresh.refresh_token, DEVICE)


def test_signing_out_while_tokens_are_rotated_and_reused_never_gets_stuck(ann: User) -> None:
    def rotate(token: str) -> None:
        try:
            for _ in range(10):
                token = SessionService.refresh(token, DEVICE)[1].refresh_token
        except errors.Unauthenticated:
            return

    def leave(family_id: UUID) -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            SessionService.logout(family_id, ann.id, ann.tenant_id, db)

    for _ in range(5):
        tokens = begin(ann)
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(rotate, tokens.refresh_token) for _ in range(5)]
            jobs += [pool.submit(leave, family_of(tokens)) for _ in range(3)]
            for job in jobs:
                job.result(timeout=30)
    with transaction(tenant=ALL_TENANTS) as db:
        live = select(RefreshToken).where(RefreshToken.revoked_at.is_(None))
        assert db.scalars(live).all() == []


def test_tokens_are_kept_hashed_with_where_they_came_from(ann: User) -> None:
    tokens = begin(ann)
    with transaction(tenant=ALL_TENANTS) as db:
        (row,) = db.scalars(select(RefreshToken))
        assert bytes(row.token_hash) == security.token_hash(tokens.refresh_token)
        assert (row.ip, row.user_agent) == (DEVICE.ip, DEVICE.user_agent)


def test_a_removed_person_cannot_refresh(ann: User) -> None:
    tokens = begin(ann)
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(User, ann.id).is_active = False
    with pytest.raises(errors.Unauthenticated):
        SessionService.refresh(tokens.refresh_token, DEVICE)


def test_housekeeping_forgets_what_is_long_over(ann: User, travel: Travel) -> None:
    from app.tasks.monitoring_tasks import housekeeping

    begin(ann)
    with transaction(tenant=ALL_TENANTS) as db:
        mail_tokens.issue(ann, "verify_email", token_families.IDLE, db)
    for days, tokens, mailed in ((6, 1, 1), (2, 1, 0), (28, 1, 0), (2, 0, 0)):
        travel(days=days)
        with transaction(tenant=ALL_TENANTS) as db:
            housekeeping(db)
        assert (count(RefreshToken), count(MailToken)) == (tokens, mailed)
