"""The registrar's reading commands, its door and its limiter."""

from __future__ import annotations

import pytest

from sandbox.namecheap import delegations


async def test_check_answers_every_name_in_order(registrar):
    names = "acme-mail.com,google.com,taken-x.io,premium-x.net,ab.com,acme.zzz,bad_name.com"
    checked = await registrar.call("domains.check", DomainList=names)
    rows = [row.attrib for row in checked.all("DomainCheckResult")]
    assert [row["Domain"] for row in rows] == names.split(",")
    assert [row["Available"] for row in rows] == ["true", "false", "false", "true", "true"] + [
        "false"
    ] * 2
    assert [row["IsPremiumName"] for row in rows] == ["false"] * 3 + ["true"] * 2 + ["false"] * 2
    assert [row["ErrorNo"] for row in rows][5:] == ["2030280", "2030166"]


async def test_check_takes_fifty_names_and_not_one_more(registrar):
    fifty = ",".join(f"name-{n}.com" for n in range(50))
    checked = await registrar.call("domains.check", DomainList=fifty)
    assert len(checked.all("DomainCheckResult")) == 50
    refused = await registrar.call("domains.check", DomainList=fifty + ",name-50.com")
    assert refused.errors == [2011169]
    assert (await registrar.call("domains.check", DomainList=" ,")).errors == [2010169]


async def test_the_longest_suffix_on_sale_splits_a_name(registrar):
    await registrar.create("acme.us.com")
    updated = await registrar.call(
        "domains.dns.setCustom", SLD="acme", TLD="us.com", Nameservers="a.ns.test,b.ns.test"
    )
    assert updated.first("DomainDNSSetCustomResult") == {"Domain": "acme.us.com", "Updated": "true"}


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"ApiKey": "wrong"}, 1011102),
        ({"ApiUser": "somebody"}, 1011102),
        ({"ApiKey": ""}, 1010102),
        ({"ApiUser": ""}, 1010101),
        ({"ClientIp": ""}, 1010105),
        ({"ClientIp": "203.0.113.9"}, 1011150),
        ({"UserName": "somebody"}, 1019103),
    ],
)
async def test_the_door(registrar, change, number):
    registrar.account |= change
    answer = await registrar.call("users.getBalances")
    assert (answer.status, answer.errors) == ("ERROR", [number])


async def test_a_command_is_needed_and_known(registrar):
    form = {**registrar.account}
    response = await registrar.http.post("/namecheap/xml.response", data=form)
    assert 'Number="1010104"' in response.text
    assert (await registrar.call("domains.explode")).errors == [1050900]


async def test_spelling_of_commands_and_of_the_echo(registrar):
    answer = await registrar.call("DOMAINS.GETTLDLIST")
    assert answer.first("CommandResponse")["Type"] == "namecheap.domains.getTldList"
    assert answer.text("RequestedCommand") == "namecheap.domains.gettldlist"


async def test_the_tld_list_tells_what_can_be_bought(registrar):
    answer = await registrar.call("domains.getTldList")
    tlds = {row.attrib["Name"]: row.attrib for row in answer.all("Tld")}
    assert {"com", "net", "org", "io", "co", "dev", "app", "xyz"} <= tlds.keys()
    assert tlds["com"]["IsApiRegisterable"] == "true"
    assert tlds["museum"]["IsApiRegisterable"] == "false"
    assert tlds["ca"]["NonRealTimeDomain"] == "true"
    assert tlds["ai"]["MinRegisterYears"] == "2"


@pytest.mark.parametrize(("action", "price"), [("REGISTER", "12.98"), ("RENEW", "36.98")])
async def test_pricing_of_one_action_and_one_product(registrar, action, price):
    answer = await registrar.call(
        "users.getPricing",
        ProductType="DOMAIN",
        ProductCategory="DOMAINS",
        ActionName=action,
        ProductName="CO",
    )
    assert [row.attrib["Name"] for row in answer.all("Product")] == ["co"]
    assert [row.attrib["Name"] for row in answer.all("ProductCategory")] == [action.lower()]
    first = answer.first("Price")
    assert (first["Duration"], first["YourPrice"], first["Currency"]) == ("1", price, "USD")
    assert first["YourAdditonalCost"] == "0.00"


async def test_the_whole_price_sheet(registrar):
    answer = await registrar.call("users.getPricing", ProductType="DOMAIN")
    assert len(answer.all("ProductCategory")) == 3
    assert len(answer.all("Product")) > 60
    assert (await registrar.call("users.getPricing", ProductType="PIZZA")).status == "ERROR"


async def test_name_servers_are_set_and_read(registrar):
    await registrar.create("acme.com")
    at_first = await registrar.call("domains.dns.getList", SLD="acme", TLD="com")
    assert at_first.first("DomainDNSGetListResult")["IsUsingOurDNS"] == "true"
    await registrar.call(
        "domains.dns.setCustom",
        SLD="acme",
        TLD="com",
        Nameservers="Ada.NS.Cloudflare.sandbox.test,rob.ns.cloudflare.sandbox.test",
    )
    wanted = ("ada.ns.cloudflare.sandbox.test", "rob.ns.cloudflare.sandbox.test")
    assert delegations(registrar.world)["acme.com"] == wanted
    now = await registrar.call("domains.dns.getList", SLD="acme", TLD="com")
    assert now.first("DomainDNSGetListResult")["IsUsingOurDNS"] == "false"
    assert tuple(row.text for row in now.all("Nameserver")) == wanted


