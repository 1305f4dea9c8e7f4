"""Whatever bytes arrive, there is a verdict and a page."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox.receivers.judge import Envelope, judge, letterhead
from sandbox.receivers.lookups import Lookups
from sandbox.receivers.reading import read

from .conftest import Names

HEADERS = st.sampled_from(
    [
        b"From: ",
        b"Subject: ",
        b"DKIM-Signature: ",
        b"Content-Type: ",
        b"\r\n",
        b"\r\n\r\n",
        b"v=1; a=rsa-sha256; ",
        b"d=acme.test; s=s1; h=from; ",
        b"bh=AAAA; b=AAAA",
        b"multipart/mixed; boundary=x",
        b"--x\r\n",
        b"--x--",
        b"=?utf-8?b?",
        b"?=",
        b"<a@b.test>",
        b"text/html; charset=",
        b"Content-Transfer-Encoding: base64",
        b"\xff",
        b"\x00",
        b" ",
        b"@",
    ]
)
MESSAGES = st.lists(HEADERS | st.binary(max_size=12), max_size=25).map(b"".join)


@given(MESSAGES)
@example(b"From: a@b.test\r\nSubject: =?utf-8?b?====?=\r\n\r\n")
@example(b"From: =?utf-8?b?--x--?=")
@example(b"From: =?utf-7?q?+?= <a@xn--.test>\r\n\r\n")
@example(b"Content-Type: text/html; charset=\x00\r\n\r\nx")
def test_any_message_can_be_read(raw: bytes) -> None:
    reading = read(raw)
    shown = json.dumps([reading.headers, reading.text, reading.html, letterhead(raw).subject])
    assert shown.isascii()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    raw=MESSAGES,
    sender=st.sampled_from(["", "a@acme.test", "a@ünï.test", "\udcff@\udcff", "a@..", "a"])
    | st.text(max_size=8),
    helo=st.sampled_from(["client.test", "[127.0.0.1]", "\udcff", "-", "a" * 70]),
)
def test_any_message_can_be_judged(names: Names, raw: bytes, sender: str, helo: str) -> None:
    names.remove("acme.test", "TXT")
    names.txt("acme.test", "v=spf1 exists:%{i}.%{l}.%{h}.acme.test -all")
    lookups = Lookups(lambda: ("127.0.0.1", names.port))
    envelope = Envelope("127.0.0.1", helo, sender, ("b@gmail.test",), False)
    verdict, _ = judge(lookups, envelope, raw, 1_800_000_000)
    assert verdict.action in {"deliver", "spam", "refuse"}
    assert "\n" not in verdict.authentication_results("mx").replace(";\r\n\t", "")
