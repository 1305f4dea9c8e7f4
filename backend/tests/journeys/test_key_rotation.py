"""A signing key is replaced while mail flows: receivers never meet a signature without its key.

Mail goes in by SMTP submission and is judged by receivers that look up the key by DNS and verify
with a library that is not the relay's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any
from uuid import UUID

import httpx

from app import events
from app.database import outbox
from app.database.session import ALL_TENANTS, transaction
from app.services import dkim_rotation
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running, eventually

RECEIVERS = ("gmail.test", "outlook.test", "yahoo.test", "corp.test")


class Killed(Exception):
    """A worker ended before its commit."""


class Post:
    """The mail of one name: what was sent, and how receivers judged it."""

    def __init__(self, customer: Customer, rows: list[dict[str, str]]) -> None:
        # In turn, so that none comes to its limit of an hour.
        self._customer, self._rows = customer, cycle(rows)
        self._subject = f"rotation {customer.tag}"
        self._sent = 0

    def send(self) -> Counter[str]:
        """One message to each provider; the selectors that they were signed with."""
        at = f"{self._subject} {self._sent} "
        for receiver in RECEIVERS:
            self._send(f"ann@{receiver}", at + receiver)
        judged = eventually(
            lambda: (m := self._customer.received(at)) and len(m) == len(RECEIVERS) and m,
            within=30,
            why="the mail has arrived",
        )
        assert {m["dkim"] for m in judged} == {"pass"}, judged
        return Counter(m["dkim_selector"] for m in judged)

    def until_signed_by(self, new: str, old: str) -> None:
        """The nodes have heard of the new key; until then they sign with the old one."""

        def look() -> bool:
            signed = set(self.send())
            assert signed <= {old, new}
            if signed != {new}:
                # A node remembers for seconds, and inboxes have limits of an hour.
                time.sleep(0.5)
            return signed == {new}

        eventually(look, within=30, why="the node has heard of the new key")

    def send_late(self, tag: str) -> str:
        """To somebody who takes it at a second try, minutes later; the subject."""
        subject = f"{self._subject} late {tag}"
        self._send(f"greylist+{tag}@gmail.test", subject)
        return subject

    def arrived(self, subject: str) -> dict[str, Any]:
        """The one message, once its next try was made."""

        def look() -> list[dict[str, Any]]:
            self._customer.world.advance(seconds=300)
            return self._customer.received(subject)

        (message,) = eventually(look, within=30, why="the late mail has arrived")
        return message  # type: ignore[no-any-return]

    def verdicts(self) -> Counter[str]:
        """Of every message there was."""
        answer = httpx.get(
            f"{self._customer.world.sandbox_url}/mail/messages",
            params={"subject": self._subject, "limit": 1000},
            timeout=20,
        )
        return Counter(m["dkim"] for m in answer.json()["messages"])

    def total(self) -> int:
        return self._sent

    def _send(self, to: str, subject: str) -> None:
        self._customer.send(next(self._rows), to, subject)
        self._sent += 1


class Rotation:
    """One rotation, a step at a time."""

    def __init__(self, customer: Customer, domain_id: str) -> None:
        self._customer, self._path = customer, f"/domains/{domain_id}"
        self.id = UUID(customer.post(f"{self._path}/rotate-dkim")["id"])

    def now(self) -> dict[str, Any]:
        shown = self._customer.get(f"{self._path}/dkim")
        (rotation,) = shown["rotations"]
        return {**rotation, "selector": shown["selector"]}

    def killed_in_step(self) -> None:
        """What the next step does outside is done; that it was done is not written down."""
        with suppress(Killed), transaction(tenant=ALL_TENANTS) as db:
            dkim_rotation.advance(self.id, db)
            raise Killed

    def until(self, stage: str) -> None:
        self._customer.settle(lambda: self.now()["stage"] == stage, within=30, why=stage)


def look_for_drift(customer: Customer) -> None:
    """What the calendar does every quarter of an hour, and all that follows from it."""
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.RecordsDue())
    customer.drain()


def keys(customer: Customer, domain_name: str) -> dict[str, bool]:
    """Selector -> whether a key stands below it in the zone; False: revoked."""
    zones = _dns(customer, "", name=domain_name)
    records = _dns(customer, f"/{zones[0]['id']}/dns_records", per_page=5000)
    return {
        record["name"].partition("._domainkey.")[0]: not record["content"]
        .rstrip('"')
        .endswith("p=")
        for record in records
        if "._domainkey." in record["name"]
    }


def _dns(customer: Customer, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{customer.world.sandbox_url}/cloudflare/client/v4/zones{path}",
        params=query,
        headers={"Authorization": "Bearer sandbox-token"},
        timeout=10,
    )
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


def pass_days(customer: Customer, days: float) -> None:
    customer.world.advance(days=days)
    customer.sign_in_again()


def test_no_signature_ever_lacks_its_key(
    paying: Customer, world: Running, invariants: Callable[[], None]
) -> None:
    paying.add_card()
    domain = paying.buy_domain()
    name = domain["domain_name"]
    post = Post(paying, paying.provision(domain["id"], 25))
    (old,) = post.send()
    late = [post.send_late("asked")]

    # Published, and not yet signed with; a worker dies with the switch half done.
    rotation = Rotation(paying, domain["id"])
    new = rotation.now()["new_selector"]
    assert set(post.send()) == {old}
    rotation.killed_in_step()
    assert (rotation.now()["stage"], keys(paying, name)) == ("publishing", {old: True, new: True})
    assert set(post.send()) <= {old, new}
    look_for_drift(paying)
    assert keys(paying, name)[old]
    assert set(post.send()) <= {old, new}
    late.append(post.send_late("half"))

    # Switched: what was signed before is delivered only now.
    rotation.until("keeping")
    assert rotation.now()["selector"] == new
    post.until_signed_by(new, old)
    first, second = (post.arrived(subject) for subject in late)
    assert (first["dkim"], first["dkim_selector"]) == ("pass", old)
    assert second["dkim"] == "pass"

    # Kept: longer than the relay holds mail.
    look_for_drift(paying)
    pass_days(paying, 6)
    paying.drain(due_too=True)
    look_for_drift(paying)
    assert keys(paying, name) == {old: True, new: True}
    assert set(post.send()) == {new}

    # Revoked, at a second attempt.
    pass_days(paying, 1)
    rotation.killed_in_step()
    assert set(post.send()) == {new}
    rotation.until("revoked")
    look_for_drift(paying)
    assert keys(paying, name) == {old: False, new: True}
    assert set(post.send()) == {new}

    # Removed, at a second attempt.
    pass_days(paying, 2.1)
    rotation.killed_in_step()
    assert set(post.send()) == {new}
    rotation.until("done")
    look_for_drift(paying)
    assert keys(paying, name) == {new: True}
    assert set(post.send()) == {new}

    assert post.verdicts() == {"pass": post.total()}
    invariants()
