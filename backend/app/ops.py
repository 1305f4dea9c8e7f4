"""`inboxgrove ops …` and `inboxgrove admin …`: what operators do from a shell.

Every command takes --json; `invariants`, `outbox` and `audit-verify` leave with 1 when something is
wrong.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.services.operator_service import Credentials

ops_app = typer.Typer(no_args_is_help=True, help="Look after a running platform.")
admin_app = typer.Typer(no_args_is_help=True, help="Make operators and their access.")

AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Note = Annotated[str | None, typer.Option(help="For the tenant to read.")]
Name = Annotated[str, typer.Argument(help="The operator's name.")]


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
    from app.services.operator_service import OperatorService

    wiring.boot()
    _act_from_a_shell()
    with transaction(tenant=ALL_TENANTS) as db:
        replayed = 0
        if replay is not None:
            replayed = OperatorService.replay(None if replay == "all" else UUID(replay), db)
        result = {**queries.summary(db), "replayed": replayed}
    show(result, as_json)
    raise typer.Exit(1 if result["dead"] else 0)


@ops_app.command()
def domains(
    renew: Annotated[
        str | None, typer.Option(help="Ask the card for this name's next year now.")
    ] = None,
    restore: Annotated[
        str | None, typer.Option(help="Have this deleted name back for its tenant.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Names whose end is near or past, and names that leave; exit 1 when one is over."""
    from app import wiring
    from app.database.session import ALL_TENANTS, transaction
    from app.services import domain_leaving, domain_life, domain_renewal

    wiring.boot()
    _act_from_a_shell()
    with transaction(tenant=ALL_TENANTS) as db:
        asked = None if renew is None else domain_renewal.ask_now(renew, db)
        back = None if restore is None else domain_leaving.restore_by_name(restore, db)
        found, leaving = domain_life.overview(db), domain_leaving.overview(db)
    done = {"asked": asked, "restored": back}
    told = {name: str(id_) for name, id_ in done.items() if id_ is not None}
    show({"ending": found, "leaving": leaving, **told}, as_json)
    raise typer.Exit(1 if any(row["days_left"] == 0 for row in found) else 0)


@ops_app.command("domain-drift")
def domain_drift_view(as_json: AsJSON = False) -> None:
    """Active names whose DNS differs from what we publish and is not cured; exit 1 for any."""
    from app import wiring
    from app.database.session import ALL_TENANTS, transaction
    from app.services import domain_drift

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        found = domain_drift.overview(db)
    show({"differing": found}, as_json)
    raise typer.Exit(1 if found else 0)


@ops_app.command("mail-zone")
def mail_zone_view(as_json: AsJSON = False) -> None:
    """What MAIL_ZONE must hold, by real queries, and what it lacks with the cure; exit 1 for any.

    Exit 2 when the DNS does not answer.
    """
    from dataclasses import asdict

    from app import errors, wiring
    from app.integrations import ports
    from app.services import mail_policy

    wiring.boot()
    try:
        found = mail_policy.findings(ports.current())
    except errors.ProviderUnavailable as error:
        typer.echo(f"Not done: {error.message}", err=True)
        raise typer.Exit(2) from None
    faults = [asdict(finding) for finding in found if finding.fault]
    show({"checked": len(found), "faults": faults}, as_json)
    raise typer.Exit(1 if faults else 0)


