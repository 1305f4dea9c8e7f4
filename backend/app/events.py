"""Facts and requests that have consequences elsewhere; tasks/routing.py says which.

An event carries ids only, so that whoever handles it later reads the present state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from uuid import UUID


@dataclass(frozen=True)
class Event:
    """Base of all events; a tenant's own events name the tenant, so that a pause can hold them."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def payload(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class TenantEvent(Event):
    tenant_id: UUID


@dataclass(frozen=True)
class TenantRegistered(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class VerificationRequested(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class PasswordResetRequested(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class PasswordChanged(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class TwoFactorEnabled(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class TwoFactorDisabled(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class RecoveryCodesRenewed(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class RecoveryCodeUsed(TenantEvent):
    user_id: UUID


@dataclass(frozen=True)
class InvitationIssued(TenantEvent):
    invitation_id: UUID


@dataclass(frozen=True)
class TenantSuspended(TenantEvent):
    pass


@dataclass(frozen=True)
class TenantReinstated(TenantEvent):
    pass


@dataclass(frozen=True)
class QueueBounceRequested(TenantEvent):
    """An operator wants the queued mail of a suspended tenant gone."""


@dataclass(frozen=True)
class PlanChanged(TenantEvent):
    pass


@dataclass(frozen=True)
class BillingNoticeDue(TenantEvent):
    notice_id: UUID


@dataclass(frozen=True)
class OperatorAlertRaised(Event):
    alert_id: UUID


@dataclass(frozen=True)
class CardChanged(TenantEvent):
    """Another card is the default: what is owed can be asked for again."""


@dataclass(frozen=True)
class RefundRequested(TenantEvent):
    refund_id: UUID


@dataclass(frozen=True)
class AccountCheckDue(TenantEvent):
    """One tenant's rows are to be compared with Stripe's objects."""


@dataclass(frozen=True)
class ProviderEventReceived(Event):
    provider_event_id: UUID


@dataclass(frozen=True)
class DomainQuoteAbandoned(TenantEvent):
    purchase_id: UUID


@dataclass(frozen=True)
class DomainHoldPlaced(TenantEvent):
    purchase_id: UUID


@dataclass(frozen=True)
class DomainPurchaseAuthorised(TenantEvent):
    purchase_id: UUID


@dataclass(frozen=True)
class DomainRegistrationSubmitted(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainRegistered(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainRegistrationFailed(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainRenewalDue(TenantEvent):
    purchase_id: UUID


@dataclass(frozen=True)
class DomainRenewed(TenantEvent):
    domain_id: UUID
    purchase_id: UUID


@dataclass(frozen=True)
class DomainRenewalFailed(TenantEvent):
    domain_id: UUID
    purchase_id: UUID


@dataclass(frozen=True)
class DomainZoneCreated(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainRecordsPublished(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainDelegated(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainVerified(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainActivated(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainOwnershipProven(TenantEvent):
    """A connected name that will move to our name servers may be given its zone."""

    domain_id: UUID


@dataclass(frozen=True)
class RegistrantChanged(TenantEvent):
    """One of the tenant's names must learn its new contact."""

    domain_id: UUID


@dataclass(frozen=True)
class DomainLifeDue(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainCleanUpDue(TenantEvent):
    domain_id: UUID


@dataclass(frozen=True)
class DomainLookDue(TenantEvent):
    """The records of an active name are to be compared with what the DNS shows."""

    domain_id: UUID


@dataclass(frozen=True)
class InboxesProvisioned(TenantEvent):
    provision_id: UUID


@dataclass(frozen=True)
class InboxChanged(TenantEvent):
    inbox_id: UUID


@dataclass(frozen=True)
class TenantWarmupDue(TenantEvent):
    pass


@dataclass(frozen=True)
class TenantErasureDue(TenantEvent):
    pass


@dataclass(frozen=True)
class TenantScoresDue(TenantEvent):
    pass


@dataclass(frozen=True)
class WebhookDue(TenantEvent):
    """A message waits at an endpoint where no job is at work."""

    endpoint_id: UUID


@dataclass(frozen=True)
class WebhookDisabled(TenantEvent):
    endpoint_id: UUID


# Facts of the calendar; tasks/schedule.py says how often each comes true.


@dataclass(frozen=True)
class TrialsDue(Event):
    pass


@dataclass(frozen=True)
class SubscriptionsDue(Event):
    pass


@dataclass(frozen=True)
class BooksDue(Event):
    pass


@dataclass(frozen=True)
class DKIMRotationBegun(TenantEvent):
    """Also when one goes on otherwise than it was waiting to."""

    rotation_id: UUID


@dataclass(frozen=True)
class DKIMKeyDue(TenantEvent):
    """It is the turn of a name's key to be replaced."""

    domain_id: UUID


@dataclass(frozen=True)
class KeysDue(Event):
    pass


@dataclass(frozen=True)
class ClaimsDue(Event):
    pass


@dataclass(frozen=True)
class DomainProofDue(Event):
    """Whether a connected name is proven is to be looked at.

    No tenant's event: another tenant may hold or claim the same name.
    """

    domain_id: UUID


@dataclass(frozen=True)
class DomainsDue(Event):
    pass


@dataclass(frozen=True)
class RecordsDue(Event):
    pass


@dataclass(frozen=True)
class WarmupDue(Event):
    pass


@dataclass(frozen=True)
class HoldsDue(Event):
    pass


@dataclass(frozen=True)
class AbuseCheckDue(Event):
    pass


@dataclass(frozen=True)
class BlocklistsDue(Event):
    pass


@dataclass(frozen=True)
class ScoresDue(Event):
    pass


@dataclass(frozen=True)
class UsageDue(Event):
    pass


@dataclass(frozen=True)
class ErasuresDue(Event):
    pass


@dataclass(frozen=True)
class MailPlaneCheckDue(Event):
    pass


@dataclass(frozen=True)
class DirectoryCheckDue(Event):
    pass


@dataclass(frozen=True)
class AuditHeadsDue(Event):
    pass


@dataclass(frozen=True)
class DeliveryDaysDue(Event):
    """Tables for the events of the next days are to be made, old ones dropped, weeks summed."""


@dataclass(frozen=True)
class HousekeepingDue(Event):
    pass
