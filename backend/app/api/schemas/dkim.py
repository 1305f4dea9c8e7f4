"""Signing keys as tenants see them."""

from __future__ import annotations

from uuid import UUID

from app.api.schemas.base import Instant, Out


class RotationOut(Out):
    id: UUID
    domain_id: UUID
    old_selector: str
    new_selector: str
    stage: str
    """publishing, keeping, revoked, done, or undone."""
    created_at: Instant
    switched_at: Instant | None
    """When mail began to be signed by the new key."""
    revoked_at: Instant | None
    ended_at: Instant | None
    detail: str | None
    """What is waited for."""


class KeysOut(Out):
    domain_name: str
    selector: str | None
    """Of the key that mail is signed with."""
    rotations: list[RotationOut]
    """The latest first."""
