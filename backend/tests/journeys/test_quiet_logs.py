"""A person's whole way through the doors leaves no secret and no address in the logs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import httpx
import pytest
import structlog

from app.utils import monitoring
from tests.fixtures.team import code_of, mailed_token
from tests.fixtures.world import Running
from tests.people import bearer, fresh_address, sign_in, sign_up

PASSWORDS = ["correct horse battery", "another staple entirely", "never the right one"]


@pytest.fixture
def all_logs() -> Iterator[None]:
    """Every line of the API, which runs in this process, on what is captured here."""
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    monitoring.configure(
        level="DEBUG", fmt="json", sentry_dsn="", release="test", environment="development"
    )
    yield
    structlog.configure(**before[0])
    root.handlers[:], root.level = before[1], before[2]


def test_nothing_secret_is_logged_on_the_way(
    world: Running,
    api: httpx.Client,
    drain: Callable[..., list[str]],
    all_logs: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    email = fresh_address()
    secrets = [email, *PASSWORDS]

    def asked(path: str, headers: dict[str, str], **body: object) -> httpx.Response:
        return api.post(f"/api/v1/{path}", json=body, headers=headers)

    # In, and wrong in every way.
    signed_up = sign_up(api, email).json()["data"]
    secrets += [signed_up["access_token"], signed_up["refresh_token"]]
    secrets.append(signed_up["setup_intent"]["client_secret"])
    assert sign_up(api, email).status_code == 409
    drain()
    verifying = mailed_token(world, email)
    secrets.append(verifying)
    assert sign_in(api, email, PASSWORDS[2]).status_code == 401
    assert api.get("/verify-email", params={"token": verifying}).status_code == 200
    assert asked("auth/verify-email", {}, token=verifying).status_code == 200
    assert asked("auth/login", {}, email=email, password=[PASSWORDS[0]]).status_code == 400
    session = sign_in(api, email).json()["data"]
    secrets += [session["access_token"], session["refresh_token"]]
    fresh = asked("auth/refresh", {}, refresh_token=session["refresh_token"]).json()["data"]
    secrets += [fresh["access_token"], fresh["refresh_token"]]
    assert asked("auth/refresh", {}, refresh_token=session["refresh_token"]).status_code == 401

    # A forgotten password.
    assert asked("auth/forgot-password", {}, email=email).status_code == 202
    drain()
    resetting = mailed_token(world, email)
    secrets.append(resetting)
    reset = asked("auth/reset-password", {}, token=resetting, new_password=PASSWORDS[1])
    assert reset.status_code == 200, reset.text
    again = asked("auth/reset-password", {}, token=resetting, new_password=PASSWORDS[1])
    assert again.status_code == 400

    # A second factor, a key, a colleague.
    headers = bearer(sign_in(api, email, PASSWORDS[1]).json()["data"]["access_token"])
    seed = asked("auth/2fa/setup", headers).json()["data"]["secret"]
    enabled = asked("auth/2fa/enable", headers, code=code_of(seed)).json()["data"]
    secrets += [seed, *enabled["recovery_codes"]]
    headers = bearer(enabled["access_token"])
    made = asked("auth/api-keys", headers, name="ci", scopes=["inboxes:read"])
    assert made.status_code == 201, made.text
    key = made.json()["data"]["key"]
    secrets += [key, enabled["access_token"]]
    assert api.get("/api/v1/infrastructure/inboxes", headers=bearer(key)).status_code == 200
    assert api.get("/api/v1/infrastructure/inboxes", headers=bearer(key[:-1])).status_code == 401
    colleague = fresh_address()
    secrets.append(colleague)
    assert asked("auth/users", headers, email=colleague, role="member").status_code == 201
    drain()
    invited = mailed_token(world, colleague)
    secrets.append(invited)
    joined = asked("auth/users/accept-invite", {}, token=invited, password=PASSWORDS[0])
    assert joined.status_code < 500
    # Secrets where they do not belong.
    for path in (key, f"reset-password?token={resetting}", f"api/v1/auth/sessions/{seed}", email):
        api.get(f"/{path}", headers={"X-Request-ID": key, "User-Agent": f"curl {seed}"})

    # A command that a test ran before has its logs on the other stream.
    lines = "".join(capsys.readouterr())
    assert lines.count('"event": "request"') >= 20
    assert not [secret for secret in secrets if secret in lines]


def test_mailed_links_do_not_follow_the_request(
    world: Running, api: httpx.Client, drain: Callable[..., list[str]]
) -> None:
    """Thirty ways to name another host; the link is that of the settings (OWASP ASVS 6.4.1)."""
    from app.database.models import Throttle
    from app.database.session import ALL_TENANTS, transaction

    email, evil = fresh_address(), "evil.test"
    assert sign_up(api, email).status_code == 201
    drain()
    asked = 0
    for host in (evil, "evil.test:8000", "127.0.0.1.evil.test"):
        for name in (
            "Host", "X-Forwarded-Host", "X-Host", "X-Original-Host", "X-Forwarded-Server",
            "X-HTTP-Host-Override", "Forwarded", "X-Original-URL", "Referer", "Origin",
        ):  # fmt: skip
            value = f"host={host}" if name == "Forwarded" else host
            value = f"http://{host}/" if name in {"Referer", "X-Original-URL", "Origin"} else value
            answer = api.post(
                "/api/v1/auth/forgot-password", json={"email": email}, headers={name: value}
            )
            assert answer.status_code == 202, answer.text
            drain()
            link = mailed_token(world, email)
            assert link
            asked += 1
            with transaction(tenant=ALL_TENANTS) as db:
                # Each is a case of its own; that there are few in an hour is shown elsewhere.
                db.query(Throttle).delete()
    assert asked == 30
    found = httpx.get(
        f"{world.sandbox_url}/mail/messages", params={"to": email, "limit": 100}, timeout=10
    ).json()["messages"]
    raws = [
        httpx.get(f"{world.sandbox_url}/mail/messages/{one['id']}", timeout=10).text
        for one in found
    ]
    assert len(raws) >= 30
    assert not [raw for raw in raws if evil in raw]
    assert all(world.api_url in raw.replace("=\\r\\n", "").replace("=\\n", "") for raw in raws)
