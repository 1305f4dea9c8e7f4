"""The groups of commands, imported when one of their commands is asked for: they are heavy."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

GROUPS = {
    "ops": (
        "app.ops_commands:ops_app",
        "Look after a running system: invariants, outbox, jobs, kill, backup, restore, and more.",
    ),
    "admin": (
        "app.ops_commands:admin_app",
        "Look after the people who run the platform: create-operator, list-operators, and more.",
    ),
    "billing": (
        "app.ops_billing:billing_app",
        "Look after the books: audit, reconcile, replay, refund, alerts.",
    ),
    "mail": ("app.ops_mail:mail_app", "Look at our own mail to people: preview."),
    "sandbox": ("app.ops_billing:sandbox_app", "Move the sandbox's clock: advance --days N."),
}
"""By name: where the group is, and what it is for."""


class LazyGroup(TyperGroup):
    """A group that is imported for its commands, and not for being listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        if self.commands:
            return
        # Without a DATABASE_URL the command is meant for the stack that runs on the data directory;
        # before the import, which reads the settings.
        from app.embedded.stack import adopt

        os.environ.update(adopt(os.environ))
        module, _, name = GROUPS[str(self.name)][0].partition(":")
        group: Any = typer.main.get_group(getattr(import_module(module), name))
        self.commands.update(group.commands)


def install(cli: typer.Typer) -> None:
    """Add every group to the command line."""
    for name, (_, purpose) in GROUPS.items():
        cli.add_typer(typer.Typer(cls=LazyGroup, no_args_is_help=True), name=name, help=purpose)
