"""Namecheap at the wire: `/namecheap/xml.response`, the registrar of the sandbox."""

from __future__ import annotations

from collections.abc import Container, Sequence

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


def hold_elsewhere(world: World, name: str, servers: Sequence[str]) -> None:
    """Another registrar of this world holds the name: taken here, and served where it points."""
    part = world.parts.get("namecheap")
    if isinstance(part, NamecheapPart):
        part.registry.elsewhere[name] = {"name_servers": list(servers)}
        part.registry.refresh()


def known_names(world: World) -> Container[str]:
    """Every name that is registered in this world, whoever holds it."""
    return delegations(world)


__all__ = ["NamecheapPart", "build", "delegations", "hold_elsewhere", "known_names"]
