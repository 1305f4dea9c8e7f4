"""Logs without secrets, and measured jobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.utils import monitoring


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    monitoring.configure(
        level="INFO", fmt="json", sentry_dsn="", release="test", environment="development"
    )
    yield
    structlog.configure(**before[0])
    root.handlers[:], root.level = before[1], before[2]


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return parsed


def test_a_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("x").info("happened", count=3, ratio=0.5)
    said = line(capsys)
    assert (said["event"], said["level"], said["count"]) == ("happened", "info", 3)
    assert str(said["timestamp"]).endswith("Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"smtp_password": "hunter2"},
        {"nested": {"api_key": "hunter2", "list": [{"token": "hunter2"}]}},
        {"header": "Bearer hunter2hunter2hunter2"},
        {"text": "the key sk_live_hunter2hunter2 was used"},
        {"text": "token eyJhbGciOiJI.hunter2.hunter2"},
        {"text": "ig_op_hunter2hunter2"},
        {"command": "AUTH PLAIN hunter2"},
        {"pem": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"},
        {"Authorization": b"hunter2"},
    ],
)
def test_secrets_are_hidden(fields: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("x").info("happened", **fields)
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "[hidden]" in out


def test_an_error_is_reported_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        monitoring.report(error)
    said = line(capsys)
    assert said["level"] == "error"
    assert "RuntimeError: broken" in str(said["exception"])


def test_jobs_are_counted_by_how_they_end() -> None:
    def runs(result: str) -> float:
        return monitoring.JOB_RUNS.labels(task="area.verb", result=result)._value.get()

    done, failed = runs("done"), runs("failed")
    with monitoring.job("area.verb"):
        pass
    with pytest.raises(RuntimeError), monitoring.job("area.verb"):
        raise RuntimeError
    assert (runs("done") - done, runs("failed") - failed) == (1, 1)
    assert b'job_duration_seconds_count{task="area.verb"}' in monitoring.exposition()
