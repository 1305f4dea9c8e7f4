"""The nodes of the mail plane, for operators."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import In, Instant, Out, example
from app.database.models import NodeMode


class NodeIn(In):
    model_config = example({"url": "http://127.0.0.1:9"})

    url: Annotated[str, Field(min_length=8, max_length=300)]
    """Of its admin listener, as the control plane reaches it."""


class NodeOrderOut(Out):
    order: str
    acknowledged: bool
    at: str
    """When it was acknowledged or last failed."""
    detail: str | None


class NodeOut(Out):
    id: UUID
    url: str
    node_id: str | None
    """kumod's own name for the machine; null until it has answered once."""
    mode: NodeMode
    draining_since: Instant | None
    queued: int | None
    """Customers' messages that have not left it; null when it does not answer."""
    reachable: bool
    suspensions: int | None
    """Held by the node now; null when it does not answer."""
    detail: str | None
    online_since: str | None
    """When its process started; null when it does not answer."""
    orders: list[NodeOrderOut]
    """The last order about each subject, the latest first."""


class NodeRemovedOut(Out):
    id: UUID
    url: str
