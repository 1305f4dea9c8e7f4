"""The nodes of the mail plane: which there are, and which take no new mail.

The list lives in the database, so that a node can be added or drained while everything runs; the
settings name the nodes of the first start. Orders go to every node of the list, to draining ones
too, because their queues still hold mail that a kill must stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import operator_trail, outbox
from app.database.models import MTANode, NodeMode, new_id
from app.integrations import ports

LONGEST_URL = 300


@dataclass(frozen=True)
class NodeReport:
    """A node as the operators see it."""

    row: MTANode
    state: ports.NodeState

    @property
    def empty(self) -> bool:
        """Nothing of it would be lost: it drains, and says that its queues are empty."""
        return self.row.mode == NodeMode.DRAINING and self.state.queued == 0


class NodeService:
    @staticmethod
    def urls(db: Session) -> list[str]:
        """Where orders go; the nodes of the settings as long as nobody wrote the list down."""
        found = db.scalars(select(MTANode.url).order_by(MTANode.id)).all()
        return list(found or ports.current().platform.mta_nodes)

    @staticmethod
    def reports(db: Session, mail: ports.MailPlatform) -> list[NodeReport]:
        """All nodes with what they say of themselves now."""
        rows = {row.url: row for row in _rows(db)}
        return [NodeReport(rows[s.url], s) for s in mail.nodes() if s.url in rows]

    @staticmethod
    def add(url: str, db: Session, mail: ports.MailPlatform) -> NodeReport:
        """Take a running node into the list: from now on it gets every order.

        Raises Invalid for what is no address, Conflict for a node that is there already, and what
        the node's refusal or silence is (ProviderFailed, ProviderUnavailable).
        """
        url = _address(url)
        rows = _rows(db, lock=True)
        if any(row.url == url for row in rows):
            raise errors.Conflict("This node is in the list already.", url=url)
        state = mail.probe_node(url)
        same = [row.url for row in rows if row.node_id and row.node_id == state.node_id]
        if same:
            raise errors.Conflict(f"This is the node {same[0]} under another address.", url=url)
        node = MTANode(id=new_id(), url=url, node_id=state.node_id, mode=NodeMode.ACTIVE)
        db.add(node)
        operator_trail.write(db, "node_added", "mta_node", node.id, {"url": [None, url]})
        # It asked for the kill list when it started; whom it missed since then it is told at once.
        outbox.record(db, events.MailPlaneCheckDue())
        return NodeReport(node, state)

    @staticmethod
    def find(url: str, db: Session) -> UUID:
        """The id of the node at this address. Raises NotFound, Invalid."""
        url = _address(url)
        for row in _rows(db):
            if row.url == url:
                return row.id
        raise errors.NotFound(resource="node")

    @staticmethod
    def drain(node_id: UUID, db: Session, mail: ports.MailPlatform) -> NodeReport:
        """Let nobody log in there any more; its queues go on until they are empty.

        Raises NotFound, and Conflict for the last node that takes mail or one that never answered.
        """
        rows = _rows(db, lock=True)
        node = _of(node_id, rows)
        if node.mode == NodeMode.DRAINING:
            return _report(node, mail)
        if node.node_id is None:
            raise errors.Conflict("The node has not answered yet, so it cannot be told.")
        if not any(row.mode == NodeMode.ACTIVE for row in rows if row is not node):
            raise errors.Conflict("No other node takes mail.", url=node.url)
        node.draining_since = clock.now()
        mail.drain_nodes({node.node_id})
        return _turn(node, NodeMode.DRAINING, db, mail)

    @staticmethod
    def resume(node_id: UUID, db: Session, mail: ports.MailPlatform) -> NodeReport:
        """Let people log in again. Raises NotFound."""
        rows = _rows(db, lock=True)
        node = _of(node_id, rows)
        if node.mode == NodeMode.ACTIVE:
            return _report(node, mail)
        node.draining_since = None
        mail.undrain_nodes({node.node_id} if node.node_id else set())
        return _turn(node, NodeMode.ACTIVE, db, mail)

    @staticmethod
    def remove(
        node_id: UUID, db: Session, mail: ports.MailPlatform, *, lost: bool = False
    ) -> MTANode:
        """Take a node out of the list: no order reaches it any more.

        Only one that drains and is empty, because what it still sent could not be stopped; `lost`
        says that its machine is gone. Raises NotFound, and Conflict otherwise or for the last one.
        """
        rows = _rows(db, lock=True)
        node = _of(node_id, rows)
        others = [row for row in rows if row is not node]
        if not any(row.mode == NodeMode.ACTIVE for row in others):
            raise errors.Conflict("No other node takes mail.", url=node.url)
        if not lost and not _report(node, mail).empty:
            raise errors.Conflict(
                "Drain the node and wait until nothing is queued, or say that it is lost.",
                url=node.url,
            )
        db.delete(node)
        operator_trail.write(
            db, "node_removed", "mta_node", node.id, {"url": [node.url, None], "lost": [None, lost]}
        )
        mail.undrain_nodes({node.node_id} if node.node_id else set())
        mail.forget_node(node.url)
        return node

    @staticmethod
    def observe(found: Sequence[ports.NodeRepairs], db: Session, mail: ports.MailPlatform) -> int:
        """Note which machine answers at each address, and repair who drains; how many were wrong.

        Who drains follows from the list alone, so a wiped Redis lets nobody in for long.
        """
        # The copy is read before the list: what it holds had been decided by then.
        held = mail.draining_nodes()
        rows = _rows(db)
        by_url = {row.url: row for row in rows}
        for node in found:
            row = by_url.get(node.url)
            if row is None or node.node_id is None or row.node_id == node.node_id:
                continue
            # A machine may have been set up anew, or two may have changed places.
            for other in rows:
                if other.node_id == node.node_id:
                    other.node_id = None
            db.flush()  # The name is unique, and statements are not sent in this order.
            row.node_id = node.node_id
        wanted = _draining(rows)
        mail.drain_nodes(wanted - held)
        mail.undrain_nodes(held - wanted)
        return len(wanted ^ held)


def _rows(db: Session, *, lock: bool = False) -> list[MTANode]:
    """The list, written down from the settings when it was never written."""
    wanted = select(MTANode).order_by(MTANode.id)
    if lock:
        # All of them: whether a node may go depends on the others.
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    rows = list(db.scalars(wanted))
    seed = ports.current().platform.mta_nodes
    if rows or not seed:
        return rows
    now = clock.now()
    first = [
        {"id": new_id(), "url": url, "mode": NodeMode.ACTIVE, "created_at": now, "updated_at": now}
        for url in seed
    ]
    db.execute(insert(MTANode).values(first).on_conflict_do_nothing())
    return list(db.scalars(wanted))


def _of(node_id: UUID, rows: Sequence[MTANode]) -> MTANode:
    for row in rows:
        if row.id == node_id:
            return row
    raise errors.NotFound(resource="node")


def _turn(node: MTANode, mode: NodeMode, db: Session, mail: ports.MailPlatform) -> NodeReport:
    before, node.mode = node.mode, mode
    action = "node_drained" if mode == NodeMode.DRAINING else "node_resumed"
    operator_trail.write(db, action, "mta_node", node.id, {"mode": [str(before), str(mode)]})
    # A comparison that runs right now may take this back, not knowing of it yet; one more mends it.
    outbox.record(db, events.MailPlaneCheckDue())
    return _report(node, mail)


def _draining(rows: Sequence[MTANode]) -> set[str]:
    return {row.node_id for row in rows if row.node_id and row.mode == NodeMode.DRAINING}


def _report(node: MTANode, mail: ports.MailPlatform) -> NodeReport:
    try:
        return NodeReport(node, mail.probe_node(node.url))
    except (errors.ProviderFailed, errors.ProviderUnavailable) as error:
        detail = str(error.details.get("reason", error.message))
        return NodeReport(node, ports.NodeState(node.url, False, None, detail))


def _address(url: str) -> str:
    """Without the slash at its end. Raises Invalid."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        plain = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain or set(url) & set("?#@") or not url.isprintable() or len(url) > LONGEST_URL:
        raise errors.Invalid("A node's address is like https://10.0.0.5:8000.", url=url)
    return url
