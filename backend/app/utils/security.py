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
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app import clock
from app.errors import TokenExpired, Unauthenticated

ISSUER, TOKEN_TYPE = "inboxgrove", "at+jwt"
AUDIENCE, ADMIN_AUDIENCE = "inboxgrove-api", "inboxgrove-admin"
"""Tenants' people and the platform's operators: a token of one is nothing to the other."""

OPERATOR_LIFETIME = timedelta(minutes=60)
_LEEWAY = timedelta(seconds=5)
"""How far the clocks of two of our processes may differ."""

# The least that OWASP ASVS 5.0, appendix C, allows for argon2id: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_hashing = threading.BoundedSemaphore(4)
"""At most four hashes at once, so that a storm of logins takes 76 MiB and not gigabytes."""

_VERSION = b"\x01"
_NONCE = 12
_HEAD = 1 + 4


@dataclass(frozen=True, eq=False)
class _Secrets:
    signing_keys: dict[str, bytes]
    """By the id that a token names; the first one signs, all of them verify."""
    ciphers: dict[bytes, AESGCM]
    """By key id: the first four bytes of the key's SHA-256. The first one encrypts."""
    newest: bytes
    pepper: bytes
    access_lifetime: timedelta
    refresh_lifetime: timedelta


_configured: _Secrets | None = None


