"""What programs and people get to see over HTTP."""

from __future__ import annotations

import html.parser
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.config import SandboxConfig
from sandbox.receivers.judge import Envelope, letterhead
from sandbox.receivers.mailbox import Mailbox
from sandbox.receivers.verdict import Check, Verdict
from sandbox.world import World

from .conftest import Names, Side, Signer, letter, running

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Outline(html.parser.HTMLParser):
    """Start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def check_harmless(self) -> None:
        assert self.named("script") == []
        assert self.named("img") == []
        assert not [a for _, attributes in self.tags for a in attributes if a.startswith("on")]


async def test_filters(side: Side) -> None:
    await side.send(letter(sender="Ann <ann@one.test>", subject="First"), to="a@gmail.test")
    middle = side.world.clock.now()
    await side.send(letter(sender="Bob <bob@two.test>", subject="Second"), to="b@yahoo.test")

    async def subjects(**query: str) -> list[object]:
        return [m["subject"] for m in await side.messages(**query)]

    assert await subjects() == ["Second", "First"]
    assert await subjects(to="A@gmail.test") == ["First"]
    assert await subjects(to="yahoo") == ["Second"]
    assert await subjects(**{"from": "bob@two.test"}) == ["Second"]
    assert await subjects(**{"from": "b@two.test"}) == []
    assert await subjects(from_domain="one.test") == ["First"]
    assert await subjects(subject="sec") == ["Second"]
    assert await subjects(after=middle.isoformat()) == ["Second"]
    assert await subjects(after=(middle + timedelta(hours=1)).isoformat()) == []
    assert await subjects(q="ann dmarc:none") == ["First"]
    assert await subjects(limit="1") == ["Second"]
    counted = (await side.http.get("/mail/messages", params={"limit": "1"})).json()
    assert counted["count"] == 2
    for bad in ({"after": "yesterday"}, {"after": "2026-01-01T00:00:00"}, {"limit": "x"}):
        assert (await side.http.get("/mail/messages", params=bad)).status_code == 400


async def test_listing_has_what_the_sheet_names(side: Side) -> None:
    await side.send(letter())
    (kept,) = await side.messages()
    assert {
        "id", "received_at", "mail_from", "rcpt_to", "header_from", "subject", "spf", "dkim",
        "dmarc", "dkim_domain", "dkim_selector", "tls", "authentication_results",
    } <= set(kept)  # fmt: skip
    assert "raw" not in kept


async def test_delete_forgets_everything(side: Side) -> None:
    await side.send(letter(), to="complain@gmail.test")
    await side.send(letter(), to="bounce@gmail.test")
    assert (await side.http.delete("/mail/messages")).status_code == 204
    stats = (await side.http.get("/mail/stats")).json()
    assert (stats["messages"], stats["bytes"]) == (0, 0)
    assert (stats["refused"], stats["reports"]) == ({}, {})
    assert (await side.http.get("/mail/messages/1")).status_code == 404
    assert (await side.http.get("/mail/messages/1.html")).status_code == 404
    assert (await side.http.get("/mail/messages/1.eml")).status_code == 404


async def test_statistics(side: Side, acme: Names, signer: Signer) -> None:
    await side.send(signer.sign(letter(), "acme.test"), to="a@gmail.test", tls=True)
    await side.send(letter(sender="x@two.test"), to="b@gmail.test", sender="x@two.test")
    await side.send(letter(), to="full@gmail.test")
    stats = (await side.http.get("/mail/stats")).json()
    assert stats["by_verdict"]["dmarc"] == {"pass": 1, "none": 1}
    assert stats["by_sender_domain"]["acme.test"] == {
        "messages": 1, "spf_pass": 1, "dkim_pass": 1, "dmarc_pass": 1, "tls": 1, "spam": 0,
    }  # fmt: skip
    assert stats["by_sender_domain"]["two.test"]["dmarc_pass"] == 0
    assert stats["by_recipient_domain"] == {"gmail.test": 2}
    assert stats["refused"] == {"552 5.2.2": 1}


@pytest.mark.parametrize("limits", [{"max_messages": 3}, {"max_bytes": 3 * len(letter()) + 9}])
def test_oldest_messages_make_room(limits: dict[str, int]) -> None:
    mailbox = Mailbox(World.create(SandboxConfig()), **limits)
    envelope = Envelope("127.0.0.1", "client.test", "a@acme.test", ("b@gmail.test",), False)
    nothing = Check("none", "")
    verdict = Verdict(nothing, nothing, (), nothing, "none", "deliver")
    for number in range(5):
        raw = letter(subject=f"n{number}   ")
        mailbox.keep(envelope, "b@gmail.test", raw, verdict, letterhead(raw))
    assert [m["subject"] for m in mailbox.matching({})] == ["n4", "n3", "n2"]
    assert mailbox.statistics()["bytes"] == 3 * len(letter())


async def test_pages_for_people(side: Side, acme: Names, signer: Signer) -> None:
    await side.send(signer.sign(letter(), "acme.test"), tls=True)
    index = await side.http.get("/mail/")
    assert index.status_code == 200
    assert "DMARC pass" in index.text
    (row,) = [a for a in Outline(index.text).named("a") if a.get("class") == "row"]
    page = await side.http.get(str(row["href"]))
    assert page.status_code == 200
    for words in ("Good day.", "aligned by SPF of acme.test", "d=acme.test s=s1", "Message-ID"):
        assert words in page.text
    for path in ("refused.html", "reports.html", "?folder=spam", "?q=nothing", "?page=9&live=1"):
        assert (await side.http.get(f"/mail/{path}")).status_code == 200


async def test_hostile_words_stay_words(side: Side) -> None:
    raw = (
        f"From: {EVIL} <x@evil.test>\r\nSubject: {EVIL}\r\nX-Evil: {EVIL}\r\n"
        f"Content-Type: text/plain; name={EVIL}\r\n\r\n{EVIL}\r\n"
    ).encode()
    assert (await side.send(raw, to="complain@gmail.test"))[0] == 250
    await side.send(raw, to=f"bounce+{'x' * 40}@gmail.test")
    kept = await side.only()
    for path in ("", f"?q={EVIL}", f"messages/{kept['id']}.html", "refused.html", "reports.html"):
        page = await side.http.get(f"/mail/{path}")
        Outline(page.text).check_harmless()
        assert page.headers["content-security-policy"].startswith("default-src 'none';")
        assert page.headers["x-content-type-options"] == "nosniff"
    assert "&lt;script&gt;" in (await side.http.get("/mail/")).text


async def test_html_bodies_are_shown_in_a_powerless_frame(side: Side) -> None:
    body = '<p class="a">Hi</p><script>parent.location="https://evil.test"</script>"><b>'
    raw = letter(body=body).replace(b"\r\n\r\n", b"\r\nContent-Type: text/html\r\n\r\n", 1)
    await side.send(raw)
    kept = await side.only()
    outline = Outline((await side.http.get(f"/mail/messages/{kept['id']}.html")).text)
    outline.check_harmless()
    (frame,) = outline.named("iframe")
    assert frame["sandbox"] == ""
    assert str(frame["srcdoc"]).replace("\r", "").strip() == body


async def test_attachments_are_named_and_not_offered(side: Side) -> None:
    raw = (
        b"From: a@acme.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nsee attached\r\n"
        b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="i.pdf"'
        b"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
    )
    await side.send(raw)
    page = (await side.http.get(f"/mail/messages/{(await side.only())['id']}.html")).text
    assert "see attached" in page
    assert "i.pdf" in page
    assert "application/pdf, 3 B" in page


async def test_report_spam_button(side: Side) -> None:
    await side.send(letter())
    kept = await side.only()
    answer = await side.http.post(f"/mail/messages/{kept['id']}/complain")
    assert (answer.status_code, answer.headers["location"]) == (
        303, f"/mail/messages/{kept['id']}.html",
    )  # fmt: skip
    assert (await side.http.get("/mail/stats")).json()["reports"] == {"waiting": 1}


async def test_messages_outlive_a_restart(names: Names, tmp_path: Path) -> None:
    config = SandboxConfig(mx_port=0, data_dir=tmp_path)
    for expected in (["1"], ["2", "1"]):
        async with running(names, config) as side:
            await side.send(letter())
            assert [m["id"] for m in await side.messages()] == expected
