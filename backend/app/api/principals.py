"""Who asks, what they may, and whether that is enough for a route."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app import clock, errors
from app.database.models import APIKey, Tenant, User
from app.rules import api_keys, permissions
from app.rules.permissions import Permission
from app.services import kill_switch
from app.utils.security import AccessClaims

RECENT = timedelta(minutes=15)
"""How long ago somebody may have shown credentials who asks for something dangerous."""

_KEY_NOTED = timedelta(minutes=1)
"""The use of a key is written down at most this often."""


@dataclass(frozen=True)
class Principal:
    """Who asks on a tenant's behalf: a signed-in person, or a program with an API key."""

    tenant: Tenant
    permissions: frozenset[Permission]
    user: User | None = None
    key: APIKey | None = None
    claims: AccessClaims | None = None


@dataclass(frozen=True)
class SignedIn:
    """A signed-in person."""

    tenant: Tenant
    user: User
    claims: AccessClaims


def of_person(user: User, tenant: Tenant, claims: AccessClaims) -> Principal:
    """The bearer of a token whose family lives. Raises Unauthenticated when it was cut off."""
    if user.session_version != claims.session_version:
        raise errors.Unauthenticated
    return Principal(tenant, permissions.of_role(user.role), user=user, claims=claims)


def require_kind(key: str, *, live: bool) -> None:
    """Raises Unauthenticated for a test key where live ones are taken, or the other way round."""
    if key.startswith(api_keys.LIVE) != live:
        kind = "live" if live else "test"
        raise errors.Unauthenticated(f"This installation takes {kind} keys only.")


def of_program(key: APIKey, tenant: Tenant, now: datetime) -> Principal:
    """The bearer of a key that was not revoked. Raises TokenExpired."""
    if key.expires_at is not None and key.expires_at <= now:
        raise errors.TokenExpired("This API key has expired. Make a new one.")
    return Principal(tenant, permissions.of_key(key.scopes), key=key)


def use_is_news(key: APIKey, now: datetime) -> bool:
    """Whether this use of a key is to be written down."""
    return key.last_used_at is None or now - key.last_used_at >= _KEY_NOTED


def person_of(principal: Principal) -> SignedIn:
    """Raises Forbidden for a program: it has no password, sessions or second factor of its own."""
    if principal.user is None or principal.claims is None:
        raise errors.Forbidden("This is for people: sign in instead of sending an API key.")
    return SignedIn(principal.tenant, principal.user, principal.claims)


@dataclass(frozen=True)
class Needs:
    """What a route asks of its callers; see `deps.requires`."""

    permission: Permission
    suspended_too: bool = False
    person: bool = False
    recent: bool = False
    before_two_factor: bool = False

    def check(self, principal: Principal) -> None:
        """Raises TenantSuspended, Forbidden, TwoFactorRequired or ReauthenticationRequired."""
        user, tenant = principal.user, principal.tenant
        if not self.suspended_too:
            kill_switch.require_off(tenant)
        if self.person:
            person_of(principal)
        lacks_factor = user is not None and not user.two_factor_enabled
        if tenant.requires_two_factor and lacks_factor and not self.before_two_factor:
            raise errors.TwoFactorRequired
        if self.permission not in principal.permissions:
            raise _lacks(self.permission, principal)
        claims = principal.claims
        if self.recent and claims and clock.now() - claims.authenticated_at > RECENT:
            raise errors.ReauthenticationRequired

    def described(self, audit_event: str | None = None) -> dict[str, Any]:
        """The same for OpenAPI."""
        role = permissions.least_role(self.permission)
        told = about(role, self.permission, audit_event)
        if self.person or self.permission not in permissions.GRANTABLE:
            told["x-person-only"] = True
        return told


def _lacks(permission: Permission, principal: Principal) -> errors.Forbidden:
    if principal.user is None:
        return errors.Forbidden(
            f"This needs the scope {permission}, which this API key lacks.",
            required=str(permission),
        )
    role = permissions.least_role(permission)
    return errors.Forbidden(
        f"This needs the role {role}; yours is {principal.user.role}.", required=role
    )


def about(role: str, grant: str | None, audit_event: str | None) -> dict[str, Any]:
    """Who a route is for, in OpenAPI's words of ours."""
    # FastAPI leaves nulls out of the document, so their absence is written out.
    return {"x-role": role, "x-scope": grant or "none", "x-audit-event": audit_event or "none"}
