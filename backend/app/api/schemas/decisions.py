"""Decisions about a tenant, and its appeals."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from app.api.schemas.admin import DecisionOut
from app.api.schemas.base import In, Instant, Out, example


class AppealIn(In):
    model_config = example(
        {"message": "The list was bought; we deleted it and mail customers only from now on."}
    )

    message: Annotated[str, Field(min_length=1, max_length=4000)]


class AnswerIn(In):
    model_config = example({"note": "Thank you. Your recipients agreed; we let you in again."})

    note: Annotated[str, Field(max_length=2000)] | None = None
    """For the tenant to read."""


class AppealOut(Out):
    id: UUID
    decision_id: UUID
    message: str
    state: str
    """open, upheld (the decision stands), or reversed."""
    answer: str | None
    created_at: Instant
    answered_at: Instant | None


class OwnDecisionOut(Out):
    id: UUID
    action: str
    """suspend, reinstate, warn, or pause (an inbox)."""
    reason: str
    rule_version: str
    note: str | None
    evidence: dict[str, Any] | None
    """Figures and thresholds, when it follows from a rule; null when a person decided."""
    inbox_id: UUID | None
    """null: it is about the tenant."""
    by_rule: bool
    """Whether it follows from a rule; a person decided otherwise."""
    created_at: Instant
    appeal: AppealOut | None


class AppealAdminOut(AppealOut):
    tenant_id: UUID
    filed_by: UUID | None
    answered_by: UUID | None
    """The operator; null: somebody with a shell on the platform."""
    decision: DecisionOut
