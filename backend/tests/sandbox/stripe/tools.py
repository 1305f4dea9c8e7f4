"""A sandbox with the Stripe part alone, a receiver for its webhooks, and the real SDK."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import stripe

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World

SECRET = "whsec_test"
DEADLINE_SECONDS = 10.0


def until(check: Callable[[], Any], what: str = "the condition") -> Any:
    """The first true value of `check`, asked again and again until the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        if value := check():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {DEADLINE_SECONDS} s")


class Receiver:
    """An endpoint that keeps what it was sent and answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.answer: Callable[[str], int] = lambda kind: 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answer(json.loads(body)["type"])
                if status < 300:
                    receiver.requests.append((self.headers["Stripe-Signature"], body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet: the test says what matters."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks"
        self._thread = threading.Thread(
            # Asked often whether to stop, because every test waits for that.
            target=lambda: self._server.serve_forever(poll_interval=0.01),
            daemon=True,
        )
        self._thread.start()

    def events(self) -> list[stripe.Event]:
        """Verified by the SDK; a wrong signature raises."""
        client = stripe.StripeClient("sk_test_sandbox")
        return [client.construct_event(body, header, SECRET) for header, body in self.requests]

    def types(self) -> list[str]:
        return [event.type for event in self.events()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Sandbox:
    """A running sandbox in a thread with a loop of its own."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        if not self._ready.wait(DEADLINE_SECONDS):
            raise AssertionError("The sandbox did not start.")
        self.url = f"http://127.0.0.1:{self.world.ports['http']}"
        self.client = stripe.StripeClient(
            "sk_test_sandbox",
            base_addresses={"api": f"{self.url}/stripe"},
            http_client=stripe.RequestsClient(timeout=10),
        )
        self.v1 = self.client.v1

    async def _main(self) -> None:
        self.world = World.create(self._config)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self.world, ("stripe",)):
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_SECONDS)

    def now(self) -> int:
        return self.world.clock.timestamp()

    def control(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/control/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def advance(self, **step: float) -> None:
        self.control("clock/advance", **step)

    def events(self, **query: Any) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/control/stripe/events", params=query, timeout=10)
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    def types(self, **query: Any) -> list[str]:
        return [event["type"] for event in self.events(**query)]

    def browser(self, path: str, **form: str) -> httpx.Response:
        """What Stripe.js sends: the publishable key and the secret of one object."""
        return httpx.post(
            f"{self.url}/stripe/v1/{path}", data={"key": "pk_test_sandbox", **form}, timeout=10
        )

    # Short ways to things many tests need ------------------------------------------------------

    def customer(self, card: str | None = "pm_card_visa") -> stripe.Customer:
        """With `card` saved and made the default."""
        customer = self.v1.customers.create({"email": "a@b.test", "name": "A"})
        if card is None:
            return customer
        method = self.v1.payment_methods.attach(card, {"customer": customer.id})
        return self.v1.customers.update(
            customer.id, {"invoice_settings": {"default_payment_method": method.id}}
        )

    def price(self, plan: str = "starter") -> str:
        return self.v1.prices.list({"lookup_keys": [f"{plan}_monthly"]}).data[0].id

    def subscribe(self, card: str | None = "pm_card_visa", **more: Any) -> stripe.Subscription:
        return self.v1.subscriptions.create(
            {"customer": self.customer(card).id, "items": [{"price": self.price()}], **more}
        )

    def trial(self, card: str | None = "pm_card_visa", days: int = 7, **more: Any) -> Any:
        return self.subscribe(card, trial_end=self.now() + days * 86_400, **more)
