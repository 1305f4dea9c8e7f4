"""Applies the migrations below `versions/`; `alembic.ini` stands at backend/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine

_HERE = Path(__file__).parent


def config() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(_HERE))
    return settings


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest version; safe to repeat and to run twice at once."""
    settings = config()
    # As the user of the URL itself: the role that `engine` connects as may not change the schema.
    settings.attributes["engine"] = create_engine(engine.url, poolclass=NullPool)
    command.upgrade(settings, "head")


def head() -> str | None:
    """The newest version there is."""
    return ScriptDirectory.from_config(config()).get_current_head()


def current(engine: Engine) -> str | None:
    """The version the database is at; None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_later(version: str | None) -> bool:
    """Whether a database at `version` belongs to a later release: this one does not know it.

    Migrations only add what the release before does not mind, so that one may go on meanwhile.
    """
    return version is not None and version not in _known()


@cache
def _known() -> frozenset[str]:
    return frozenset(
        script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()
    )
