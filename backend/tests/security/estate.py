"""A tenant that owns one object of every kind that the API names by an id, and its people.

Everything is made directly and cheaply, so that a walk over all operations can use up a fresh one
for each request and no request depends on the one before.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from secrets import token_hex
from uuid import UUID

import pyotp

from app import clock
from app.database.models import RefreshToken, User, new_id
from app.database.session import ALL_TENANTS, transaction
from app.services.operator_service import OperatorService
from app.utils import security
from tests.security import belongings, extras


class Estate:
    """What one tenant has. `make(kind)` is the id of a new object of theirs, as the API names it."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = UUID(tenant_id)

    def make(self, kind: str) -> str:
        """The id of a new object. Raises KeyError for a kind that nobody taught us."""
        maker = belongings.MAKERS[kind]
        with transaction(tenant=ALL_TENANTS) as db:
            return str(maker(self.tenant_id, db))

    def everything(self) -> dict[str, str]:
        """One object of every kind, and a row in every other table of tenants: the ids by kind."""
        ids = {kind: self.make(kind) for kind in belongings.MAKERS}
        with transaction(tenant=ALL_TENANTS) as db:
            extras.make(self.tenant_id, db)
        return ids

    # People and programs --------------------------------------------------------------------------

    def person(self, role: str) -> UUID:
        """Somebody new of this role, who can sign in with `belongings.PASSWORD`."""
        with transaction(tenant=ALL_TENANTS) as db:
            return belongings.user(self.tenant_id, db, role)

    def invited(self) -> str:
        """The token of a new invitation."""
        token = security.new_token()
        with transaction(tenant=ALL_TENANTS) as db:
            belongings.invitation(self.tenant_id, db, token=token)
        return token

    def mailed(self, user_id: UUID, purpose: str) -> str:
        """The token of a mail to this person."""
        token = security.new_token()
        with transaction(tenant=ALL_TENANTS) as db:
            belongings.mail_token(self.tenant_id, db, user_id, purpose, token)
        return token

    def give_factor(self, user_id: UUID, *, in_force: bool = True) -> None:
        """A second factor; not `in_force`, it waits for the first code."""
        secret = security.new_totp_secret()
        with transaction(tenant=ALL_TENANTS) as db:
            user = db.get_one(User, user_id)
            user.totp_secret = security.encrypt(secret.encode(), f"users.totp_secret:{user.id}")
            user.totp_step, user.two_factor_enabled = None, in_force

    def bearer(self, user_id: UUID, *, shown: timedelta = timedelta(0)) -> dict[str, str]:
        """The headers of a new session of theirs; credentials were shown `shown` ago."""
        return _bearer(self.session(user_id, shown=shown)[0])

    def session(self, user_id: UUID, *, shown: timedelta = timedelta(0)) -> tuple[str, str, UUID]:
        """Access token, refresh token and the session's id."""
        refresh, family, at = security.new_token(), new_id(), clock.now() - shown
        with transaction(tenant=ALL_TENANTS) as db:
            user = db.get_one(User, user_id)
            db.add(
                RefreshToken(
                    tenant_id=user.tenant_id,
                    user_id=user.id,
                    family_id=family,
                    token_hash=security.token_hash(refresh),
                    expires_at=clock.now() + timedelta(days=1),
                    authenticated_at=at,
                )
            )
        access = security.access_token(
            user_id=user.id,
            tenant_id=user.tenant_id,
            session_version=user.session_version,
            family_id=family,
            authenticated_at=at,
        )
        return access, refresh, family

    def program(self, scopes: Collection[str]) -> dict[str, str]:
        """The headers of a program whose key has these scopes."""
        with transaction(tenant=ALL_TENANTS) as db:
            return _bearer(belongings.key(self.tenant_id, db, scopes)[1])

    def code_of(self, user_id: UUID) -> str:
        """What this person's authenticator app shows now."""
        with transaction(tenant=ALL_TENANTS) as db:
            sealed = db.get_one(User, user_id).totp_secret
        assert sealed is not None
        secret = security.decrypt(sealed, f"users.totp_secret:{user_id}").decode()
        return pyotp.TOTP(secret).at(clock.now())


def operators_bearer(*, shown: timedelta = timedelta(0)) -> dict[str, str]:
    """The headers of a new operator, who showed both factors `shown` ago."""
    with transaction(tenant=ALL_TENANTS) as db:
        made = OperatorService.create(f"walker-{token_hex(6)}", db).operator
    token = security.operator_token(
        operator_id=made.id,
        session_version=made.session_version,
        authenticated_at=clock.now() - shown,
    )
    return _bearer(token)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


KINDS: dict[str, tuple[str, ...]] = {
    "actor_id": ("user",),
    "card_id": ("payment_method",),
    "appeal_id": ("appeal",),
    "decision_id": ("decision",),
    "domain_id": ("domain",),
    "domain_ids": ("domain",),
    "endpoint_id": ("endpoint",),
    "inbox_id": ("inbox",),
    "inbox_ids": ("inbox",),
    "invoice_id": ("invoice",),
    "key_id": ("api_key",),
    "payment_intent_id": ("intent",),
    "payment_method_id": ("payment_method",),
    "provision_id": ("provision",),
    "purchase_id": ("purchase",),
    "resource_id": ("domain",),
    "session_id": ("session",),
    "suppression_id": ("suppression",),
    "tenant_id": ("tenant",),
    "user_id": ("user", "invitation"),
}
"""Name of a parameter or field: what its ids are ids of."""
