"""From event to tasks: the whole aftermath of the product on one screen."""

from __future__ import annotations

from app import events as e

ROUTES: dict[str, tuple[str, ...]] = {
    route.__name__: tasks
    for route, tasks in {
        # Identity
        e.TenantRegistered: ("billing.send_verification_mail",),
        e.VerificationRequested: ("billing.send_verification_mail",),
        e.PasswordResetRequested: ("accounts.send_password_reset",),
        e.PasswordChanged: ("accounts.tell_password_changed",),
        e.TwoFactorEnabled: ("accounts.tell_two_factor_enabled",),
        e.TwoFactorDisabled: ("accounts.tell_two_factor_disabled",),
        e.RecoveryCodesRenewed: ("accounts.tell_recovery_codes_renewed",),
        e.RecoveryCodeUsed: ("accounts.tell_recovery_code_used",),
        e.InvitationIssued: ("accounts.send_invitation",),
        # Money
        e.ProviderEventReceived: ("billing.handle_provider_event",),
        e.PlanChanged: ("provisioning.apply_plan_limits", "webhooks.publish"),
        e.CardChanged: ("billing.collect_debts", "domains.retry_renewals"),
        e.RefundRequested: ("billing.refund",),
        e.BillingNoticeDue: ("billing.send_notice",),
        e.OperatorAlertRaised: ("billing.send_alert",),
        e.AccountCheckDue: ("billing.reconcile_account",),
        # A purchase is a chain; each step is one transaction with at most one change outside.
        e.DomainQuoteAbandoned: ("billing.release_quote",),
        e.DomainHoldPlaced: ("domains.request_purchase",),
        e.DomainPurchaseAuthorised: ("domains.submit_registration",),
        e.DomainRegistrationSubmitted: ("domains.register",),
        e.DomainRegistered: (
            "billing.capture_purchase",
            "domains.create_zone",
            "domains.protect",
            "webhooks.publish",
        ),
        e.DomainRegistrationFailed: ("billing.release_purchase", "webhooks.publish"),
        e.DomainRenewalDue: ("domains.renew",),
        e.DomainRenewed: ("billing.capture_renewal", "webhooks.publish"),
        e.DomainRenewalFailed: ("billing.release_renewal",),
        e.DomainZoneCreated: ("domains.publish_records",),
        e.DomainRecordsPublished: ("domains.delegate",),
        e.DomainDelegated: ("domains.verify_dns",),
        e.DomainVerified: ("domains.authorize_in_kumo",),
        e.DomainActivated: ("webhooks.publish",),
        e.DomainProofDue: ("domains.look_for_proof",),
        e.DKIMRotationBegun: ("domains.rotate_key",),
        e.DKIMKeyDue: ("domains.begin_rotation",),
        e.DomainOwnershipProven: ("domains.create_zone",),
        e.RegistrantChanged: ("domains.hand_on_registrant",),
        e.DomainLifeDue: ("domains.look",),
        e.DomainCleanUpDue: ("domains.clean_up",),
        e.DomainLookDue: ("domains.heal_records",),
        # Inboxes
        e.InboxesProvisioned: ("provisioning.publish_inboxes", "webhooks.publish"),
        e.InboxChanged: ("provisioning.publish_inbox",),
        e.TenantWarmupDue: ("health.warm_up",),
        e.TenantScoresDue: ("health.score_inboxes",),
        e.TenantErasureDue: ("accounts.erase",),
        # Kill switch
        e.TenantSuspended: ("monitoring.silence_tenant",),
        e.TenantReinstated: ("monitoring.revive_tenant", "webhooks.publish"),
        e.QueueBounceRequested: ("monitoring.bounce_queue",),
        # Tenants' own servers
        e.WebhookDue: ("webhooks.deliver",),
        e.WebhookDisabled: ("webhooks.tell_disabled",),
        # The calendar
        e.TrialsDue: ("billing.expire_trials",),
        e.SubscriptionsDue: ("billing.remind_of_trials", "billing.begin_scheduled_plans"),
        e.BooksDue: ("billing.reconcile",),
        e.HoldsDue: ("billing.release_stale_holds",),
        e.ClaimsDue: ("domains.look_for_all_proofs",),
        e.KeysDue: ("domains.plan_rotations",),
        e.DomainsDue: ("domains.look_after_all",),
        e.RecordsDue: ("domains.heal_all_records",),
        e.AbuseCheckDue: ("health.check_abuse",),
        e.BlocklistsDue: ("health.ask_blocklists",),
        e.ScoresDue: ("health.plan_scores",),
        e.UsageDue: ("health.look_at_usage",),
        e.ErasuresDue: ("accounts.plan_erasures",),
        e.WarmupDue: ("health.plan_warmup",),
        e.MailPlaneCheckDue: ("monitoring.reconcile_mail_plane",),
        e.DirectoryCheckDue: ("monitoring.compare_directory",),
        e.AuditHeadsDue: ("monitoring.keep_audit_heads",),
        e.DeliveryDaysDue: ("delivery.turn_days", "delivery.sum_weeks"),
        e.HousekeepingDue: ("monitoring.housekeeping",),
    }.items()
}

UNSTOPPABLE = frozenset(
    {
        "accounts.erase",
        "accounts.send_password_reset",
        "accounts.tell_password_changed",
        "accounts.tell_recovery_code_used",
        "accounts.tell_recovery_codes_renewed",
        "accounts.tell_two_factor_disabled",
        "accounts.tell_two_factor_enabled",
        "billing.handle_provider_event",
        "billing.capture_purchase",
        "billing.capture_renewal",
        "billing.release_renewal",
        "billing.release_purchase",
        "billing.release_quote",
        "billing.send_verification_mail",
        "billing.collect_debts",
        "billing.refund",
        "billing.send_notice",
        "billing.reconcile_account",
        "domains.look",
        "domains.renew",
        "domains.clean_up",
        "monitoring.silence_tenant",
        "monitoring.revive_tenant",
        "monitoring.bounce_queue",
    }
)
"""What goes on while a tenant is suspended: money already in flight, the kill switch itself, names
that end, and what people are told about the safety of their own account."""

_HARMLESS_TWICE = frozenset({"billing.send_alert", "billing.send_verification_mail"})
WAIT_WHILE_RESTORED = frozenset(
    task
    for tasks in ROUTES.values()
    for task in tasks
    if (task.startswith(("billing.", "domains.", "webhooks.")) and task not in _HARMLESS_TWICE)
    # What the relay knows may be newer than the database, such as who was suspended.
    or task in {"monitoring.compare_directory", "monitoring.reconcile_mail_plane"}
    # It may have been taken back since.
    or task in {"accounts.plan_erasures", "accounts.erase"}
)
"""What waits on a restored database until an operator releases it (services.restored_mode): money,
names, and what customers and their servers are told. The kill switch and the relay go on."""

QUEUES: dict[str, str] = {
    "accounts": "default",
    "billing": "money",
    "delivery": "default",
    "domains": "money",
    "provisioning": "provision",
    "monitoring": "default",
    "health": "default",
    # Their servers may be slow, all of them.
    "webhooks": "webhooks",
}
"""Queue by area of the task: a flood in one must not hold up another."""


def queue_of(task: str) -> str:
    return QUEUES[task.partition(".")[0]]
