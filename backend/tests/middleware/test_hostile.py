"""Oversized, malformed and hostile requests over real sockets: 4xx in the envelope, and soon."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from app import wiring
from app.config import Settings
from app.middleware.error_handler import ErrorMiddleware
from app.middleware.intake import IntakeMiddleware
from app.middleware.strict_json import MAX_DEPTH
from tests.fixtures.world import Running, eventually
from tests.people import bearer, sign_up

LIMIT = Settings().max_body_bytes
LOGIN = "/api/v1/auth/login"
JSON = {"Content-Type": "application/json"}


def refused(answer: httpx.Response, status: int = 400) -> str:
    """The message of a refusal in the envelope."""
    assert answer.status_code == status, answer.text[:300]
    body = answer.json()
    assert body["status"] == "error"
    assert body["request_id"] == answer.headers["x-request-id"]
    return str(body["message"])


def padded(size: int) -> bytes:
    """A sign-in of exactly `size` bytes."""
    body = b'{"email":"ann@acme.test","password":"x"}'
    return body + b" " * (size - len(body))


# Sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_of_a_body_is_exact(api: httpx.Client, chunked: bool) -> None:
    def send(size: int) -> httpx.Response:
        body = padded(size)
        pieces = (body[i : i + 60_000] for i in range(0, size, 60_000))
        return api.post(LOGIN, content=pieces if chunked else body, headers=JSON)

    assert send(LIMIT).status_code == 401
    over = send(LIMIT + 1)
    refused(over, 413)
    assert over.json()["error_code"] == "PAYLOAD_TOO_LARGE"
    assert over.json()["details"] == {"limit_bytes": LIMIT}


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("deep arrays", b"[" * 10_000 + b"]" * 10_000, 400),
        ("deep objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
        ("deeper than we take", b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), 400),
        ("deep in a field", b'{"email":' + b"[" * 400 + b"]" * 400 + b',"password":"x"}', 400),
        ("a million items", b"[" + b"0," * 999_999 + b"0]", 413),
        ("half a million", b"[" + b"0," * 500_000 + b"0]", 400),
        ("many names", json.dumps({f"n{i}": i for i in range(60_000)}).encode(), 400),
        ("a long text", b'{"email":"' + b"a" * 1_000_000 + b'","password":"x"}', 400),
        ("a long number", b'{"email":' + b"9" * 1_000_000 + b"}", 400),
        ("nothing but space", b" " * LIMIT, 400),
    ],
)
def test_bodies_that_exhaust(api: httpx.Client, name: str, body: bytes, status: int) -> None:
    began = time.perf_counter()
    refused(api.post(LOGIN, content=body, headers=JSON), status)
    # Linear work takes milliseconds; what explodes takes minutes, on any machine.
    assert time.perf_counter() - began < 20, name


@pytest.mark.parametrize("count", [1, 100])
def test_headers_of_64_kb(api: httpx.Client, count: int) -> None:
    headers = {f"X-Filler-{n}": "x" * (65_536 // count) for n in range(count)}
    answer = api.get("/api/v1/billing/plans", headers=headers)
    refused(answer, 431)
    assert answer.json()["error_code"] == "HEADERS_TOO_LARGE"
    refused(api.get(f"/api/v1/domains/{'x' * 60_000}"), 431)
    assert api.get("/api/v1/billing/plans").status_code == 200


def test_a_head_that_never_ends_is_hung_up_on(world: Running) -> None:
    with raw(world.api_url) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        try:
            while sent < 64 * 1024 * 1024:
                sent += line.send(b"X-A: " + b"x" * 60_000 + b"\r\n")
        except OSError:
            pass
    # What the kernel buffers on both sides, and not what somebody likes to send.
    assert sent < 16 * 1024 * 1024


# Content ----------------------------------------------------------------------------------------

SIGN_IN = '{"email":"ann@acme.test","password":%s}'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"email":"ann@acme.test","email":"bob@acme.test","password":"x"}', "twice"),
        ('{"a":{"b":1,"\\u0062":2}}', "twice"),
        (SIGN_IN % '"a\\u0000b"', "NUL"),
        ('{"\\u0000":1}', "NUL"),
        (SIGN_IN % '"\\ud800"', "surrogate"),
        (SIGN_IN % '["\\udfff\\ud800"]', "surrogate"),
        (SIGN_IN % "9223372036854775808", "64 bits"),
        (SIGN_IN % "-9223372036854775809", "64 bits"),
        (SIGN_IN % ("1" * 5_000), "64 bits"),
        (SIGN_IN % "1e999", "too large"),
        (SIGN_IN % "NaN", "NaN"),
        (SIGN_IN % "-Infinity", "Infinity"),
    ],
)
def test_json_that_readers_disagree_about(api: httpx.Client, body: str, says: str) -> None:
    assert says in refused(api.post(LOGIN, content=body, headers=JSON))


@pytest.mark.parametrize(
    "body",
    [
        (SIGN_IN % '"x"').encode("utf-16"),
        (SIGN_IN % '"x"').encode("utf-32"),
        (SIGN_IN % '"x"').encode("utf-16-le"),
        (SIGN_IN % '"x"').encode("utf-32-be"),
        (SIGN_IN % '"x"').encode("utf-8-sig"),
        (SIGN_IN % '"\xff"').encode("latin-1"),
        b"\x00",
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"1",
        b'{"email":"ann@acme.test","password":"x"}{}',
        b"{'email':'x'}",
    ],
)
def test_what_is_no_json_or_no_object(api: httpx.Client, body: bytes) -> None:
    assert refused(api.post(LOGIN, content=body, headers=JSON))


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "0.5", "1e3"])
def test_numbers_that_fit_are_left_to_the_schema(api: httpx.Client, number: str) -> None:
    message = refused(api.post(LOGIN, content=SIGN_IN % number, headers=JSON))
    assert message == "The request is not valid: password."


def writing_operations() -> list[tuple[str, str]]:
    from app.main import app

    found = [
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]
    assert len(found) > 20
    return found


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonp",
        "json",
        "/",
        ";;;",
        "text/json\u00ff",
        "",
    ],
)
def test_other_content_types_than_json(api: httpx.Client, kind: str) -> None:
    """Refused everywhere, so that no page can send one without a preflight."""
    for method, path in writing_operations():
        url = path.replace("{", "").replace("}", "")
        headers = {"Content-Type": kind.encode("latin-1")} if kind else {}
        answer = api.request(method, url, content=b'{"email":"a"}', headers=headers)
        assert answer.status_code in {400, 401, 403, 415}, (method, path, answer.text)
        assert answer.json()["status"] == "error"
    refused(
        api.post(LOGIN, content=SIGN_IN % '"x"', headers={"Content-Type": kind.encode("latin-1")})
    )


@pytest.mark.parametrize(
    "query",
    [
        "limit=" + "9" * 5_000,
        "limit=-9223372036854775809",
        "limit=1e3",
        "limit=%00",
        "limit=%ED%A0%80",
        "limit=1&limit=2&limit=x",
        "cursor=%ff%fe",
        "cursor=" + "A" * 20_000,
        "status=' OR 1=1 --",
        "%00=1",
    ],
)
def test_query_strings(signed_in: Any, query: str) -> None:
    answer = signed_in.http.get(f"/infrastructure/inboxes?{query}")
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["status"] == "error"


# The wire ---------------------------------------------------------------------------------------


def raw(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    line = socket.create_connection((host, int(port)), timeout=10)
    line.settimeout(10)
    return line


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 hello\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_server_lives(
    world: Running, api: httpx.Client, head: bytes
) -> None:
    with raw(world.api_url) as line:
        line.sendall(head)
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(65_536)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")), answer
    assert b"server:" not in answer.lower()
    assert b"Traceback" not in answer
    assert api.get("/healthz").status_code == 200


class Served:
    """An application under uvicorn with the product's own options."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        config = uvicorn.Config(
            app, port=0, log_level="error", lifespan="off", **wiring.build_server_options(settings)
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        eventually(lambda: self._server.started, why="it listens")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Tells who called, and how much was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"], "size": size})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


