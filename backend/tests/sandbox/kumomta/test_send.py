"""The way of a mail: login, acceptance, signature, delivery, records."""

from __future__ import annotations

import asyncio
import base64

import dkim
from cryptography.hazmat.primitives import serialization

from app.rules import traces
from tests.sandbox.kumomta.plane import (
    BOB,
    DOMAIN,
    INBOX,
    SELECTOR,
    TENANT,
    Plane,
    dkim_key,
    eventually,
    mail,
    send,
)


async def test_a_mail_is_delivered_signed_and_reported(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port, mail())

    delivered = (await eventually(lambda: plane.receiver.to(BOB)))[0]
    assert delivered.sender.endswith("@bounce.mta.inboxgrove.test")
    assert b"\r\n.a line that starts with a dot\r\n" in delivered.content

    public = (
        dkim_key()
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    asked = []

    def published(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    assert dkim.DKIM(delivered.content).verify(dnsfunc=published)
    assert asked == [f"{SELECTOR}._domainkey.{DOMAIN}.".encode()]

    # Signed once more than they occur: nobody can add a second one on the way.
    for name in (b"From", b"Subject", b"Reply-To"):
        altered = name + b": x@evil.test\r\n" + delivered.content
        assert not dkim.DKIM(altered).verify(dnsfunc=published), name

    records = await eventually(
        lambda: plane.control_plane.of("Delivery") and plane.control_plane.records
    )
    assert [record["type"] for record in records] == ["Reception", "Delivery"]
    for record in records:
        assert record["sender"] == delivered.sender
        assert record["recipient"] == BOB
        assert record["queue"] == f"{INBOX}:{TENANT}@corp.test"
        assert record["meta"] == {
            "tenant": TENANT, "campaign": INBOX, "x_inbox": INBOX, "x_domain": DOMAIN,
            "x_trace": traces.of_address(delivered.sender),
        }  # fmt: skip
    assert records[1]["response"]["code"] == 250
    assert records[1]["peer_address"]["name"] == "mx.corp.test."
