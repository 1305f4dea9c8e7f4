"""What Kubernetes would be told: by the manifests, and by the chart with two sets of values."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from app.config import Settings

BACKEND = Path(__file__).parents[2]
CHART = BACKEND / "helm/inboxgrove"
COMPOSE = yaml.safe_load((BACKEND / "docker-compose.yml").read_text())
PROCESSES = {"migrate", "api", "worker", "relay", "beat"}
WISHES = {"kumomta", "backup"}
"""What the chart runs only when it is told to."""
SETS = ("manifests", "minimal", "full")
Manifest = dict[str, Any]


@cache
def objects(which: str) -> tuple[Manifest, ...]:
    if which == "manifests":
        text = (BACKEND / "k8s/deployment.yaml").read_text()
    else:
        text = helm(f"ci/{which}-values.yaml").stdout
    return tuple(each for each in yaml.safe_load_all(text) if each)


def helm(values: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            Path(sys.executable).parent / "helm",
            *("template", "grove", CHART, "--namespace", "inboxgrove"),
            *("--values", CHART / values, *more),
        ],
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )


def of_kind(which: str, *kinds: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in objects(which) if each["kind"] in kinds}


def pods(which: str) -> dict[str, Manifest]:
    """The pod of each component, with the labels it has."""
    found = {}
    for each in of_kind(which, "Deployment", "Job", "StatefulSet", "CronJob").values():
        spec = each["spec"]
        template = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
        found[template["metadata"]["labels"]["app.kubernetes.io/component"]] = template
    return found


def container(which: str, component: str) -> Manifest:
    (only,) = pods(which)[component]["spec"]["containers"]
    return dict(only)


def fields() -> dict[str, Any]:
    """Each setting's variable and type."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and hasattr(group, "model_config"):
            prefix = group.model_config["env_prefix"]
            found |= {f"{prefix}{i}".upper(): f for i, f in group.model_fields.items()}
        else:
            found[name.upper()] = field
    return found


def refused_as_secret() -> set[str]:
    schema = json.loads((CHART / "values.schema.json").read_text())
    rules = schema["properties"]["config"]["propertyNames"]["allOf"]
    return {name for rule in rules for name in rule.get("not", {}).get("enum", [])} - {
        *("API_HOST", "API_PORT", "INTERNAL_PORT", "METRICS_PORT", "METRICS_HOST"),
        "WORKER_CONCURRENCY",
    }


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )
