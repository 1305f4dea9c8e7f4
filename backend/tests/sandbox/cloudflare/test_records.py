"""Records: what is accepted, what collides, how lists are filtered, and that a batch is whole."""

from __future__ import annotations

import pytest

from sandbox.cloudflare import txt, zones


@pytest.fixture
async def records(provider):
    zone = await provider.zone()
    return f"/zones/{zone['id']}/dns_records"


def _txt(content: str, name: str = "acme.com", **more: object) -> dict[str, object]:
    return {"type": "TXT", "name": name, "content": content, "ttl": 300, **more}


async def test_a_record_lives_through_all_verbs(provider, records):
    body = {"type": "MX", "name": "@", "content": "MX1.mta.inboxgrove.test.", "priority": 10}
    made = await provider.result("POST", records, body)
    assert made["name"] == "acme.com"
    assert made["content"] == "mx1.mta.inboxgrove.test"
    assert (made["ttl"], made["proxied"], made["priority"]) == (1, False, 10)
    one = f"{records}/{made['id']}"
    assert await provider.result("GET", one) == made

    patched = await provider.result("PATCH", one, {"priority": 20, "comment": "inboxgrove:t:mx"})
    assert (patched["priority"], patched["comment"]) == (20, "inboxgrove:t:mx")
    assert patched["content"] == made["content"]
    put = await provider.result("PUT", one, {**body, "priority": 30})
    assert (put["priority"], put["comment"], put["id"]) == (30, None, made["id"])
    assert put["created_on"] == made["created_on"]

    assert await provider.result("DELETE", one) == {"id": made["id"]}
    assert await provider.code("DELETE", one) == (404, 81044)
    assert await provider.code("GET", one) == (404, 81044)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("@", "acme.com"),
        ("acme.com", "acme.com"),
        ("ACME.com.", "acme.com"),
        ("t", "t.acme.com"),
        ("_dmarc.acme.com", "_dmarc.acme.com"),
        ("*.acme.com", "*.acme.com"),
        ("ig202611._domainkey", "ig202611._domainkey.acme.com"),
    ],
)
async def test_names_are_completed(provider, records, name, full):
    made = await provider.result("POST", records, _txt("x", name))
    assert made["name"] == full


@pytest.mark.parametrize(
    ("content", "strings"),
    [
        ("v=spf1 -all", [b"v=spf1 -all"]),
        ('"v=spf1 -all"', [b"v=spf1 -all"]),
        ('"v=DKIM1; k=rsa; p=AAA" "BBB"', [b"v=DKIM1; k=rsa; p=AAA", b"BBB"]),
        (r'"say \"hi\" \\ \065"', [rb'say "hi" \ A']),
        ("p=" + "a" * 300, [b"p=" + b"a" * 253, b"a" * 47]),
        ('"' + "a" * 300 + '"', [b"a" * 255, b"a" * 45]),
    ],
)
async def test_txt_is_echoed_as_sent_and_read_as_meant(provider, records, content, strings):
    made = await provider.result("POST", records, _txt(content))
    assert made["content"] == content
    (kept,) = zones(provider.world)["acme.com"].records
    assert txt.strings(kept["content"]) == strings


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"content": '"not closed'}, 9101),
        ({"content": '"a" b'}, 9101),
        ({"content": r'"\999"'}, 9101),
        ({"content": " "}, 9207),
        ({"content": "a" * 4097}, 9101),
        ({"content": None}, 9207),
        ({"ttl": 59}, 9021),
        ({"ttl": 86401}, 9021),
        ({"ttl": "300"}, 9021),
        ({"name": ""}, 9000),
        ({"name": "bad name"}, 9000),
        ({"name": "a" * 64}, 9000),
        ({"type": "LOC"}, 9110),
        ({"proxied": True}, 9004),
        ({"proxied": "no"}, 9003),
        ({"colour": "red"}, 9207),
        ({"comment": "x" * 501}, 9301),
        ({"type": "A", "content": "1.2.3"}, 9005),
        ({"type": "AAAA", "content": "1.2.3.4"}, 9006),
        ({"type": "CNAME", "content": "no host"}, 9007),
        ({"type": "MX", "content": "mx.acme.com"}, 9100),
        ({"type": "MX", "content": "mx acme", "priority": 1}, 9009),
        ({"type": "MX", "content": "mx.acme.com", "priority": 70000}, 9100),
        ({"type": "CAA", "content": "letsencrypt.org"}, 9101),
        ({"type": "SRV", "content": "1 1 host"}, 9101),
    ],
)
async def test_a_wrong_record_is_refused(provider, records, change, code):
    body = {**_txt("x"), **change}
    assert await provider.code("POST", records, body) == (400, code)
    assert zones(provider.world)["acme.com"].records == []


async def test_srv_and_caa(provider, records):
    data = {"priority": 5, "weight": 1, "port": 587, "target": "mail.acme.com"}
    srv = {"type": "SRV", "name": "_submission._tcp", "data": data, "ttl": 300}
    made = await provider.result("POST", records, srv)
    assert (made["content"], made["priority"]) == ("1 587 mail.acme.com", 5)
    caa = {"type": "CAA", "name": "@", "content": '0 issue "letsencrypt.org"', "ttl": 300}
    made = await provider.result("POST", records, caa)
    assert made["data"] == {"flags": 0, "tag": "issue", "value": "letsencrypt.org"}


async def test_broken_json(provider, records):
    response = await provider.http.post(
        f"/cloudflare/client/v4{records}", content="{", headers=provider.headers
    )
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 6007)


