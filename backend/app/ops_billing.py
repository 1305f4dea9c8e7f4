"""`inboxgrove billing …` and `inboxgrove sandbox …`: the books, and the sandbox's clock.

Every command takes --json; `audit` leaves with 1 when a book does not balance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import wraps
from typing import Annotated, Any, ParamSpec
from uuid import UUID

import typer

from app.ops import AsJSON, show

billing_app = typer.Typer(no_args_is_help=True, help="The books: prove, repair, replay, refund.")
sandbox_app = typer.Typer(no_args_is_help=True, help="The internet in a box.")

STEP_SECONDS = 60.0
"""How long one day's events and jobs may take before the clock stops for a person to look."""

P = ParamSpec("P")
Answer = tuple[Mapping[str, Any], int]
"""What a command shows, and the code it leaves with."""


def answers(work: Callable[P, Answer]) -> Callable[P, None]:
    """Show what a command found, and leave with its code."""

    @wraps(work)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        result, code = work(*args, **kwargs)
        show(result, bool(kwargs.get("as_json")))
        raise typer.Exit(code)

    return command


@billing_app.command()
@answers
def audit(
    tenant_id: Annotated[
        str | None, typer.Option("--tenant", help="One tenant only, by id.")
    ] = None,
    as_json: AsJSON = False,  # noqa: ARG001  # Read by `answers`.
) -> Answer:
    """Prove the ledger against Stripe's objects, to the cent; exit 1 where it does not balance."""
    from dataclasses import asdict

    from app import wiring
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import ledger, reconciliation

    wiring.boot()
    wrong: list[dict[str, Any]] = []
    movements, net, prints = 0, 0, []
    with transaction(tenant=ALL_TENANTS) as db:
        ids = reconciliation.accounts(db) if tenant_id is None else [UUID(tenant_id)]
    for account in ids:
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get_one(Tenant, account)
            found = reconciliation.audit(tenant, db, ports.current().payments)
            prints.append(ledger.fingerprint(ledger.read(account, db)))
        movements, net = movements + found.movements, net + found.net_cents
        if not found.balances:
            wrong.append(asdict(found))
    with transaction(tenant=ALL_TENANTS) as db:
        losses = [str(purchase.id) for purchase in reconciliation.unsettled(db)]
    return (
        {
            "accounts": len(ids),
            "movements": movements,
            "net_cents": net,
            "fingerprint": ledger.fingerprint_of_all(prints),
            "wrong": wrong,
            "losses": losses,
        },
        1 if wrong else 0,
    )


@billing_app.command()
@answers
def reconcile(as_json: AsJSON = False) -> Answer:  # noqa: ARG001  # Read by `answers`.
    """Fetch events that never came and make every account say what Stripe says."""
    from dataclasses import asdict

    from app import wiring
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import reconciliation

    wiring.boot()
    payments = ports.current().payments
    with transaction(tenant=ALL_TENANTS) as db:
        missed = reconciliation.fetch_missed_events(db, payments)
        ids = reconciliation.accounts(db)
    repaired = []
    for account in ids:
        with transaction(tenant=ALL_TENANTS) as db:
            repairs = reconciliation.reconcile(account, db, payments)
        if repairs.any:
            repaired.append(asdict(repairs))
    return {"accounts": len(ids), "missed_events": missed, "repaired": repaired}, 0


@billing_app.command()
@answers
def replay(
    event_ids: Annotated[
        list[str] | None, typer.Argument(help="Stripe's ids, evt_…; fetched if we lack them.")
    ] = None,
    unhandled: Annotated[
        bool, typer.Option("--unhandled", help="All that had no effect yet.")
    ] = False,
    as_json: AsJSON = False,  # noqa: ARG001  # Read by `answers`.
) -> Answer:
    """Handle events anew; their effects are worked out from Stripe's present state."""
    from sqlalchemy import select

    from app import errors, wiring
    from app.database.models import ProviderEvent
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import event_store

    wiring.boot()
    wanted = list(event_ids or [])
    with transaction(tenant=ALL_TENANTS) as db:
        if unhandled:
            wanted += db.scalars(
                select(ProviderEvent.provider_id)
                .where(ProviderEvent.provider == "stripe", ProviderEvent.handled_at.is_(None))
                .order_by(ProviderEvent.occurred_at)
            ).all()
    if not wanted and not unhandled:
        typer.echo("Name events, or say --unhandled.", err=True)
        raise typer.Exit(2)
    failed = {}
    for event_id in wanted:
        try:
            with transaction(tenant=ALL_TENANTS) as db:
                event_store.replay(event_id, db, ports.current().payments)
        except errors.InboxGroveError as error:
            failed[event_id] = error.message
    result = {"replayed": len(wanted) - len(failed), "failed": failed or None}
    return result, 1 if failed else 0


