"""`inboxgrove`: run the product, or one process of it.

`up` and `demo` run everything on one machine. In production each process is a command of its own
(`api`, `worker`, `relay`, `beat`, and `migrate` before them), configured by environment and leaving
cleanly on SIGTERM.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.embedded.stack import Stack

BACKEND = Path(__file__).resolve().parents[1]
# Everything after the name belongs to the commands of app.ops, which is heavy to import.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

MetricsPort = Annotated[
    int,
    typer.Option(envvar="METRICS_PORT", min=0, help="Where Prometheus reads /metrics; 0: nowhere."),
]
MetricsHost = Annotated[
    str, typer.Option(envvar="METRICS_HOST", help="An address that is not public.")
]

cli = typer.Typer(
    name="inboxgrove",
    help="Self-hosted e-mail sending infrastructure.",
    no_args_is_help=True,
    add_completion=False,
)


@cli.command()
def up(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the endpoints as one line of JSON when ready.")
    ] = False,
) -> None:
    """Run everything until Ctrl-C: servers, sandbox, API, relay, worker and beat."""

    def ready(stack: Stack) -> None:
        if as_json:
            typer.echo(json.dumps(stack.state()["endpoints"]))
        else:
            _print_endpoints(stack.state()["endpoints"])

    with _new_stack() as stack:
        _run(stack, ready)


@cli.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards.")] = (
        False
    ),
) -> None:
    """Show the product end to end; beside a stack that runs, or in one of its own."""
    from app.embedded.environment import Choices
    from app.embedded.stack import STATE_FILE, running_state

    data_dir = Choices.read(os.environ, BACKEND).data_dir
    command = [sys.executable, "-m", "demo", "--stack", str(data_dir / STATE_FILE)]
    running = running_state(data_dir)
    if running is not None and running["ready"]:
        raise typer.Exit(subprocess.call(command, cwd=BACKEND))
    code = 1

    def show(stack: Stack) -> None:
        nonlocal code
        with subprocess.Popen(command, cwd=BACKEND) as script:
            try:
                stack.watch(until=lambda: script.poll() is not None)
            finally:
                script.terminate()
        code = 130 if stack.stopping else script.returncode
        if not keep:
            stack.request_stop()
        elif not stack.stopping:
            _print_endpoints(stack.state()["endpoints"])

    with _new_stack({"PORTS": "auto"}) as stack:
        _run(stack, show)
    raise typer.Exit(code)


@cli.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what runs on the data directory; exit code 1 when nothing does."""
    from app.embedded.environment import Choices
    from app.embedded.process import command_of
    from app.embedded.stack import running_state

    data_dir = Choices.read(os.environ, BACKEND).data_dir
    state = running_state(data_dir)
    if state is None:
        typer.echo(json.dumps({"running": False}) if as_json else f"Nothing runs on {data_dir}.")
        raise typer.Exit(1)
    alive = {title: bool(pid and command_of(pid)) for title, pid in state["pids"].items()}
    if as_json:
        shown = {name: state[name] for name in ("pid", "ready", "endpoints", "pids")}
        typer.echo(json.dumps({"running": True, **shown, "alive": alive}))
        return
    for title, pid in state["pids"].items():
        typer.echo(f"{title:<11} {'running' if alive[title] else 'down':<8} process {pid}")
    _print_endpoints(state["endpoints"])


