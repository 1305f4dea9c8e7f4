"""Namecheap at the wire: `/namecheap/xml.response`, the registrar of the sandbox."""

from __future__ import annotations

from sandbox.namecheap.part import NamecheapPart
from sandbox.world import World


def build(world: World) -> NamecheapPart:
    return NamecheapPart(world)


def delegations(world: World) -> dict[str, tuple[str, ...]]:
    """Every registered name -> its name servers at the registrar, lower case.

    The answer is a snapshot that is replaced, never changed, so a reader may compare identities
    to learn whether anything happened. Empty when the world runs without this part.
    """
    part = world.parts.get("namecheap")
    return part.registry.delegations if isinstance(part, NamecheapPart) else {}


__all__ = ["NamecheapPart", "build", "delegations"]
