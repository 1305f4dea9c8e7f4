"""Stripe at the wire: the API the real SDK speaks, its clockwork and its webhooks.

Only what a subscription product with one-time card payments needs is imitated. A parameter that
real Stripe knows and this part does not is refused, never silently ignored.
"""

from __future__ import annotations

from sandbox.stripe.part import StripePart
from sandbox.world import World


def build(world: World) -> StripePart:
    return StripePart(world)


__all__ = ["StripePart", "build"]
