"""Log records as a relay node makes and posts them."""

from __future__ import annotations

import http.client
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from app import clock

BATCH = 1_000
TOKEN = "token-of-the-benchmark-that-is-long-enough"

Inbox = tuple[str, str, str]
"""Tenant, inbox and address."""


def kinds(number: int) -> tuple[str, ...]:
    tenth = number % 10 == 0
    return ("Reception", "TransientFailure", "Delivery") if tenth else ("Reception", "Delivery")


def body(inboxes: Sequence[Inbox], number: int) -> bytes:
    dice = random.Random(number)
    items: list[dict[str, Any]] = []
    while len(items) < BATCH:
        inbox = dice.choice(inboxes)
        items += [record(inbox, kind, len(items)) for kind in kinds(len(items))]
    return orjson.dumps({"records": items[:BATCH]})


def record(inbox: Inbox, kind: str, number: int) -> dict[str, Any]:
    """A record with every field that kumod writes."""
    tenant, inbox_id, address = inbox
    now = clock.now()
    domain = ("gmail.com", "outlook.com", "yahoo.com", "corp.example")[number % 4]
    host = ("gmail-smtp-in.l.google.com.", "corp-example.mail.protection.outlook.com.")[number % 2]
    token = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dz" + f"{number:016}"
    content = {"Delivery": "OK 1785832803 d2e1a72fcca58-7b1f - gsmtp"}.get(kind, "")
    if kind == "TransientFailure":
        content = "Gmail has detected an unusual rate of mail originating from your DKIM domain"
    return {
        "event_id": uuid4().hex,
        "node": "node-1",
        "record": {
            "type": kind,
            "id": uuid4().hex,
            "sender": f"b-{token}@bounce.mta.example.net",
            "recipient": f"person{number}@{domain}",
            "queue": f"{inbox_id}:{tenant}@{domain}",
            "site": "" if kind == "Reception" else f"ip-3->{host}@smtp_client",
            "size": 2310,
            "response": {
                "code": 421 if kind == "TransientFailure" else 250,
                "enhanced_code": {"class": 2, "subject": 0, "detail": 0},
                "content": content,
                "command": ".\r\n",
            },
            "peer_address": {"name": host, "addr": "142.251.2.27"},
            "timestamp": int(now.timestamp()),
            "event_time": now.isoformat(),
            "created": int(now.timestamp()),
            "created_time": now.isoformat(),
            "num_attempts": 0,
            "bounce_classification": "Uncategorized",
            "egress_pool": tenant,
            "egress_source": "ip-3",
            "source_address": {"address": "198.51.100.3:53210"},
            "feedback_report": None,
            "meta": {
                "tenant": tenant,
                "campaign": inbox_id,
                "x_inbox": inbox_id,
                "x_domain": address.partition("@")[2],
                "x_trace": token,
            },
            "headers": {},
            "delivery_protocol": "ESMTP",
            "reception_protocol": "ESMTP",
            "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
            "tls_cipher": "TLS_AES_256_GCM_SHA384",
            "tls_protocol_version": "TLSv1.3",
            "session_id": "1c0e2d7e-93f8-4f0e-8f5e-0b2f7a1f8e11",
        },
    }


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)


def post_all(url: str, bodies: Sequence[bytes]) -> None:
    connection = connect(url)
    for each in bodies:
        post(connection, each)
    connection.close()


def post(connection: http.client.HTTPConnection, each: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("POST", "/webhooks/kumomta", each, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text!r}")
