"""What every container of ours must be: nobody in particular, on a disk it cannot write to."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

BACKEND = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((BACKEND / "docker-compose.yml").read_text())
NGINX = (BACKEND / "nginx/nginx.conf").read_text()
OUR_IMAGE = "inboxgrove-api:latest"
BORN_UNPRIVILEGED = {"prometheus", "alertmanager", "grafana"}
"""Their images name a user of their own."""
OURS = {"migrate", "api", "worker", "relay", "beat", "backup", "sandbox"}


@pytest.mark.timeout(300)
def test_the_files_pass_the_tools_made_for_them() -> None:
    made = subprocess.run(
        [BACKEND / "scripts/verify-ops"], capture_output=True, text=True, check=False, timeout=280
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Dockerfile                   ok" in made.stdout


def test_every_process_of_the_product_has_a_container() -> None:
    assert set(COMPOSE["services"]) >= OURS | {"postgres", "redis", "nginx", "kumomta"}
    for name in OURS - {"backup", "sandbox"}:
        assert COMPOSE["services"][name]["command"] == [name]


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_of_ours_may_do_nothing_it_need_not(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service, "the image's own user is nobody in particular"


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = (BACKEND / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.M) == ["10001:10001"]
    assert "--require-hashes" in text
    assert not re.search(r"(?i)(password|secret|token|api_key)\s*=", text)


def test_every_image_is_pinned_by_its_exact_version() -> None:
    exact = re.compile(r"\S+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?")
    images = {service["image"] for service in COMPOSE["services"].values()} - {OUR_IMAGE}
    images |= set(re.findall(r"^FROM (\S+)", (BACKEND / "Dockerfile").read_text(), re.M))
    assert len(images) > 5
    for image in images:
        assert exact.fullmatch(image), f"{image} floats"
        # PostgreSQL's second number is its last; everybody else has a third.
        assert image.startswith("postgres:") or image.count(".") >= 2, f"{image} floats"


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_no_container_is_root_or_may_become_it(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    if service["image"] == OUR_IMAGE or name in BORN_UNPRIVILEGED:
        assert "user" not in service, "the image's own user is nobody in particular"
    else:
        assert service["user"].partition(":")[0] not in {"0", "root"}


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_service_that_stays_is_watched_and_comes_back(name: str) -> None:
    service = COMPOSE["services"][name]
    if service["restart"] == "no":
        assert name in {"migrate", "certificates"}
        return
    assert service["restart"] == "unless-stopped"
    # The API's check is the image's own.
    assert name == "api" or service["healthcheck"]["test"]
    assert service["logging"]["options"]["max-size"]


def test_everything_but_the_sandbox_and_the_watchers_starts_without_a_profile() -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in COMPOSE["services"].items():
        by_profile.setdefault("".join(service.get("profiles", [])), set()).add(name)
    assert by_profile["sandbox"] == {"sandbox"}
    assert by_profile["watch"] == {"prometheus", "alertmanager", "grafana"}
    assert by_profile[""] == (OURS - {"sandbox"}) | {
        *("postgres", "redis", "certificates", "nginx", "kumomta"),
    }


def test_backups_have_a_volume_that_their_owner_may_write() -> None:
    service = COMPOSE["services"]["backup"]
    assert service["command"][:3] == ["ops", "backup-daily", "/backups"]
    assert "${BACKUPS:-backups}:/backups" in service["volumes"]
    assert "backups" in COMPOSE["volumes"]
    owned = re.findall(
        r"install -d -o 10001 -g 10001 (.*)$", (BACKEND / "Dockerfile").read_text(), re.M
    )
    assert "/backups" in owned[0].split()


def test_old_compose_reads_the_file() -> None:
    # docker-compose 1.29, which Debian 12 has under that very name, knows these and nothing else.
    known = {"services", "networks", "volumes", "configs", "secrets", "version"}
    assert {key for key in COMPOSE if not key.startswith("x-")} <= known


def test_only_the_proxy_and_the_mail_ports_are_open_to_the_world() -> None:
    world = {
        port
        for service in COMPOSE["services"].values()
        for port in service.get("ports", [])
        if not str(port).startswith("127.0.0.1:")
    }
    assert world == {"80:8080", "443:8443", "587:2587", "25:2525"}
    inside = {str(port).rpartition(":")[2] for port in COMPOSE["services"]["api"]["ports"]}
    assert inside == {"8000"}, "nodes' and Prometheus' listener stays in the network"


def test_a_container_is_given_the_time_that_its_work_takes() -> None:
    celery = (BACKEND / "app/tasks/celery_app.py").read_text()
    (limit,) = map(int, re.findall(r"task_time_limit=(\d+)", celery))
    grace = {name: seconds(s.get("stop_grace_period", "10s")) for name, s in services().items()}
    assert grace["worker"] > limit
    assert grace["api"] > 10, "requests under way have ten seconds"
    (shutdown,) = re.findall(r"worker_shutdown_timeout (\d+)s;", NGINX)
    assert grace["nginx"] > int(shutdown)
    assert grace["postgres"] >= 60


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def services() -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"]
    return found


def test_addresses_given_by_hand_are_not_given_away() -> None:
    (pool,) = COMPOSE["networks"]["grove"]["ipam"]["config"]
    by_hand = {
        name: ip_address(service["networks"]["grove"]["ipv4_address"])
        for name, service in services().items()
        if isinstance(service.get("networks"), dict)
    }
    assert {"api", "nginx"} <= set(by_hand), "nginx looks for the API's address once"
    for address in by_hand.values():
        assert address in ip_network(pool["subnet"])
        assert address not in ip_network(pool["ip_range"])
    product = COMPOSE["x-product"]["environment"]
    assert product["FORWARDED_ALLOW_IPS"] == str(by_hand["nginx"])


def test_nginx_passes_nothing_on_that_is_for_machines_of_ours() -> None:
    text = NGINX
    for path in ("/internal/", "= /metrics", "= /webhooks/kumomta"):
        assert re.search(rf"location {path} {{ return 404; }}", text)
    assert "$proxy_add_x_forwarded_for" not in text, "callers do not say who they are"


def test_every_setting_that_compose_sets_exists() -> None:
    known = set(re.findall(r"^#? ?([A-Z_]+)=", (BACKEND / ".env.example").read_text(), re.M))
    cli = (BACKEND / "app/cli.py").read_text()
    known |= set(re.findall(r'envvar="([A-Z_]+)"', cli)) | {"TMPDIR"}
    assert set(COMPOSE["x-product"]["environment"]) <= known


def test_ports_agree() -> None:
    image = dict(re.findall(r"^ +([A-Z]+_PORT)=(\d+)", (BACKEND / "Dockerfile").read_text(), re.M))
    assert set(image) == {"API_PORT", "INTERNAL_PORT", "METRICS_PORT"}
    product = COMPOSE["x-product"]["environment"]
    assert {name: str(product[name]) for name in image} == image
    assert f"server api:{image['API_PORT']} " in NGINX
    for name in ("kumomta", "sandbox"):
        url = services()[name]["environment"]["IG_CONTROL_URL"]
        assert url == f"http://api:{image['INTERNAL_PORT']}"
    watched = yaml.safe_load((BACKEND / "ops/prometheus.yml").read_text())
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in watched["scrape_configs"]
    }
    assert targets == {
        "inboxgrove-api": [f"api:{image['INTERNAL_PORT']}"],
        **{
            f"inboxgrove-{name}": [f"{name}:{image['METRICS_PORT']}"]
            for name in ("worker", "relay", "beat")
        },
    }
    (manager,) = watched["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager:9093"]


def test_grafana_finds_its_dashboards_and_its_prometheus() -> None:
    folder = BACKEND / "ops/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/inboxgrove.yml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    mounts = {
        mount.split(":")[1]: mount.split(":")[0] for mount in services()["grafana"]["volumes"]
    }
    assert mounts[provider["options"]["path"]] == "./ops/grafana/dashboards"
    assert mounts["/etc/grafana/provisioning"] == "./ops/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
