"""Webhook endpoints and the events they are sent."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import values
from sandbox.stripe.account import API_VERSION, Account, Object, new_id
from sandbox.stripe.listing import page

Params = dict[str, Any]
OWN = "we_sandbox"


def seed(account: Account) -> None:
    """The endpoint of the environment; its address and secret follow it at every start."""
    config = account.world.config
    known = account.objects("webhook_endpoint").get(OWN, {})
    account.save(
        _endpoint(account, OWN, config.stripe_webhook_url, ["*"])
        | {"created": known.get("created", account.now())}
    )
    account.note(OWN, secret=config.stripe_webhook_secret)


def create(account: Account, params: Params) -> Object:
    """The secret is in this answer only."""
    made = _endpoint(account, new_id("we"), params["url"], params["enabled_events"])
    values.merge(made, params, "description")
    made["metadata"] = values.metadata({}, params.get("metadata"))
    account.save(made)
    secret = new_id("whsec", 32)
    account.note(made["id"], secret=secret)
    return {**made, "secret": secret}


def get(account: Account, _: Params, endpoint: str) -> Object:
    return account.find("webhook_endpoint", endpoint)


def update(account: Account, params: Params, endpoint: str) -> Object:
    found = account.find("webhook_endpoint", endpoint)
    values.merge(found, params, "url", "enabled_events", "description")
    if "disabled" in params:
        found["status"] = "disabled" if params["disabled"] else "enabled"
    return account.save(found)


def delete(account: Account, _: Params, endpoint: str) -> Object:
    account.find("webhook_endpoint", endpoint)
    del account.objects("webhook_endpoint")[endpoint]
    return {"id": endpoint, "object": "webhook_endpoint", "deleted": True}


def list_(account: Account, params: Params) -> Object:
    return page(account.all("webhook_endpoint"), params, "/v1/webhook_endpoints")


def _endpoint(account: Account, identifier: str, url: str, events: list[str]) -> Object:
    return {
        "id": identifier,
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": account.now(),
        "description": None,
        "enabled_events": events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def get_event(account: Account, _: Params, event: str) -> Object:
    return account.find("event", event)


def list_events(account: Account, params: Params) -> Object:
    """By type (one, several or a prefix such as `invoice.*`) and by success of delivery."""
    types = params.get("types") or ([params["type"]] if "type" in params else [])
    found = [
        event
        for event in account.all("event")
        if not types or any(_matches(event["type"], wanted) for wanted in types)
    ]
    if "delivery_success" in params:
        found = [
            one for one in found if (one["pending_webhooks"] == 0) == params["delivery_success"]
        ]
    return page(found, params, "/v1/events")


def _matches(kind: str, wanted: str) -> bool:
    return kind == wanted or (wanted.endswith("*") and kind.startswith(wanted[:-1]))