@ops_app.command("audit-verify")
def audit_verify(
    tenant: Annotated[UUID | None, typer.Option(help="Only this tenant's chain.")] = None,
    heads: Annotated[
        Path | None,
        typer.Option(help="What AUDIT_HEADS_FILE collected: shows cut ends and chains made anew."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Check every audit chain; exit 1 and name tenant and seq where a row is not as it was written.

    Exit 2 when the heads cannot be read.
    """
    from app import wiring
    from app.database import heads_file
    from app.database.queries import audit
    from app.database.session import ALL_TENANTS, transaction

    wiring.boot()
    try:
        known = {} if heads is None else heads_file.read(heads)
    except (OSError, ValueError) as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(2) from None
    if tenant is not None:
        known = {id_: hashes for id_, hashes in known.items() if id_ == tenant}
    with transaction(tenant=tenant or ALL_TENANTS) as db:
        result = audit.verify(db, known, tenant_id=tenant)
    show(result, as_json)
    raise typer.Exit(1 if result["faults"] else 0)


@ops_app.command()
def reconcile(as_json: AsJSON = False) -> None:
    """Make the relay know what the database says, set stuck domains going, say what was done."""
    from dataclasses import asdict

    from app import wiring
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import directory_repair
    from app.services.domain_service import DomainService

    wiring.boot()
    with transaction(tenant=ALL_TENANTS) as db:
        resumed = DomainService.resume_stuck(db)
        repairs = directory_repair.reconcile(db, ports.current().mail)
    show({**asdict(repairs), "domains_resumed": resumed}, as_json)


@ops_app.command()
def kill(
    tenant_id: str,
    reason: Annotated[
        str, typer.Option(help="spam_complaint, blacklisted, payment_failed, terms_violation")
    ] = "terms_violation",
    note: Note = None,
    as_json: AsJSON = False,
) -> None:
    """Suspend a tenant: the API refuses at once, the relay within seconds."""
    _switch(tenant_id, reason, note, as_json)


@ops_app.command()
def unkill(tenant_id: str, note: Note = None, as_json: AsJSON = False) -> None:
    """Reinstate a suspended tenant."""
    _switch(tenant_id, None, note, as_json)


def _switch(tenant_id: str, reason: str | None, note: str | None, as_json: bool) -> None:
    from app.services.operator_service import OperatorService

    def turn(db: Session) -> dict[str, Any]:
        if reason is None:
            tenant = OperatorService.reinstate(UUID(tenant_id), db, note=note)
        else:
            tenant = OperatorService.suspend(UUID(tenant_id), reason, db, note=note)
        return {
            "tenant_id": tenant.id,
            "is_suspended": tenant.is_suspended,
            "reason": tenant.suspension_reason,
        }

    show(do(turn), as_json)


@admin_app.command("create-operator")
def create_operator(name: Name, as_json: AsJSON = False) -> None:
    """Make a platform operator; print the token and the second factor's secret, once."""
    from app.services.operator_service import OperatorService

    _hand_over(do(lambda db: _credentials(OperatorService.create(name, db))), as_json)


@admin_app.command("list-operators")
def list_operators(as_json: AsJSON = False) -> None:
    """Who may run the platform, and who might once."""
    from app.database.queries import platform

    def look(db: Session) -> dict[str, Any]:
        return {
            "operators": [
                {
                    "operator_id": operator.id,
                    "name": operator.name,
                    "second_factor": operator.totp_secret is not None,
                    "created_at": operator.created_at,
                    "last_used_at": operator.last_used_at,
                    "revoked_at": operator.revoked_at,
                }
                for operator in platform.operators(db)
            ]
        }

    result = do(look)
    if as_json:
        show(result, as_json)
        return
    for row in result["operators"]:
        state = "active" if row["second_factor"] else "needs reset-operator-2fa"
        if row["revoked_at"] is not None:
            state = f"revoked {row['revoked_at']:%Y-%m-%d}"
        used = "never used" if row["last_used_at"] is None else f"used {row['last_used_at']:%F %R}"
        typer.echo(f"{row['operator_id']}  {row['name']}: {state}, {used}")


@admin_app.command("revoke-operator")
def revoke_operator(name: Name, as_json: AsJSON = False) -> None:
    """End an operator's access for good, open sessions too."""
    from app.services.operator_service import OperatorService

    def revoke(db: Session) -> dict[str, Any]:
        operator = OperatorService.revoke(name, db)
        return {
            "operator_id": operator.id,
            "name": operator.name,
            "revoked_at": operator.revoked_at,
        }

    show(do(revoke), as_json)


@admin_app.command("reset-operator-2fa")
def reset_operator_2fa(name: Name, as_json: AsJSON = False) -> None:
    """Give an operator a new second factor and end their sessions; the token stays."""
    from app.services.operator_service import OperatorService

    _hand_over(do(lambda db: _credentials(OperatorService.reset_two_factor(name, db))), as_json)


def do(deed: Callable[[Session], dict[str, Any]]) -> dict[str, Any]:
    """Do it in one transaction, put down to the shell; exit 1 with the reason if it is refused."""
    from app import errors, wiring
    from app.database.session import ALL_TENANTS, transaction

    wiring.boot()
    _act_from_a_shell()
    try:
        with transaction(tenant=ALL_TENANTS) as db:
            return deed(db)
    except (errors.InboxGroveError, ValueError) as error:
        typer.echo(f"Not done: {error}", err=True)
        raise typer.Exit(1) from None


def _act_from_a_shell() -> None:
    """Whoever has a shell on the platform is an operator, though none by name."""
    from app.database import audit

    audit.acting_as(audit.Actor("operator"))


def _credentials(made: Credentials) -> dict[str, Any]:
    shown = {
        "operator_id": made.operator.id,
        "name": made.operator.name,
        "token": made.token,
        "totp_secret": made.totp_secret,
        "otpauth_uri": made.otpauth_uri,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _hand_over(credentials: Mapping[str, Any], as_json: bool) -> None:
    """Print what cannot be read again, for people with a QR code for their authenticator app."""
    import segno

    show(credentials, as_json)
    if as_json:
        return
    drawn = io.StringIO()
    segno.make(credentials["otpauth_uri"], error="m", micro=False).terminal(drawn, compact=True)
    # White on black whatever the terminal's colours are: many cameras cannot read it inverted.
    lines = drawn.getvalue().splitlines()
    typer.echo("\n".join(typer.style(line, fg="bright_white", bg="black") for line in lines))
    typer.echo("Keep these now: they are not shown again.")
