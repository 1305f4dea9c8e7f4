"""What every kind of caller is to be answered by every operation.

The rows come from the OpenAPI document (x-role, x-scope) and rules/permissions.py; what neither
says (who must have shown credentials lately, what is open to the suspended) stands in the tables
here, so that a change of a route's guard is a change of this file.
"""

from __future__ import annotations

from app.rules.permissions import ROLES
from tests.security.operations import Operation

DOOR = {
    # Read why.
    "GET /auth/me",
    "GET /decisions",
    # Object.
    "POST /decisions/{decision_id}/appeal",
    # Pay.
    "GET /billing/subscription",
    "GET /billing/payment-methods",
    "POST /billing/setup-intent",
    "POST /billing/payment-methods/{card_id}/default",
    "DELETE /billing/payment-methods/{card_id}",
    "POST /billing/checkout-session",
    "POST /billing/portal-session",
    "GET /billing/upgrade/preview",
    "GET /billing/invoices",
    "GET /billing/invoices/{invoice_id}",
    "POST /billing/invoices/{invoice_id}/pay",
    "GET /billing/transactions",
    # Leave.
    "POST /billing/cancel",
    # Log out, here and elsewhere; POST /auth/logout is open to anybody.
    "GET /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    # Export one's data, which wants credentials shown lately.
    "GET /auth/data-export",
    "POST /auth/reauthenticate",
}
"""All that a suspended tenant may do."""

SHOWN_LATELY = {
    "DELETE /auth/me",
    "GET /auth/data-export",
    "GET /infrastructure/provisions/{provision_id}/csv",
    "PATCH /auth/tenant",
    "PATCH /auth/users/{user_id}",
    "POST /auth/2fa/disable",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/recovery-codes",
    "POST /auth/2fa/setup",
    "POST /auth/api-keys",
    "POST /auth/users",
    "POST /domains/{domain_id}/transfer-out",
    "POST /infrastructure/exports",
    "POST /infrastructure/inboxes/{inbox_id}/rotate-password",
}
"""What credentials must have been shown for in the last 15 minutes."""

OPERATORS_SHOW_LATELY = {
    "DELETE /admin/mta-nodes/{mta_node_id}",
    "POST /admin/appeals/{appeal_id}/reverse",
    "POST /admin/appeals/{appeal_id}/uphold",
    "POST /admin/jobs/{job_id}/replay",
    "POST /admin/mta-nodes",
    "POST /admin/mta-nodes/{mta_node_id}/drain",
    "POST /admin/mta-nodes/{mta_node_id}/resume",
    "POST /admin/tenants/{tenant_id}/bounce-queue",
    "POST /admin/tenants/{tenant_id}/reinstate",
    "POST /admin/tenants/{tenant_id}/suspend",
}

WITHOUT_FACTOR = {
    "GET /auth/2fa",
    "GET /auth/me",
    "GET /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/setup",
    "POST /auth/change-password",
    "POST /auth/reauthenticate",
}
"""Open to somebody who must set up a second factor first."""

HAS_FACTOR = {"POST /auth/2fa/disable", "POST /auth/2fa/recovery-codes"}
"""Who calls these has one, or the call would mean nothing."""

PEOPLE_ONLY = {
    "DELETE /auth/api-keys/{key_id}",
    "DELETE /auth/me",
    "DELETE /auth/sessions/{session_id}",
    "DELETE /auth/users/{user_id}",
    "GET /auth/2fa",
    "GET /auth/api-keys",
    "GET /auth/data-export",
    "GET /auth/sessions",
    "GET /auth/me/notifications",
    "PATCH /auth/me/notifications",
    "PATCH /auth/tenant",
    "PATCH /auth/users/{user_id}",
    "POST /auth/2fa/disable",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/recovery-codes",
    "POST /auth/2fa/setup",
    "POST /auth/api-keys",
    "POST /auth/change-password",
    "POST /auth/reauthenticate",
    "POST /auth/users",
    "POST /decisions/{decision_id}/appeal",
    "POST /domains/{domain_id}/transfer-out",
    "DELETE /domains/{domain_id}/transfer-out",
}
"""No API key opens these: a leaked key must not make keys, invite people or change sign-ins."""

NEEDS_ENTITLEMENT = {
    "POST /billing/domain-purchase-intent",
    "POST /domains/connect",
    "POST /domains/{domain_id}/renew",
    "POST /domains/{domain_id}/restore",
    "POST /infrastructure/inboxes/{inbox_id}/move",
    "POST /infrastructure/provision",
}
"""Refused once a trial is over, until somebody pays."""

