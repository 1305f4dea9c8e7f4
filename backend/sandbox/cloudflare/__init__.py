"""Cloudflare at the wire: zones and DNS records of API v4 below /cloudflare/client/v4."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.cloudflare.part import CloudflarePart
from sandbox.cloudflare.zones import Zone
from sandbox.world import World


def build(world: World) -> CloudflarePart:
    return CloudflarePart(world)


def zones(world: World) -> Mapping[str, Zone]:
    """Domain -> zone, active or not; a snapshot that is replaced, never changed.

    Empty when the world runs without this part.
    """
    part = world.parts.get("cloudflare")
    return part.zones.snapshot if isinstance(part, CloudflarePart) else {}


__all__ = ["CloudflarePart", "Zone", "build", "zones"]
