"""kumod's HTTP API, as far as a control plane drives it (docs/reference/http/kumod)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.kumomta.admin_rules import queue_parts
from sandbox.kumomta.injection import inject
from sandbox.kumomta.node import Node
from sandbox.kumomta.options import PolicyError
from sandbox.kumomta.records import stamp

VERSION = "2026.06.23-f3af1cd0"
Endpoint = Callable[[Request], Awaitable[Response]]


def application(node: Callable[[], Node]) -> Starlette:
    """`node` gives the kumod of the moment, since a restart makes a new one."""

    def guarded(endpoint: Callable[[Request, Node], Awaitable[Response]]) -> Endpoint:
        async def call(request: Request) -> Response:
            current = node()

            async def inner(request: Request) -> Response:
                try:
                    return await endpoint(request, current)
                except (PolicyError, ValueError, KeyError) as error:
                    return PlainTextResponse(f"Failed to deserialize the JSON body: {error}", 422)

            return await current.access.guard(inner)(request)

        return call

    routes = {
        "/api/admin/suspend/v1": (suspend, ["GET", "POST", "DELETE"]),
        "/api/admin/bounce/v1": (bounce, ["GET", "POST", "DELETE"]),
        "/api/admin/rebind/v1": (rebind, ["POST"]),
        "/api/admin/bump-config-epoch": (bump, ["POST"]),
        "/api/admin/inspect-message/v1": (inspect_message, ["GET"]),
        "/api/check-liveness/v1": (liveness, ["GET"]),
        "/api/machine-info": (machine_info, ["GET"]),
        "/api/inject/v1": (inject_mail, ["POST"]),
        "/metrics": (metrics, ["GET"]),
    }
    return Starlette(
        routes=[
            Route(path, guarded(endpoint), methods=methods)
            for path, (endpoint, methods) in routes.items()
        ]
    )


async def _body(request: Request) -> dict[str, Any]:
    value = json.loads(await request.body())
    if not isinstance(value, dict):
        raise ValueError("an object is needed")
    return value


async def suspend(request: Request, node: Node) -> Response:
    if request.method == "GET":
        return JSONResponse(node.suspensions.listing())
    body = await _body(request)
    if request.method == "DELETE":
        found = node.suspensions.remove(str(body["id"]))
        return PlainTextResponse("removed" if found else "not found", 200 if found else 404)
    return JSONResponse({"id": node.suspensions.add(body)})


async def bounce(request: Request, node: Node) -> Response:
    if request.method == "GET":
        return JSONResponse(node.bounces.listing())
    body = await _body(request)
    if request.method == "DELETE":
        found = node.bounces.remove(str(body["id"]))
        return PlainTextResponse("removed" if found else "not found", 200 if found else 404)
    rule_id = node.bounces.add(body)
    # The answer comes before the sweep, so its totals are always empty; GET shows the progress.
    node.sweep_soon()
    return JSONResponse({"id": rule_id, "bounced": {}, "total_bounced": 0})


async def rebind(request: Request, node: Node) -> Response:
    body = await _body(request)
    data = body["data"]
    if not isinstance(data, dict) or not isinstance(body["reason"], str):
        raise ValueError("reason is a text and data an object")
    wanted = {
        name: body[name]
        for name in ("tenant", "campaign", "domain", "routing_domain")
        if body.get(name) is not None
    }

    def matches(queue: str) -> bool:
        parts = queue_parts(queue)
        return all(parts[name] == value for name, value in wanted.items())

    node.rebind(matches, data, bool(body.get("always_flush")), body["reason"])
    return JSONResponse({})


async def bump(_: Request, node: Node) -> Response:
    node.bump_epoch()
    return JSONResponse({"epoch": node.host.memos.epoch})


async def inspect_message(request: Request, node: Node) -> Response:
    message = node.queues.find(request.query_params["id"])
    if message is None:
        return PlainTextResponse("no such message", 404)
    details: dict[str, Any] = {
        "sender": message.envelope_sender,
        "recipient": message.recipients[0],
        "meta": message.meta,
        "due": stamp(message.due),
        "num_attempts": message.attempts,
    }
    if request.query_params.get("want_body") == "true":
        details["data"] = message.get_data()
    return JSONResponse({"id": message.spool_id, "message": details})


async def liveness(_: Request, node: Node) -> Response:
    return PlainTextResponse(
        "OK" if node.running else "spool not started", 200 if node.running else 503
    )


async def machine_info(_: Request, node: Node) -> Response:
    return JSONResponse(
        {
            "node_id": node.node_id,
            "hostname": node.hostname,
            "version": VERSION,
            "online_since": stamp(node.online_since),
            "process_kind": "kumod",
            "num_cores": 1,
        }
    )


async def inject_mail(request: Request, node: Node) -> Response:
    return JSONResponse(await inject(await _body(request), node))


async def metrics(request: Request, node: Node) -> Response:
    prefix = request.query_params.get("prefix", "")
    lines = []
    for name, help_text, values in node.metrics():
        if not name.startswith(prefix):
            continue
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{labels} {value}" for labels, value in values]
    return PlainTextResponse("\n".join(lines) + "\n")
