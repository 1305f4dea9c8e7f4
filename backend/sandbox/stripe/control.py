"""/control/stripe: settings, events, redelivery, authentication, cards that change their mind."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from sandbox.stripe import cards, clockwork, disputes, hosted
from sandbox.stripe.account import DEFAULTS, Account
from sandbox.stripe.errors import StripeError

_ENUMERATED = {"after_retries": {"mark_unpaid", "cancel", "leave_past_due"}}
SIGNATURES = frozenset({"good", "bad", "old"})


class Control:
    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/settings", self._settings, methods=["GET", "POST"]),
            Route("/events", self._events),
            Route("/deliveries", self._deliveries),
            Route("/redeliver", self._redeliver, methods=["POST"]),
            Route("/authenticate", self._authenticate, methods=["POST"]),
            Route("/disputes", self._disputes, methods=["POST"]),
            Route("/reset", self._reset, methods=["POST"]),
            Route("/cards", self._cards, methods=["GET", "POST"]),
        ]

    async def _settings(self, request: Request) -> JSONResponse:
        """POST any of account.DEFAULTS; GET shows them."""
        wanted = await _json(request) if request.method == "POST" else {}
        for name, value in wanted.items():
            if name not in DEFAULTS or not _fits(name, value):
                return _refuse(f"Not a setting: {name} = {value!r}.")
        self._account.configure(**wanted)
        return JSONResponse(self._account.settings)

    async def _events(self, request: Request) -> JSONResponse:
        """?type=&object=&since= (seconds), oldest first."""
        kind, about = request.query_params.get("type"), request.query_params.get("object")
        since = float(request.query_params.get("since", 0))
        found = [
            event
            for event in self._account.all("event")
            if (kind is None or event["type"] == kind)
            and (about is None or event["data"]["object"].get("id") == about)
            and event["created"] >= since
        ]
        return JSONResponse({"events": found, "count": len(found)})

    async def _deliveries(self, _: Request) -> JSONResponse:
        waiting = list(self._account.objects("deliveries").values())
        return JSONResponse({"waiting": waiting, "count": len(waiting)})

    async def _redeliver(self, request: Request) -> JSONResponse:
        """{"event": id} or {"since": seconds}, and "signature": good, bad or old."""
        body = await _json(request)
        signature = body.get("signature", "good")
        if signature not in SIGNATURES:
            return _refuse(f"signature must be one of {', '.join(sorted(SIGNATURES))}.")
        events = self._account.objects("event")
        if "event" in body:
            if body["event"] not in events:
                return _refuse(f"No such event: {body['event']}.")
            chosen = [body["event"]]
        else:
            since = float(body.get("since", 0))
            chosen = [key for key, event in events.items() if event["created"] >= since]
        for event in chosen:
            for endpoint in self._account.all("webhook_endpoint", status="enabled"):
                wanted = endpoint["enabled_events"]
                if "*" in wanted or events[event]["type"] in wanted:
                    self._account.queue_delivery(event, endpoint["id"], signature)
        return JSONResponse({"queued": len(chosen)})

    async def _authenticate(self, request: Request) -> JSONResponse:
        """{"intent": id, "succeed": true}: the holder answers the bank."""
        body = await _json(request)
        clockwork.run(self._account)
        try:
            done = hosted.authenticate(
                self._account, str(body.get("intent", "")), succeed=bool(body.get("succeed", True))
            )
        except StripeError as error:
            return _refuse(str(error))
        return JSONResponse(done)

    async def _disputes(self, request: Request) -> JSONResponse:
        """{"charge": id, "reason"?}: the holder disputes it; {"dispute": id, "status"}: decided."""
        body = await _json(request)
        try:
            if "dispute" in body:
                done = disputes.close(self._account, str(body["dispute"]), str(body.get("status")))
            else:
                reason = str(body.get("reason", "fraudulent"))
                done = disputes.open_(self._account, str(body.get("charge", "")), reason)
        except StripeError as error:
            return _refuse(str(error))
        return JSONResponse(done)

    async def _reset(self, _: Request) -> JSONResponse:
        """Forget everything that happened; the plans, the endpoints and the settings stay."""
        self._account.forget()
        return JSONResponse({"ok": True})

    async def _cards(self, request: Request) -> JSONResponse:
        """{"payment_method": id, "charge": "ok" or a decline code}: the bank changes its mind."""
        if request.method == "GET":
            return JSONResponse({"cards": sorted(cards.BY_ID)})
        body = await _json(request)
        method = str(body.get("payment_method", ""))
        if method not in self._account.objects("payment_method"):
            return _refuse(f"No such payment method: {method}.")
        changed = {name: str(body[name]) for name in ("setup", "charge") if name in body}
        self._account.note(method, **changed)
        return JSONResponse({"payment_method": method, **changed})


def _fits(name: str, value: Any) -> bool:
    if name in _ENUMERATED:
        return value in _ENUMERATED[name]
    if isinstance(DEFAULTS[name], list):
        return isinstance(value, list) and all(
            isinstance(days, (int, float)) and days > 0 for days in value
        )
    if isinstance(DEFAULTS[name], bool):
        return isinstance(value, bool)
    return isinstance(value, (int, float)) and value >= 0


async def _json(request: Request) -> dict[str, Any]:
    raw = await request.body()
    value = json.loads(raw) if raw else {}
    return value if isinstance(value, dict) else {}


def _refuse(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, 400)
