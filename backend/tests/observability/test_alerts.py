"""Every alert has a cause that fires it, a quiet day, a runbook, and asks for metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    Backup,
    Job,
    JobState,
    OutboxEvent,
    ProviderEvent,
    Restoration,
    ScheduledRun,
)
from app.database.session import ALL_TENANTS, transaction
from app.utils import monitoring
from tests.fixtures.world import Running, eventually
from tests.observability.conftest import BACKEND, process

OPS = BACKEND / "ops"
RUNBOOKS = BACKEND / "docs/runbooks"
RULES = [
    rule
    for path in sorted((OPS / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARDS = sorted((OPS / "grafana/dashboards").glob("*.json"))
NAME = re.compile(r"\b(?:ig|requests?|stripe|provisioning|jobs?|provider)_[a-z_]+(?=[{\[) ]|$)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (apt install prometheus)"
)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    alerts = {rule["alert"] for rule in RULES}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == alerts
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"page", "ticket", "none"}
        text = (BACKEND / rule["annotations"]["runbook"]).read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert "\n## Look\n" in text
        assert "\n## Do\n" in text


def test_every_alert_is_tested_to_fire_and_to_be_quiet() -> None:
    tested = {
        test["name"]
        for path in (OPS / "rules/tests").glob("*.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
    }
    alerts = {rule["alert"] for rule in RULES}
    assert tested == alerts | {f"{name} stays quiet" for name in alerts - {"Watchdog"}}


def test_runbooks_name_commands_that_exist() -> None:
    from typer.main import get_command

    from app.cli import cli
    from app.ops_appeals import appeals_app
    from app.ops_billing import billing_app
    from app.ops_commands import admin_app, ops_app
    from app.ops_nodes import nodes_app
    from app.ops_restored import restored_app

    groups = {
        "ops": ops_app,
        "nodes": nodes_app,
        "restored": restored_app,
        "appeals": appeals_app,
        "billing": billing_app,
        "admin": admin_app,
    }
    known = {name: set(get_command(group).commands) for name, group in groups.items()}  # type: ignore[attr-defined]
    top = set(get_command(cli).commands)  # type: ignore[attr-defined]
    for path in [*RUNBOOKS.glob("*.md"), BACKEND / "docs/observability.md"]:
        for command in re.findall(r"`inboxgrove ([^`]+)`", path.read_text()):
            first, *rest = command.split()
            assert first in top, f"{path.name}: {command}"
            while rest and first in known and not rest[0].startswith("-"):
                assert rest[0] in known[first], f"{path.name}: {command}"
                first, *rest = rest


def queries() -> list[tuple[str, str]]:
    asked = [(rule["alert"], rule["expr"]) for rule in RULES]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            asked += [(f"{path.stem}: {panel['title']}", t["expr"]) for t in panel["targets"]]
    return asked


def test_every_metric_that_is_asked_for_exists() -> None:
    exposed: set[str] = set()
    for collector in vars(monitoring).values():
        if isinstance(collector, MetricWrapperBase):
            for family in collector.describe():
                endings = {
                    "counter": ("_total",),
                    "histogram": ("_bucket", "_count", "_sum"),
                    "gauge": ("",),
                }[family.type]
                exposed |= {f"{family.name}{ending}" for ending in endings}
    assert len(queries()) > 70
    for where, query in queries():
        names = set(NAME.findall(re.sub(r'"[^"]*"|\bby \([^)]*\)', "", query)))
        assert names or "up{" in query or query.startswith("vector"), f"{where}: no metric"
        assert names <= exposed, f"{where}: {names - exposed}"


def test_dashboards_are_as_grafana_wants_them() -> None:
    assert {path.stem for path in DASHBOARDS} == {"business", "api", "jobs", "mail", "money"}
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert board.keys() >= {"uid", "title", "schemaVersion", "panels", "time", "templating"}
        assert len(board["uid"]) <= 40
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert 0 <= place["x"] <= 24 - place["w"]
            assert (place["x"], place["y"]) not in taken
            taken.add((place["x"], place["y"]))
            assert panel["targets"]
            assert panel["datasource"]["uid"] == "prometheus"


# With the product's own metrics -----------------------------------------------------------------


def firing(text: str, folder: Path) -> set[str]:
    """Which alerts fire after a day on which /metrics always said `text`."""
    series = [{"series": 'up{job="inboxgrove-api"}', "values": "1x320"}]
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={json.dumps(v)}" for name, v in sample.labels.items())
            if sample.value == sample.value and abs(sample.value) != float("inf"):
                values = f"{sample.value:g}x320"
                series.append({"series": f"{sample.name}{{{labels}}}", "values": values})
    asked = [
        {
            "expr": f'count(ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}})',
            "eval_time": "25h",
            "exp_samples": [],
        }
        for rule in RULES
    ]
    test = {"interval": "5m", "input_series": series, "promql_expr_test": asked}
    file = folder / "day.yml"
    rules = [str(path) for path in (OPS / "rules").glob("*.yml")]
    file.write_text(
        yaml.safe_dump({"rule_files": rules, "evaluation_interval": "5m", "tests": [test]})
    )
    # Nothing is expected, so that it names what it got.
    ran = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )
    said = ran.stdout + ran.stderr
    assert "unmarshal" not in said, said
    return set(re.findall(r'alertname=\\*"(\w+)\\*"[^\n]*\n[^\n]*\n\s*got:', said))


def plant(db: Session, make_tenant: Callable[..., Any]) -> None:
    """What goes wrong, as rows: nobody relays, works or ticks since yesterday."""
    past = clock.now() - timedelta(hours=20)
    tenant = make_tenant(db)
    tenant.created_at = past
    db.add(OutboxEvent(event="HoldsDue", payload={}, created_at=past))
    routed = OutboxEvent(event="Test", payload={}, created_at=past, routed_at=past)
    db.add(routed)
    db.flush()
    db.add(Backup(file="old.dump", bytes=1, rows=1, created_at=past - timedelta(hours=20)))
    db.add(Restoration(cluster="", cause="It was restored.", created_at=past))
    for task, state in (
        ("billing.refund", JobState.DEAD),
        ("domains.register", JobState.WAITING),
        ("monitoring.silence_tenant", JobState.SENT),
    ):
        db.add(
            Job(
                outbox_id=routed.id,
                task=task,
                payload={},
                state=state,
                created_at=past,
                next_try_at=past,
                finished_at=past if state == JobState.DEAD else None,
            )
        )
    db.add(ScheduledRun(name="TrialsDue", period=past, created_at=past))
    for number in range(12):
        db.add(
            ProviderEvent(
                provider="stripe",
                provider_id=f"evt_{number}",
                event_type="charge.succeeded",
                payload={},
                occurred_at=past,
                created_at=past,
            )
        )


@needs_promtool
@pytest.mark.slow
def test_a_clean_day_is_quiet_and_planted_faults_are_told(
    world: Running, make_tenant: Callable[..., Any], tmp_path: Path
) -> None:
    def metrics() -> str | None:
        try:
            return httpx.get(url, timeout=10).text
        except httpx.HTTPError:
            return None

    with process("api") as url:
        text = eventually(metrics, within=30, why="the API answers")
        assert firing(text, tmp_path) == {"Watchdog"}
        with transaction(tenant=ALL_TENANTS) as db:
            plant(db, make_tenant)
        fired = firing(eventually(metrics), tmp_path)
    assert fired >= {
        "InvariantViolated",
        "StripeEventsUnhandled",
        "OutboxStuck",
        "JobsLate",
        "JobsDead",
        "ScheduleSilent",
        "KillNotAcknowledged",
        "BackupOld",
        "RestoredHeld",
    }
    assert not fired & {"MoneyLost", "ApiErrors", "NodeUnreachable", "ProcessDown"}
