"""Sending events to the webhook endpoints, signed, at least once, in the background."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import httpx
from stripe import WebhookSignature

from sandbox.stripe.account import Account, Object, new_id

TIMEOUT_SECONDS = 10.0
MAX_WAIT_SECONDS = 15.0
"""Stripe waits for hours; here somebody is looking on while his endpoint restarts."""
KEEP_TRYING_SECONDS = 3 * 86_400
MIN_ATTEMPTS = 15
"""Given up after three days (docs.stripe.com/webhooks) and never before so many attempts, so that
an advance of the clock by a week does not lose events."""
GATHER_SECONDS = 0.3
"""How long a shuffled batch is collected, so that there is something to shuffle."""
PAUSE_SECONDS = 0.05
"""How often waits that ran out are looked for; what is queued now goes at once."""
SPOILT = {"bad", "old", "future", "altered"}
"""Signed with another secret, an hour ago, an hour ahead; or signed and then changed."""
log = logging.getLogger("sandbox.stripe")


class Deliveries:
    """What waits is in the store, so it survives a restart."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting = account.objects("deliveries")
        self._task: asyncio.Task[None] | None = None
        self._queued = asyncio.Event()

    def start(self) -> None:
        self._account.on_queued = self._queued.set
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        # Only this machine is spoken to: no proxy of the environment is asked.
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            while True:
                self._queued.clear()
                try:
                    await self._send_due(client)
                except Exception:  # A surprise with one event must not end all deliveries.
                    log.exception("A webhook delivery failed in an unforeseen way")
                # A timer and not wait_for, which may swallow the cancellation that stops us.
                timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._queued.set)
                await self._queued.wait()
                timer.cancel()

    def _due(self) -> list[str]:
        now = self._account.world.clock.now().timestamp()
        return [key for key, waiting in self._waiting.items() if waiting["next_at"] <= now]

    async def _send_due(self, client: httpx.AsyncClient) -> None:
        due = self._due()
        wanted = self._account.world.faults.deliveries("stripe")
        if due and wanted.shuffle:
            await asyncio.sleep(GATHER_SECONDS)
            due = self._due()
            random.shuffle(due)
        for key in due:
            waiting = self._waiting.get(key)
            if waiting is not None:
                done = random.random() >= wanted.drop and await self._send(client, waiting)
                self._note(key, waiting, done)

    async def _send(self, client: httpx.AsyncClient, waiting: Object) -> bool:
        """Whether the endpoint said 2xx (or is gone)."""
        endpoint = self._account.objects("webhook_endpoint").get(waiting["endpoint"])
        event = self._account.objects("event").get(waiting["event"])
        if endpoint is None or event is None:
            return True
        payload = json.dumps(event, separators=(",", ":"))
        signature = self._signature(payload, endpoint, waiting["signature"])
        if waiting["signature"] == "altered":
            payload = payload.replace(event["id"], new_id("evt"))
        try:
            answer = await client.post(
                endpoint["url"],
                content=payload.encode(),
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": signature,
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                },
            )
        except httpx.HTTPError as error:
            log.info("%s to %s: %s", event["type"], endpoint["url"], error)
            return False
        if not answer.is_success:
            log.info("%s to %s: %d", event["type"], endpoint["url"], answer.status_code)
        return answer.is_success

    def _signature(self, payload: str, endpoint: Object, how: str) -> str:
        secret = str(self._account.noted(endpoint["id"], "secret"))
        moment = self._account.world.clock.timestamp()
        if how == "bad":
            secret = f"{secret}-wrong"
        moment += {"old": -3600, "future": 3600}.get(how, 0)
        header: str = WebhookSignature.generate_signature_header(payload, secret, moment)
        return header

    def _note(self, key: str, waiting: Object, done: bool) -> None:
        now = self._account.world.clock.now().timestamp()
        waiting["attempts"] += 1
        gave_up = (
            waiting["attempts"] >= MIN_ATTEMPTS and now - waiting["queued"] > KEEP_TRYING_SECONDS
        )
        # A bad signature is meant to be refused; trying it again would prove nothing more.
        if not done and not gave_up and waiting["signature"] == "good":
            wait = min(MAX_WAIT_SECONDS, 2.0 ** (waiting["attempts"] - 1))
            waiting["next_at"] = now + wait
            self._waiting.save(key)
            return
        self._waiting.pop(key, None)
        event = self._account.objects("event").get(waiting["event"])
        if done and event is not None and not waiting["extra"]:
            event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
            self._account.save(event)
