"""The API at the wire: keys, forms, validation, idempotency, errors."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.stripe import clockwork, expansion, forms, routes, validation
from sandbox.stripe.account import API_VERSION, NOBODY, Account, Object, new_id
from sandbox.stripe.errors import StripeError, not_imitated, unauthenticated
from sandbox.stripe.idempotency import Answer, IdempotencyKeys
from sandbox.stripe.routing import Route

PRIVATE = frozenset({"metadata", "customer", "latest_charge"})
"""Members of an intent that a browser is not shown."""


class Api:
    """Requests run one after the other between two awaits, so each is a transaction."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._keys = IdempotencyKeys(account)

    async def __call__(self, request: Request) -> Response:
        request_id = new_id("req", 14)
        path = f"/v1/{request.path_params['path']}"
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        begun = False
        canonical = ""
        try:
            params = forms.decode(await _form(request))
            canonical = json.dumps(params, sort_keys=True)
            publishable = self._authenticate(request, params)
            _check_version(request)
            route, ids = self._route(request.method, path)
            if key is not None:
                kept = self._keys.begin(key, request.method, path, canonical)
                if kept is not None:
                    return _response(kept, request_id, key)
                begun = True
        except StripeError as error:
            return _response(_failure(error, request_id), request_id, key)
        try:
            answer = await self._answer(route, ids, params, publishable, request_id, key)
            if key is not None and answer.executed:
                self._keys.keep(key, request.method, path, canonical, answer)
        finally:
            if begun and key is not None:
                self._keys.end(key)
        return _response(answer, request_id, key)

    async def _answer(
        self,
        route: Route,
        ids: dict[str, str],
        params: dict[str, Any],
        publishable: bool,
        request_id: str,
        key: str | None,
    ) -> Answer:
        try:
            latency = self._account.settings["latency_seconds"]
            if latency:
                await asyncio.sleep(latency)
            return self._execute(route, ids, params, publishable, request_id, key)
        except StripeError as error:
            if publishable:
                for name in ("payment_intent", "setup_intent"):
                    if name in error.body:
                        error.body[name] = _public(error.body[name])
            return _failure(error, request_id)

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        found = routes.find(method, path)
        if found is None:
            raise StripeError(
                f"Unrecognized request URL ({method}: {path}). Please see"
                " https://stripe.com/docs or we can help at https://support.stripe.com/.",
                status=404,
                executed=False,
            )
        return found

    def _authenticate(self, request: Request, params: dict[str, Any]) -> bool:
        """Whether it is the publishable key; its form parameter is taken out of `params`."""
        key = params.pop("key", None) or _key(request.headers.get("Authorization", ""))
        config = self._account.world.config
        if not key:
            raise unauthenticated(
                "You did not provide an API key. You need to provide your API key in the"
                " Authorization header, using Bearer auth (e.g. 'Authorization: Bearer"
                " YOUR_SECRET_KEY')."
            )
        if key not in {config.stripe_secret_key, config.stripe_publishable_key}:
            raise unauthenticated(f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}")
        return bool(key == config.stripe_publishable_key)

    def _execute(
        self,
        route: Route,
        ids: dict[str, str],
        params: dict[str, Any],
        publishable: bool,
        request_id: str,
        key: str | None,
    ) -> Answer:
        account = self._account
        clockwork.run(account)
        if publishable:
            self._check_client(route, ids, params)
        typed = self._typed(route, params)
        expand = typed.pop("expand", None) or []
        account.request = {"id": request_id, "idempotency_key": key}
        account.publishable = publishable
        try:
            result = route.handler(account, typed, **ids)
            result = expansion.expand(account, result, expand)
        finally:
            account.request, account.publishable = dict(NOBODY), False
        if publishable:
            result = _public(result)
        return Answer(200, json.dumps(result), request_id)

    def _typed(self, route: Route, params: dict[str, Any]) -> dict[str, Any]:
        """Checked against the SDK's own type, and counted for whoever wants to know."""
        operation = f"{route.method} {route.path}"
        try:
            typed = validation.check(route.params, params)
            for name in typed:
                if name not in route.accepts:
                    raise not_imitated(name)
        except StripeError as error:
            self._account.misfits.append({"operation": operation, **error.body})
            raise
        self._account.requests[operation] += 1
        return typed

    def _check_client(self, route: Route, ids: dict[str, str], params: Object) -> None:
        """A browser may touch one object, whose secret it knows."""
        if not route.client:
            raise StripeError(
                "This API call cannot be made with a publishable API key. Please use a secret API"
                " key. You can find a list of your API keys at"
                " https://dashboard.stripe.com/account/apikeys.",
                status=403,
                code="secret_key_required",
                executed=False,
            )
        if "intent" not in ids:
            return
        kind = "setup_intent" if "/setup_intents/" in route.path else "payment_intent"
        secret = params.pop("client_secret", None)
        intent = self._account.find(kind, ids["intent"])
        if secret != intent["client_secret"]:
            raise StripeError(
                "The client_secret provided does not match the client_secret associated with the"
                f" {kind}.",
                param="client_secret",
                code=f"{kind}_invalid_parameter" if secret else "parameter_missing",
                executed=False,
            )


def _public(intent: Object) -> Object:
    return {name: value for name, value in intent.items() if name not in PRIVATE}


async def _form(request: Request) -> str:
    """Reads and deletes carry their parameters in the address."""
    if request.method in {"GET", "DELETE"}:
        query = str(request.url.query)
        body = (await request.body()).decode()
        return "&".join(part for part in (query, body) if part)
    return (await request.body()).decode()


def _key(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _check_version(request: Request) -> None:
    wanted = request.headers.get("Stripe-Version", API_VERSION)
    if wanted != API_VERSION:
        raise StripeError(
            f"Invalid Stripe API version: {wanted}. The sandbox speaks {API_VERSION} only.",
            executed=False,
        )


def _failure(error: StripeError, request_id: str) -> Answer:
    log = f"https://dashboard.stripe.com/test/logs/{request_id}"
    body = json.dumps({"error": error.body | {"request_log_url": log}})
    return Answer(error.status, body, request_id, error.executed)


def _response(answer: Answer, request_id: str, key: str | None) -> Response:
    headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
    if key is not None:
        headers["Idempotency-Key"] = key
    if answer.request_id != request_id:
        headers |= {"Idempotent-Replayed": "true", "Original-Request": answer.request_id}
    return Response(answer.body, answer.status, headers, "application/json")
