"""What is erased of a company that asks for it, what is kept, and why.

Regulation (EU) 2016/679 (GDPR), Article 17: personal data are erased without undue delay; paragraph
3 lets stay what the law wants kept (b) and what legal claims need (e).
"""

from __future__ import annotations

from datetime import timedelta

GRACE = timedelta(days=8)
"""Between the request and the erasure: time to say it was a mistake, and a day longer than our
records stay in the DNS of names that were let go. Article 12(3) allows a month."""

_BOOKS = "the law on accounts wants money movements kept; they name nobody (Article 17(3)(b))"
_CLAIMS = "shows what was done and why, by ids, for legal claims (Article 17(3)(e))"
_NAMES = "a name that we registered stays ours to answer for until its term ends"
_COUNTS = "counts of days, about no person"

KEPT: dict[str, str] = {
    "transaction_history": _BOOKS,
    "invoices": _BOOKS,
    "refunds": _BOOKS,
    "disputes": _BOOKS,
    "domain_purchases": _BOOKS,
    "registrar_operations": _NAMES,
    "domains": _NAMES,
    "domain_steps": _NAMES,
    "audit_logs": _CLAIMS,
    "decisions": _CLAIMS,
    "tenant_days": _COUNTS,
}
"""Tables of which the rows stay, and why."""

ERASED = (
    "api_keys", "appeals", "billing_notices", "complaints", "delivery_events", "dkim_keys",
    "dkim_rotations", "domain_connections", "domain_days", "domain_standings",
    "idempotency_records", "inbox_days", "inbox_weeks", "inboxes", "invitations", "mail_tokens",
    "payment_methods", "provider_days", "provisions", "recovery_codes", "refresh_tokens",
    "registrants", "suppressions", "users", "warmup_days", "webhook_attempts",
    "webhook_deliveries", "webhook_endpoints",
)  # fmt: skip
"""Tables of which every row of the tenant goes."""

BLANKED: dict[str, dict[str, object]] = {
    "invoices": {"hosted_invoice_url": None, "invoice_pdf": None},
    "domains": {"dns_records": [], "failure": None, "auto_renew": False},
}
"""Columns of kept rows that may tell of people, and what is put there."""
