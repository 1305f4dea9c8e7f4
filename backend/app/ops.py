"""`inboxgrove ops …` and `inboxgrove admin …`: what operators do from a shell.

Every command takes --json; `invariants` and `outbox` leave with 1 when something is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer

ops_app = typer.Typer(no_args_is_help=True, help="Look after a running platform.")
admin_app = typer.Typer(no_args_is_help=True, help="Make operators and their access.")

AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def show(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, default=str))
        return
    for name, value in result.items():
        typer.echo(f"{name}: {value if value not in ([], None) else 'ok'}")


@ops_app.command()
def invariants(as_json: AsJSON = False) -> None:
    """Check what must always be true; exit 1 and list the ids where it is not."""
    from app import wiring
    from app.database.queries import invariants as queries
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services.directory_service import unknown_to_the_relay

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        found = queries.run(db)
        found["I8_ready_means_known_to_the_relay"] = unknown_to_the_relay(db, ports.current().mail)
    show(found, as_json)
    raise typer.Exit(1 if any(found.values()) else 0)


@ops_app.command()
def outbox(
    replay: Annotated[
        str | None, typer.Option(help="A dead job's id, or 'all': try it again.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Jobs by state, the oldest that waits, and the dead; exit 1 when some are dead."""
    from app import wiring
    from app.database.queries import jobs as queries
    from app.database.session import ALL_TENANTS, transaction

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        replayed = 0
        if replay is not None:
            replayed = queries.replay(db, None if replay == "all" else UUID(replay))
        result = {**queries.summary(db), "replayed": replayed}
    show(result, as_json)
    raise typer.Exit(1 if result["dead"] else 0)


@ops_app.command()
def reconcile(as_json: AsJSON = False) -> None:
    """Make the relay know what the database says, set stuck domains going, say what was done."""
    from dataclasses import asdict

    from app import wiring
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services.directory_service import DirectoryService
    from app.services.domain_service import DomainService

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        resumed = DomainService.resume_stuck(db)
        repairs = DirectoryService.reconcile(db, ports.current().mail)
    show({**asdict(repairs), "domains_resumed": resumed}, as_json)


@ops_app.command()
def kill(
    tenant_id: str,
    reason: Annotated[
        str, typer.Option(help="spam_complaint, blacklisted, payment_failed, terms_violation")
    ] = "terms_violation",
    as_json: AsJSON = False,
) -> None:
    """Suspend a tenant: the API refuses at once, the relay within seconds."""
    _switch(tenant_id, reason, as_json)


@ops_app.command()
def unkill(tenant_id: str, as_json: AsJSON = False) -> None:
    """Reinstate a suspended tenant."""
    _switch(tenant_id, None, as_json)


def _switch(tenant_id: str, reason: str | None, as_json: bool) -> None:
    from app import errors, wiring
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.services.subscription_service import SubscriptionService

    wiring.boot()
    try:
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get(Tenant, UUID(tenant_id))
            if tenant is None:
                raise errors.NotFound(resource="tenant")
            if reason is None:
                tenant = SubscriptionService.reinstate_tenant(tenant, db)
            else:
                tenant = SubscriptionService.suspend_tenant(tenant, reason, db)
            result = {
                "tenant_id": tenant.id,
                "is_suspended": tenant.is_suspended,
                "reason": tenant.suspension_reason,
            }
    except (errors.InboxGroveError, ValueError) as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None
    show(result, as_json)


@admin_app.command("create-operator")
def create_operator(name: str, as_json: AsJSON = False) -> None:
    """Make a platform operator and print the access token, once."""
    from app import wiring
    from app.database.models import Operator
    from app.database.session import ALL_TENANTS, transaction
    from app.utils import security

    wiring.boot()
    token = f"ig_op_{security.new_token()}"
    with transaction(tenant=ALL_TENANTS) as db:
        operator = Operator(name=name, token_hash=security.token_hash(token))
        db.add(operator)
        db.flush()
        result = {"operator_id": operator.id, "name": name, "token": token}
    show(result, as_json)
