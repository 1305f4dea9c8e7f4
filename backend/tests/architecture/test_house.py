"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2]
HARD_LIMIT = 500
"""Lines of a module: one noun each, split by concept."""


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((BACKEND / folder).rglob("*.py")):
            if "versions" not in path.parts:
                yield path


def calls(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node.lineno


@pytest.mark.parametrize("folder", ["services", "api", "rules", "integrations", "utils"])
def test_nothing_below_the_edge_commits(folder: str) -> None:
    found = [
        f"{path.relative_to(BACKEND)}:{line} calls {name}()"
        for path in modules(f"app/{folder}")
        for name, line in calls(path)
        if name in {"commit", "rollback"}
    ]
    assert not found, "The edge opens the transaction and commits it (database/session.py)."


@pytest.mark.parametrize("folder", ["services"])
def test_every_flush_says_why(folder: str) -> None:
    found = []
    for path in modules(f"app/{folder}"):
        lines = path.read_text().splitlines()
        found += [
            f"{path.relative_to(BACKEND)}:{line}"
            for name, line in calls(path)
            if name == "flush" and "#" not in lines[line - 1]
        ]
    assert not found


def test_modules_stay_small() -> None:
    long = {
        str(path.relative_to(BACKEND)): count
        for path in modules("app", "sandbox", "tests", "demo")
        if (count := len(path.read_text().splitlines())) > HARD_LIMIT
    }
    assert not long


def test_utils_has_three_modules_and_no_fourth() -> None:
    names = {path.stem for path in (BACKEND / "app/utils").glob("*.py")} - {"__init__"}
    assert names == {"security", "email_service", "monitoring"}


def test_every_table_is_in_the_index() -> None:
    from app.database import models

    mapped = {mapper.class_.__name__ for mapper in models.Base.registry.mappers}
    assert mapped <= set(models.__all__)


def test_every_event_has_a_route_and_every_route_a_task() -> None:
    from app import events
    from app.tasks import celery_app, jobs
    from app.tasks.routing import QUEUES, ROUTES, UNSTOPPABLE

    leaves = {
        cls.__name__
        for cls in vars(events).values()
        if isinstance(cls, type)
        and issubclass(cls, events.Event)
        and cls not in {events.Event, events.TenantEvent}
    }
    assert leaves == set(ROUTES)
    tasks = {task for route in ROUTES.values() for task in route}
    assert tasks == jobs.known()
    assert tasks >= UNSTOPPABLE
    assert {task.partition(".")[0] for task in tasks} <= set(QUEUES)
    assert tasks <= set(celery_app.app.tasks)


def test_the_example_environment_names_every_setting_and_no_other() -> None:
    from app.config import Settings

    known: set[str] = set()
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and hasattr(group, "model_config"):
            prefix = group.model_config.get("env_prefix", "")  # type: ignore[attr-defined]
            known |= {f"{prefix}{inner}".upper() for inner in group.model_fields}  # type: ignore[attr-defined]
        else:
            known.add(name.upper())
    lines = (BACKEND / ".env.example").read_text().splitlines()
    named = {
        line.lstrip("# ").partition("=")[0]
        for line in lines
        if "=" in line and line.lstrip("# ").partition("=")[0].isupper()
    }
    # What only docker-compose.yml asks for is explained there as well.
    compose = (BACKEND / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", compose)) | {"COMPOSE_PROJECT_NAME"}
    assert named == known | asked


def test_installed_requirements_match_the_pins() -> None:
    """The lock was made from the present pyproject; `make lock` renews it."""
    import tomllib

    project = tomllib.loads((BACKEND / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        wanted += group
    lock = (BACKEND / "requirements.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", lock, re.M | re.I))
    locked = {name.lower().replace("_", "-"): version for name, version in locked.items()}
    for line in wanted:
        name, _, version = line.partition(";")[0].strip().partition("==")
        plain = re.sub(r"\[.*\]", "", name).lower().replace("_", "-")
        assert plain in locked, f"{plain} is not in requirements.txt: run `make lock`"
        if version:
            assert locked[plain] == version
    assert "http://" not in lock
    assert "https://" not in lock


@pytest.mark.parametrize("module", ["commands", "ops_commands", "ops_billing", "ops_mail"])
def test_help_is_shown_before_the_product_is_loaded(module: str) -> None:
    heavy = "{'sqlalchemy', 'stripe', 'fastapi', 'celery'} & set(sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, app.{module}; print({heavy} or '')"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == ""
