"""Fixtures of the Stripe part's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.config import SandboxConfig
from tests.sandbox.stripe.tools import SECRET, Receiver, Sandbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def start(receiver: Receiver) -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes; with a folder they remember."""
    running_: list[Sandbox] = []

    def make(folder: Path | None = None, **more: Any) -> Sandbox:
        config = SandboxConfig(
            http_port=0,
            data_dir=folder,
            clock_offset_file=folder / "clock" if folder else None,
            stripe_webhook_url=receiver.url,
            stripe_webhook_secret=SECRET,
            **more,
        )
        running_.append(Sandbox(config))
        return running_[-1]

    yield make
    for one in running_:
        one.close()


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    return start()