def configure(
    *,
    signing_keys: Sequence[str],
    encryption_keys: Sequence[str],
    inbox_pepper: str,
    access_token_minutes: int = 15,
    refresh_token_days: int = 30,
) -> None:
    """Set the keys of this process, newest first: the first is used, the others are still read.

    `encryption_keys` are URL-safe base64 of 32 bytes. Raises ValueError for another length, and
    when there is none of a kind.
    """
    global _configured
    ciphers: dict[bytes, AESGCM] = {}
    for text in encryption_keys:
        key = base64.urlsafe_b64decode(text)
        if len(key) != 32:
            raise ValueError("An encryption key is URL-safe base64 of exactly 32 bytes.")
        ciphers[hashlib.sha256(key).digest()[:4]] = AESGCM(key)
    if not ciphers or not signing_keys:
        raise ValueError("At least one encryption key and one signing key are needed.")
    _configured = _Secrets(
        # From a keyed hash, so that the id in a token tells nothing about the key.
        signing_keys={
            hmac.new(key.encode(), b"kid", hashlib.sha256).hexdigest()[:8]: key.encode()
            for key in signing_keys
        },
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
    return _seal(next(iter(_secrets().signing_keys.values())), text, purpose)


def is_seal(seal_: bytes, text: str, purpose: str) -> bool:
    """Whether `seal` made `seal_` of `text`, under any signing key that is still believed."""
    return any(
        hmac.compare_digest(_seal(key, text, purpose), seal_)
        for key in _secrets().signing_keys.values()
    )


def _seal(signing_key: bytes, text: str, purpose: str) -> bytes:
    key = hmac.digest(signing_key, f"seal:{purpose}".encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256")


def new_token() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """SHA-256. Enough for tokens of full entropy; never for a password that a person chose."""
    return hashlib.sha256(token.encode()).digest()


def new_secret() -> bytes:
    """256 random bits, for rules/api_keys.py to write as a key."""
    return secrets.token_bytes(32)


def new_totp_secret() -> str:
    """160 random bits in base 32, the length that RFC 4226, section 4 (R6) recommends."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def recovery_codes(count: int = 10) -> list[str]:
    """One-time codes of 120 bits in base 32: six groups of four, as in `abcd-efgh-…-uvwx`.

    From 112 bits on OWASP ASVS 5.0, 6.5.2 is content with a plain hash.
    """
    texts = [base64.b32encode(secrets.token_bytes(15)).decode().lower() for _ in range(count)]
    return ["-".join(text[i : i + 4] for i in range(0, 24, 4)) for text in texts]


def recovery_code_hash(text: str) -> bytes:
    """SHA-256 of a recovery code, however a person typed it: case, spaces and dashes are gone."""
    return token_hash("".join(filter(str.isalnum, text)).lower())


# Access tokens (RFC 9068, RFC 8725) -------------------------------------------------------------


@dataclass(frozen=True)
class AccessClaims:
    """What a valid access token of a tenant's person says."""

    user_id: UUID
    tenant_id: UUID
    session_version: int
    family_id: UUID
    authenticated_at: datetime
    """When the person last showed credentials."""
    expires_at: datetime


@dataclass(frozen=True)
class OperatorClaims:
    """What a valid access token of a platform operator says."""

    operator_id: UUID
    session_version: int
    authenticated_at: datetime
    expires_at: datetime


def access_lifetime() -> timedelta:
    """How long an access token is good for."""
    return _secrets().access_lifetime


def refresh_lifetime() -> timedelta:
    """How long a person stays signed in at most, however often the token is refreshed."""
    return _secrets().refresh_lifetime


def access_token(
    *,
    user_id: UUID,
    tenant_id: UUID,
    session_version: int,
    family_id: UUID,
    authenticated_at: datetime,
) -> str:
    """A signed JWT (RFC 9068) that is good for `access_lifetime()`."""
    return _sign(
        AUDIENCE,
        access_lifetime(),
        sub=str(user_id),
        tid=str(tenant_id),
        sv=session_version,
        fam=str(family_id),
        auth_time=int(authenticated_at.timestamp()),
    )


def read_access_token(token: str) -> AccessClaims:
    """The claims of a token of ours. Raises TokenExpired, else Unauthenticated."""
    claims = _read(token, AUDIENCE)
    try:
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            tenant_id=UUID(claims["tid"]),
            session_version=int(claims["sv"]),
            family_id=UUID(claims["fam"]),
            authenticated_at=datetime.fromtimestamp(int(claims["auth_time"]), UTC),
            expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
        )
    except _MALFORMED:
        raise Unauthenticated from None


def operator_token(*, operator_id: UUID, session_version: int, authenticated_at: datetime) -> str:
    """The same for a platform operator, good for `OPERATOR_LIFETIME`."""
    return _sign(
        ADMIN_AUDIENCE,
        OPERATOR_LIFETIME,
        sub=str(operator_id),
        sv=session_version,
        auth_time=int(authenticated_at.timestamp()),
    )


def read_operator_token(token: str) -> OperatorClaims:
    """The claims of an operator's token. Raises TokenExpired, else Unauthenticated."""
    claims = _read(token, ADMIN_AUDIENCE)
    try:
        return OperatorClaims(
            operator_id=UUID(claims["sub"]),
            session_version=int(claims["sv"]),
            authenticated_at=datetime.fromtimestamp(int(claims["auth_time"]), UTC),
            expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
        )
    except _MALFORMED:
        raise Unauthenticated from None


_MALFORMED = (ValueError, KeyError, TypeError, OverflowError, AttributeError, OSError)


def _sign(audience: str, lifetime: timedelta, **claims: Any) -> str:
    kid, key = next(iter(_secrets().signing_keys.items()))
    now = clock.now()
    claims |= {
        "iss": ISSUER,
        "aud": audience,
        "jti": str(uuid4()),
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    return jwt.encode(claims, key, algorithm="HS256", headers={"typ": TOKEN_TYPE, "kid": kid})


def _read(token: str, audience: str) -> dict[str, Any]:
    """Claims of a token that is ours and good now. Raises TokenExpired, else Unauthenticated."""
    claims, begins_at, expires_at = _verified(_secrets(), token, audience)
    now = clock.now()
    if now < begins_at - _LEEWAY:
        raise Unauthenticated
    if now >= expires_at:
        raise TokenExpired
    return claims


# A program shows the same token with each of its requests; what time does not change is kept.
@lru_cache(maxsize=4096)
def _verified(
    known: _Secrets, token: str, audience: str
) -> tuple[dict[str, Any], datetime, datetime]:
    """Claims, beginning and end of a token that is ours, whatever the time.

    One algorithm, one type, our own keys by id, issuer and audience (RFC 8725). What a token says
    about keys beyond the id of one of ours is ignored.
    """
    try:
        head = jwt.get_unverified_header(token)
        key = known.signing_keys.get(head.get("kid", ""))
        if head.get("typ") != TOKEN_TYPE or key is None:
            raise Unauthenticated
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=audience,
            issuer=ISSUER,
            options={
                "require": ["exp", "iat", "nbf", "sub", "jti"],
                # PyJWT would ask the system's clock; `_read` asks ours.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        begins_at = datetime.fromtimestamp(int(claims["nbf"]), UTC)
    except (jwt.PyJWTError, *_MALFORMED):
        raise Unauthenticated from None
    return claims, begins_at, expires_at
