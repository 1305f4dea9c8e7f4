"""`locust -f tests/locustfile.py --host http://127.0.0.1:8000`: what tenants' programs do all day.

Each user signs up its own trial, then reads and writes. It stays within the limit of 60 requests a
minute; `LOAD_PACE=0` asks again at once, for an installation with wider limits. One address may
sign up 20 times an hour: start at most 20 users from each, or say with `LOAD_FORWARDED=1` that each
came from another one, where the API believes this machine (FORWARDED_ALLOW_IPS).
"""

from __future__ import annotations

import os
import secrets

from locust import HttpUser, constant_pacing, task

PACE = float(os.environ.get("LOAD_PACE", "2"))
FORWARDED = os.environ.get("LOAD_FORWARDED") == "1"


class Tenant(HttpUser):
    wait_time = constant_pacing(PACE)

    def on_start(self) -> None:
        tag = secrets.token_hex(6)
        if FORWARDED:
            address = ".".join(str(byte) for byte in (10, *secrets.token_bytes(3)))
            self.client.headers["X-Forwarded-For"] = address
        answer = self.client.post(
            "/api/v1/auth/register",
            json={
                "company_name": f"Load {tag}",
                "email": f"owner@load-{tag}.example",
                "password": f"Grove-{secrets.token_urlsafe(12)}",
            },
        )
        token = answer.json()["data"]["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"

    @task(5)
    def me(self) -> None:
        self.client.get("/api/v1/auth/me")

    @task(3)
    def inboxes(self) -> None:
        self.client.get("/api/v1/infrastructure/inboxes")

    @task(3)
    def overview(self) -> None:
        self.client.get("/api/v1/analytics/overview")

    @task(2)
    def domains(self) -> None:
        self.client.get("/api/v1/domains")

    @task(1)
    def search(self) -> None:
        self.client.post(
            "/api/v1/domains/search", json={"query": f"load-{secrets.token_hex(3)}"}, name="search"
        )

    @task(1)
    def suppress(self) -> None:
        self.client.post(
            "/api/v1/infrastructure/suppressions",
            json={"targets": [f"{secrets.token_hex(6)}@elsewhere.example"]},
        )
