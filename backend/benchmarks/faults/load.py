"""Customers at work: reads, writes, purchases and mail at a steady pace, and what each saw."""

from __future__ import annotations

import csv
import io
import secrets
import smtplib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.faults.customer import Customer
from demo.smtp import Inbox, compose, login
from demo.world import Addresses, DemoFailed

PATIENCE_SECONDS = 30.0
"""Of a customer, for one answer."""
NO_ANSWER = "no answer"
READS = ("/auth/me", "/infrastructure/inboxes", "/domains", "/analytics/overview")
READERS, PROVISIONERS, TOGGLERS, SEARCHERS, SENDERS = 8, 2, 2, 1, 2


@dataclass(frozen=True)
class Seen:
    """One request as its sender saw it; times are of time.monotonic()."""

    what: str
    status: str
    began: float
    ended: float

    @property
    def good(self) -> bool:
        return self.status.startswith("2")


@dataclass
class Accepted:
    """What was promised by a 2xx or a 250, and must be so in the end."""

    inboxes: list[str] = field(default_factory=list)
    """Addresses that will be active."""
    domains: list[str] = field(default_factory=list)
    """Ids of names that will be active."""
    mails: list[str] = field(default_factory=list)
    """Subjects of mails that will arrive."""
    statuses: dict[str, set[str]] = field(default_factory=dict)
    """Inboxes that were paused or resumed, and what they may be: the last accepted, or what was
    asked for without an answer since."""

    def so_far(self) -> Accepted:
        """What is accepted up to now and is promised to be done; statuses change too often."""
        return Accepted(list(self.inboxes), list(self.domains), list(self.mails))


@dataclass(frozen=True)
class Estate:
    """Whom the load works for, and with what."""

    customer: Customer
    api_url: str
    addresses: Addresses
    domain_id: str
    inboxes: deque[Inbox]
    """That send, in turn: each may do so a few times an hour only."""
    toggled: Sequence[str]
    """Ids of those that are paused and resumed."""

    def next_sender(self) -> Inbox:
        inbox = self.inboxes.popleft()
        self.inboxes.append(inbox)
        return inbox


class Load:
    """`with Load(…) as load:` works until the end of the block."""

    def __init__(self, estate: Estate, tag: str, *, buy_every: float) -> None:
        self._estate, self.tag = estate, tag
        self.seen: list[Seen] = []
        self.accepted = Accepted()
        self._ended = threading.Event()
        self._number = 0
        self._lock = threading.Lock()
        jobs: list[tuple[Callable[[httpx.Client, int], None], int, float]] = [
            (self._read, READERS, 0.25),
            (self._provision, PROVISIONERS, 1.0),
            (self._toggle, TOGGLERS, 0.5),
            (self._search, SEARCHERS, 0.5),
            (self._buy, 1, buy_every),
            (self._send, SENDERS, 1.0),
        ]
        self._threads = [
            threading.Thread(target=self._work, args=(job, n, every), daemon=True)
            for job, count, every in jobs
            for n in range(count)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE_SECONDS)

    def last_bad(self, since: float) -> float:
        """When the last bad answer came; `since` when none came later."""
        return max([since, *(seen.ended for seen in list(self.seen) if not seen.good)])

    def _work(self, job: Callable[[httpx.Client, int], None], number: int, every: float) -> None:
        headers = {"Authorization": f"Bearer {self._estate.customer.token}"}
        due = time.monotonic() + secrets.randbelow(1000) / 1000 * every
        with httpx.Client(
            base_url=f"{self._estate.api_url}/api/v1",
            headers=headers,
            timeout=PATIENCE_SECONDS,
            # Servers close idle connections; who uses one a moment later would blame the product.
            limits=httpx.Limits(keepalive_expiry=2),
            trust_env=False,
        ) as http:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due = max(due + every, time.monotonic())
                job(http, number)

    def _ask(self, http: httpx.Client, what: str, method: str, path: str, **options: Any) -> Any:
        """The data of a 2xx, else None; either is noted."""
        began = time.monotonic()
        try:
            answer = http.request(method, path, **options)
            status = str(answer.status_code)
        except httpx.HTTPError:
            answer, status = None, NO_ANSWER
        self.seen.append(Seen(what, status, began, time.monotonic()))
        return answer.json()["data"] if answer is not None and answer.is_success else None

    def _fresh(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _read(self, http: httpx.Client, number: int) -> None:
        self._ask(http, "read", "GET", READS[number % len(READS)])

    def _search(self, http: httpx.Client, _: int) -> None:
        query = {"query": f"s{self.tag}{self._fresh()}", "tlds": ["com"]}
        self._ask(http, "search", "POST", "/domains/search", json=query)

    def _provision(self, http: httpx.Client, _: int) -> None:
        body = {
            "domain_id": self._estate.domain_id,
            "inbox_count": 1,
            "naming_convention": "custom",
            "names": [f"p{self.tag}x{self._fresh()}"],
        }
        made = self._ask(http, "write", "POST", "/infrastructure/provision", json=body)
        if made is not None:
            rows = csv.DictReader(io.StringIO(made["csv_data"]))
            self.accepted.inboxes += [row["email"] for row in rows]

    def _toggle(self, http: httpx.Client, number: int) -> None:
        inbox = self._estate.toggled[number]
        wanted = ("paused", "active")[self._fresh() % 2]
        may_be = self.accepted.statuses.setdefault(inbox, {"active", "paused"})
        path = f"/infrastructure/inboxes/{inbox}"
        if self._ask(http, "write", "PATCH", path, json={"status": wanted}) is None:
            may_be.add(wanted)
        else:
            self.accepted.statuses[inbox] = {wanted}

    def _buy(self, http: httpx.Client, _: int) -> None:
        wanted = {"domain_name": f"b{self.tag}-{self._fresh()}.com"}
        offer = self._ask(http, "purchase", "POST", "/billing/domain-purchase-intent", json=wanted)
        if offer is None:
            return
        try:
            # This is between the customer's browser and Stripe, whom they reach by other ways.
            self._estate.customer.browser.confirm(
                "payment_intent", offer["payment_intent_id"], offer["client_secret"]
            )
        except (DemoFailed, httpx.HTTPError):
            return
        order = {"purchase_id": offer["purchase_id"]}
        bought = self._ask(http, "purchase", "POST", "/domains/purchase", json=order)
        if bought is not None:
            self.accepted.domains.append(bought["domain"]["id"])

    def _send(self, _: httpx.Client, __: int) -> None:
        mail = self._fresh()
        subject = f"mail {self.tag} {mail} end"
        inbox = self._estate.next_sender()
        began = time.monotonic()
        try:
            session = login(self._estate.addresses, inbox)
            try:
                session.send_message(compose(inbox, f"ann{mail}@gmail.test", subject))
                status = "250"
                self.accepted.mails.append(subject)
            finally:
                session.close()
        except smtplib.SMTPResponseException as refusal:
            status = str(refusal.smtp_code)
        except smtplib.SMTPRecipientsRefused as refusal:
            status = str(next(iter(refusal.recipients.values()))[0])
        except (OSError, smtplib.SMTPException):
            status = NO_ANSWER
        self.seen.append(Seen("mail", status, began, time.monotonic()))
