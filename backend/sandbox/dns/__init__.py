"""The name servers of the sandbox: one authority for everything, over UDP and TCP."""

from __future__ import annotations

from sandbox.dns.part import DnsPart
from sandbox.world import World


def build(world: World) -> DnsPart:
    return DnsPart(world)


__all__ = ["DnsPart", "build"]
