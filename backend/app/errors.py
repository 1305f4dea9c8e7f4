"""What can go wrong, as facts. HTTP lives in middleware/error_handler.py alone.

InboxGroveError
├── Invalid              the request cannot be understood or breaks a rule of form
├── Unauthenticated      we do not know who asks
├── PaymentRequired      money is missing
├── Forbidden            we know who asks, and the answer is no
├── LimitReached         the plan's room is used up
├── NotFound             absent, or another tenant's, which looks the same
├── Conflict             the state of things does not allow it now
├── TooLarge             the request is bigger than we take
├── HeadTooLarge         its headers alone are
├── TooSlow              the request did not arrive in time
├── RateLimited          too many requests
├── ProviderFailed       a provider said no; asking again will not help
├── ProviderUnavailable  a provider is away or slow; asking again may help
└── Unavailable          our own database or queue is away
"""

from __future__ import annotations

from typing import Any


class InboxGroveError(Exception):
    """Something went wrong."""

    code = "INTERNAL_ERROR"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        """`message` overrides the docstring, the default text; `details` go to the caller."""
        if message is None:
            text = (type(self).__doc__ or "").strip().splitlines()[0]
            message = text.format_map(_Details(details))
        self.message = message
        self.details = details
        super().__init__(self.message)


class _Details(dict[str, Any]):
    """Leaves unknown placeholders as they are, so that a message never fails to print."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


class Invalid(InboxGroveError):
    """The request is not valid."""

    code = "VALIDATION_ERROR"


class Unauthenticated(InboxGroveError):
    """Sign in first: send a valid access token or API key."""

    code = "UNAUTHENTICATED"


class InvalidCredentials(Unauthenticated):
    """The e-mail address or the password is wrong."""

    code = "INVALID_CREDENTIALS"


class TotpRequired(Unauthenticated):
    """This account has a second factor: send its code, or a recovery code, as totp_code."""

    code = "TOTP_REQUIRED"


class ReauthenticationRequired(Unauthenticated):
    """Confirm that it is you: sign in again, or send your password to /auth/reauthenticate."""

    code = "REAUTHENTICATION_REQUIRED"


class TokenExpired(Unauthenticated):
    """The token has expired. Refresh it or sign in again."""

    code = "TOKEN_EXPIRED"


class PaymentRequired(InboxGroveError):
    """This needs a payment first."""

    code = "PAYMENT_REQUIRED"


class PaymentNotCompleted(PaymentRequired):
    """The payment is not completed (it is {payment_status}). Confirm it and try again."""

    code = "PAYMENT_NOT_COMPLETED"


class TrialExpired(PaymentRequired):
    """The trial ended on {trial_ends_at}. Add a card or choose a plan to go on."""

    code = "TRIAL_EXPIRED"


class Forbidden(InboxGroveError):
    """You may not do this."""

    code = "FORBIDDEN"


class TwoFactorRequired(Forbidden):
    """Your company requires a second factor. Set one up at /auth/2fa/setup first."""

    code = "TWO_FACTOR_REQUIRED"


class TenantSuspended(Forbidden):
    """This account is suspended ({reason}). Contact support or settle what is open."""

    code = "TENANT_SUSPENDED"


class LimitReached(InboxGroveError):
    """The plan's limit is reached."""

    code = "LIMIT_REACHED"


class InboxLimitExceeded(LimitReached):
    """Inbox limit ({limit}) reached: {used} in use, {requested} more asked. Upgrade to add more."""

    code = "INBOX_LIMIT_EXCEEDED"


class DomainLimitExceeded(LimitReached):
    """Domain limit ({limit}) reached. Upgrade to add more domains."""

    code = "DOMAIN_LIMIT_EXCEEDED"


class NotFound(InboxGroveError):
    """There is no such {resource}."""

    code = "NOT_FOUND"


class Conflict(InboxGroveError):
    """The present state does not allow this."""

    code = "CONFLICT"


class EmailAlreadyRegistered(Conflict):
    """This e-mail address has an account already. Sign in, or reset the password."""

    code = "EMAIL_ALREADY_REGISTERED"


class DomainTaken(Conflict):
    """{domain_name} cannot be bought: it is taken."""

    code = "DOMAIN_TAKEN"


class DomainNotReady(Conflict):
    """{domain_name} is not ready for inboxes yet (status {status}). Wait until it is active."""

    code = "DOMAIN_NOT_READY"


class DowngradeRefused(Conflict):
    """The plan {plan} allows {allowed} {resource}, {used} are in use. Remove some first."""

    code = "DOWNGRADE_REFUSED"


class PremiumNotConfirmed(Conflict):
    """{domain_name} is a premium name at {price_cents} cents. Confirm that you want it."""

    code = "PREMIUM_NOT_CONFIRMED"


class PriceChanged(Conflict):
    """The price is {price_cents} cents ({currency}) now. Ask again with it if you agree."""

    code = "PRICE_CHANGED"


class QuoteExpired(Conflict):
    """The price offer expired. Ask for a new purchase intent."""

    code = "QUOTE_EXPIRED"


class IdempotencyKeyReused(Conflict):
    """This Idempotency-Key was used for another request. Use a new key for a new request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class RequestInProgress(Conflict):
    """The same request is being worked on. Try again in a moment for its answer."""

    code = "REQUEST_IN_PROGRESS"


class TooLarge(InboxGroveError):
    """The request is larger than {limit_bytes} bytes."""

    code = "PAYLOAD_TOO_LARGE"


class HeadTooLarge(InboxGroveError):
    """The request's target and headers are larger than {limit_bytes} bytes."""

    code = "HEADERS_TOO_LARGE"


class TooSlow(InboxGroveError):
    """The request's body did not arrive within {seconds} seconds."""

    code = "REQUEST_TIMEOUT"


class RateLimited(InboxGroveError):
    """Too many requests. Wait {retry_after} seconds."""

    code = "RATE_LIMITED"


class ProviderFailed(InboxGroveError):
    """{provider} refused: {reason}."""

    code = "PROVIDER_FAILED"


class ProviderUnavailable(InboxGroveError):
    """{provider} does not answer at the moment. Nothing is lost; try again shortly."""

    code = "PROVIDER_UNAVAILABLE"


class OutcomeUnknown(ProviderUnavailable):
    """{provider} may or may not have done it. We look before we act again."""

    code = "PROVIDER_OUTCOME_UNKNOWN"


class Unavailable(InboxGroveError):
    """The service is briefly unavailable. Nothing was changed; try again shortly."""

    code = "SERVICE_UNAVAILABLE"


class Restoring(Unavailable):
    """Purchases and payments are closed while we recover from an accident. Nothing was changed."""

    code = "SERVICE_RESTORING"
