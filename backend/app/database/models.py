"""The index of every table, and `init_db(engine)`."""

from __future__ import annotations

from sqlalchemy import Engine

from app.database.migrations import upgrade
from app.database.tables.base import Base, TenantOwned, new_id
from app.database.tables.billing import (
    DomainPurchase,
    Invoice,
    PaymentMethod,
    ProviderEvent,
    PurchaseKind,
    PurchaseState,
    Transaction,
    TransactionType,
)
from app.database.tables.claims import Dispute, Refund
from app.database.tables.domains import (
    DKIMKey,
    DKIMRotation,
    Domain,
    DomainConnection,
    DomainStatus,
    DomainStep,
    OperationState,
    Registrant,
    RegistrarOperation,
    StepName,
)
from app.database.tables.health import (
    AddressStanding,
    Appeal,
    AppealState,
    Complaint,
    DomainStanding,
    WarmupDay,
)
from app.database.tables.infrastructure import Inbox, InboxStatus, Provision
from app.database.tables.messaging import Job, JobState, OutboxEvent, ScheduledRun
from app.database.tables.nodes import MTANode, NodeMode
from app.database.tables.notices import BillingNotice, NoticeKind, OperatorAlert
from app.database.tables.recovery import Backup, Restoration
from app.database.tables.sending import (
    DeliveryEvent,
    DomainDay,
    InboxDay,
    InboxWeek,
    ProviderDay,
    Suppression,
    TenantDay,
)
from app.database.tables.tenancy import (
    APIKey,
    AuditLog,
    Decision,
    DecisionAction,
    IdempotencyRecord,
    Invitation,
    MailToken,
    Operator,
    OperatorAct,
    Plan,
    RecoveryCode,
    RefreshToken,
    Role,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
    Throttle,
    TrialClaim,
    TrialClaimKind,
    User,
)
from app.database.tables.webhooks import (
    DeliveryState,
    EndpointStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

__all__ = [
    "APIKey",
    "AddressStanding",
    "Appeal",
    "AppealState",
    "AuditLog",
    "Backup",
    "Base",
    "BillingNotice",
    "Complaint",
    "DKIMKey",
    "DKIMRotation",
    "Decision",
    "DecisionAction",
    "DeliveryEvent",
    "DeliveryState",
    "Dispute",
    "Domain",
    "DomainConnection",
    "DomainDay",
    "DomainPurchase",
    "DomainStanding",
    "DomainStatus",
    "DomainStep",
    "EndpointStatus",
    "IdempotencyRecord",
    "Inbox",
    "InboxDay",
    "InboxStatus",
    "InboxWeek",
    "Invitation",
    "Invoice",
    "Job",
    "JobState",
    "MTANode",
    "MailToken",
    "NodeMode",
    "NoticeKind",
    "OperationState",
    "Operator",
    "OperatorAct",
    "OperatorAlert",
    "OutboxEvent",
    "PaymentMethod",
    "Plan",
    "ProviderDay",
    "ProviderEvent",
    "Provision",
    "PurchaseKind",
    "PurchaseState",
    "RecoveryCode",
    "RefreshToken",
    "Refund",
    "Registrant",
    "RegistrarOperation",
    "Restoration",
    "Role",
    "ScheduledRun",
    "StepName",
    "SubscriptionStatus",
    "Suppression",
    "SuspensionReason",
    "Tenant",
    "TenantDay",
    "TenantOwned",
    "Throttle",
    "Transaction",
    "TransactionType",
    "TrialClaim",
    "TrialClaimKind",
    "User",
    "WarmupDay",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "init_db",
    "new_id",
]


def init_db(engine: Engine) -> None:
    """Bring the database of `engine` to the newest schema; safe to repeat.

    Runs the migrations, so that there is one history however a database was made.
    """
    upgrade(engine)
