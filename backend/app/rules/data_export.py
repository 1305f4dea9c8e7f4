"""What of a tenant's rows goes into its data export, column by column.

Nothing is exported that is not named here, so a new column stays inside until somebody decides; a
test demands the decision for every column of every table that tenants own.
"""

from __future__ import annotations

from typing import Final

FORMAT: Final = "inboxgrove-data-export"
VERSION: Final = 1

_OWN = "id created_at"
_COUNTS = (
    "accepted delivered deferred bounced rejected complained soft_bounced hard_bounced"
    " unknown_users blocked"
)


def _columns(text: str) -> tuple[str, ...]:
    return (*_OWN.split(), *text.split())


EXPORTED: dict[str, tuple[str, ...]] = {
    table: _columns(columns)
    for table, columns in {
        "tenants": "updated_at company_name company_email company_domain subscription_tier"
        " subscription_status stripe_customer_id stripe_subscription_id current_period_end"
        " cancel_at_period_end trial_started_at trial_ends_at trial_inbox_limit trial_domain_limit"
        " trial_converted trial_refused_for is_suspended suspension_reason suspended_at"
        " domains_count inboxes_count requires_two_factor erase_at erased_at scheduled_plan"
        " scheduled_plan_at",
        "users": "updated_at email full_name role is_admin is_active is_verified notifications"
        " two_factor_enabled password_changed_at last_login_at",
        "invitations": "email role invited_by expires_at accepted_at revoked_at",
        "refresh_tokens": "user_id family_id expires_at authenticated_at used_at revoked_at"
        " user_agent ip",
        "recovery_codes": "user_id used_at",
        "mail_tokens": "user_id purpose expires_at used_at",
        "api_keys": "name prefix scopes created_by expires_at last_used_at revoked_at",
        "idempotency_records": "key status_code media_type expires_at",
        "decisions": "action reason evidence rule_version note inbox_id actor_type actor_id",
        # Everything that the hash of an entry is made of, so that the chain can be checked.
        "audit_logs": "tenant_id seq previous_hash hash action resource_type resource_id"
        " actor_type actor_id changes ip request_id",
        "payment_methods": "updated_at stripe_payment_method_id card_brand card_last_four card_exp"
        " is_default is_active chosen_at",
        "invoices": "updated_at stripe_invoice_id number status billing_reason amount_due_cents"
        " amount_paid_cents currency attempt_count next_payment_attempt hosted_invoice_url"
        " invoice_pdf tax_cents stripe_subscription_id period_start period_end",
        "transaction_history": "transaction_type amount currency status stripe_transaction_id"
        " description purchase_id",
        "domain_purchases": "updated_at domain_name years registrar price_cents currency premium"
        " automatic_capture expires_at state stripe_payment_intent_id domain_id failure kind"
        " renews_from attempts tried_at",
        "refunds": "updated_at stripe_payment_intent_id amount_cents currency cause purchase_id"
        " stripe_refund_id status failure",
        "disputes": "updated_at stripe_dispute_id stripe_charge_id amount_cents currency status"
        " reason due_by forgiven_at",
        "billing_notices": "kind fact details sent_at",
        "domains": "updated_at domain_name status registrar_provider registrar_domain_id"
        " cloudflare_zone_id name_servers dns_records dkim_selector dmarc_policy purchase_price"
        " purchase_date expiry_date auto_renew protected_at transfer_out_at kumo_authorized"
        " failure",
        "domain_connections": "updated_at domain_id dns token kept next_look_at proven_at lost_at",
        "domain_steps": "updated_at domain_id name state started_at finished_at attempts detail",
        "registrants": "updated_at",
        "registrar_operations": "updated_at domain_id purchase_id domain_name kind state",
        "dkim_keys": "domain_id selector algorithm public_key",
        "dkim_rotations": "updated_at domain_id old_selector new_selector stage leaked switched_at"
        " revoked_at ended_at detail",
        "provisions": "domain_id inbox_count naming_convention published_at",
        "inboxes": "updated_at domain_id provision_id local_part username full_email first_name"
        " last_name status health_score warmup_stage warmup_started_on warmup_paused_at"
        " emails_sent_today emails_sent_this_month sent_on daily_limit monthly_limit",
        "inbox_days": f"inbox_id domain_id day {_COUNTS}",
        "inbox_weeks": f"inbox_id week {_COUNTS}",
        "domain_days": f"domain_id day {_COUNTS}",
        "provider_days": f"domain_id day provider {_COUNTS}",
        "tenant_days": f"day {_COUNTS}",
        "delivery_events": "inbox_id domain_id event_type occurred_at message_id recipient"
        " recipient_domain response_code response bounce_classification",
        "suppressions": "target reason",
        "warmup_days": "inbox_id day inputs rule rule_version stage daily_limit",
        "domain_standings": "domain_id zone state codes since looked_at tried_at trouble"
        " confirmed_at ended_at",
        "appeals": "decision_id message filed_by state answer answered_by answered_at",
        "complaints": "inbox_id domain_id recipient feedback_type reporter verified why_not"
        " received_at",
        "webhook_endpoints": "updated_at url description event_types status disabled_reason"
        " previous_until last_sequence failing_since tells_since",
        "webhook_deliveries": "updated_at endpoint_id sequence event_type occurred_at data state"
        " attempts next_try_at delivered_at",
        "webhook_attempts": "delivery_id status_code answer duration_ms",
    }.items()
}
"""By table, in the order of the document."""

_SECRET = "a secret, or what one is checked against"  # noqa: S105  # A reason, not a secret.
_SAME = "the tenant's id, which the document has once"
_OURS = "the platform's own affair with its supplier"
_SEALED = "encrypted; GET /domains/registrant shows it"
_RAW = "raw material whose facts stand in the other columns"

LEFT_OUT: dict[str, dict[str, str]] = {
    "users": {
        "password_hash": _SECRET,
        "totp_secret": _SECRET,
        "totp_step": _SECRET,
        "session_version": _SECRET,
    },
    "invitations": {"token_hash": _SECRET},
    "refresh_tokens": {"token_hash": _SECRET},
    "recovery_codes": {"code_hash": _SECRET},
    "mail_tokens": {"token_hash": _SECRET},
    "api_keys": {"token_hash": _SECRET},
    "idempotency_records": {"request_hash": _SECRET, "body": _SECRET},
    "payment_methods": {"card_fingerprint": _SECRET},
    "domain_purchases": {"cost_cents": _OURS, "signature": _SECRET},
    "registrar_operations": {"order_id": _OURS, "charged_cents": _OURS, "error": _OURS},
    "registrants": {"contact": _SEALED},
    "dkim_keys": {"private_key": _SECRET},
    "inboxes": {"password": _SECRET, "password_hmac": _SECRET},
    "complaints": {"trace": _RAW},
    "delivery_events": {"natural_key": _RAW, "trace": _RAW, "record": _RAW},
    "webhook_endpoints": {"secret": _SECRET, "previous_secret": _SECRET, "is_busy": _RAW},
    "webhook_deliveries": {"outbox_id": _RAW},
}
"""What was decided to stay inside, and why."""


def undecided(table: str, columns: list[str]) -> list[str]:
    """Columns of `table` that nobody has decided about, or that were decided both ways."""
    out = {**LEFT_OUT.get(table, {}), "tenant_id": _SAME}
    exported = EXPORTED.get(table, ())
    if "tenant_id" in exported:
        del out["tenant_id"]
    return [name for name in columns if (name in exported) == (name in out)]