@pytest.mark.parametrize("servers", ["", "only.one.test", "a b.test,c.test"])
async def test_bad_name_servers_change_nothing(registrar, servers):
    await registrar.create("acme.com")
    before = delegations(registrar.world)["acme.com"]
    answer = await registrar.call(
        "domains.dns.setCustom", SLD="acme", TLD="com", Nameservers=servers
    )
    assert answer.errors == [2011168]
    assert delegations(registrar.world)["acme.com"] == before


async def test_names_of_others_and_of_nobody(registrar):
    for command in ("domains.getRegistrarLock", "domains.setRegistrarLock", "domains.getContacts"):
        assert (await registrar.call(command, DomainName="nobody.com")).errors == [2019166]
    body = {"domain": "customer.com", "name_servers": ["ns1.other.test", "ns2.other.test"]}
    await registrar.http.post("/control/namecheap/elsewhere", json=body)
    theirs = await registrar.call("domains.getRegistrarLock", DomainName="customer.com")
    assert theirs.errors == [2016166]
    assert delegations(registrar.world)["customer.com"] == ("ns1.other.test", "ns2.other.test")
    assert (await registrar.create("customer.com")).errors == [3019166]
    unknown = await registrar.call("domains.getInfo", DomainName="nobody.com")
    assert unknown.errors == [2030166]
    assert unknown.first("DomainGetInfoResult")["IsOwner"] == "false"


async def test_locking(registrar):
    await registrar.create("acme.com")

    async def locked():
        answer = await registrar.call("domains.getRegistrarLock", DomainName="acme.com")
        return answer.first("DomainGetRegistrarLockResult")["RegistrarLockStatus"]

    assert await locked() == "false"
    await registrar.call("domains.setRegistrarLock", DomainName="acme.com", LockAction="LOCK")
    assert await locked() == "true"
    listed = await registrar.call("domains.getList")
    assert listed.first("Domain")["IsLocked"] == "true"
    await registrar.call("domains.setRegistrarLock", DomainName="acme.com", LockAction="UNLOCK")
    assert await locked() == "false"


async def test_the_list_pages_searches_and_sorts(registrar):
    for n in range(12):
        await registrar.create(f"name-{n:02}.com")
    await registrar.create("other.net")
    first = await registrar.call("domains.getList", PageSize="10", SortBy="NAME_DESC")
    assert [row.attrib["Name"] for row in first.all("Domain")][:2] == ["other.net", "name-11.com"]
    assert (first.text("TotalItems"), first.text("PageSize")) == ("13", "10")
    second = await registrar.call("domains.getList", PageSize="10", Page="2")
    assert len(second.all("Domain")) == 3
    assert not (await registrar.call("domains.getList", PageSize="10", Page="3")).all("Domain")
    found = await registrar.call("domains.getList", SearchTerm="other")
    assert [row.attrib["Name"] for row in found.all("Domain")] == ["other.net"]


async def test_privacy_is_listed_enabled_and_absent(registrar):
    await registrar.create("guarded.com", AddFreeWhoisguard="yes", WGEnabled="no")
    await registrar.create("open.com", AddFreeWhoisguard="no")
    listed = await registrar.call("whoisguard.getlist")
    (row,) = (row.attrib for row in listed.all("Whoisguard"))
    assert (row["DomainName"], row["Status"]) == ("guarded.com", "DISABLED")
    done = await registrar.call(
        "whoisguard.enable", WhoisguardID=row["ID"], ForwardedToEmail="a@corp.test"
    )
    assert done.first("WhoisguardEnableResult")["IsSuccess"] == "true"
    info = await registrar.call("domains.getInfo", DomainName="guarded.com")
    assert info.first("Whoisguard")["Enabled"] == "True"
    bare = await registrar.call("domains.getInfo", DomainName="open.com")
    assert bare.first("Whoisguard")["Enabled"] == "NotAlloted"
    wrong = await registrar.call("whoisguard.enable", WhoisguardID="1", ForwardedToEmail="a@b.test")
    assert wrong.errors == [2019333]


async def test_the_limiter_says_405_executes_nothing_and_recovers(registrar):
    await registrar.settings(limits="real")
    for _ in range(20):
        assert (await registrar.call("users.getBalances")).status == "OK"
    refused = await registrar.raw("users.getBalances")
    assert refused.status_code == 405
    assert "ApiResponse" not in refused.text
    await registrar.advance(seconds=61)
    assert (await registrar.call("users.getBalances")).status == "OK"


async def test_the_hour_counts_what_the_minute_forgot(registrar):
    await registrar.settings(limits={"minute": None, "hour": 5, "day": None})
    for _ in range(5):
        await registrar.call("users.getBalances")
        await registrar.advance(seconds=120)
    assert (await registrar.raw("users.getBalances")).status_code == 405
    await registrar.advance(hours=1)
    assert (await registrar.raw("users.getBalances")).status_code == 200


async def test_a_newcomer_never_meets_the_limiter(registrar):
    for _ in range(200):
        assert (await registrar.raw("users.getBalances")).status_code == 200


@pytest.mark.parametrize(
    "wanted", [{"speed": 1}, {"limits": "fast"}, {"balance": "-1"}, {"prices": {"zzz": {}}}]
)
async def test_settings_refuse_what_they_do_not_know(registrar, wanted):
    before = registrar.world.parts["namecheap"].registry.settings.as_json()
    assert (await registrar.settings(**wanted)).status_code == 400
    assert registrar.world.parts["namecheap"].registry.settings.as_json() == before


async def test_calls_are_noted_without_key_and_people(registrar):
    await registrar.create("acme.com")
    calls = (await registrar.http.get("/control/namecheap/calls")).text
    assert '"domain":"acme.com"' in calls
    assert "sandbox-key" not in calls
    assert "Phoenix" not in calls
