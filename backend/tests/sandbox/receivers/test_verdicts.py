"""SPF, DKIM and DMARC as a receiver sees them, over real SMTP and real DNS."""

from __future__ import annotations

import asyncio
import time

import pytest

from .conftest import Names, Side, Signer, letter


async def test_everything_in_order_passes(side: Side, acme: Names, signer: Signer) -> None:
    code, answer = await side.send(signer.sign(letter(), "acme.test"), tls=True)
    assert code == 250, answer
    kept = await side.only()
    assert (kept["spf"], kept["dkim"], kept["dmarc"]) == ("pass", "pass", "pass")
    assert (kept["dkim_domain"], kept["dkim_selector"]) == ("acme.test", "s1")
    assert kept["tls"] is True
    assert kept["folder"] == "inbox"
    results = str(kept["authentication_results"])
    assert results.startswith("mx.gmail.test; spf=pass ")
    assert "smtp.mailfrom=news@acme.test" in results
    assert "header.d=acme.test header.s=s1" in results
    assert "dmarc=pass" in str(kept["raw"]).partition("\r\n\r\n")[0]


async def test_a_sender_cannot_forge_an_entry(side: Side) -> None:
    await side.send(letter(), sender='"x; dmarc=pass "@acme.test')
    results = str((await side.only())["authentication_results"])
    assert r'smtp.mailfrom="\"x; dmarc=pass \"@acme.test"' in results


async def test_plain_connections_are_told_apart(side: Side, acme: Names, signer: Signer) -> None:
    await side.send(signer.sign(letter(), "acme.test"))
    assert (await side.only())["tls"] is False


async def test_changed_body_breaks_the_signature(side: Side, acme: Names, signer: Signer) -> None:
    signed = signer.sign(letter(body="Pay 10 euro"), "acme.test")
    await side.send(signed.replace(b"10 euro", b"99 euro"))
    kept = await side.only()
    assert kept["dkim"] == "fail"
    assert kept["dkim_reason"] == "the body was changed after signing"
    # SPF is aligned, so DMARC passes all the same.
    assert kept["dmarc"] == "pass"


async def test_changed_subject_breaks_the_signature(
    side: Side, acme: Names, signer: Signer
) -> None:
    signed = signer.sign(letter(subject="Hello"), "acme.test")
    await side.send(signed.replace(b"Subject: Hello", b"Subject: Hallo"))
    kept = await side.only()
    assert kept["dkim"] == "fail"
    assert "header" in str(kept["dkim_reason"])


async def test_missing_and_revoked_keys_are_permanent_errors(
    side: Side, acme: Names, signer: Signer
) -> None:
    acme.txt("gone._domainkey.acme.test", "v=DKIM1; k=rsa; p=")
    await side.send(signer.sign(letter(), "acme.test", selector="gone"))
    await side.send(signer.sign(letter(), "acme.test", selector="never"))
    never, gone = await side.messages()
    assert (never["dkim"], gone["dkim"]) == ("permerror", "permerror")
    full = (await side.http.get(f"/mail/messages/{gone['id']}")).json()
    assert "revoked" in full["dkim_reason"]


async def test_signature_must_cover_from(side: Side, acme: Names, signer: Signer) -> None:
    signed = signer.sign(letter(), "acme.test")
    without = signed.replace(b"h=from : to : subject", b"h=to : subject", 1)
    assert without != signed
    await side.send(without)
    kept = await side.only()
    assert kept["dkim"] == "permerror"
    assert kept["dkim_reason"] == "the signature does not cover From"


async def test_malformed_signatures_do_no_harm(side: Side, acme: Names) -> None:
    for value in ("", "v=1", "a=b;;;=", "v=1; a=rsa-sha256; d=acme.test; s=s1; h=from; bh=x; b=y"):
        code, answer = await side.send(f"DKIM-Signature: {value}\r\n".encode() + letter())
        assert code == 250, answer
    assert {m["dkim"] for m in await side.messages()} == {"permerror"}


