"""SPF, DKIM and DMARC as a receiver sees them, over real SMTP and real DNS."""

from __future__ import annotations

import time

import pytest

from .conftest import Names, Side, Signer, letter


async def test_everything_in_order_passes(side: Side, acme: Names, signer: Signer) -> None:
    code, answer = await side.send(signer.sign(letter(), "acme.test"), tls=True)
    assert code == 250, answer
    kept = await side.only()
    assert (kept["spf"], kept["dkim"], kept["dmarc"]) == ("pass", "pass", "pass")
    assert (kept["dkim_domain"], kept["dkim_selector"]) == ("acme.test", "s1")
    assert kept["tls"] is True
    assert str(kept["authentication_results"]).startswith("mx.gmail.test; spf=pass ")
    assert "dmarc=pass" in str(kept["raw"])
