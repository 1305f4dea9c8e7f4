"""What every journey must leave behind: no request that does not fit the SDK's own types."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.namecheap.catalog import TLDS
from tests.fixtures.world import Running


@pytest.fixture(autouse=True)
def every_request_fits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stripe's part checks each request against `stripe.params`; none may have been refused."""
    if "world" not in request.fixturenames:
        yield
        return
    world: Running = request.getfixturevalue("world")
    asked = f"{world.sandbox_url}/control/stripe/requests"
    known = len(httpx.get(asked, timeout=10).json()["misfits"])
    yield
    assert httpx.get(asked, timeout=10).json()["misfits"][known:] == []


@pytest.fixture(autouse=True)
def settings_are_put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """The dashboard of Stripe and the registrar's prices are the world's, which tests share."""
    yield
    if "world" in request.fixturenames:
        world: Running = request.getfixturevalue("world")
        world.control(
            "stripe/settings", retry_days=[3, 5], after_retries="mark_unpaid", refunds="succeeded"
        )
        price = str(TLDS["com"].register)
        world.control("namecheap/settings", prices={"com": {"register": price}})
