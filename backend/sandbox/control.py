"""/control: move the clock, set faults, see what runs where."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route

from sandbox.faults import MODES, Deliveries, Fault
from sandbox.world import World


def routes(world: World) -> list[BaseRoute]:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ok": True, "parts": sorted(world.parts), "ports": world.ports})

    async def clock(_: Request) -> JSONResponse:
        return JSONResponse(_clock(world))

    async def advance(request: Request) -> JSONResponse:
        body = await _json(request)
        seconds = (
            float(body.get("days", 0)) * 86400
            + float(body.get("hours", 0)) * 3600
            + float(body.get("seconds", 0))
        )
        if seconds <= 0:
            return _refuse("Give a positive number of days, hours or seconds.")
        world.clock.advance(seconds)
        for part in world.parts.values():
            await part.tick()
        return JSONResponse(_clock(world))

    async def faults(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            world.faults.clear()
        elif request.method == "POST":
            body = await _json(request)
            known = {f.name for f in fields(Fault)}
            rule = {k: v for k, v in body.items() if k in known}
            rule["params"] = {k: v for k, v in body.items() if k not in known}
            if rule.get("mode") not in MODES and rule.get("part") in _http_parts(world):
                return _refuse(f"mode must be one of {', '.join(sorted(MODES))}.")
            try:
                world.faults.add(Fault(**{"match": "", **rule}))
            except (TypeError, re.error) as error:
                return _refuse(f"Not a rule: {error}")
        return JSONResponse({"faults": [asdict(rule) for rule in world.faults.rules]})

    async def deliveries(request: Request) -> JSONResponse:
        body = await _json(request)
        if body.get("part") not in world.parts:
            return _refuse(f"part must be one of {', '.join(sorted(world.parts))}.")
        wanted: Deliveries = world.faults.deliveries(body.pop("part"))
        for name, value in body.items():
            if not hasattr(wanted, name):
                return _refuse(f"Unknown setting {name!r}.")
            setattr(wanted, name, value)
        return JSONResponse(asdict(wanted))

    own: list[BaseRoute] = [
        Route("/health", health),
        Route("/clock", clock),
        Route("/clock/advance", advance, methods=["POST"]),
        Route("/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/deliveries", deliveries, methods=["POST"]),
    ]
    return own + [Mount(f"/{name}", routes=part.control()) for name, part in world.parts.items()]


def _http_parts(world: World) -> set[str]:
    return {name for name, part in world.parts.items() if part.asgi() is not None} - {"mail"}


def _clock(world: World) -> dict[str, Any]:
    return {"now": world.clock.now().isoformat(), "offset_seconds": world.clock.offset}


async def _json(request: Request) -> dict[str, Any]:
    raw = await request.body()
    value = json.loads(raw) if raw else {}
    return value if isinstance(value, dict) else {}


def _refuse(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, 400)
