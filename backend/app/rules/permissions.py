"""Who may do what: one table, from which checks, OpenAPI and docs/permissions.md are made."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """What an operation needs; also the scopes of API keys."""

    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    PROFILE_WRITE = "profile:write"
    TEAM_READ = "team:read"
    TEAM_WRITE = "team:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    DOMAINS_READ = "domains:read"
    DOMAINS_WRITE = "domains:write"
    DOMAINS_BUY = "domains:buy"
    INBOXES_READ = "inboxes:read"
    INBOXES_WRITE = "inboxes:write"
    CREDENTIALS_EXPORT = "credentials:export"
    SUPPRESSIONS_READ = "suppressions:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    ANALYTICS_READ = "analytics:read"
    AUDIT_READ = "audit:read"
    DATA_EXPORT = "data:export"


MEANING: dict[Permission, str] = {
    Permission.ACCOUNT_READ: "See the company, its plan, limits and usage",
    Permission.ACCOUNT_WRITE: "Change settings that hold for everybody, such as required 2FA",
    Permission.PROFILE_WRITE: "Manage one's own password, second factor and sessions",
    Permission.TEAM_READ: "See who belongs to the company",
    Permission.TEAM_WRITE: "Invite, change and remove members",
    Permission.KEYS_READ: "See which API keys exist",
    Permission.KEYS_WRITE: "Make and revoke API keys",
    Permission.BILLING_READ: "See subscription, cards, invoices and the ledger",
    Permission.BILLING_WRITE: "Change plan and cards",
    Permission.DOMAINS_READ: "Search names; see domains and their DNS",
    Permission.DOMAINS_WRITE: "Connect, verify, change and delete domains",
    Permission.DOMAINS_BUY: "Spend money on a domain",
    Permission.INBOXES_READ: "See inboxes",
    Permission.INBOXES_WRITE: "Make, pause, change and delete inboxes",
    Permission.CREDENTIALS_EXPORT: "Get inbox passwords: exports and new passwords",
    Permission.SUPPRESSIONS_READ: "See who must not be mailed",
    Permission.SUPPRESSIONS_WRITE: "Change who must not be mailed",
    Permission.WEBHOOKS_READ: "See webhook endpoints and deliveries",
    Permission.WEBHOOKS_WRITE: "Change webhook endpoints",
    Permission.ANALYTICS_READ: "See usage, deliverability and health",
    Permission.AUDIT_READ: "Read the audit trail",
    Permission.DATA_EXPORT: "Export everything the company owns",
}

_P = Permission
_READ_ONLY = frozenset(
    {
        _P.ACCOUNT_READ, _P.PROFILE_WRITE, _P.TEAM_READ, _P.BILLING_READ, _P.DOMAINS_READ,
        _P.INBOXES_READ, _P.SUPPRESSIONS_READ, _P.WEBHOOKS_READ, _P.ANALYTICS_READ,
    }
)  # fmt: skip
_MEMBER = _READ_ONLY | {
    _P.DOMAINS_WRITE, _P.INBOXES_WRITE, _P.CREDENTIALS_EXPORT, _P.SUPPRESSIONS_WRITE,
    _P.WEBHOOKS_WRITE,
}  # fmt: skip
_ADMIN = _MEMBER | {
    _P.TEAM_WRITE, _P.KEYS_READ, _P.KEYS_WRITE, _P.BILLING_WRITE, _P.DOMAINS_BUY, _P.AUDIT_READ,
}  # fmt: skip

ROLES: dict[str, frozenset[Permission]] = {
    "read_only": _READ_ONLY,
    "member": _MEMBER,
    "admin": _ADMIN,
    "owner": frozenset(Permission),
}
"""The weakest role first; each holds what those before it hold."""

GRANTABLE = frozenset(Permission) - {
    _P.ACCOUNT_WRITE, _P.PROFILE_WRITE, _P.TEAM_WRITE, _P.KEYS_READ, _P.KEYS_WRITE, _P.DATA_EXPORT,
}  # fmt: skip
"""What an API key may be given. The rest is a person's: a leaked key must not make more keys."""


def of_role(role: str) -> frozenset[Permission]:
    """Raises KeyError for something that is no role."""
    return ROLES[role]


def of_key(scopes: list[str]) -> frozenset[Permission]:
    """What a key with these scopes may do; a scope that no longer exists gives nothing."""
    return frozenset(scope for scope in GRANTABLE if scope in scopes)


def least_role(permission: Permission) -> str:
    """The weakest role that may do this."""
    return next(role for role, held in ROLES.items() if permission in held)


def rank(role: str) -> int:
    """Higher is mightier."""
    return list(ROLES).index(role)


def as_markdown() -> str:
    """The table of docs/permissions.md."""
    lines = [
        "| permission | " + " | ".join(ROLES) + " | API key | allows |",
        "|---|" + "---|" * (len(ROLES) + 2),
    ]
    for permission in Permission:
        cells = ["yes" if permission in held else "" for held in ROLES.values()]
        cells.append("yes" if permission in GRANTABLE else "")
        lines.append(f"| `{permission}` | {' | '.join(cells)} | {MEANING[permission]} |")
    return "\n".join(lines) + "\n"
