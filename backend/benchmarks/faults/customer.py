"""A customer that pays, by the doors that everybody has."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.faults.stack import Stack
from demo.world import API, Browser, wait_for


@dataclass(frozen=True)
class Customer:
    api: API
    browser: Browser
    tag: str
    tenant_id: str
    token: str

    @property
    def email(self) -> str:
        return f"owner@bench-{self.tag}.example"

    def buy_domain(self, name: str) -> str:
        """The id of an active name."""
        offer = self.api.post("/billing/domain-purchase-intent", domain_name=name)
        self.browser.confirm("payment_intent", offer["payment_intent_id"], offer["client_secret"])
        bought = self.api.post("/domains/purchase", purchase_id=offer["purchase_id"])
        domain_id = str(bought["domain"]["id"])
        wait_for(
            lambda: self.api.get(f"/domains/{domain_id}")["status"] == "active",
            seconds=90,
            every=0.2,
            what=f"{name} is active",
        )
        return domain_id


def sign_up(stack: Stack, plan: str = "enterprise") -> Customer:
    """Somebody whose card has just been charged for `plan`."""
    tag = secrets.token_hex(4)
    api, browser = API(stack.endpoint("api")), Browser(stack.endpoint("sandbox"))
    made = api.post(
        "/auth/register",
        company_name=f"Bench {tag}",
        email=f"owner@bench-{tag}.example",
        password=f"Correct-{tag}-horse",
    )
    token = str(made["access_token"])
    api.sign_in(token)
    intent = made["setup_intent"]
    browser.confirm("setup_intent", intent["id"], intent["client_secret"])
    wait_for(lambda: api.get("/billing/payment-methods"), seconds=60, every=0.2, what="a card")
    api.post("/billing/upgrade", plan=plan)
    wait_for(
        lambda: api.get("/billing/subscription")["status"] == "active",
        seconds=60,
        every=0.2,
        what="the plan is active",
    )
    return Customer(api, browser, tag, str(made["tenant"]["id"]), token)


def stripe_list(stack: Stack, what: str, **wanted: str) -> list[dict[str, Any]]:
    """All objects of a kind at Stripe, page by page."""
    found: list[dict[str, Any]] = []
    url = f"{stack.endpoint('sandbox')}/stripe/v1/{what}"
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as http:
        while True:
            after = {"starting_after": found[-1]["id"]} if found else {}
            answer = http.get(url, params={"limit": "100", **wanted, **after})
            answer.raise_for_status()
            page = answer.json()
            found += page["data"]
            if not page["has_more"]:
                return found
