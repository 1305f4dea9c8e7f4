"""The whole product by `inboxgrove up`: every process real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.embedded.environment import DEFAULT_PORTS
from app.embedded.process import command_of

BACKEND = Path(__file__).resolve().parents[2]
INBOXGROVE = (sys.executable, "-m", "app.cli")
PARTS = ["PostgreSQL", "Valkey", "sandbox", "API", "relay", "worker", "beat"]


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def fetch(url: str) -> dict:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as got:
        return json.load(got)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A machine where nothing is configured, and every port is free to choose."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(tmp_path)),
        "DATA_DIR": str(tmp_path / "data"),
        **dict.fromkeys((*DEFAULT_PORTS, "PG_PORT", "VALKEY_PORT"), "0"),
    }


@pytest.fixture
def up(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    parent = subprocess.Popen(
        [*INBOXGROVE, "up", "--json"],
        cwd=BACKEND,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    line = parent.stdout.readline()
    if not line:
        pytest.fail(parent.communicate()[1])
    yield parent, json.loads(line)
    parent.kill()
    parent.communicate()


def status(env: dict[str, str]) -> dict:
    said = subprocess.run(
        [*INBOXGROVE, "status", "--json"],
        cwd=BACKEND,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(said.stdout)


@pytest.mark.timeout(180)
def test_the_product_runs_heals_and_leaves_nothing_behind(up, env):
    parent, endpoints = up
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        endpoints["api"] + "/readyz", timeout=10
    ) as answer:
        assert answer.status == 200
    assert "/api/v1/auth/register" in fetch(endpoints["api"] + "/openapi.json")["paths"]
    assert fetch(endpoints["sandbox"] + "/control/health")["ok"]
    before = status(env)
    assert list(before["pids"]) == PARTS
    assert all(before["alive"].values())

    os.kill(before["pids"]["worker"], signal.SIGKILL)
    assert eventually(lambda: status(env)["pids"]["worker"] != before["pids"]["worker"])
    assert eventually(lambda: all(status(env)["alive"].values()))

    second = subprocess.run(
        [*INBOXGROVE, "up"], cwd=BACKEND, env=env, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"process {parent.pid}" in second.stderr

    alive = {pid: command_of(pid) for pid in status(env)["pids"].values()}
    began = time.monotonic()
    parent.terminate()
    assert parent.wait(30) == 0
    assert time.monotonic() - began < 20
    assert all(command_of(pid) != command for pid, command in alive.items())
    assert status(env) == {"running": False}
