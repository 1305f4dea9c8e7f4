"""A signing key is replaced while mail flows, judged by the receiver: no signature ever fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app import events
from app.database import outbox
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.customer import Customer
from tests.fixtures.world import eventually

Invariants = Callable[[], None]


class Post:
    """One inbox that writes again and again, and what became of all its mail."""

    def __init__(self, customer: Customer, row: dict[str, str]) -> None:
        self._customer, self._row, self._sent = customer, row, 0
        self.seen: dict[str, dict[str, Any]] = {}

    def write(self, *, to: str = "ann@gmail.test") -> str:
        self._sent += 1
        subject = f"rotation {self._customer.tag} {self._sent}"
        self._customer.send(self._row, to, subject)
        return subject

    def arrived(self, subject: str, *, within: float = 30.0) -> str:
        """The selector by which it was proven."""
        (letter,) = eventually(
            lambda: self._customer.received(subject), within=within, why=f"{subject} arrives"
        )
        assert letter["dkim"] == "pass", letter
        self.seen[subject] = letter
        return str(letter["dkim_selector"])


def test_no_signature_fails_while_its_key_is_replaced(
    customer: Customer, invariants: Invariants
) -> None:
    customer.sign_up().add_card()
    domain = customer.buy_domain()
    customer.upgrade("starter")
    customer.drain()
    row, *_ = customer.provision(domain["id"], 5)
    post, path = Post(customer, row), f"/domains/{domain['id']}"
    old = post.arrived(post.write())

    # Signed by the old key, and not taken yet by its receiver.
    late = post.write(to="greylist@gmail.test")
    assert customer.try_post(f"{path}/rotate-dkim").status_code == 202

    def stage() -> str:
        (rotation, *_) = customer.get(f"{path}/dkim")["rotations"]
        return str(rotation["stage"])

    def step(**passed: float) -> None:
        customer.world.advance(**passed)
        customer.sign_in_again()
        customer.drain(due_too=True)

    customer.settle(lambda: stage() == "keeping", why="the new key signs")
    # The node may remember for some seconds which key signs; either is proven by its record.
    during = post.arrived(post.write())
    step(seconds=30)
    new = post.arrived(post.write())
    assert old != new == customer.get(f"{path}/dkim")["selector"]
    assert during in {old, new}

    # What was signed by the old key arrives after the new one has taken over.
    step(hours=0.75)
    assert post.arrived(late) == old
    # A look at the records in the midst of it changes nothing.
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.RecordsDue())
    customer.drain()
    assert customer.get(f"{path}/dns")["all_ok"]
    assert post.arrived(post.write()) == new

    step(days=7, hours=1)
    assert stage() == "revoked"
    assert post.arrived(post.write()) == new
    step(days=2, hours=1)
    assert stage() == "done"
    assert post.arrived(post.write()) == new
    assert {letter["dmarc"] for letter in post.seen.values()} == {"pass"}
    invariants()
