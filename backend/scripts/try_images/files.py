"""What Dockerfile, docker-compose.yml and nginx.conf say, with places of this machine in them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import yaml
from dotenv import dotenv_values

from app.embedded.ports import HOST, free_ports

BACKEND = Path(__file__).resolve().parents[2]
LISTENERS = ("api", "internal", "http", "https", "sandbox", "mx", "dns", "submission")
MEASURED = ("worker", "relay", "beat")


class Files:
    """Below `scratch`: `srv` is the image's, `volumes` those of compose, `tmp` each one's /tmp."""

    def __init__(self, scratch: Path, database: str, redis: str) -> None:
        self.scratch, self.database, self.redis = scratch, database, redis
        self.srv, self.volumes = scratch / "srv", scratch / "volumes"
        numbers = free_ports(len(LISTENERS) + len(MEASURED), udp=True)
        self.port = dict(zip((*LISTENERS, *MEASURED), numbers, strict=True))
        for name in ("certificates", "clock", "data"):
            (self.volumes / name).mkdir(parents=True)
        stage = (BACKEND / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
        self._image = dict(re.findall(r"\b([A-Z_]+)=(\S+)", _line(stage, "ENV")))
        self._entrypoint: list[str] = yaml.safe_load(_line(stage, "ENTRYPOINT"))
        self._check: list[str] = yaml.safe_load(_line(stage, "HEALTHCHECK").partition("CMD ")[2])
        for source, target in re.findall(r"^COPY (\w\S*) (\S+)$", stage, re.M):
            _copy(BACKEND / source, self.srv / target)
        self._compose = yaml.safe_load((BACKEND / "docker-compose.yml").read_text())["services"]
        self.dotenv = {
            name: value or ""
            for file in (".env.example", "ops/sandbox.env")
            for name, value in dotenv_values(BACKEND / file).items()
        }
        self.dotenv["ALLOWED_HOSTS"] = f"localhost,{HOST}"
        for name, value in self.dotenv.items():
            if "do-not-use-in-production" in value:
                self.dotenv[name] = secrets.token_urlsafe(32)

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """As Docker makes it: the image's, then that of .env, then that of the service."""
        said = self._compose[service].get("environment", {})
        given = {name: self._filled(str(value)) for name, value in said.items()}
        env = {**self._image, **self.dotenv, **given, **more}
        here = {
            "API_HOST": HOST,
            "API_PORT": str(self.port["api"]),
            "INTERNAL_PORT": str(self.port["internal"]),
            "METRICS_PORT": str(self.port[service] if service in MEASURED else 0),
            "DATABASE_URL": self.database,
            "FORWARDED_ALLOW_IPS": HOST,
            "SANDBOX_HOST": HOST,
            "SANDBOX_PORT": str(self.port["sandbox"]),
            "DNS_PORT": str(self.port["dns"]),
            "MX_PORT": str(self.port["mx"]),
            "SUBMISSION_PORT": str(self.port["submission"]),
            "IG_EGRESS_PORT": str(self.port["mx"]),
            "PYTHONPATH": str(self.srv),
            "TMPDIR": str(self.tmp(service)),
        }
        env |= {name: value for name, value in here.items() if name in env}
        env = {name: self.here(value) for name, value in env.items()}
        # What has a name in compose's network only, and is not run here.
        env |= {"METRICS_HOST": HOST, "HOME": str(self.tmp(service)), "PATH": os.environ["PATH"]}
        return {**env, "TMPDIR": str(self.tmp(service)), "NO_PROXY": "*", "no_proxy": "*"}

    def here(self, text: str) -> str:
        """Names, ports and folders inside of containers become those of this machine."""
        for there, mine in {
            "redis://redis:6379/0": self.redis,
            "http://api:8002": f"http://{HOST}:{self.port['internal']}",
            "http://api:8000": f"http://{HOST}:{self.port['api']}",
            "//sandbox:8001": f"//{HOST}:{self.port['sandbox']}",
            "//sandbox:1025": f"//{HOST}:{self.port['mx']}",
            "172.28.0.53:1053": f"{HOST}:{self.port['dns']}",
            "0.0.0.0:1587": f"{HOST}:{self.port['submission']}",
            "0.0.0.0:0": f"{HOST}:0",
        }.items():
            text = text.replace(there, mine)
        return re.sub(r"(?<!\S)/(certificates|clock|data)\b", rf"{self.volumes}/\1", text)

    def command(self, service: str) -> list[str]:
        """Entrypoint and arguments."""
        said = self._compose[service]
        entry = said.get("entrypoint", self._entrypoint)
        return [_program(each) for each in (*entry, *map(self.here, said["command"]))]

    def health(self, service: str) -> list[str]:
        """The health check of the service, else of the image."""
        said = self._compose[service].get("healthcheck", {}).get("test")
        ports = {"8000": "api", "9100": service, "8001": "sandbox"}
        return [
            _program(re.sub(r":(\d{4})/", lambda m: f":{self.port[ports[m[1]]]}/", each))
            for each in (said[1:] if said else self._check)
        ]

    def patience(self, service: str) -> int:
        """Seconds that Docker waits between the signal and SIGKILL."""
        text = self._compose[service].get("stop_grace_period", "10s")
        return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]

    def tmp(self, service: str) -> Path:
        return self.scratch / "tmp" / service

    def nginx(self) -> list[str]:
        """The command of the proxy, with its configuration."""
        text = (BACKEND / "nginx/nginx.conf").read_text()
        for there, mine in {
            "/tmp/": f"{self.tmp('nginx')}/",
            "/etc/nginx/certificates": f"{self.volumes}/certificates",
            "server api:8000": f"server {HOST}:{self.port['api']}",
            "listen 8080": f"listen {HOST}:{self.port['http']}",
            "listen 8443": f"listen {HOST}:{self.port['https']}",
        }.items():
            if there not in text:
                raise ValueError(f"nginx.conf has no {there!r} any more")
            text = text.replace(there, mine)
        path = self.srv / "nginx.conf"
        path.write_text(text)
        return [shutil.which("nginx") or "nginx", "-c", str(path), "-g", "daemon off;"]

    def _filled(self, text: str) -> str:
        """What compose makes of ${NAME:-default}."""
        return re.sub(
            r"\$\{([A-Z_]+)(?::-([^}]*))?\}",
            lambda m: self.dotenv.get(m[1]) or m[2] or "",
            text,
        ).replace("$$", "$")


def _line(stage: str, word: str) -> str:
    (found,) = re.findall(rf"^{word} +(.*)$", stage, re.M)
    return str(found)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _program(word: str) -> str:
    return sys.executable if word == "python" else word
