"""Porkbun at the wire: `/porkbun/api/json/v3`, another registrar of the sandbox."""

from __future__ import annotations

from sandbox.porkbun.part import PorkbunPart
from sandbox.world import World


def build(world: World) -> PorkbunPart:
    return PorkbunPart(world)


__all__ = ["PorkbunPart", "build"]