async def test_the_best_of_several_signatures_speaks(
    side: Side, acme: Names, signer: Signer
) -> None:
    acme.txt("x._domainkey.relay.test", signer.record)
    once = signer.sign(letter(), "acme.test")
    await side.send(signer.sign(once, "relay.test", selector="x"))
    kept = await side.only()
    assert kept["dkim_domain"] == "acme.test"
    assert len(list(kept["signatures"])) == 2  # type: ignore[call-overload]


async def test_signing_time_is_held_against_the_clock_of_the_sandbox(
    side: Side, acme: Names, signer: Signer
) -> None:
    """A signer that lives in the sandbox stamps virtual time, ahead of the machine's clock."""
    await asyncio.to_thread(side.world.clock.advance, 30 * 86400)
    now = side.world.clock.timestamp()
    signed = signer.sign(letter(), "acme.test")
    start, end = signed.index(b"t=") + 2, signed.index(b";", signed.index(b"t="))
    # The signature covers t=, so the result is a mismatch and not "in the future".
    await side.send(signed[:start] + str(now).encode() + signed[end:])
    await side.send(signed[:start] + str(now + 10**6).encode() + signed[end:])
    future, present = await side.messages()
    assert present["dkim"] == "fail"
    assert future["dkim"] == "permerror"


async def test_foreign_address_fails_spf(side: Side, acme: Names, signer: Signer) -> None:
    await side.send(signer.sign(letter(), "acme.test"), source="127.0.0.9")
    kept = await side.only()
    assert kept["spf"] == "fail"
    assert "127.0.0.9" in str(kept["spf_reason"])
    assert kept["dmarc"] == "pass"  # by DKIM


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 include:_spf.mta.inboxgrove.test -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 ip4:192.0.2.1 ~all", "softfail"),
        ("v=spf1 ip4:192.0.2.1 ?all", "neutral"),
        ("v=spf1 ip4:not-an-address -all", "permerror"),
        ("v=spf1 include:nowhere.test -all", "permerror"),
        ("v=spf1 a:one.test a:two.test a:three.test -all", "permerror"),  # void lookups
        ("some other text", "none"),
    ],
)
async def test_spf_results(side: Side, names: Names, record: str, result: str) -> None:
    names.txt("acme.test", record)
    names.txt("_spf.mta.inboxgrove.test", "v=spf1 ip4:127.0.0.0/8 -all")
    names.mx("acme.test", "mx1.mta.inboxgrove.test")
    await side.send(letter())
    assert (await side.only())["spf"] == result


async def test_empty_sender_is_judged_by_the_ehlo_name(side: Side, names: Names) -> None:
    names.txt("client.acme.test", "v=spf1 ip4:127.0.0.1 -all")
    await side.send(letter(), sender="")
    kept = await side.only()
    assert kept["mail_from"] == ""
    assert kept["spf"] == "pass"
    assert "smtp.helo=client.acme.test" in str(kept["authentication_results"])


async def test_without_any_records_everything_is_none(side: Side) -> None:
    assert (await side.send(letter()))[0] == 250
    kept = await side.only()
    assert (kept["spf"], kept["dkim"], kept["dmarc"]) == ("none", "none", "none")


async def test_broken_dns_is_a_temporary_error(side: Side, acme: Names, signer: Signer) -> None:
    acme.broken |= {"acme.test", "_dmarc.acme.test", "s1._domainkey.acme.test"}
    await side.send(signer.sign(letter(), "acme.test"))
    kept = await side.only()
    assert (kept["spf"], kept["dkim"], kept["dmarc"]) == ("temperror",) * 3


