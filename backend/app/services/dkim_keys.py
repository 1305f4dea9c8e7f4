"""Signing keys of a name: making them, the one in use, those beside it while it is replaced."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import DKIMKey, DKIMRotation, Domain, new_id
from app.rules import dkim_rotation, dns_records
from app.rules.dkim_rotation import Key, Stage
from app.utils import security

KEY_BITS = 2048
"""What Gmail and Yahoo ask for; a TXT record of two strings."""


def key_context(key_id: UUID) -> str:
    """What an encrypted signing key is bound to, so that it cannot be moved to another row."""
    return f"dkim_keys.private_key:{key_id}"


def make(domain: Domain, db: Session) -> DKIMKey:
    """A fresh RSA key below a selector that this name has never had."""
    taken = db.scalars(
        # Also those of an earlier life of the name: relays and receivers cache by name.
        select(DKIMKey.selector)
        .join(Domain, Domain.id == DKIMKey.domain_id)
        .where(Domain.domain_name == domain.domain_name)
    ).all()
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        # PKCS #1, which every DKIM signer reads.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key_id = new_id()
    key = DKIMKey(
        id=key_id,
        tenant_id=domain.tenant_id,
        domain_id=domain.id,
        selector=dns_records.next_selector(clock.now().date(), taken),
        public_key=base64.b64encode(public).decode(),
        private_key=security.encrypt(pem, key_context(key_id)),
    )
    db.add(key)
    return key


def in_use(domain: Domain, db: Session) -> DKIMKey:
    """The key that mail is signed with. Raises NotFound before the zone was made."""
    if domain.dkim_selector is None:
        raise errors.NotFound(resource="signing key")
    return below(domain, domain.dkim_selector, db)


def below(domain: Domain, selector: str, db: Session) -> DKIMKey:
    """The key of a selector. Raises NotFound."""
    key = db.scalars(
        select(DKIMKey).where(DKIMKey.domain_id == domain.id, DKIMKey.selector == selector)
    ).one_or_none()
    if key is None:
        raise errors.NotFound(resource="signing key")
    return key


def rotation_of(domain: Domain, db: Session) -> DKIMRotation | None:
    """The rotation that is under way."""
    return db.scalars(
        select(DKIMRotation).where(
            DKIMRotation.domain_id == domain.id, DKIMRotation.ended_at.is_(None)
        )
    ).one_or_none()


def beside(domain: Domain, db: Session) -> Sequence[Key]:
    """What is published besides the key in use, because one is being replaced."""
    rotation = rotation_of(domain, db)
    if rotation is None:
        return ()
    old, new = (
        Key(selector, below(domain, selector, db).public_key)
        for selector in (rotation.old_selector, rotation.new_selector)
    )
    return dkim_rotation.beside(Stage(rotation.stage), old, new)
