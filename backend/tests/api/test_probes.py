"""Readiness tells the truth; browsers of other origins are kept out."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from app.config import Settings
from app.database import migrations
from app.main import create_app
from tests.fixtures.world import Running


def test_without_redis_it_is_not_ready(world: Running) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        app = create_app(Settings(redis_url=f"redis://127.0.0.1:{probe.getsockname()[1]}/0"))
        answer = TestClient(app).get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"database": "ok", "redis": "unreachable"}
        assert TestClient(app).get("/healthz").status_code == 200
        # Limits are counted locally meanwhile; requests are served.
        assert TestClient(app).get("/api/v1/billing/plans").status_code == 200
    create_app()  # The process' providers are again those of the environment.


def test_behind_the_newest_schema_it_is_not_ready(world: Running) -> None:
    app = create_app()
    app.state.schema = "9999"
    answer = TestClient(app).get("/readyz")
    assert answer.status_code == 503
    assert "not 9999" in answer.json()["checks"]["database"]


@pytest.fixture
def upgraded(owner: Engine) -> Iterator[None]:
    """A later release has migrated the database already."""
    change = text("UPDATE alembic_version SET version_num = :to WHERE version_num = :was")
    head = migrations.head()
    with owner.begin() as db:
        db.execute(change, {"was": head, "to": "of_a_later_release"})
    yield
    with owner.begin() as db:
        db.execute(change, {"was": "of_a_later_release", "to": head})


def test_on_the_schema_of_a_later_release_it_is_ready(world: Running, upgraded: None) -> None:
    # Else an upgrade would take every process of this release out of service at its first step.
    answer = TestClient(create_app()).get("/readyz")
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}
    assert answer.status_code == 200


def test_migrating_to_the_schema_of_an_earlier_release_changes_nothing(
    world: Running, upgraded: None
) -> None:
    # Whoever goes back to it starts its migrate as well.
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "migrate"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "later release" in done.stderr


@pytest.fixture
def listed(world: Running) -> TestClient:
    return TestClient(
        create_app(
            Settings(cors_origins=["https://app.acme.test"], allowed_hosts=["api.acme.test"])
        ),
        base_url="http://api.acme.test",
    )


def test_only_listed_origins_may_ask(listed: TestClient) -> None:
    ask = {"Access-Control-Request-Method": "POST"}
    good = listed.options("/api/v1/auth/login", headers={"Origin": "https://app.acme.test", **ask})
    assert good.headers["Access-Control-Allow-Origin"] == "https://app.acme.test"
    assert "Access-Control-Allow-Credentials" not in good.headers
    bad = listed.options("/api/v1/auth/login", headers={"Origin": "https://evil.test", **ask})
    assert "Access-Control-Allow-Origin" not in bad.headers
    answer = listed.get("/api/v1/billing/plans", headers={"Origin": "https://app.acme.test"})
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]


def test_other_host_names_are_not_served(listed: TestClient) -> None:
    answer = listed.get("/api/v1/billing/plans", headers={"Host": "evil.test"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert listed.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
