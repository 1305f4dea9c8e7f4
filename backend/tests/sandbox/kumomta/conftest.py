"""Running nodes, alone on loopback with a Valkey of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sandbox.kumomta import surroundings
from tests.sandbox.kumomta.plane import ControlPlane, Plane
from tests.sandbox.kumomta.surroundings import StartPlane


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with surroundings.valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
async def control_plane() -> AsyncIterator[ControlPlane]:
    async with surroundings.control_plane() as plane:
        yield plane


@pytest.fixture
async def start_plane(valkey_url: str, control_plane: ControlPlane) -> AsyncIterator[StartPlane]:
    async with surroundings.planes(valkey_url, control_plane) as run:
        yield run


@pytest.fixture
async def plane(start_plane: StartPlane) -> AsyncIterator[Plane]:
    """A running node with one active inbox."""
    async with start_plane() as running_plane:
        running_plane.add_inbox()
        yield running_plane