@billing_app.command()
@answers
def refund(
    payment: Annotated[str, typer.Argument(help="A PaymentIntent, pi_….")],
    cents: Annotated[int | None, typer.Option(help="A part of it; all that is left without.")] = (
        None
    ),
    cause: Annotated[str, typer.Option(help="Why; the customer reads it.")] = "by agreement",
    as_json: AsJSON = False,  # noqa: ARG001  # Read by `answers`.
) -> Answer:
    """Give a payment back, wholly or in part; a job does it and the ledger shows it."""
    from sqlalchemy import select

    from app import errors, wiring
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import ledger, refunds

    wiring.boot()
    try:
        intent = ports.current().payments.get_payment_intent(payment)
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.scalars(
                select(Tenant).where(Tenant.stripe_customer_id == intent.customer)
            ).one_or_none()
            if tenant is None:
                raise errors.NotFound(resource="customer of this payment")
            purchase = ledger.purchase_of(payment, db)
            wish = refunds.request(
                tenant,
                payment,
                db,
                cause=cause,
                cents=cents,
                purchase_id=None if purchase is None else purchase.id,
            )
            result = {"refund_id": wish.id, "tenant_id": tenant.id, "status": wish.status}
    except errors.InboxGroveError as error:
        typer.echo(f"Not done: {error.message}", err=True)
        raise typer.Exit(1) from None
    return result, 0


@billing_app.command()
@answers
def alerts(
    resolve: Annotated[
        str | None, typer.Option(help="An alert's id: somebody has looked after it.")
    ] = None,
    as_json: AsJSON = False,  # noqa: ARG001  # Read by `answers`.
) -> Answer:
    """What waits for a person: disputes, losses, failed refunds, drift; exit 1 when anything."""
    from sqlalchemy import select

    from app import clock, wiring
    from app.database.models import OperatorAlert
    from app.database.session import ALL_TENANTS, transaction

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        if resolve is not None:
            db.get_one(OperatorAlert, UUID(resolve)).resolved_at = clock.now()
        rows = db.scalars(
            select(OperatorAlert)
            .where(OperatorAlert.resolved_at.is_(None))
            .order_by(OperatorAlert.id)
        ).all()
        found = [
            {
                "id": str(row.id),
                "kind": row.kind,
                "about": row.fact,
                "message": row.message,
                "age_hours": round((clock.now() - row.created_at).total_seconds() / 3600, 1),
            }
            for row in rows
        ]
    return {"open": found}, 1 if found else 0


@sandbox_app.command()
@answers
def advance(
    days: Annotated[int, typer.Option(min=0, help="Whole days.")] = 0,
    hours: Annotated[float, typer.Option(min=0.0, help="And hours.")] = 0.0,
    url: Annotated[
        str | None, typer.Option(envvar="SANDBOX_URL", help="Where the sandbox listens.")
    ] = None,
    as_json: AsJSON = False,  # noqa: ARG001  # Read by `answers`.
) -> Answer:
    """Move the one clock, day by day: each day's events and jobs are done before the next begins.

    So renewals, dunning and expiry happen as they would.
    """
    from app import wiring
    from app.config import get_settings

    wiring.boot()
    base = url or get_settings().stripe.api_base.rstrip("/").removesuffix("/stripe")
    began = time.monotonic()
    steps = [{"days": 1.0}] * days + ([{"hours": hours}] if hours else [])
    if not steps:
        typer.echo("Give --days or --hours.", err=True)
        raise typer.Exit(2)
    now = ""
    with closing(_Sandbox(base)) as sandbox:
        for step in steps:
            now = sandbox.ask("clock/advance", step)["now"]
            if not _quiet(sandbox):
                typer.echo(f"At {now} events or jobs still wait; the clock stands.", err=True)
                raise typer.Exit(1)
    return {"now": now, "seconds": round(time.monotonic() - began, 1)}, 0


class _Sandbox:
    """The sandbox's control, over one connection for the many small questions of an advance."""

    def __init__(self, base: str) -> None:
        import httpx

        self._base = base
        self._line = httpx.Client(timeout=60, trust_env=False)

    def close(self) -> None:
        self._line.close()

    def ask(self, path: str, body: dict[str, float] | None = None) -> dict[str, Any]:
        """POST with a body, else GET. Leaves the command with 1 when nobody answers."""
        import httpx

        try:
            method = "GET" if body is None else "POST"
            answer = self._line.request(method, f"{self._base}/control/{path}", json=body)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            typer.echo(f"The sandbox at {self._base} does not answer: {error}", err=True)
            raise typer.Exit(1) from None
        return found


def _quiet(sandbox: _Sandbox) -> bool:
    """Wait until nothing is on its way: no webhook waits, and no job that is due.

    The calendar comes after that, as the night comes after the day.
    """
    from app.database.session import ALL_TENANTS, transaction
    from app.tasks import schedule

    if not _settled(sandbox):
        return False
    with transaction(tenant=ALL_TENANTS) as db:
        # What the calendar asks for on this day; Beat would find it a few seconds later.
        begun = schedule.tick(db)
    return not begun or _settled(sandbox)


def _settled(sandbox: _Sandbox) -> bool:
    from app.database.queries import jobs
    from app.database.session import ALL_TENANTS, transaction

    deadline, calm = time.monotonic() + STEP_SECONDS, 0
    while time.monotonic() < deadline:
        waiting = sandbox.ask("stripe/deliveries")["count"]
        with transaction(tenant=ALL_TENANTS) as db:
            busy = waiting or jobs.unfinished(db)
        # Twice in a row, because an event may just be becoming a job.
        calm = 0 if busy else calm + 1
        if calm == 2:
            return True
        if busy:
            time.sleep(0.02)
    return False
