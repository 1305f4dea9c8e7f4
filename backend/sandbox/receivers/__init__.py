"""The recipients' side: mail hosts that judge what they are sent, and a page to read it on."""

from __future__ import annotations

from sandbox.receivers.part import Receivers
from sandbox.world import World


def build(world: World) -> Receivers:
    return Receivers(world)
