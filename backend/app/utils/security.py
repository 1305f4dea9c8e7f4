"""Secrets: people's passwords, inbox passwords, encryption at rest, tokens.

`configure` is called once by wiring; the functions raise RuntimeError before that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app import clock
from app.errors import TokenExpired, Unauthenticated

ISSUER, AUDIENCE, TOKEN_TYPE = "inboxgrove", "inboxgrove-api", "at+jwt"
_LEEWAY = timedelta(seconds=5)
"""How far the clocks of two of our processes may differ."""

# The least that OWASP ASVS 5.0, appendix C, allows for argon2id: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_hashing = threading.BoundedSemaphore(4)
"""At most four hashes at once, so that a storm of logins takes 76 MiB and not gigabytes."""

_VERSION = b"\x01"
_NONCE = 12
_HEAD = 1 + 4


@dataclass(frozen=True)
class _Secrets:
    signing_key: bytes
    kid: str
    ciphers: dict[bytes, AESGCM]
    """By key id: the first four bytes of the key's SHA-256. The first one encrypts."""
    newest: bytes
    pepper: bytes
    access_lifetime: timedelta
    refresh_lifetime: timedelta


_configured: _Secrets | None = None


def configure(
    *,
    signing_key: str,
    encryption_keys: Sequence[str],
    inbox_pepper: str,
    access_token_minutes: int = 15,
    refresh_token_days: int = 30,
) -> None:
    """Set the keys of this process. `encryption_keys`: URL-safe base64 of 32 bytes, newest first.

    Raises ValueError for a key of another length.
    """
    global _configured
    ciphers: dict[bytes, AESGCM] = {}
    for text in encryption_keys:
        key = base64.urlsafe_b64decode(text)
        if len(key) != 32:
            raise ValueError("An encryption key is URL-safe base64 of exactly 32 bytes.")
        ciphers[hashlib.sha256(key).digest()[:4]] = AESGCM(key)
    if not ciphers:
        raise ValueError("At least one encryption key is needed.")
    _configured = _Secrets(
        signing_key=signing_key.encode(),
        # From a keyed hash, so that the id in a token tells nothing about the key.
        kid=hmac.new(signing_key.encode(), b"kid", hashlib.sha256).hexdigest()[:8],
        ciphers=ciphers,
        newest=next(iter(ciphers)),
        pepper=inbox_pepper.encode(),
        access_lifetime=timedelta(minutes=access_token_minutes),
        refresh_lifetime=timedelta(days=refresh_token_days),
    )


def _secrets() -> _Secrets:
    if _configured is None:
        raise RuntimeError("No keys: call app.wiring.boot() first.")
    return _configured


# People's passwords -----------------------------------------------------------------------------


def hash_password(text: str) -> str:
    """The argon2id hash in PHC format. Takes 25 ms of a core: keep it off the event loop."""
    with _hashing:
        return _hasher.hash(text)


def verify_password(hash_: str, text: str) -> bool:
    """Whether `text` is the password; False also for something that is no hash of ours."""
    with _hashing:
        try:
            return _hasher.verify(hash_, text)
        except (VerificationError, InvalidHashError):
            return False


