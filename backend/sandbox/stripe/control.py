"""/control/stripe: settings, events, redelivery, authentication, cards that change their mind."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from sandbox.stripe import (
    cards,
    clockwork,
    disputes,
    hosted,
    invoices,
    payment_methods,
    radar,
    refunds,
)
from sandbox.stripe.account import DEFAULTS, Account
from sandbox.stripe.deliveries import SPOILT
from sandbox.stripe.errors import StripeError

_ENUMERATED = {
    "after_retries": {"mark_unpaid", "cancel", "leave_past_due"},
    "refunds": {"succeeded", "pending"},
}
SIGNATURES = frozenset({"good"} | SPOILT)


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
            Route("/refunds", self._refunds, methods=["POST"]),
            Route("/warnings", self._warnings, methods=["POST"]),
            Route("/invoices", self._invoices, methods=["POST"]),
            Route("/requests", self._requests),
            Route("/agenda", self._agenda),
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
        """{"event": id} or {"since": seconds}, and "signature": good, bad, old, future, altered."""
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

    async def _refunds(self, request: Request) -> JSONResponse:
        """{"refund": id, "status": "succeeded", "failed" or "canceled", "reason"?}: it ends so."""
        body = await _json(request)
        reason = body.get("reason")
        try:
            done = refunds.settle(
                self._account,
                str(body.get("refund", "")),
                str(body.get("status", "")),
                None if reason is None else str(reason),
            )
        except StripeError as error:
            return _refuse(str(error))
        return JSONResponse(done)

    async def _warnings(self, request: Request) -> JSONResponse:
        """{"charge": id, "fraud_type"?}: the issuer suspects fraud."""
        body = await _json(request)
        kind = str(body.get("fraud_type", "made_with_stolen_card"))
        try:
            done = radar.warn(self._account, str(body.get("charge", "")), kind)
        except StripeError as error:
            return _refuse(str(error))
        return JSONResponse(done)

    async def _invoices(self, request: Request) -> JSONResponse:
        """{"customer": id, "finalization": "ok" or an error code}: whether drafts become invoices.

        With "ok" those that could not are finalised now.
        """
        body = await _json(request)
        customer, wanted = str(body.get("customer", "")), str(body.get("finalization", "ok"))
        if customer not in self._account.objects("customer"):
            return _refuse(f"No such customer: {customer}.")
        self._account.note(customer, finalization=None if wanted == "ok" else wanted)
        drafts = self._account.all("invoice", customer=customer, status="draft")
        stuck = [one for one in drafts if wanted == "ok" and one["last_finalization_error"]]
        for invoice in stuck:
            invoices.finalize(self._account, {}, invoice["id"])
        return JSONResponse({"customer": customer, "finalized": len(stuck)})

    async def _requests(self, _: Request) -> JSONResponse:
        """How many requests fitted the SDK's types, by operation; and those that did not."""
        account = self._account
        return JSONResponse({"fitted": dict(account.requests), "misfits": account.misfits})

    async def _agenda(self, _: Request) -> JSONResponse:
        """When something happens by itself next, in seconds since 1970."""
        return JSONResponse({"next": self._account.agenda.next(), "now": self._account.now()})

    async def _reset(self, _: Request) -> JSONResponse:
        """Forget everything that happened; the plans, the endpoints and the settings stay."""
        self._account.forget()
        return JSONResponse({"ok": True})

    async def _cards(self, request: Request) -> JSONResponse:
        """{"payment_method": id, "charge": "ok" or a decline code}: the bank changes its mind.

        {"payment_method": id, "renewed": true}: the bank sent the holder a new card.
        """
        if request.method == "GET":
            return JSONResponse({"cards": sorted(cards.BY_ID)})
        body = await _json(request)
        method = str(body.get("payment_method", ""))
        if method not in self._account.objects("payment_method"):
            return _refuse(f"No such payment method: {method}.")
        if body.get("renewed"):
            return JSONResponse(payment_methods.renew(self._account, method))
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
