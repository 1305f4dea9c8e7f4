"""What every container of ours must be: nobody in particular, on a disk it cannot write to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

BACKEND = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((BACKEND / "docker-compose.yml").read_text())
MANIFESTS = list(yaml.safe_load_all((BACKEND / "k8s/deployment.yaml").read_text()))
OURS = {"migrate", "api", "worker", "relay", "beat", "sandbox"}


def pods() -> dict[str, dict[str, Any]]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in MANIFESTS
        if manifest["kind"] in {"Deployment", "Job"}
    }


def test_the_files_pass_the_tools_made_for_them() -> None:
    made = subprocess.run(
        [BACKEND / "scripts/verify-ops"], capture_output=True, text=True, check=False, timeout=60
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Dockerfile                   ok" in made.stdout


def test_every_process_of_the_product_has_a_container() -> None:
    assert set(COMPOSE["services"]) >= OURS | {"postgres", "redis", "nginx", "kumomta"}
    assert set(pods()) == {
        f"inboxgrove-{name}" for name in ("migrate", "api", "worker", "relay", "beat")
    }
    for name, spec in pods().items():
        (container,) = spec["containers"]
        assert container["args"] == [name.removeprefix("inboxgrove-")]


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


def test_pods_are_restricted() -> None:
    # What the "restricted" level of the pod security standards asks for.
    for spec in pods().values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert "env" not in container, "settings and secrets come by reference"


def test_foreign_images_are_pinned_and_watched() -> None:
    for name, service in COMPOSE["services"].items():
        if name in OURS:
            continue
        assert re.search(r":v?\d+\.?\d*", service["image"]), f"{name} floats"
        assert service["security_opt" if name != "certificates" else "network_mode"]


def test_only_the_api_and_the_mail_ports_are_open_to_the_world() -> None:
    world = {
        port
        for service in COMPOSE["services"].values()
        for port in service.get("ports", [])
        if not str(port).startswith("127.0.0.1:")
    }
    assert world == {"80:80", "443:443", "587:587", "25:25"}


def test_nginx_passes_nothing_on_that_is_for_machines_of_ours() -> None:
    text = (BACKEND / "nginx/nginx.conf").read_text()
    for path in ("/internal/", "= /metrics", "= /webhooks/kumomta"):
        assert re.search(rf"location {path} {{ return 404; }}", text)
    assert "$proxy_add_x_forwarded_for" not in text, "callers do not say who they are"


def test_every_setting_that_compose_sets_exists() -> None:
    known = set(re.findall(r"^#? ?([A-Z_]+)=", (BACKEND / ".env.example").read_text(), re.M))
    given = set(COMPOSE["x-product"]["environment"]) - {"FORWARDED_ALLOW_IPS", "TMPDIR"}
    assert given <= known
