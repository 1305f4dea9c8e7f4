"""What is taken away is gone with the next request, in every process of the API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.fixtures.world import Running, eventually, free_port
from tests.security.belongings import PASSWORD
from tests.security.estate import Estate, operators_bearer

BACKEND = Path(__file__).parents[2]
V1 = "/api/v1"
Answer = tuple[int, str | None]
OUT: Answer = (401, "UNAUTHENTICATED")


@pytest.fixture(scope="module")
def second_process(_running: Running) -> Iterator[str]:
    """Another process of the API on the same database: its address."""
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "app.main:app", "--log-level", "warning"),
            *("--host", "127.0.0.1", "--port", url.rpartition(":")[2]),
        ],
        cwd=BACKEND,
        env=dict(os.environ),
    )

    def ready() -> bool:
        assert process.poll() is None, "the second process has ended"
        try:
            return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(ready, within=60, why="the second process serves")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def api(world: Running, second_process: str) -> Iterator[Callable[..., httpx.Response]]:
    """`api("GET", "/domains", headers)`: by default at the first process."""
    with (
        httpx.Client(base_url=world.api_url, timeout=30) as first,
        httpx.Client(base_url=second_process, timeout=30) as second,
    ):

        def ask(
            method: str, path: str, headers: dict[str, str], *, at: int = 1, **body: Any
        ) -> httpx.Response:
            client = first if at == 1 else second
            return client.request(method, f"{V1}{path}", headers=headers, json=body or None)

        yield ask


@dataclass
class Scene:
    """Somebody with a session, and an owner."""

    api: Callable[..., httpx.Response]
    estate: Estate
    member: UUID
    headers: dict[str, str]
    refresh_token: str
    session_id: UUID

    def by_owner(self, method: str, path: str, **body: Any) -> httpx.Response:
        return self.api(method, path, self.estate.bearer(self.estate.person("owner")), **body)

    def by_member_elsewhere(self, method: str, path: str, **body: Any) -> httpx.Response:
        """From another session of the same person."""
        return self.api(method, path, self.estate.bearer(self.member), **body)


Cut = Callable[[Scene], httpx.Response]


def log_out(scene: Scene) -> httpx.Response:
    return scene.api("POST", "/auth/logout", scene.headers)


def log_out_by_refresh_token(scene: Scene) -> httpx.Response:
    return scene.api("POST", "/auth/logout", {}, refresh_token=scene.refresh_token)


def sign_out_from_elsewhere(scene: Scene) -> httpx.Response:
    return scene.by_member_elsewhere("DELETE", f"/auth/sessions/{scene.session_id}")


def change_password(scene: Scene) -> httpx.Response:
    new = f"another horse {token_hex(4)}"
    return scene.by_member_elsewhere(
        "POST", "/auth/change-password", current_password=PASSWORD, new_password=new
    )


def reset_password(scene: Scene) -> httpx.Response:
    token = scene.estate.mailed(scene.member, "reset_password")
    new = f"another horse {token_hex(4)}"
    return scene.api("POST", "/auth/reset-password", {}, token=token, new_password=new)


def switch_on_a_second_factor(scene: Scene) -> httpx.Response:
    scene.estate.give_factor(scene.member, in_force=False)
    code = scene.estate.code_of(scene.member)
    return scene.by_member_elsewhere("POST", "/auth/2fa/enable", code=code)


def give_another_role(scene: Scene) -> httpx.Response:
    return scene.by_owner("PATCH", f"/auth/users/{scene.member}", role="read_only")


def remove(scene: Scene) -> httpx.Response:
    return scene.by_owner("DELETE", f"/auth/users/{scene.member}")


def leave(scene: Scene) -> httpx.Response:
    return scene.by_member_elsewhere("DELETE", "/auth/me")


def use_a_refresh_token_twice(scene: Scene) -> httpx.Response:
    """It is in two hands, so its session ends."""
    rotated = scene.api("POST", "/auth/refresh", {}, refresh_token=scene.refresh_token)
    assert rotated.status_code == 200
    again = scene.api("POST", "/auth/refresh", {}, refresh_token=scene.refresh_token)
    assert again.status_code == 401
    return rotated


CUTS: list[Cut] = [
    log_out,
    log_out_by_refresh_token,
    sign_out_from_elsewhere,
    change_password,
    reset_password,
    switch_on_a_second_factor,
    give_another_role,
    remove,
    leave,
    use_a_refresh_token_twice,
]


@pytest.mark.parametrize("cut", CUTS)
def test_a_session_that_was_cut(
    api: Callable[..., httpx.Response], estate: Estate, cut: Cut
) -> None:
    member = estate.person("member")
    access, refresh, session = estate.session(member)
    scene = Scene(api, estate, member, {"Authorization": f"Bearer {access}"}, refresh, session)
    for at in (1, 2):
        assert outcome(api("GET", "/domains", scene.headers, at=at)) == (200, None)
    assert cut(scene).is_success
    for at in (2, 1):
        assert outcome(api("GET", "/domains", scene.headers, at=at)) == OUT
    refreshed = api("POST", "/auth/refresh", {}, refresh_token=refresh, at=2)
    if cut is give_another_role:
        # They are still of the team, and go on as what they are now.
        assert refreshed.json()["data"]["user"]["role"] == "read_only"
    else:
        assert refreshed.status_code == 401


def test_a_suspended_tenant_is_refused_everywhere(
    api: Callable[..., httpx.Response], estate: Estate
) -> None:
    callers = [estate.bearer(estate.person("owner")), estate.program(["domains:read"])]
    for headers in callers:
        assert api("GET", "/domains", headers, at=2).status_code == 200
    operator = operators_bearer()
    path = f"/admin/tenants/{estate.tenant_id}"
    assert api("POST", f"{path}/suspend", operator, reason="spam_complaint").is_success
    for headers in callers:
        for at in (2, 1):
            refused = outcome(api("GET", "/domains", headers, at=at))
            assert refused == (403, "TENANT_SUSPENDED")
    assert api("POST", f"{path}/reinstate", operator).is_success
    for headers in callers:
        assert api("GET", "/domains", headers, at=2).status_code == 200


def test_an_api_key_that_was_revoked(api: Callable[..., httpx.Response], estate: Estate) -> None:
    key = estate.program(["domains:read"])
    owner = estate.bearer(estate.person("owner"))
    assert api("GET", "/domains", key, at=2).status_code == 200
    (listed,) = api("GET", "/auth/api-keys", owner).json()["data"]
    assert api("DELETE", f"/auth/api-keys/{listed['id']}", owner).is_success
    for at in (2, 1):
        assert outcome(api("GET", "/domains", key, at=at)) == OUT


def test_an_operator_who_signed_out(api: Callable[..., httpx.Response], estate: Estate) -> None:
    operator = operators_bearer()
    assert api("GET", "/admin/tenants", operator, at=2).status_code == 200
    assert api("DELETE", "/admin/session", operator).is_success
    for at in (2, 1):
        assert outcome(api("GET", "/admin/tenants", operator, at=at)) == OUT


def outcome(answer: httpx.Response) -> Answer:
    return answer.status_code, answer.json().get("error_code")
