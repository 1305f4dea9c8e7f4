"""Refunds as tasks whose effects can be counted: at Stripe, in the ledger, in a mailbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any
from uuid import UUID

import httpx

from benchmarks.faults.customer import Customer, stripe_list
from benchmarks.faults.stack import Stack

SUBJECT = "refund"


@dataclass(frozen=True)
class Counts:
    done: int
    """Refund jobs in their last state."""
    refunds: int
    """At Stripe."""
    refunded: int
    """At Stripe, each of our wishes once."""
    lines: int
    mails: int
    mailed: int
    """Mails with different Message-IDs."""

    def are_exactly(self, tasks: int) -> bool:
        return {self.done, self.refunds, self.refunded, self.lines, self.mailed} == {tasks}


class Books:
    """Everything that is known of the refunds of one payment, row by row of the matrix."""

    def __init__(self, stack: Stack, customer: Customer, intent: str) -> None:
        self._stack, self._customer, self._intent = stack, customer, intent
        self._sandbox = httpx.Client(
            base_url=stack.endpoint("sandbox"), timeout=60, trust_env=False
        )
        # Stripe's own report of each refund would be two more jobs each, which nobody counts here.
        quiet = {"part": "stripe", "drop": 1.0}
        self._sandbox.post("/control/deliveries", json=quiet).raise_for_status()
        self._mails_before = 0

    def ask(self, cause: str, tasks: int) -> None:
        """So many wishes and outbox rows in one transaction."""
        from app.database.models import Tenant
        from app.database.session import transaction
        from app.services import refunds

        self._mails_before = self._mails()["count"]
        tenant_id = UUID(self._customer.tenant_id)
        with transaction(tenant=tenant_id) as db:
            tenant = db.get_one(Tenant, tenant_id)
            for _ in range(tasks):
                refunds.request(tenant, self._intent, db, cause=cause, cents=1)

    def until(self, check: Callable[[], bool], seconds: float) -> None:
        """Poll; whoever waits in vain counts what there is and finds it too little."""
        from app.errors import Unavailable

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if check():
                    return
            except Unavailable:
                # The database is what is struck in some rows.
                time.sleep(0.1)
            time.sleep(0.05)

    def finished(self, cause: str) -> int:
        return len([at for at in self._ends(cause)[0] if at is not None])

    def is_over(self, cause: str, tasks: int) -> bool:
        """Whether refunds and mails are all through."""
        refunded, mailed = self._ends(cause)
        return all(len(found) == tasks and None not in found for found in (refunded, mailed))

    def between(self, cause: str, since: float) -> tuple[float, float]:
        """When the first job after `since` was done, and the last of all."""
        ends = [at for found in self._ends(cause) for at in found if at is not None]
        return min((at for at in ends if at > since), default=since), max(ends, default=since)

    def count(self, cause: str) -> Counts:
        from sqlalchemy import func, select

        from app.database.models import Refund, Transaction
        from app.database.session import ALL_TENANTS, transaction

        with transaction(tenant=ALL_TENANTS) as db:
            ours = set(map(str, db.scalars(select(Refund.id).where(Refund.cause == cause))))
            written = select(func.count()).where(Transaction.description == cause)
            lines = db.scalar(written) or 0
        at_stripe = [
            refund["metadata"]["refund_id"]
            for refund in stripe_list(self._stack, "refunds", payment_intent=self._intent)
            if refund["metadata"].get("refund_id") in ours
        ]
        mails = self._mails()
        new = mails["count"] - self._mails_before
        return Counts(
            done=self.finished(cause),
            refunds=len(at_stripe),
            refunded=len(set(at_stripe)),
            lines=lines,
            mails=new,
            mailed=len({self._message_id(mail["id"]) for mail in mails["messages"][:new]}),
        )

    def _ends(self, cause: str) -> tuple[list[float | None], list[float | None]]:
        """When each refund's job and each mail's ended, None for one that has not."""
        from sqlalchemy import Text, cast, select

        from app.database.models import BillingNotice, Job, JobState, Refund
        from app.database.session import ALL_TENANTS, transaction

        def ends(found: Any) -> list[float | None]:
            return [at.timestamp() if state == JobState.DONE else None for state, at in found]

        columns = select(Job.state, Job.finished_at)
        with transaction(tenant=ALL_TENANTS) as db:
            refunds = columns.join(
                Refund, cast(Refund.id, Text) == Job.payload["refund_id"].astext
            ).where(Job.task == "billing.refund", Refund.cause == cause)
            mails = columns.join(
                BillingNotice, cast(BillingNotice.id, Text) == Job.payload["notice_id"].astext
            ).where(
                Job.task == "billing.send_notice",
                BillingNotice.details["cause"].astext == cause,
            )
            return ends(db.execute(refunds)), ends(db.execute(mails))

    def _mails(self) -> dict[str, Any]:
        """Newest first."""
        wanted = {"to": self._customer.email, "subject": SUBJECT, "limit": 1000}
        found: dict[str, Any] = self._sandbox.get("/mail/messages", params=wanted).json()
        return found

    def _message_id(self, mail_id: str) -> str:
        raw = self._sandbox.get(f"/mail/messages/{mail_id}.eml").content
        return str(message_from_bytes(raw)["Message-ID"])
