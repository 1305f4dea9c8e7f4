"""The machines that send: operators add, drain and remove them while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app.api.deps import DB, operators
from app.api.responses import Envelope, ok
from app.api.schemas import nodes as s
from app.integrations import ports
from app.services.node_service import NodeReport, NodeService

router = APIRouter(prefix="/admin/mta-nodes", tags=["admin"])
Lost = Annotated[bool, Query(description="Its machine is gone, with whatever it had queued.")]


@router.get("", response_model=Envelope[list[s.NodeOut]], **operators())
def list_nodes(db: DB) -> Any:
    """Every relay node: whether it takes orders now, what it acknowledged, what it has queued."""
    return ok([_shown(report) for report in NodeService.reports(db, ports.current().mail)])


@router.post(
    "",
    status_code=201,
    response_model=Envelope[s.NodeOut],
    **operators(audit_event="node_added", recent=True),
)
def add_node(body: s.NodeIn, db: DB) -> Any:
    """Send orders to one more node. It must run and know the admin token."""
    return ok(_shown(NodeService.add(body.url, db, ports.current().mail)))


@router.post(
    "/{mta_node_id}/drain",
    response_model=Envelope[s.NodeOut],
    **operators(audit_event="node_drained", recent=True),
)
def drain_node(mta_node_id: UUID, db: DB) -> Any:
    """Have it let nobody log in, within seconds; its queue goes on, and orders reach it."""
    return ok(_shown(NodeService.drain(mta_node_id, db, ports.current().mail)))


@router.post(
    "/{mta_node_id}/resume",
    response_model=Envelope[s.NodeOut],
    **operators(audit_event="node_resumed", recent=True),
)
def resume_node(mta_node_id: UUID, db: DB) -> Any:
    """Let people log in there again."""
    return ok(_shown(NodeService.resume(mta_node_id, db, ports.current().mail)))


@router.delete(
    "/{mta_node_id}",
    response_model=Envelope[s.NodeRemovedOut],
    **operators(audit_event="node_removed", recent=True),
)
def remove_node(mta_node_id: UUID, db: DB, lost: Lost = False) -> Any:
    """Give it no orders any more: once it is drained and empty, or lost."""
    return ok(NodeService.remove(mta_node_id, db, ports.current().mail, lost=lost))


def _shown(report: NodeReport) -> dict[str, Any]:
    row = report.row
    return {
        **asdict(report.state),
        "id": row.id,
        "node_id": row.node_id,
        "mode": row.mode,
        "draining_since": row.draining_since,
    }
