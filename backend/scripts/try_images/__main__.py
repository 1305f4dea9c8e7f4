"""Starts the very commands of the images on this machine, behind nginx with TLS, and looks at them.

What is run is read from the Dockerfile and docker-compose.yml: files, entrypoints, arguments,
environment, health checks, the time to stop. Only addresses, ports and folders are this machine's.
Where it may (root on Linux), each process runs as a container's does: user 10001, no capability, a
disk it cannot write to. PostgreSQL and Valkey are the embedded ones, the providers are the sandbox.
Exit code 1: a check failed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from app.embedded.ports import HOST
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import tail, wait_until
from app.embedded.valkey import EmbeddedValkey
from try_images.answers import away, expect, listens, nothing, sign_up, too_large
from try_images.container import TMP_MEGABYTES, Container, Enclosure, Failed
from try_images.files import MEASURED, Files

PATIENCE = 120.0
PROCESSES = ("api", *MEASURED)


class Trial:
    """Everything that is started, and what was found so far."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.failures = 0
        self.enclosure = Enclosure(files)
        self.running: dict[str, Container] = {}
        self.has_nginx = shutil.which("nginx") is not None

    def check(self, what: str, look: Callable[[], object]) -> None:
        """Say what was looked at and what was found; an exception is a failure."""
        try:
            found = look()
        except (Failed, AssertionError, httpx.HTTPError, OSError) as error:
            self.failures += 1
            print(f"FAIL  {what}: {str(error) or type(error).__name__}", flush=True)
        else:
            print(f"ok    {what}{f': {found}' if found else ''}", flush=True)

    def start(self, service: str, **more: str) -> Container:
        command, env = self.files.command(service), self.files.environment(service, **more)
        self.running[service] = Container(self.enclosure, self.files, service, command, env)
        return self.running[service]

    def once(self, service: str, **more: str) -> None:
        """Run to the end; raises Failed unless it ends well."""
        if code := self.start(service, **more).ended(PATIENCE * 2):
            raise Failed(f"left with {code}: {tail(self.running[service].log, 3)}")

    def healthy(self, service: str) -> str:
        """Wait until Docker would call it healthy; how long that took."""
        began = time.monotonic()
        test, env = self.files.health(service), self.files.environment(service)

        def well() -> bool:
            if not self.running[service].alive:
                raise Failed(f"it ended: {tail(self.running[service].log, 5)}")
            return subprocess.run(test, env=env, capture_output=True, check=False).returncode == 0

        if not wait_until(well, PATIENCE, every=0.2):
            raise Failed(f"not within {PATIENCE:.0f} s: {tail(self.running[service].log, 5)}")
        return f"after {time.monotonic() - began:.1f} s"

    # What is started --------------------------------------------------------------------------

    def begin(self) -> None:
        print(f"      processes run with {self.enclosure.how}")
        self.check("production refuses .env.example", self._refused)
        self.check("migrate", lambda: self.once("migrate"))
        self.check("migrate once more changes nothing", lambda: self.once("migrate"))
        self.check("certificates", lambda: self.once("certificates"))
        self.start("sandbox")
        self.check("sandbox is healthy", lambda: self.healthy("sandbox"))
        for service in PROCESSES:
            self.start(service)
        for service in PROCESSES:
            self.check(f"{service} is healthy", partial(self.healthy, service))
        if self.has_nginx:
            env = {"PATH": os.environ["PATH"]}
            command, stop = self.files.nginx(), signal.SIGQUIT  # As its image says.
            self.running["nginx"] = Container(
                self.enclosure, self.files, "nginx", command, env, stop
            )
            self.check("nginx answers", self._nginx_answers)
        else:
            print("      NOT RUN: nginx is not installed; the API is asked without it")

    def _refused(self) -> str:
        container = self.start("api", ENVIRONMENT="production", SECRET_KEY="")
        if container.ended(PATIENCE) == 0:
            raise Failed("it started")
        said = tail(container.log)
        container.log.unlink()
        assert "Refusing to start in production" in said, said
        return "SECRET_KEY" if "SECRET_KEY" in said else ""

    def _nginx_answers(self) -> None:
        port = self.files.port["https"]
        assert wait_until(lambda: listens(port), PATIENCE), tail(self.running["nginx"].log)

    # What is looked at ------------------------------------------------------------------------

    def look(self) -> None:
        trusted = ssl.create_default_context(
            cafile=str(self.files.volumes / "certificates/tls.crt")
        )
        port = self.files.port
        public = f"https://localhost:{port['https']}"
        if not self.has_nginx:
            public = f"http://localhost:{port['api']}"
        with (
            httpx.Client(base_url=public, verify=trusted, timeout=30, trust_env=False) as outside,
            httpx.Client(
                base_url=f"http://{HOST}:{port['internal']}",
                headers={"Host": "api:8002"},
                timeout=30,
                trust_env=False,
            ) as inside,
        ):
            if self.has_nginx:
                self.check("http leads to https", self._leads_to_https)
            self.check("readiness from outside", lambda: expect(outside.get("/readyz"), 200))
            self.check("readiness inside", lambda: expect(inside.get("/readyz"), 200))
            self.check("a foreign host name", lambda: self._foreign(outside))
            for path in ("/internal/mta/v1/kills", "/metrics", "/webhooks/kumomta"):
                self.check(f"{path} from outside", partial(self._not_found, outside, path))
                self.check(f"{path} at the public port", partial(self._direct, path))
            self.check("/metrics inside", lambda: self._counts(inside, "requests_total"))
            self.check("a node inside", lambda: self._node(inside))
            self.check(
                "the API's own paths inside", lambda: expect(inside.get("/api/v1/plans"), 404)
            )
            # Between the API's limit and nginx's, and above both.
            for size, who in ((1_500_000, "the API"), (3_000_000, "nginx")):
                refuser = who if self.has_nginx else "the API"
                self.check(f"a body of {size:,} bytes", partial(too_large, outside, size, refuser))
            self.check("somebody signs up", lambda: sign_up(outside))
            self.check("relay and worker did the jobs of it", self._jobs)
            self.check("the node's policy asks inside", lambda: self._asked(inside))
            self.check("what is held below /tmp", self._scratch)
        self.check("a request under way outlives SIGTERM", self._drain)
        if self.has_nginx:
            with httpx.Client(base_url=public, verify=trusted, trust_env=False) as outside:
                self.check("without an API", lambda: away(outside))

    def _leads_to_https(self) -> str:
        answer = httpx.get(f"http://{HOST}:{self.files.port['http']}/x?y=1", trust_env=False)
        assert answer.status_code == 308, answer
        assert answer.headers["location"] == f"https://{HOST}/x?y=1", answer.headers
        return "308"

    def _not_found(self, outside: httpx.Client, path: str) -> str:
        return expect(outside.get(path), 404)

    def _foreign(self, outside: httpx.Client) -> str:
        return expect(outside.get("/api/v1/plans", headers={"Host": "evil.example"}), 400)

    def _direct(self, path: str) -> str:
        at = f"http://{HOST}:{self.files.port['api']}{path}"
        return expect(httpx.get(at, trust_env=False), 404)

    def _counts(self, inside: httpx.Client, name: str) -> str:
        text = inside.get("/metrics").text
        assert name in text, f"{name} is not in it"
        return f"{len(text.splitlines())} lines"

    def _node(self, inside: httpx.Client) -> str:
        path = "/internal/mta/v1/kills"
        token = {"Authorization": f"Bearer {self.files.dotenv['MTA_TOKEN']}"}
        refused = expect(inside.get(path), 401)
        return f"{expect(inside.get(path, headers=token), 200)} with its token, {refused} without"

    def _jobs(self) -> str:
        def counted(service: str, name: str) -> float:
            at = f"http://{HOST}:{self.files.port[service]}/metrics"
            text = httpx.get(at, trust_env=False).text
            return sum(float(n) for n in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M))

        done = r'job_runs_total\{[^}]*result="done"[^}]*\}'
        assert wait_until(
            lambda: (
                counted("relay", "ig_relay_jobs_sent_total") > 0 and counted("worker", done) > 0
            ),
            PATIENCE,
            every=0.2,
        ), tail(self.running["worker"].log, 5)
        return f"{counted('worker', done):.0f} done"

    def _asked(self, inside: httpx.Client) -> str:
        found = r'requests_total\{[^}]*endpoint="(/internal/mta/v1/[^"]*)"[^}]*status="200"'

        def asked() -> set[str]:
            return set(re.findall(found, inside.get("/metrics").text))

        snapshot = "/internal/mta/v1/snapshot"
        assert wait_until(lambda: snapshot in asked(), PATIENCE, every=0.5), asked()
        return ", ".join(sorted(asked()))

    def _scratch(self) -> str:
        held = {name: self.running[name].scratch_megabytes() for name in PROCESSES}
        assert max(held.values()) < TMP_MEGABYTES, held
        return ", ".join(f"{name} {size:.1f} MB" for name, size in held.items())

    def _drain(self) -> str:
        """A request whose body is half sent when the signal comes is answered all the same."""
        body = b'{"email": "nobody@acme.example", "password": "not-the-password"}'
        head = (
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        port = self.files.port["api"]
        with socket.create_connection((HOST, port), timeout=20) as client:
            client.sendall(head.encode() + body[:20])
            assert not wait_until(lambda: not self.running["api"].alive, 0.5)
            asked = self.running["api"].ask_to_stop()
            closed = wait_until(lambda: not listens(port), 8.0)
            client.sendall(body[20:])
            answer = client.recv(4096).decode(errors="replace").partition("\r\n")[0]
        assert closed, "it still takes connections"
        assert answer.startswith("HTTP/1.1 401"), answer or "hung up"
        return f"{answer.split()[1]}, and left with 0 after {self.running['api'].stopped(asked)}"

    # How it ends ------------------------------------------------------------------------------

    def finish(self) -> None:
        left = (name for name in (*PROCESSES, "nginx", "sandbox") if name in self.running)
        for name in (each for each in left if self.running[each].alive):
            container = self.running[name]
            self.check(f"{name} leaves with 0", partial(container.stopped, container.ask_to_stop()))
        held = {name for name, number in self.files.port.items() if listens(number)}
        self.check("nothing listens any more", lambda: nothing(held))

    def stop(self) -> None:
        for container in self.running.values():
            container.kill()


def main() -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="inboxgrove-images-"))
        )
        scratch.chmod(0o755)
        postgres = stack.enter_context(EmbeddedPostgres(scratch / "postgres", port=0, fast=True))
        valkey = stack.enter_context(EmbeddedValkey(scratch / "valkey", port=0, fast=True))
        trial = Trial(Files(scratch, postgres.url, valkey.url))
        stack.callback(trial.stop)
        trial.begin()
        if not trial.failures:
            trial.look()
        trial.finish()
        if trial.failures:
            for name, container in trial.running.items():
                print(f"\n--- the end of {name}'s log\n{tail(container.log, 8)}", file=sys.stderr)
    verdict = f"{trial.failures} checks failed" if trial.failures else "All is well"
    print(f"{verdict}, after {time.monotonic() - began:.0f} s.")
    return 1 if trial.failures else 0


if __name__ == "__main__":
    sys.exit(main())
