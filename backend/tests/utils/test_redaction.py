"""No secret and no whole address gets into a log or a report, whatever it is wrapped in."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import sentry_sdk
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.rules import api_keys
from app.telemetry import redaction
from app.utils import monitoring, security

SETTINGS = {"level": "INFO", "release": "test", "environment": "development"}


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    monitoring.configure(fmt="json", sentry_dsn="", **SETTINGS)
    yield
    structlog.configure(**before[0])
    root.handlers[:], root.level = before[1], before[2]


def base32(size: int) -> str:
    return base64.b32encode(os.urandom(size)).decode().rstrip("=")


def jwt() -> str:
    parts = [json.dumps({"alg": "HS256", "typ": "at+jwt"}), json.dumps({"sub": "x"}), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def mixed(size: int) -> str:
    """URL-safe and random, as tokens and inbox passwords are."""
    return f"aB3{secrets.token_urlsafe(size)}"[:size]


def pem() -> str:
    body = base64.b64encode(os.urandom(120)).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"


SHAPES = {
    "live key": lambda: api_keys.assemble(os.urandom(32), live=True),
    "test key": lambda: api_keys.assemble(os.urandom(32), live=False),
    "operator's token": lambda: f"ig_op_{mixed(43)}",
    "access token": jwt,
    "refresh or mailed token": lambda: mixed(43),
    "inbox password": lambda: mixed(32),
    "webhook secret": lambda: f"whsec_{mixed(32)}",
    "Stripe key": lambda: f"sk_live_{mixed(24)}",
    "restricted Stripe key": lambda: f"rk_test_{mixed(24)}",
    "client secret": lambda: f"seti_{mixed(24)}_secret_{mixed(24)}",
    "bearer": lambda: f"Bearer {secrets.token_hex(16)}",
    "basic": lambda: f"basic {base64.b64encode(os.urandom(20)).decode()}",
    "private key": pem,
    "seed of codes": lambda: base32(20),
    "recovery code": lambda: "-".join(base32(15).lower()[i : i + 4] for i in range(0, 24, 4)),
    "set-up of codes": lambda: f"otpauth://totp/InboxGrove:ann?secret={base32(20)}&issuer=x",
    "reset link": lambda: f"https://app.acme.test/reset-password?token={mixed(43)}",
    "password in a query": lambda: f"password={secrets.token_hex(8)}",
    "password in a repr": lambda: f"{{'password': '{secrets.token_hex(8)}'}}",
    "password in JSON": lambda: f'{{"new_password": "{secrets.token_hex(8)}"}}',
    "database URL": lambda: f"postgresql://inboxgrove:{secrets.token_hex(8)}@db/x",
    "password hash": lambda: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$" + mixed(43),
}
"""A fresh secret of every shape we make or hold."""


def secret_part(text: str) -> str:
    """What of a shape must not be seen: its longest word, for most of them all of it."""
    words = text.replace("=", " ").replace("'", " ").replace('"', " ").replace("@", " ")
    return max(words.replace(":", " ").replace("/", " ").split(), key=len).strip("}")


@dataclass
class Holder:
    """An object whose text tells what it holds."""

    value: str


def wrappings(text: str) -> list[dict[str, Any]]:
    return [
        {"said": text},
        {"nested": {"list": [{"deep": (text,)}]}},
        {"key": {text: 1}},
        {"object": Holder(text)},
        {"bytes": text.encode()},
        {"a_set": {text}},
        {"error": ValueError(text)},
        {text: "as a name"},
    ]


@pytest.mark.parametrize("shape", SHAPES)
@given(
    before=st.text(
        st.characters(codec="utf-8", exclude_categories=["L", "N", "Pd", "Pc", "M"]), max_size=20
    ),
    after=st.sampled_from(["", " ", ".", ", and so on", "\n", '"', "'", ")"]),
)
@settings(max_examples=25, deadline=None)
def test_every_shape_is_hidden_wherever_it_stands(shape: str, before: str, after: str) -> None:
    text = SHAPES[shape]()
    hidden = secret_part(text)
    for fields in wrappings(f"{before} {text}{after}"):
        out = json.dumps(redaction.redact(None, "", dict(fields)), ensure_ascii=False)
        assert hidden not in out, fields
        assert "[hidden]" in out


@pytest.mark.parametrize("fmt", ["json", "console"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_hidden_in_every_kind_of_line(
    shape: str, fmt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monitoring.configure(fmt=fmt, sentry_dsn="", **SETTINGS)
    text = SHAPES[shape]()
    log, plain = structlog.get_logger("ours"), logging.getLogger("theirs")
    log.info(f"happened {text}")
    log.info("happened %s", text)
    log.info("happened", said=text, object=Holder(text))
    plain.warning("happened %s", text)
    plain.warning(f"happened {text}")
    plain.warning("happened", extra={"said": text})
    with structlog.contextvars.bound_contextvars(origin=text):
        log.info("happened")
    try:
        try:
            raise KeyError(text)
        except KeyError as inner:
            raise RuntimeError(f"it was {text}") from inner
    except RuntimeError as error:
        monitoring.report(error)
        plain.exception("failed with %s", text)
        log.exception("failed", text=text)
        plain.error("where", stack_info=True)
    out = capsys.readouterr().out
    assert out.count("happened") >= 7
    assert "Traceback" in out
    assert secret_part(text) not in out


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ann@example.com", "a***@example.com"),
        ("ann.smith+tag@mail.example.com", "a***@mail.example.com"),
        ("<ann@example.com>", "<a***@example.com>"),
        ("mailto:ann@example.com?x", "mailto:a***@example.com?x"),
        ("rené@exämple.com", "r***@exämple.com"),
        ("ann@[192.0.2.1]", "a***@[192.0.2.1]"),
        ("/suppressions/ann%40example.com", "/suppressions/a***%40example.com"),
        ("Key (email)=(ann@example.com) exists", "Key (email)=(a***@example.com) exists"),
        ("ann@example.com,bob@example.com", "a***@example.com,b***@example.com"),
    ],
)
def test_addresses_keep_their_first_letter_and_their_domain(address: str, shown: str) -> None:
    event = redaction.redact(None, "", {"event": address, "to": [address]})
    assert event == {"event": shown, "to": [shown]}


@given(st.emails())
def test_no_address_is_whole(address: str) -> None:
    out = str(redaction.redact(None, "", {"event": f"to {address} at once"})["event"])
    assert f" {address} " not in out
    assert "***@" in out


def test_what_helps_to_find_a_fault_is_kept() -> None:
    kept = {
        "event": "request",
        "path": "/api/v1/domains/0190c3a4-7b1e-7c3a-9d57-0f4f1b9a6c11",
        "request_id": "0190c3a47b1e7c3a9d570f4f1b9a6c11",
        "status": 200,
        "ms": 12.5,
        "task": "provisioning.register_domain",
        "error": 'connection to server at "127.0.0.1", port 5432 failed',
        "name": "acme-mail.com",
        "quota": {"used": 3, "limit": None, "full": False},
    }
    assert redaction.redact(None, "", dict(kept)) == kept
    chosen = {"request_id": f"Order-{mixed(40)}"}
    assert redaction.redact(None, "", dict(chosen)) == chosen


@pytest.mark.parametrize("piece", ["ann@", "-----BEGIN PRIVATE KEY-----", "token=", "aB3-", "://a"])
def test_a_line_of_malice_is_redacted_soon(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    began = time.perf_counter()
    redaction.redact(None, "", {"event": text})
    assert time.perf_counter() - began < 0.5


def _unpacked(body: bytes, encoding: str | None) -> str:
    if encoding == "br":
        # The SDK uses it where it is installed, and gzip elsewhere.
        import brotli

        body = brotli.decompress(body)
    return (gzip.decompress(body) if encoding == "gzip" else body).decode()


@pytest.fixture
def reports() -> Iterator[tuple[str, list[str]]]:
    """A DSN on loopback, and what arrived there."""
    bodies: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(_unpacked(body, self.headers["Content-Encoding"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", bodies
        server.shutdown()


def test_what_is_reported_outside_is_redacted_too(reports: tuple[str, list[str]]) -> None:
    dsn, bodies = reports
    texts = [make() for make in SHAPES.values()]
    monitoring.configure(fmt="json", sentry_dsn=dsn, **SETTINGS)
    try:
        for text in texts:
            logging.getLogger("theirs").warning("before %s ann@example.com", text)
            monitoring.report(RuntimeError(f"it was {text}"))
        sentry_sdk.flush(10)
    finally:
        sentry_sdk.init()
    sent = "\n".join(bodies)
    assert sent.count("it was") >= len(texts)
    assert "a***@example.com" in sent
    assert not [text for text in texts if secret_part(text) in sent]


def test_the_shapes_are_those_we_make() -> None:
    security.configure(
        signing_keys=["x" * 32],
        encryption_keys=[base64.urlsafe_b64encode(os.urandom(32)).decode()],
        inbox_pepper="x" * 32,
    )
    session = {"operator_id": uuid4(), "session_version": 1, "authenticated_at": clock.now()}
    made = [security.new_token(), security.new_totp_secret(), *security.inbox_passwords(20)]
    made += [*security.recovery_codes(), security.operator_token(**session)]
    for secret in made:
        assert secret not in str(redaction.redact(None, "", {"event": f"it is {secret}"}))