OTHERWISE = {
    # No machine listens there, and there are no nodes but the sandbox's own.
    "POST /admin/mta-nodes": {503},
    "POST /admin/mta-nodes/{mta_node_id}/drain": {404},
    "POST /admin/mta-nodes/{mta_node_id}/resume": {404},
    "DELETE /admin/mta-nodes/{mta_node_id}": {404},
    # Nobody here is suspended.
    "POST /admin/tenants/{tenant_id}/bounce-queue": {409},
    # Nobody here has a subscription or an open invoice.
    "POST /billing/cancel": {409},
    "POST /billing/invoices/{invoice_id}/pay": {409},
    # Nor a card, or one that Stripe does not know; some have more than the plan allows.
    "POST /billing/upgrade": {402, 409, 502},
    "GET /billing/upgrade/preview": {200, 409},
    "POST /billing/resume": {402, 409, 502},
    # Stripe does not know the rows made here.
    "GET /billing/invoices/{invoice_id}": {502},
    "POST /billing/payment-methods/{card_id}/default": {502},
    "DELETE /billing/payment-methods/{card_id}": {502},
    # A tenant that has everything has too many of them.
    "POST /infrastructure/webhook-endpoints": {201, 409},
    # The domains of this estate were not brought by their owners.
    "GET /domains/{domain_id}/connection": {404},
    "DELETE /domains/{domain_id}/connection": {409},
    # Nor were they bought or deleted.
    "DELETE /domains/{domain_id}": {409},
    "POST /domains/{domain_id}/restore": {409},
    "POST /domains/{domain_id}/transfer-out": {400},
    # Nor do they run out.
    "GET /domains/{domain_id}/renewal": {400},
    "POST /domains/{domain_id}/renew": {400},
    # The registrar paces us.
    "POST /domains/search": {200, 503},
    "POST /billing/domain-purchase-intent": {201, 503},
    # Without Stripe's signature.
    "POST /webhooks/stripe": {400},
}
"""What an admitted caller is answered where it is not the success of the document."""

Answer = tuple[int, str | None]
IN: Answer = (0, None)
"""Admitted."""
UNKNOWN: Answer = (401, "UNAUTHENTICATED")
REFUSED: Answer = (403, "FORBIDDEN")


def _anybodys(operation: Operation) -> Answer | None:
    """What does not depend on which tenant's person or program asks."""
    return {"anonymous": IN, "stripe": IN, "node": UNKNOWN}.get(operation.role)


def of_nobody(operation: Operation) -> Answer:
    return _anybodys(operation) or UNKNOWN


def of_role(role: str, operation: Operation) -> Answer:
    if operation.is_tenants:
        return IN if operation.permission in ROLES[role] else REFUSED
    return _anybodys(operation) or REFUSED


def of_suspended(operation: Operation) -> Answer:
    joins = operation.name == "POST /auth/users/accept-invite"
    if joins or (operation.is_tenants and operation.name not in DOOR):
        return 403, "TENANT_SUSPENDED"
    return of_role("owner", operation)


def of_one_whose_trial_is_over(operation: Operation) -> Answer:
    if operation.name in NEEDS_ENTITLEMENT:
        return 402, "TRIAL_EXPIRED"
    return of_role("owner", operation)


def of_one_signed_in_long_ago(operation: Operation) -> Answer:
    if operation.name in SHOWN_LATELY:
        return 401, "REAUTHENTICATION_REQUIRED"
    return of_role("owner", operation)


def of_one_without_factor(operation: Operation) -> Answer:
    if operation.name in HAS_FACTOR:
        return IN
    if operation.is_tenants and operation.name not in WITHOUT_FACTOR:
        return 403, "TWO_FACTOR_REQUIRED"
    return of_role("owner", operation)


def of_stranger(operation: Operation) -> Answer:
    names_something = operation.ids_in("path") or set(operation.ids_in_body()) & set(
        operation.example() or {}
    )
    if operation.is_tenants and names_something:
        return 404, "NOT_FOUND"
    return of_role("owner", operation)


def of_program(fitting: bool, operation: Operation) -> Answer:
    if operation.is_tenants:
        return IN if fitting and operation.name not in PEOPLE_ONLY else REFUSED
    # To operators it is no token of theirs.
    return _anybodys(operation) or UNKNOWN


def of_operator(operation: Operation) -> Answer:
    return IN if operation.role == "operator" else _anybodys(operation) or UNKNOWN


def of_tired_operator(operation: Operation) -> Answer:
    if operation.name in OPERATORS_SHOW_LATELY:
        return 401, "REAUTHENTICATION_REQUIRED"
    return of_operator(operation)


def of_node(operation: Operation) -> Answer:
    return IN if operation.role == "node" else _anybodys(operation) or UNKNOWN