def test_a_body_that_drips_is_given_up_on() -> None:
    patient = IntakeMiddleware(
        echo, allowed_hosts=["*"], max_bytes=100, larger={}, body_seconds=0.3
    )
    with Served(ErrorMiddleware(patient), Settings()) as url, raw(url) as line:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nx"
        line.sendall(head)
        began = time.perf_counter()
        answer = line.recv(65_536)
        assert 0.2 < time.perf_counter() - began < 3
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"REQUEST_TIMEOUT" in answer
        with raw(url) as quick:
            quick.sendall(head + b"x" * 49)
            assert quick.recv(65_536).startswith(b"HTTP/1.1 200")


# Proxies ----------------------------------------------------------------------------------------

FORWARDED = {
    "X-Forwarded-For": "198.51.100.1, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "198.51.100.2",
    "Forwarded": "for=198.51.100.3;proto=https",
    "True-Client-IP": "198.51.100.4",
    "CF-Connecting-IP": "198.51.100.5",
}


@pytest.mark.parametrize(
    ("proxies", "client", "scheme"),
    [
        ([], "127.0.0.1", "http"),
        (["10.0.0.0/8"], "127.0.0.1", "http"),
        # The proxy wrote the last entry; what stands before it is the caller's own invention.
        (["127.0.0.1"], "203.0.113.9", "https"),
        (["127.0.0.0/8", "203.0.113.9"], "198.51.100.1", "https"),
    ],
)
def test_forwarded_headers_are_believed_from_known_proxies_only(
    proxies: list[str], client: str, scheme: str
) -> None:
    with Served(echo, Settings(forwarded_allow_ips=proxies)) as url:
        seen = httpx.get(url, headers=FORWARDED, timeout=10).json()
    assert (seen["client"], seen["scheme"]) == (client, scheme)


def test_an_invented_address_is_not_kept(world: Running) -> None:
    """The API as it runs, without proxies: sessions show the address of the connection."""
    with httpx.Client(base_url=world.api_url, headers=FORWARDED, timeout=30) as api:
        token = sign_up(api).json()["data"]["access_token"]
        answer = api.get("/api/v1/auth/sessions", headers=bearer(token))
    assert {session["ip"] for session in answer.json()["data"]} == {"127.0.0.1"}
