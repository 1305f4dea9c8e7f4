"""Accounts of people: signing up, and showing that an address is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import Role, Tenant, User, new_id
from app.database.session import scope
from app.integrations import ports
from app.rules import signup
from app.services import mail_tokens, token_families
from app.services.password_service import refuse_poor
from app.services.subscription_service import SubscriptionService
from app.services.token_families import Device, Tokens
from app.services.trial_service import TrialService
from app.utils import email_service, security

VERIFY_EMAIL = "verify_email"
VERIFY_HOURS = 24


@dataclass(frozen=True)
class Registered:
    tenant: Tenant
    user: User
    tokens: Tokens
    setup_intent: ports.Intent


class IdentityService:
    @staticmethod
    def register(
        *,
        company_name: str,
        email: str,
        password: str,
        full_name: str | None,
        device: Device,
        db: Session,
        payments: ports.PaymentGateway | None = None,
    ) -> Registered:
        """Open a tenant with its owner, on trial, and a SetupIntent that collects the card.

        A company that had its trial gets an account without one, and may pay at once. Raises
        Invalid for a poor password or a throw-away address, EmailAlreadyRegistered, and what Stripe
        raises; nothing is kept then.
        """
        email = email.strip().lower()
        _refuse_disposable(email)
        refuse_poor(password, "password", email, company_name, full_name or "")
        # Before the first statement, so that no connection waits for the hash.
        password_hash = security.hash_password(password)
        tenant = Tenant(
            id=new_id(),
            company_name=company_name,
            company_email=email,
            company_domain=signup.company_domain(email),
        )
        scope(db, tenant.id)
        SubscriptionService.create_trial(tenant, db)
        user = User(
            id=new_id(),
            tenant_id=tenant.id,
            email=email,
            full_name=full_name,
            password_hash=password_hash,
            role=Role.OWNER,
            is_admin=True,
            session_version=1,
            last_login_at=clock.now(),
            password_changed_at=clock.now(),
        )
        db.add(user)
        try:
            db.flush()  # Before Stripe is asked to make a customer of somebody whom we refuse.
        except IntegrityError:
            raise errors.EmailAlreadyRegistered from None
        token_families.recognise(user)
        audit.write(db, tenant.id, "tenant_registered", "tenant", tenant.id)
        outbox.record(db, events.TenantRegistered(tenant_id=tenant.id, user_id=user.id))
        tokens = token_families.begin(user, device, db)
        intent = SubscriptionService.open_account(tenant, db, email=email, payments=payments)
        # After Stripe was asked: others of the same company wait for the end of this transaction.
        TrialService.claim_for_address(tenant, email, db)
        return Registered(tenant, user, tokens, intent)

    @staticmethod
    def request_verification(email: str, db: Session) -> None:
        """Have the mail sent again, if there is such an account and it needs one.

        Says nothing about it to the caller. Expects a session that sees all tenants.
        """
        user = db.scalars(
            select(User).where(
                User.email == email.strip().lower(), User.is_active, ~User.is_verified
            )
        ).one_or_none()
        # For an unknown address a job that finds nobody, so that both take the same time.
        tenant_id, user_id = (new_id(), new_id()) if user is None else (user.tenant_id, user.id)
        outbox.record(db, events.VerificationRequested(tenant_id=tenant_id, user_id=user_id))

    @staticmethod
    def send_verification(
        user_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Mail the user a one-time link; a job. Earlier links stay good until they expire."""
        providers = providers or ports.current()
        user = db.get(User, user_id)
        if user is None or user.is_verified or not user.is_active:
            return
        token, row_id = mail_tokens.issue(user, VERIFY_EMAIL, timedelta(hours=VERIFY_HOURS), db)
        mail = email_service.verification(
            # Not the name: a stranger may have given this address, and words to go with it.
            name=user.email,
            # From the settings, never from a request's Host.
            link=f"{providers.platform.public_url}/verify-email?token={token}",
            hours=VERIFY_HOURS,
        )
        providers.mailer.send(
            to=user.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"verify-{row_id}",
        )

    @staticmethod
    def verify_email(token: str, db: Session) -> User:
        """Spend a link's token. Expects a session that sees all tenants; raises Invalid."""
        row = mail_tokens.read(token, VERIFY_EMAIL, db, hold=True)
        row.used_at = clock.now()
        user = db.get_one(User, row.user_id)
        before, user.is_verified = user.is_verified, True
        token_families.recognise(user)
        audit.write(
            db, user.tenant_id, "email_verified", "user", user.id, {"is_verified": [before, True]}
        )
        return user


def _refuse_disposable(email: str) -> None:
    if signup.is_disposable(email):
        fault = "Use an address of your company or of your own: this one is a throw-away address."
        raise errors.Invalid(fault, fields=[{"field": "email", "message": fault}])