def needs_rehash(hash_: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(hash_)


# Encryption at rest -----------------------------------------------------------------------------


def encrypt(plain: bytes, context: str) -> bytes:
    """AES-256-GCM. `context` says where it is stored ("inboxes.password:{id}") and is bound in.

    The result is version (1 byte), key id (4), nonce (12), ciphertext and tag (16 more than plain).
    """
    known = _secrets()
    nonce = os.urandom(_NONCE)
    sealed = known.ciphers[known.newest].encrypt(nonce, plain, context.encode())
    return b"".join((_VERSION, known.newest, nonce, sealed))


def decrypt(blob: bytes, context: str) -> bytes:
    """The plain bytes. Raises ValueError for an unknown key, another context, or altered bytes."""
    blob = bytes(blob)
    cipher = _secrets().ciphers.get(blob[1:_HEAD])
    if blob[:1] != _VERSION or cipher is None:
        raise ValueError("Not encrypted with a key that we know.")
    nonce, sealed = blob[_HEAD : _HEAD + _NONCE], blob[_HEAD + _NONCE :]
    try:
        return cipher.decrypt(nonce, sealed, context.encode())
    except InvalidTag:
        raise ValueError("The encrypted value was altered or belongs elsewhere.") from None


# Inbox passwords --------------------------------------------------------------------------------


def inbox_password() -> str:
    """32 characters, 190 bits: see inbox_passwords."""
    return inbox_passwords(1)[0]


def inbox_passwords(count: int) -> list[str]:
    """`count` passwords of 32 letters, digits, `-` and `_`, safe in CSV, shells and spreadsheets.

    Each begins with a letter or digit, because a spreadsheet executes a cell that begins with = + -
    @, and has at least one upper-case letter, one lower-case letter and one digit.
    """
    made: list[str] = []
    while len(made) < count:
        # 24 random bytes are exactly 32 characters of 6 bits, each of 64 equally likely.
        text = base64.urlsafe_b64encode(os.urandom(24 * (count - len(made)))).decode()
        candidates = (text[i : i + 32] for i in range(0, len(text), 32))
        made += [candidate for candidate in candidates if _acceptable(candidate)]
    return made


def _acceptable(password: str) -> bool:
    return (
        password[0].isalnum()
        and any(map(str.isupper, password))
        and any(map(str.islower, password))
        and any(map(str.isdigit, password))
    )


def inbox_hmac(password: str) -> str:
    """Hex HMAC-SHA256 under the relay's pepper: all that the mail plane is given."""
    return hmac.new(_secrets().pepper, password.encode(), hashlib.sha256).hexdigest()


# Tokens -----------------------------------------------------------------------------------------


def seal(text: str, purpose: str) -> bytes:
    """HMAC-SHA256 of `text` under a key for `purpose` alone, made from the signing key.

    One purpose's seal is worth nothing for another's.
    """
    key = hmac.digest(_secrets().signing_key, f"seal:{purpose}".encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256")


def new_token() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """SHA-256. Enough for tokens of full entropy; never for a password that a person chose."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True)
class AccessClaims:
    """What a valid access token says."""

    user_id: UUID
    tenant_id: UUID
    session_version: int
    family_id: UUID
    expires_at: datetime


def access_lifetime() -> timedelta:
    """How long an access token is good for."""
    return _secrets().access_lifetime


def refresh_lifetime() -> timedelta:
    """How long a person stays signed in at most, however often the token is refreshed."""
    return _secrets().refresh_lifetime


def access_token(*, user_id: UUID, tenant_id: UUID, session_version: int, family_id: UUID) -> str:
    """A signed JWT (RFC 9068) that is good for `access_lifetime()`."""
    known, now = _secrets(), clock.now()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "tid": str(tenant_id),
        "sv": session_version,
        "fam": str(family_id),
        "jti": str(uuid4()),
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + known.access_lifetime).timestamp()),
    }
    return jwt.encode(
        claims, known.signing_key, algorithm="HS256", headers={"typ": TOKEN_TYPE, "kid": known.kid}
    )


def read_access_token(token: str) -> AccessClaims:
    """The claims of a token of ours. Raises TokenExpired, else Unauthenticated.

    One algorithm, type, issuer, audience and key (RFC 8725); a key named in the token is ignored.
    """
    known = _secrets()
    try:
        head = jwt.get_unverified_header(token)
        if head.get("typ") != TOKEN_TYPE or head.get("kid") != known.kid:
            raise Unauthenticated
        claims: dict[str, Any] = jwt.decode(
            token,
            known.signing_key,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={
                "require": ["exp", "iat", "nbf", "sub"],
                # PyJWT would ask the system's clock; ours is asked below.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        begins_at = datetime.fromtimestamp(int(claims["nbf"]), UTC)
        read = AccessClaims(
            user_id=UUID(claims["sub"]),
            tenant_id=UUID(claims["tid"]),
            session_version=int(claims["sv"]),
            family_id=UUID(claims["fam"]),
            expires_at=expires_at,
        )
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, OverflowError, AttributeError):
        raise Unauthenticated from None
    now = clock.now()
    if now < begins_at - _LEEWAY:
        raise Unauthenticated
    if now >= expires_at:
        raise TokenExpired
    return read
