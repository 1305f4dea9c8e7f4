"""The world a part lives in, and what a part is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from sandbox.clock import VirtualClock
from sandbox.config import SandboxConfig
from sandbox.faults import Faults
from sandbox.store import Store


class Part(Protocol):
    """One provider or machine outside our walls."""

    name: str

    def asgi(self) -> ASGIApp | None:
        """What is mounted at /{name}; None when the part speaks no HTTP."""

    async def start(self) -> None:
        """Bind listeners and start background work; `world.ports` holds the bound ports."""

    async def stop(self) -> None:
        """Leave nothing behind; called once, also when start of a later part failed."""

    async def tick(self) -> None:
        """Do all work that is due at `world.clock.now()`."""

    def control(self) -> list[BaseRoute]:
        """Routes below /control/{name}."""


@dataclass
class World:
    config: SandboxConfig
    clock: VirtualClock
    store: Store
    faults: Faults = field(default_factory=Faults)
    parts: dict[str, Part] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def create(cls, config: SandboxConfig) -> World:
        return cls(config, VirtualClock(config.clock_offset_file), Store(config.data_dir))