@cli.command()
def api(
    host: Annotated[str, typer.Option(envvar="API_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="API_PORT")] = 8000,
    workers: Annotated[int, typer.Option(envvar="WEB_CONCURRENCY", min=1)] = 1,
    grace: Annotated[
        int, typer.Option(help="Seconds that requests may take to end on SIGTERM.", min=0)
    ] = 10,
) -> None:
    """Serve HTTP."""
    if workers > 1:
        _count_together()
    import uvicorn

    from app import wiring
    from app.config import get_settings

    uvicorn.run(
        "app.main:app",
        host=host,
        port=port,
        workers=workers,
        timeout_graceful_shutdown=grace,
        **wiring.build_server_options(get_settings()),
    )


@cli.command()
def worker(
    queues: Annotated[
        str, typer.Option("--queues", "-Q", help="Comma list of queues; all when left out.")
    ] = "",
    concurrency: Annotated[int, typer.Option(envvar="WORKER_CONCURRENCY", min=1)] = 2,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = "0.0.0.0",
) -> None:
    """Do the background jobs."""
    _count_together()
    from app.tasks.celery_app import ALL_QUEUES
    from app.tasks.celery_app import app as celery

    _boot("worker", metrics_port, metrics_host)
    celery.worker_main(
        [
            *("worker", "--queues", queues or ALL_QUEUES, "--concurrency", str(concurrency)),
            # Workers need not know of one another, and asking around costs a second at the start.
            *("--without-gossip", "--without-mingle"),
        ]
    )


@cli.command()
def relay(metrics_port: MetricsPort = 0, metrics_host: MetricsHost = "0.0.0.0") -> None:
    """Hand what the outbox holds to the workers."""
    from app.tasks.relay import run

    _boot("relay", metrics_port, metrics_host)
    run()


@cli.command()
def beat(metrics_port: MetricsPort = 0, metrics_host: MetricsHost = "0.0.0.0") -> None:
    """Send the tick from which scheduled work is found; run exactly one."""
    from app.tasks.celery_app import app as celery

    _boot("beat", metrics_port, metrics_host)
    # Due times live in the database, so what Beat remembers is worth nothing after its end.
    with tempfile.TemporaryDirectory(prefix="inboxgrove-beat-") as scratch:
        celery.start(["beat", "--schedule", f"{scratch}/schedule", "--pidfile="])


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from alembic import command
    from alembic.config import Config

    _adopt_running_stack()
    command.upgrade(Config(str(BACKEND / "alembic.ini")), "head")


@cli.command(context_settings=PASS_ON)
def ops(context: typer.Context) -> None:
    """Look after a running system: invariants, outbox, jobs, kill, backup, restore …"""
    _adopt_running_stack()
    from app.ops import ops_app
    from app.ops_appeals import appeals_app
    from app.ops_backup import backup, backup_verify, restore
    from app.ops_claims import domain_claims
    from app.ops_dkim import dkim_app
    from app.ops_events import replay_events
    from app.ops_jobs import jobs
    from app.ops_nodes import nodes_app
    from app.ops_restored import restored_app
    from app.ops_transfers import transfer_code

    ops_app.command()(backup)
    ops_app.command("backup-verify")(backup_verify)
    ops_app.command()(restore)
    ops_app.command("domain-claims")(domain_claims)
    ops_app.command("replay-events")(replay_events)
    ops_app.command()(jobs)
    ops_app.command("transfer-code")(transfer_code)
    ops_app.add_typer(appeals_app, name="appeals")
    ops_app.add_typer(nodes_app, name="nodes")
    ops_app.add_typer(dkim_app, name="dkim")
    ops_app.add_typer(restored_app, name="restored")
    _pass_on(ops_app, "ops", context.args)


@cli.command(context_settings=PASS_ON)
def admin(context: typer.Context) -> None:
    """Look after the people who run the platform: create-operator, list-operators, and more."""
    _adopt_running_stack()
    from app.ops import admin_app

    _pass_on(admin_app, "admin", context.args)


@cli.command(context_settings=PASS_ON)
def billing(context: typer.Context) -> None:
    """Look after the books: audit, reconcile, replay, refund, alerts."""
    _adopt_running_stack()
    from app.ops_billing import billing_app

    _pass_on(billing_app, "billing", context.args)


@cli.command(context_settings=PASS_ON)
def mail(context: typer.Context) -> None:
    """Look at our own mail to people: preview."""
    from app.ops_mail import mail_app

    _pass_on(mail_app, "mail", context.args)


@cli.command(context_settings=PASS_ON)
def sandbox(context: typer.Context) -> None:
    """Move the sandbox's clock: advance --days N."""
    _adopt_running_stack()
    from app.ops_billing import sandbox_app

    _pass_on(sandbox_app, "sandbox", context.args)


def _boot(process: str, metrics_port: int, metrics_host: str) -> None:
    """Prepare a background process, and let Prometheus look at it."""
    from app import wiring
    from app.telemetry import exporter

    wiring.boot(process=process)
    exporter.serve(metrics_port, metrics_host)


def _count_together() -> None:
    """Have this process and those that it starts count into one directory.

    Before the metrics are made, because they are made in files or in memory. A directory that was
    named from outside is left to whoever named it.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return
    directory = tempfile.mkdtemp(prefix="inboxgrove-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    mine = os.getpid()

    def clean() -> None:
        # Forked children inherit this, and must not delete what is still counted in.
        if os.getpid() == mine:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(clean)


def _pass_on(group: typer.Typer, name: str, arguments: list[str]) -> None:
    root = typer.Typer(add_completion=False)  # A lone command of a group keeps its name this way.
    root.add_typer(group, name=name)
    root(args=[name, *arguments], prog_name="inboxgrove")


def _adopt_running_stack() -> None:
    """Without a DATABASE_URL the command is meant for the stack that runs on the data directory."""
    from app.embedded.stack import adopt

    os.environ.update(adopt(os.environ))


def _new_stack(defaults: dict[str, str] | None = None) -> Stack:
    from app.embedded.environment import Choices
    from app.embedded.stack import Stack

    choices = Choices.read({**(defaults or {}), **os.environ}, BACKEND)
    return Stack(choices, lambda line: typer.echo(f"  {line}", err=True))


def _run(stack: Stack, when_ready: Callable[[Stack], None]) -> None:
    """Start, do `when_ready`, watch until Ctrl-C or SIGTERM; exit code 1 with the reason."""
    from app.embedded.environment import StackError

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stack.request_stop)
    try:
        stack.start()
        if not stack.stopping:
            when_ready(stack)
        stack.watch()
    except StackError as error:
        typer.echo(f"\n{error}", err=True)
        raise typer.Exit(1) from error


def _print_endpoints(endpoints: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, where in endpoints.items():
        table.add_row(f"  [bold]{name}[/bold]", where)
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print("\n  Ctrl-C stops everything.", style="dim")


def main() -> None:
    """The entry point of the `inboxgrove` command."""
    cli()


if __name__ == "__main__":
    main()
