"""What only the chart does: refusing, scaling, migrating first, nodes in the cluster, monitoring."""

from __future__ import annotations

import yaml
from pydantic import SecretStr

from tests.deployment.cluster import (
    BACKEND,
    COMPOSE,
    PROCESSES,
    SETS,
    container,
    fields,
    helm,
    of_kind,
    pods,
    refused_as_secret,
    selects,
)


def test_the_chart_takes_no_secret_as_a_value() -> None:
    secret = {name for name, field in fields().items() if field.annotation is SecretStr}
    # Those that are not told either: repr=False, or a password may be part of the address.
    secret |= {name for name, field in fields().items() if not field.repr}
    secret |= {"DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "SMTP_URL", "SENTRY_DSN"}
    assert refused_as_secret() == secret
    made = helm("ci/minimal-values.yaml", "--set", "config.STRIPE_SECRET_KEY=x", check=False)
    assert made.returncode != 0
    assert "STRIPE_SECRET_KEY" in made.stderr


def test_the_chart_says_what_is_missing() -> None:
    made = helm("values.yaml", check=False)
    assert made.returncode != 0
    assert "secrets.existingSecret must name a Secret" in made.stderr
    made = helm("ci/minimal-values.yaml", "--set", "api.replica=2", check=False)
    assert "replica is not allowed" in made.stderr


def test_what_scales_itself_has_no_number() -> None:
    for which in SETS[1:]:
        deployments = of_kind(which, "Deployment")
        scaled = of_kind(which, "HorizontalPodAutoscaler")
        for name, each in deployments.items():
            assert ("replicas" in each["spec"]) is (name not in scaled)
        assert len(scaled) == {"minimal": 1, "full": 2}[which]


def test_the_migration_comes_before_everything_else_of_the_chart() -> None:
    (job,) = of_kind("full", "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # The release's own account and maps are not there yet at that time.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    names = [each["secretRef"]["name"] for each in container("full", "migrate")["envFrom"]]
    assert names == ["inboxgrove-secrets", "inboxgrove-owner"]
    others = [container("full", name) for name in PROCESSES - {"migrate"}]
    assert all(len(each["envFrom"]) == 1 for each in others), "nobody else is the schema's owner"


def test_backups_are_taken_as_in_compose_by_whom_and_onto_what_the_values_say() -> None:
    assert "backup" not in pods("minimal")
    (cron,) = of_kind("full", "CronJob").values()
    assert cron["spec"]["schedule"] == "30 1 * * *"
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    each = container("full", "backup")
    assert each["args"] == ["ops", "backup", "/backups", "--keep", "30"]
    ours = COMPOSE["services"]["backup"]["command"]
    assert (ours[1], ours[2]) == ("backup-daily", each["args"][2])
    assert "inboxgrove-owner" in [given["secretRef"]["name"] for given in each["envFrom"]]
    (mount,) = [mount for mount in each["volumeMounts"] if mount["mountPath"] == "/backups"]
    volumes = {volume["name"]: volume for volume in pods("full")["backup"]["spec"]["volumes"]}
    claim = volumes[mount["name"]]["persistentVolumeClaim"]["claimName"]
    made = of_kind("full", "PersistentVolumeClaim")[claim]
    assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    other = helm("ci/full-values.yaml", "--set", "backup.existingClaim=theirs").stdout
    assert "claimName: theirs" in other
    assert "kind: PersistentVolumeClaim" not in other
    refused = helm("ci/full-values.yaml", "--set", "backup.keep=0", check=False)
    assert refused.returncode != 0


def test_nodes_in_the_cluster_run_the_policy_of_the_repository() -> None:
    policy = BACKEND / "kumomta/policy"
    (carried,) = of_kind("full", "ConfigMap").values()
    (volume,) = [
        each["configMap"]
        for each in pods("full")["kumomta"]["spec"]["volumes"]
        if "configMap" in each
    ]
    made = {item["path"]: carried["data"][item["key"]] for item in volume["items"]}
    found = {str(path.relative_to(policy)): path.read_text() for path in policy.rglob("*.lua")}
    assert {name: text.strip() for name, text in made.items()} == {
        name: text.strip() for name, text in found.items()
    }


def test_nodes_in_the_cluster_are_set_as_in_compose() -> None:
    ours = COMPOSE["services"]["kumomta"]
    node = container("full", "kumomta")
    assert node["image"] == ours["image"]
    assert node["command"] == ours["entrypoint"] + ours["command"]
    given = {each["name"]: each for each in node["env"]}
    assert set(ours["environment"]) - {"KUMO_POLICY"} <= set(given)
    for name in ("IG_SUBMISSION_LISTEN", "IG_INBOUND_LISTEN", "IG_ADMIN_LISTEN"):
        assert given[name]["value"] == ours["environment"][name]
    for name in (
        "IG_MTA_TOKEN",
        "IG_ADMIN_TOKEN",
        "IG_AUTH_PEPPER",
        "IG_TRACE_KEY",
        "IG_REDIS_URL",
    ):
        assert "value" not in given[name]
        assert given[name]["valueFrom"]["secretKeyRef"]["key"] in fields()
    assert (
        given["IG_CONTROL_URL"]["value"] == "http://grove-inboxgrove-internal.inboxgrove.svc:8002"
    )


def test_prometheus_operator_is_given_the_rules_and_the_names_they_know() -> None:
    (rule,) = of_kind("full", "PrometheusRule").values()
    wanted = [
        group
        for path in sorted((BACKEND / "ops/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert rule["spec"]["groups"] == wanted
    (monitor,) = of_kind("full", "ServiceMonitor").values()
    label = monitor["spec"]["jobLabel"]
    ports = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
    scraped = {}
    for service in of_kind("full", "Service").values():
        labels = service["metadata"]["labels"]
        if selects(monitor["spec"]["selector"], labels):
            (port,) = service["spec"]["ports"]
            assert port["name"] in ports
            scraped[labels[label]] = port["targetPort"]
    watched = yaml.safe_load((BACKEND / "ops/prometheus.yml").read_text())["scrape_configs"]
    assert set(scraped) == {job["job_name"] for job in watched}