async def test_reject_policy_is_obeyed_as_gmail_does(side: Side, acme: Names) -> None:
    code, answer = await side.send(letter(), sender="mallory@evil.test", source="127.0.0.9")
    assert code == 550
    assert answer.startswith("5.7.26 ")
    assert "acme.test" in answer
    assert await side.messages() == []
    (refused,) = (await side.http.get("/mail/refused")).json()["refused"]
    assert refused["dmarc"] == "fail"
    assert refused["subject"] == "Hello"
    assert (await side.http.get("/mail/stats")).json()["refused"] == {"550 5.7.26": 1}


@pytest.mark.parametrize(
    ("policy", "folder"),
    [("p=quarantine", "spam"), ("p=none", "inbox"), ("p=reject; t=y", "spam")],
)
async def test_softer_policies(side: Side, names: Names, policy: str, folder: str) -> None:
    names.txt("_dmarc.acme.test", f"v=DMARC1; {policy}")
    assert (await side.send(letter()))[0] == 250
    kept = await side.only()
    assert (kept["dmarc"], kept["folder"]) == ("fail", folder)
    assert await side.messages(folder="inbox" if folder == "spam" else "spam") == []


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ("", "pass"),
        ("; aspf=s", "fail"),
        ("; aspf=r", "pass"),
    ],
)
async def test_spf_alignment(side: Side, names: Names, tags: str, result: str) -> None:
    names.txt("bounce.acme.test", "v=spf1 ip4:127.0.0.1 -all")
    names.txt("_dmarc.acme.test", f"v=DMARC1; p=none{tags}")
    await side.send(letter(), sender="b+1@bounce.acme.test")
    kept = await side.only()
    assert (kept["spf"], kept["dmarc"]) == ("pass", result)


@pytest.mark.parametrize(("tags", "result"), [("", "pass"), ("; adkim=s", "fail")])
async def test_dkim_alignment(
    side: Side, names: Names, signer: Signer, tags: str, result: str
) -> None:
    names.txt("s1._domainkey.mail.acme.test", signer.record)
    names.txt("_dmarc.acme.test", f"v=DMARC1; p=none{tags}")
    await side.send(signer.sign(letter(), "mail.acme.test"), sender="x@elsewhere.test")
    kept = await side.only()
    assert (kept["dkim"], kept["dmarc"]) == ("pass", result)


async def test_a_stranger_s_valid_signature_does_not_help(
    side: Side, acme: Names, signer: Signer
) -> None:
    acme.txt("s1._domainkey.evil.test", signer.record)
    acme.txt("evil.test", "v=spf1 ip4:127.0.0.1 -all")
    code, _ = await side.send(signer.sign(letter(), "evil.test"), sender="x@evil.test")
    assert code == 550


async def test_a_message_has_one_author(side: Side, acme: Names) -> None:
    two = b"From: a@acme.test, b@other.test\r\nSubject: x\r\n\r\nx\r\n"
    twice = b"From: a@acme.test\r\nFrom: b@other.test\r\nSubject: x\r\n\r\nx\r\n"
    for raw in (two, twice, b"Subject: x\r\n\r\nx\r\n"):
        code, answer = await side.send(raw)
        assert (code, answer[:5]) == (550, "5.7.1")


async def test_the_address_in_a_display_name_is_not_the_author(side: Side, acme: Names) -> None:
    await side.send(letter(sender='"ceo@corp.test" <news@acme.test>'))
    assert (await side.only())["author_domain"] == "acme.test"


async def test_fifty_messages_at_once_are_judged_in_two_seconds(
    side: Side, acme: Names, signer: Signer
) -> None:
    raw = signer.sign(letter(), "acme.test")
    started = time.perf_counter()
    answers = await asyncio.gather(*(side.send(raw, to=f"u{n}@yahoo.test") for n in range(50)))
    took = time.perf_counter() - started
    assert {code for code, _ in answers} == {250}
    assert len(await side.messages(q="dmarc:pass")) == 50
    # Generous against a busy machine; on an idle one it takes well under a second.
    assert took < 4, took
    # The records were remembered: 50 messages did not ask 50 times.
    assert len([name for name, _ in acme.asked if name == "_dmarc.acme.test"]) < 50
