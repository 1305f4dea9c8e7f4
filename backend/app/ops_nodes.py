"""`inboxgrove ops nodes …`: the machines that send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.services.node_service import NodeReport

nodes_app = typer.Typer(no_args_is_help=True, help="The nodes of the mail plane.")
URL = Annotated[str, typer.Argument(help="Address of the node's admin listener.")]


@nodes_app.command("list")
def list_nodes(as_json: AsJSON = False) -> None:
    """Every node: mode, queue, when it started, what it did not acknowledge."""
    from app.integrations import ports
    from app.services.node_service import NodeService

    def look(db: Session) -> dict[str, Any]:
        found = NodeService.reports(db, ports.current().mail)
        return {"nodes": [_shown(report) for report in found]}

    result = do(look)
    if as_json:
        show(result, as_json)
        return
    for node in result["nodes"]:
        state = f"online since {node['online_since']}, {node['queued']} queued"
        typer.echo(f"{node['url']}: {node['mode']}, {state if node['reachable'] else 'away'}")
        for order in node["unacknowledged"]:
            typer.echo(f"  not acknowledged: {order['order']} at {order['at']}: {order['detail']}")


@nodes_app.command()
def add(url: URL, as_json: AsJSON = False) -> None:
    """Send orders to one more node; it must run and know the admin token."""
    from app.integrations import ports
    from app.services.node_service import NodeService

    show(do(lambda db: _shown(NodeService.add(url, db, ports.current().mail))), as_json)


@nodes_app.command()
def drain(url: URL, as_json: AsJSON = False) -> None:
    """Let nobody log in there any more; what it has queued goes on."""
    from app.integrations import ports
    from app.services.node_service import NodeService

    def turn(db: Session) -> dict[str, Any]:
        return _shown(NodeService.drain(NodeService.find(url, db), db, ports.current().mail))

    show(do(turn), as_json)


@nodes_app.command()
def resume(url: URL, as_json: AsJSON = False) -> None:
    """Let people log in there again."""
    from app.integrations import ports
    from app.services.node_service import NodeService

    def turn(db: Session) -> dict[str, Any]:
        return _shown(NodeService.resume(NodeService.find(url, db), db, ports.current().mail))

    show(do(turn), as_json)


@nodes_app.command()
def remove(
    url: URL,
    lost: Annotated[
        bool, typer.Option("--lost", help="Its machine is gone, with whatever it had queued.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Give it no orders any more: once it is drained and empty, or lost."""
    from app.integrations import ports
    from app.services.node_service import NodeService

    def turn(db: Session) -> dict[str, Any]:
        mail = ports.current().mail
        node = NodeService.remove(NodeService.find(url, db), db, mail, lost=lost)
        return {"removed": node.url}

    show(do(turn), as_json)


def _shown(report: NodeReport) -> dict[str, Any]:
    orders = [
        {"order": order.order, "at": order.at, "detail": order.detail}
        for order in report.state.orders
        if not order.acknowledged
    ]
    return {
        "url": report.row.url,
        "node_id": report.row.node_id,
        "mode": str(report.row.mode),
        "reachable": report.state.reachable,
        "queued": report.state.queued,
        "suspensions": report.state.suspensions,
        "online_since": report.state.online_since,
        "detail": report.state.detail,
        "unacknowledged": orders,
    }
