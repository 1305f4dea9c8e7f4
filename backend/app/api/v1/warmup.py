"""The ramp of one inbox: where it stands, why, and its pauses."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api.deps import DB, requires
from app.api.responses import Envelope, ok
from app.api.schemas import health as s
from app.rules.permissions import Permission
from app.services.warmup_service import WarmupService

router = APIRouter(prefix="/infrastructure/inboxes/{inbox_id}/warmup", tags=["infrastructure"])


@router.get("", response_model=Envelope[s.WarmupOut], **requires(Permission.INBOXES_READ))
def get_warmup(inbox_id: UUID, db: DB) -> Any:
    """Stage and limit of today, the signals they follow from, and the rule that gave them."""
    return ok(WarmupService.of(inbox_id, db))


@router.post(
    "/pause",
    response_model=Envelope[s.WarmupOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_warmup_paused"),
)
def pause_warmup(inbox_id: UUID, db: DB) -> Any:
    """Keep the limit where it is; a bad day still lowers it."""
    return ok(WarmupService.pause(inbox_id, db))


@router.post(
    "/resume",
    response_model=Envelope[s.WarmupOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_warmup_resumed"),
)
def resume_warmup(inbox_id: UUID, db: DB) -> Any:
    """Let the limit rise again, from the next day on."""
    return ok(WarmupService.resume(inbox_id, db))
