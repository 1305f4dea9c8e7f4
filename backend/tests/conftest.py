"""Real PostgreSQL and Valkey for every test that asks; sockets closed except loopback."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

import pytest

from tests.fixtures import servers

pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.world",
    "tests.fixtures.actors",
    "tests.fixtures.domains",
    "tests.fixtures.customer",
    "tests.fixtures.operators",
    "tests.fixtures.signed_in",
    "tests.fixtures.team",
    "tests.fixtures.money",
    "tests.fixtures.relay",
]


def pytest_configure(config: pytest.Config) -> None:
    servers.start(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    servers.stop(config)
    # Clients that live as long as the process are closed with it, and need not be announced.
    warnings.simplefilter("ignore", ResourceWarning)


@pytest.fixture(autouse=True)
def keys_stay() -> Iterator[None]:
    """The keys of the process after a test are those before it, whatever the test configured.

    Else inboxes of a later test would be made with a pepper that the running relay does not know.
    """
    from app.utils import security

    before = security._configured
    yield
    if before is not None:
        security._configured = before


@pytest.fixture(autouse=True)
def nobody_acts_on() -> Iterator[None]:
    """A command that a test ran acts as an operator for as long as its process lives: for a test."""
    yield
    audit = sys.modules.get("app.database.audit")
    if audit is not None:
        audit.acting_as(audit.SYSTEM)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