async def test_the_same_record_twice(provider, records):
    await provider.result("POST", records, _txt('"v=spf1 " "-all"'))
    assert await provider.code("POST", records, _txt('"v=spf1 " "-all"')) == (400, 81058)
    # Another spelling of the same text is the same record.
    assert await provider.code("POST", records, _txt("v=spf1 -all")) == (400, 81058)
    assert await provider.code("POST", records, _txt("v=spf1 -all", ttl=600)) == (400, 81057)
    await provider.result("POST", records, _txt("v=spf1 ~all"))


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (("A", "127.0.0.1"), ("CNAME", "host.test"), 81053),
        (("CNAME", "one.test"), ("CNAME", "two.test"), 81053),
        (("CNAME", "one.test"), ("CNAME", "one.test"), 81058),
        (("CNAME", "one.test"), ("A", "127.0.0.1"), 81054),
        (("CNAME", "one.test"), ("AAAA", "::1"), 81054),
    ],
)
async def test_hosts_collide(provider, records, first, second, code):
    body = {"type": first[0], "name": "t", "content": first[1], "ttl": 300}
    await provider.result("POST", records, body)
    body = {"type": second[0], "name": "t", "content": second[1], "ttl": 300}
    assert await provider.code("POST", records, body) == (400, code)
    await provider.result("POST", records, {**body, "name": "u"})


async def test_a_name_holds_so_much_text_and_no_more(provider, records):
    await provider.result("POST", records, _txt("a" * 4000))
    await provider.result("POST", records, _txt("b" * 4000))
    assert await provider.code("POST", records, _txt("c" * 200)) == (400, 9101)
    await provider.result("POST", records, _txt("c" * 200, "other"))


async def test_lists_are_filtered_and_paged(provider, records):
    for n in range(5):
        await provider.result("POST", records, _txt(f"text {n}", f"n{n}", comment=f"c{n}"))
    mx = {"type": "MX", "name": "@", "content": "mx.test", "priority": 1}
    await provider.result("POST", records, mx)

    async def names(**query):
        query = {name.replace("__", "."): value for name, value in query.items()}
        return [item["name"] for item in await provider.result("GET", records, **query)]

    assert await names(type="MX") == ["acme.com"]
    assert await names(name__exact="N3.acme.com") == ["n3.acme.com"]
    assert await names(name="n3.acme.com", type="MX") == []
    assert await names(name="n3.acme.com", type="MX", match="any") == ["n3.acme.com", "acme.com"]
    assert await names(content__contains="text") == [f"n{n}.acme.com" for n in range(5)]
    assert await names(content__exact="text 2") == ["n2.acme.com"]
    assert await names(comment__startswith="c4") == ["n4.acme.com"]
    assert await names(search="mx.test") == ["acme.com"]
    assert await names(order="name", direction="desc", type="TXT", per_page="2") == [
        "n4.acme.com",
        "n3.acme.com",
    ]
    assert len(await names(per_page="4", page="2")) == 2
    assert await names(per_page="4", page="3") == []


async def test_a_batch_runs_in_its_order_and_says_what_it_did(provider, records):
    gone = await provider.result("POST", records, _txt("gone", "t"))
    mx = {"type": "MX", "name": "@", "content": "mx.test", "priority": 1}
    kept = await provider.result("POST", records, mx)
    cname = {"type": "CNAME", "name": "t", "content": "track.test", "ttl": 300}
    done = await provider.result(
        "POST",
        records + "/batch",
        {
            "posts": [cname, _txt("v=spf1 -all")],
            "patches": [{"id": kept["id"], "priority": 5}],
            "deletes": [{"id": gone["id"]}],
        },
    )
    assert [item["id"] for item in done["deletes"]] == [gone["id"]]
    assert done["patches"][0]["priority"] == 5
    assert [item["type"] for item in done["posts"]] == ["CNAME", "TXT"]
    assert done["puts"] == []
    assert len(await provider.result("GET", records)) == 3


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"posts": [_txt("fine"), _txt("x", ttl=1000000)]}, (400, 9021)),
        ({"posts": [_txt("fine"), _txt("fine")]}, (400, 81058)),
        ({"posts": [_txt("fine")], "patches": [{"id": "0" * 32, "ttl": 60}]}, (404, 81044)),
        ({"posts": [_txt("fine")], "deletes": [{}]}, (404, 81044)),
        ({"posts": [_txt("fine")], "removes": []}, (400, 9207)),
        ({"posts": {"type": "A"}}, (400, 9207)),
        ({"posts": [_txt(f"text {n}") for n in range(201)]}, (400, 9209)),
    ],
)
async def test_a_batch_is_done_whole_or_not_at_all(provider, records, bad, expected):
    first = await provider.result("POST", records, _txt("first"))
    # A delete that would work runs first, so that "nothing happened" means undone.
    bad = {"deletes": [{"id": first["id"]}], **bad}
    assert await provider.code("POST", records + "/batch", bad) == expected
    assert [item["content"] for item in await provider.result("GET", records)] == ["first"]


async def test_a_patch_may_not_make_a_twin(provider, records):
    await provider.result("POST", records, _txt("one"))
    two = await provider.result("POST", records, _txt("two"))
    one = f"{records}/{two['id']}"
    assert await provider.code("PATCH", one, {"content": "one"}) == (400, 81058)
    assert (await provider.result("PATCH", one, {"content": "two"}))["content"] == "two"
