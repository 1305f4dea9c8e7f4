"""`locust -f tests/locustfile.py --host http://127.0.0.1:8000`: what tenants' programs do all day.

Each user signs up its own trial and then reads; it stays within the limit of 60 requests a minute.
One address may sign up 20 times an hour, so start at most 20 users from each.
"""

from __future__ import annotations

import secrets

from locust import HttpUser, constant_pacing, task


class Tenant(HttpUser):
    wait_time = constant_pacing(2)

    def on_start(self) -> None:
        tag = secrets.token_hex(6)
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
