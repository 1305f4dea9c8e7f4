"""`inboxgrove ops mail-zone` against name servers: a platform's zone that lacks everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.contracts.tools import Sandbox

BACKEND = Path(__file__).resolve().parents[2]


def asked(server: str, **more: str) -> tuple[int, dict[str, Any]]:
    said = subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", "mail-zone", "--json"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "DNS_RESOLVERS": server, **more},
    )
    return said.returncode, json.loads(said.stdout or "{}")


def test_what_a_zone_lacks_is_said_with_its_cure(sandbox: Sandbox) -> None:
    code, found = asked(f"127.0.0.1:{sandbox.world.ports['dns']}", MAIL_ZONE="nothing.test")
    assert code == 1
    assert len(found["faults"]) == found["checked"] == 7
    by_name = {fault["name"]: fault for fault in found["faults"]}
    consent = by_name["*._report._dmarc.rua.nothing.test"]
    assert consent["fix"] == 'Add the TXT record *._report._dmarc.rua.nothing.test: "v=DMARC1"'
    assert "no SPF record there" in by_name["_spf.nothing.test"]["fault"]
