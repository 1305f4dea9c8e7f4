"""Zones: creation, status by delegation, caps, limits, the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.cloudflare import build, zones
from sandbox.config import SandboxConfig
from sandbox.world import World


async def test_a_zone_waits_for_its_delegation_and_follows_it(provider):
    zone = await provider.zone()
    assert zone["status"] == "pending"
    assert len(set(zone["name_servers"])) == 2
    assert all(host.endswith(".ns.cloudflare.sandbox.test") for host in zone["name_servers"])
    path = f"/zones/{zone['id']}"

    await provider.delegate(zone, zone["name_servers"][0], "ns1.other.test")
    assert (await provider.result("GET", path))["status"] == "pending"
    await provider.delegate(zone)
    active = await provider.result("GET", path)
    assert (active["status"], bool(active["activated_on"])) == ("active", True)
    await provider.delegate(zone, "ns1.other.test", "ns2.other.test")
    assert (await provider.result("GET", path))["status"] == "moved"
    await provider.delegate(zone)
    assert (await provider.result("PUT", path + "/activation_check")) == {"id": zone["id"]}
    assert (await provider.result("GET", path))["status"] == "active"


async def test_the_tick_activates_without_anybody_asking(provider):
    zone = await provider.zone()
    await provider.delegate(zone)
    await provider.control("clock/advance", seconds=1)
    assert provider.world.parts["cloudflare"].zones.get(zone["id"])["status"] == "active"


async def test_the_order_of_name_servers_does_not_matter(provider):
    zone = await provider.zone()
    await provider.delegate(zone, *reversed(zone["name_servers"]))
    assert (await provider.result("GET", f"/zones/{zone['id']}"))["status"] == "active"


async def test_activation_is_checked_once_an_hour(provider):
    zone = await provider.zone()
    path = f"/zones/{zone['id']}/activation_check"
    await provider.result("PUT", path)
    assert (await provider.code("PUT", path))[0] == 400
    await provider.control("clock/advance", hours=1)
    await provider.result("PUT", path)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "acme.com"}, (400, 1067)),
        ({"name": "acme.com", "account": {"id": "other"}}, (403, 10000)),
        ({"name": "not a name", "account": {"id": "sandbox-account"}}, (400, 1099)),
        ({"name": "acme", "account": {"id": "sandbox-account"}}, (400, 1099)),
        ({"account": {"id": "sandbox-account"}}, (400, 1099)),
        ({"name": "acme.com", "account": {"id": "sandbox-account"}, "kind": "full"}, (400, 9207)),
        ([1], (400, 9207)),
    ],
)
async def test_a_zone_is_refused(provider, body, expected):
    assert await provider.code("POST", "/zones", body) == expected
    assert zones(provider.world) == {}


async def test_a_name_has_one_zone_and_can_be_found_by_it(provider):
    zone = await provider.zone()
    body = {"name": "ACME.com", "account": {"id": "sandbox-account"}}
    assert await provider.code("POST", "/zones", body) == (400, 1061)
    found = await provider.result("GET", "/zones", name="acme.com")
    assert [item["id"] for item in found] == [zone["id"]]
    assert await provider.result("GET", "/zones", name="other.com") == []


async def test_pages_end_with_an_empty_one(provider):
    for n in range(7):
        await provider.zone(f"acme-{n}.com")
    _, first = await provider.call("GET", "/zones", per_page="5")
    assert first["result_info"] == {
        "page": 1,
        "per_page": 5,
        "count": 5,
        "total_count": 7,
        "total_pages": 2,
    }
    assert len(await provider.result("GET", "/zones", per_page="5", page="2")) == 2
    assert await provider.result("GET", "/zones", per_page="5", page="3") == []
    assert (await provider.code("GET", "/zones", per_page="500"))[0] == 400


async def test_a_deleted_zone_is_gone_and_its_name_free(provider):
    zone = await provider.zone()
    assert await provider.result("DELETE", f"/zones/{zone['id']}") == {"id": zone["id"]}
    assert await provider.code("GET", f"/zones/{zone['id']}") == (404, 1001)
    assert zones(provider.world) == {}
    assert (await provider.zone())["id"] != zone["id"]


async def test_identifiers_that_are_none(provider):
    assert await provider.code("GET", "/zones/acme.com") == (404, 7003)
    assert await provider.code("GET", "/elsewhere") == (404, 7000)


async def test_the_cap_counts_pending_zones_only(provider):
    await provider.control("cloudflare/settings", pending_zones=2)
    zone = await provider.zone("acme-1.com")
    await provider.zone("acme-2.com")
    body = {"name": "acme-3.com", "account": {"id": "sandbox-account"}}
    assert await provider.code("POST", "/zones", body) == (400, 1118)
    await provider.delegate(zone)
    await provider.result("GET", f"/zones/{zone['id']}")
    await provider.zone("acme-3.com")


async def test_unregistered_names_are_refused_when_asked_to(provider):
    await provider.control("cloudflare/settings", require_registered=True)
    body = {"name": "acme.com", "account": {"id": "sandbox-account"}}
    assert await provider.code("POST", "/zones", body) == (400, 1049)
    await provider.delegate({"name": "acme.com"}, "ns1.other.test", "ns2.other.test")
    made = await provider.zone()
    assert made["original_name_servers"] == ["ns1.other.test", "ns2.other.test"]


async def test_a_zone_that_stays_pending_is_removed_after_four_weeks(provider):
    await provider.zone("idle.com")
    kept = await provider.zone("kept.com")
    await provider.delegate(kept)
    await provider.control("clock/advance", days=29)
    assert set(zones(provider.world)) == {"kept.com"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (400, 9106)),
        ("sandbox-token", (400, 6003)),
        ("Bearer wrong", (403, 9109)),
    ],
)
async def test_the_token(provider, header, expected):
    provider.headers = {} if header is None else {"Authorization": header}
    assert await provider.code("GET", "/zones") == expected
    assert await provider.code("POST", "/zones", {"name": "acme.com"}) == expected


async def test_too_many_requests_are_blocked_for_five_minutes(provider):
    await provider.control("cloudflare/settings", requests=3)
    for _ in range(3):
        response = await provider.http.get("/cloudflare/client/v4/zones", headers=provider.headers)
        assert response.status_code == 200
    assert response.headers["Ratelimit"].startswith('"default";r=0;t=')
    assert response.headers["Ratelimit-Policy"] == '"default";q=3;w=300'
    await provider.control("clock/advance", seconds=200)
    # The block runs from the first request too many, not from the start of the window.
    refused = await provider.http.get("/cloudflare/client/v4/zones", headers=provider.headers)
    assert refused.status_code == 429
    assert 299 <= int(refused.headers["Retry-After"]) <= 300
    assert refused.json()["errors"][0]["code"] == 971
    await provider.control("clock/advance", seconds=290)
    assert (await provider.code("GET", "/zones"))[0] == 429
    await provider.control("clock/advance", seconds=11)
    assert await provider.result("GET", "/zones") == []


async def test_failing_after_the_effect_can_be_recovered_by_name(provider):
    rule = {"part": "cloudflare", "match": "POST .*/zones", "mode": "fail_after"}
    await provider.control("faults", **rule)
    body = {"name": "acme.com", "account": {"id": "sandbox-account"}}
    lost = await provider.http.post(
        "/cloudflare/client/v4/zones", json=body, headers=provider.headers
    )
    assert lost.status_code == 500
    assert await provider.code("POST", "/zones", body) == (400, 1061)
    assert len(await provider.result("GET", "/zones", name="acme.com")) == 1


async def test_zones_outlive_a_restart(tmp_path: Path):
    world = World.create(SandboxConfig(data_dir=tmp_path))
    part = world.parts["cloudflare"] = build(world)
    doc = part.zones.add("acme.com")
    world.store.close()
    later = World.create(SandboxConfig(data_dir=tmp_path))
    later.parts["cloudflare"] = again = build(later)
    assert zones(later)["acme.com"].name_servers == tuple(doc["name_servers"])
    assert again.zones.identifier() != doc["id"]
    later.store.close()
