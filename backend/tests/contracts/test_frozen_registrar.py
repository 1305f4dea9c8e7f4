"""How long a registrar is waited for that takes calls and answers none."""

from __future__ import annotations

from app.integrations.namecheap_wire import BUYING, READING


def test_who_searches_waits_less_than_who_buys() -> None:
    # Mail programs, browsers and proxies give up after half a minute.
    assert READING.read is not None
    assert READING.read < 30
    # The documented sample of a registration took 29.9 s; giving up on one is an unknown outcome.
    assert BUYING.read is not None
    assert BUYING.read >= 60
