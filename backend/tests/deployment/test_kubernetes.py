"""The manifests and the chart: the same processes, ports and manners as in compose, and no secrets."""

from __future__ import annotations

import json
import re

import pytest

from tests.deployment.cluster import (
    BACKEND,
    COMPOSE,
    PROCESSES,
    SETS,
    WISHES,
    container,
    fields,
    objects,
    of_kind,
    pods,
    refused_as_secret,
    selects,
)


@pytest.mark.parametrize("which", SETS)
def test_the_same_processes_run_by_the_same_commands_as_in_compose(which: str) -> None:
    assert set(pods(which)) - WISHES == PROCESSES
    for name in PROCESSES:
        assert container(which, name)["args"] == COMPOSE["services"][name]["command"] == [name]
        assert "command" not in container(which, name), "the image's own entrypoint"


@pytest.mark.parametrize("which", SETS)
def test_pods_are_restricted(which: str) -> None:
    # What the "restricted" level of the pod security standards asks for, and more.
    for component, pod in pods(which).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for each in spec["containers"]:
            allowed = dict(each["securityContext"])
            # KumoMTA's own image is not known to bear it.
            assert allowed.pop("readOnlyRootFilesystem", False) is (component != "kumomta")
            assert allowed == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert each["resources"]["limits"]["memory"]
            assert each["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("which", SETS)
def test_secrets_come_by_reference_and_names_are_those_that_the_product_reads(which: str) -> None:
    known = fields()
    cli = set(re.findall(r'envvar="([A-Z_]+)"', (BACKEND / "app/cli.py").read_text()))
    for component in set(pods(which)) - {"kumomta"}:
        each = container(which, component)
        assert {"secretRef": {"name": "inboxgrove-secrets"}} in each["envFrom"]
        for variable in each.get("env", []):
            assert variable["name"] in known.keys() | cli
            assert variable["name"] not in refused_as_secret()
    for each in objects(which):
        assert each["kind"] != "Secret"


@pytest.mark.parametrize("which", SETS)
def test_ports_are_those_of_the_image(which: str) -> None:
    image = dict(re.findall(r"^ +([A-Z]+_PORT)=(\d+)", (BACKEND / "Dockerfile").read_text(), re.M))
    api = container(which, "api")
    ports = {port["name"]: port["containerPort"] for port in api["ports"]}
    assert ports == {"http": int(image["API_PORT"]), "internal": int(image["INTERNAL_PORT"])}
    # The secret may have been made of an .env that says otherwise.
    given = {each["name"]: each["value"] for each in api["env"]}
    assert {name: given[name] for name in ("API_PORT", "INTERNAL_PORT")} == {
        name: image[name] for name in ("API_PORT", "INTERNAL_PORT")
    }
    for name in ("worker", "relay", "beat"):
        (port,) = container(which, name)["ports"]
        assert (port["name"], port["containerPort"]) == ("metrics", int(image["METRICS_PORT"]))
        assert container(which, name)["livenessProbe"]["httpGet"]["port"] == "metrics"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert api[probe]["httpGet"]["port"] == "http"


@pytest.mark.parametrize("which", SETS)
def test_what_is_for_machines_of_ours_is_not_public(which: str) -> None:
    services = of_kind(which, "Service")
    public = [name for name in services if name.endswith("-api")]
    assert len(public) == 1
    assert [port["targetPort"] for port in services[public[0]]["spec"]["ports"]] == ["http"]
    for ingress in of_kind(which, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"] == {"name": public[0], "port": {"name": "http"}}
    for name, policy in of_kind(which, "NetworkPolicy").items():
        for rule in policy["spec"]["ingress"]:
            opened = {port["port"] for port in rule["ports"]}
            if opened <= {"submission", "inbound"}:
                assert name.endswith("-kumomta")
                continue
            assert len(opened) == 1, "a port for the world and one for us have callers of their own"
            text = json.dumps(rule["from"])
            assert ("may-reach-api" in text) is (opened == {"http"})


@pytest.mark.parametrize("which", SETS)
def test_every_pod_of_ours_is_covered_by_a_policy(which: str) -> None:
    for component, pod in pods(which).items():
        labels = pod["metadata"]["labels"]
        assert any(
            selects(policy["spec"]["podSelector"], labels)
            for policy in of_kind(which, "NetworkPolicy").values()
        ), component


@pytest.mark.parametrize("which", SETS)
def test_selectors_find_their_pods(which: str) -> None:
    everyone = [pod["metadata"]["labels"] for pod in pods(which).values()]
    for each in objects(which):
        spec = each.get("spec", {})
        if each["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
            found = [labels for labels in everyone if selects(spec["selector"], labels)]
        elif each["kind"] == "Service":
            found = [ls for ls in everyone if selects({"matchLabels": spec["selector"]}, ls)]
        else:
            continue
        assert len(found) == 1, each["metadata"]["name"]


@pytest.mark.parametrize("which", SETS)
def test_pods_are_given_the_time_that_their_work_takes(which: str) -> None:
    celery = (BACKEND / "app/tasks/celery_app.py").read_text()
    (limit,) = map(int, re.findall(r"task_time_limit=(\d+)", celery))
    assert pods(which)["worker"]["spec"]["terminationGracePeriodSeconds"] > limit
    assert pods(which)["api"]["spec"]["terminationGracePeriodSeconds"] > 5 + 10
    (api,) = [
        each["spec"] for name, each in of_kind(which, "Deployment").items() if name.endswith("-api")
    ]
    assert api["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
