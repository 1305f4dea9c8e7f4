"""Answers that real providers gave, as others recorded them: our clients read them rightly."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from redis import Redis

from app.config import RegistrantSettings
from app.errors import ProviderFailed
from app.integrations.cloudflare_client import CloudflareClient
from app.integrations.namecheap_client import NamecheapClient
from app.integrations.ports import DNSRecord
from tests.contracts.tools import Scripted

SAMPLES = Path(__file__).parent / "samples"
TLDS = """<?xml version="1.0"?><ApiResponse Status="OK"><Errors/><CommandResponse>
<Tld Name="com" IsApiRegisterable="true" NonRealTime="false"/>
<Tld Name="com.ua" IsApiRegisterable="true" NonRealTime="false"/>
</CommandResponse></ApiResponse>"""


@pytest.fixture
def namecheap(scripted: Scripted, http: httpx.Client, valkey: Redis) -> NamecheapClient:
    return NamecheapClient(
        http=http,
        redis=valkey,
        url=scripted.url,
        api_user="u",
        api_key="k",
        username="u",
        client_ip="192.0.2.1",
        registrant=RegistrantSettings().model_dump(),
    )


@pytest.fixture
def cloudflare(scripted: Scripted, http: httpx.Client) -> CloudflareClient:
    return CloudflareClient(http=http, url=scripted.url, token="t", account_id="a")


def play(scripted: Scripted, *names: str, status: int = 200) -> None:
    for name in names:
        scripted.say(status, (SAMPLES / name).read_bytes())


# Namecheap --------------------------------------------------------------------------------------


def test_a_check_and_its_prices(scripted: Scripted, namecheap: NamecheapClient) -> None:
    play(scripted, "namecheap_check.xml")
    scripted.say(200, TLDS)
    play(scripted, "namecheap_pricing.xml", "namecheap_pricing.xml")
    free, taken = namecheap.offers(["example.com", "example.net"])
    # What the account pays, not the list price.
    assert (free.available, free.price_cents, free.premium) == (True, 999, False)
    assert (taken.available, taken.reason, taken.price_cents) == (False, "taken", None)


def test_a_name_of_somebody_else(scripted: Scripted, namecheap: NamecheapClient) -> None:
    play(scripted, "namecheap_not_ours.xml")
    assert namecheap.find("example.com.ua") is None


def test_the_balance(scripted: Scripted, namecheap: NamecheapClient) -> None:
    play(scripted, "namecheap_balances.xml")
    assert namecheap.balance_cents() == 12_345


def test_name_servers(scripted: Scripted, namecheap: NamecheapClient) -> None:
    scripted.say(200, TLDS)
    play(scripted, "namecheap_set_custom.xml", "namecheap_set_custom_refused.xml")
    namecheap.set_nameservers("example.com", ["ns1.test", "ns2.test"])
    with pytest.raises(ProviderFailed, match="Namecheap"):
        namecheap.set_nameservers("example.com", ["ns1.test", "ns2.test"])


def test_an_address_that_is_not_let_in(scripted: Scripted, namecheap: NamecheapClient) -> None:
    play(scripted, "namecheap_invalid_ip.xml")
    with pytest.raises(ProviderFailed) as caught:
        namecheap.find("example.com")
    assert caught.value.details["numbers"] == ["1011150"]


# Cloudflare -------------------------------------------------------------------------------------


def test_a_zone_is_found_in_a_list(scripted: Scripted, cloudflare: CloudflareClient) -> None:
    play(scripted, "cloudflare_zones.json")
    zone = cloudflare.ensure_zone("example.com")
    assert (zone.id, zone.status) == ("234234243423aaabb334342aaa343433", "pending")
    assert zone.name_servers == ("alice.ns.cloudflare.com", "tom.ns.cloudflare.com")


def test_other_people_s_records_of_all_kinds_are_read_and_left(
    scripted: Scripted, cloudflare: CloudflareClient
) -> None:
    """Without comments, plain TXT, and SRV and CAA that have data in place of content."""
    play(scripted, "cloudflare_records.json")
    scripted.say(200, json.dumps({"success": True, "result": {}}))
    key = "v=DKIM1;k=rsa;s=email;h=sha256;p=A/kinda+of/long/string+with+numb3rs"
    wanted = [
        DNSRecord("TXT", "txt.example.com", key, purpose="dkim"),
        DNSRecord("CNAME", "included.example.com", "Example.com.", purpose="tracking"),
        DNSRecord("TXT", "example.com", "v=spf1 -all", purpose="spf"),
    ]
    assert cloudflare.apply("z", wanted) == 1
    _, (_, _, _, body) = scripted.asked
    batch = json.loads(body)
    assert list(batch) == ["posts"]
    assert [post["content"] for post in batch["posts"]] == ['"v=spf1 -all"']


def test_a_record_that_exists_is_settled_by_what_it_says(
    scripted: Scripted, cloudflare: CloudflareClient
) -> None:
    scripted.say(200, json.dumps({"success": True, "result": []}))
    play(scripted, "cloudflare_exists.json", status=400)
    play(scripted, "cloudflare_txt.json")
    record = DNSRecord("TXT", "_acme-challenge.noop.example.com", "challengetoken", purpose="x")
    assert cloudflare.apply("z", [record]) == 0


def test_every_sample_is_named_with_its_source() -> None:
    told = (SAMPLES / "README.md").read_text()
    files = [path.name for path in SAMPLES.iterdir() if path.name != "README.md"]
    assert files
    assert all(f"`{name}`" in told for name in files)
