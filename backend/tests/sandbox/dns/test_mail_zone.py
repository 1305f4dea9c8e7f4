"""A whole sending domain, as the product plans it, judged by an independent checker."""

from __future__ import annotations

import asyncio

import checkdmarc
import checkdmarc.dmarc
import checkdmarc.smtp_tls_reporting
import checkdmarc.spf
import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.dns.conftest import record

MTA = "mta.inboxgrove.test"
SELECTOR = "ig202611"


def _plan(domain: str, public_key: str) -> list[dict[str, object]]:
    key = f"v=DKIM1; k=rsa; p={public_key}"
    policy = f"v=DMARC1; p=quarantine; rua=mailto:dmarc@rua.{MTA}; adkim=r; aspf=r"
    return [
        record("MX", domain, f"mx1.{MTA}", priority=10),
        record("MX", domain, f"mx2.{MTA}", priority=20),
        record("TXT", domain, f'"v=spf1 include:_spf.{MTA} -all"'),
        record("TXT", f"{SELECTOR}._domainkey.{domain}", f'"{key[:255]}" "{key[255:]}"'),
        record("TXT", f"_dmarc.{domain}", f'"{policy}"'),
        record("CNAME", f"bounce.{domain}", f"bounce.{MTA}"),
        record("TXT", f"_smtp._tls.{domain}", f'"v=TLSRPTv1; rua=mailto:tlsrpt@{MTA}"'),
        record("CAA", domain, '0 issue "letsencrypt.org"'),
    ]


@pytest.fixture(scope="module")
def key() -> tuple[bytes, str]:
    """(private PEM in PKCS#1 as dkimpy reads it, public SPKI in base64)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, "".join(public.decode().splitlines()[1:-1])


@pytest.fixture(autouse=True)
def _forgetful():
    """The checker remembers answers for the whole process, also those of other tests' zones."""
    checkdmarc.utils.DNS_CACHE.clear()


async def test_a_checker_finds_nothing_wrong(net, key):
    await net.zone("acme-mail.com", *_plan("acme-mail.com", key[1]))
    resolver = net.resolver(blocking=True)

    def check(function, **more):
        return asyncio.to_thread(function, "acme-mail.com", resolver=resolver, timeout=5, **more)

    spf = await check(checkdmarc.spf.check_spf)
    assert (spf["valid"], spf["warnings"]) == (True, [])
    assert spf["dns_lookups"] == 1
    dmarc = await check(checkdmarc.dmarc.check_dmarc)
    assert (dmarc["valid"], dmarc["warnings"]) == (True, [])
    assert dmarc["tags"]["p"]["value"] == "quarantine"
    tls = await check(checkdmarc.smtp_tls_reporting.check_smtp_tls_reporting)
    assert tls["valid"] is True
    mx = await check(checkdmarc.check_mx)
    assert [host["hostname"] for host in mx["hosts"]] == [f"mx1.{MTA}", f"mx2.{MTA}"]


async def test_the_checker_does_find_what_is_wrong(net, key):
    plan = _plan("broken.com", key[1])
    plan.append(record("TXT", "broken.com", '"v=spf1 -all"'))
    await net.zone("broken.com", *plan)
    resolver = net.resolver(blocking=True)
    spf = await asyncio.to_thread(
        checkdmarc.spf.check_spf, "broken.com", resolver=resolver, timeout=5
    )
    assert spf["valid"] is False


async def test_a_signature_verifies_with_the_published_key(net, key):
    await net.zone("signed.com", *_plan("signed.com", key[1]))
    resolver = net.resolver(blocking=True)
    mail = b"From: a@signed.com\r\nTo: b@corp.test\r\nSubject: Hello\r\n\r\nHello\r\n"
    relaxed = (b"relaxed", b"relaxed")
    signature = dkim.sign(mail, SELECTOR.encode(), b"signed.com", key[0], canonicalize=relaxed)

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        (found,) = resolver.resolve(name.decode(), "TXT")
        return b"".join(found.strings)

    assert await asyncio.to_thread(dkim.verify, signature + mail, dnsfunc=look_up)
    spoiled = signature + mail.replace(b"Hello\r\n", b"Goodbye\r\n")
    assert not await asyncio.to_thread(dkim.verify, spoiled, dnsfunc=look_up)
