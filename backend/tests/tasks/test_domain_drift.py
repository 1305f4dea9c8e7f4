"""Records that are deleted or altered behind our back: put back, or told to people.

The zone is the sandbox's Cloudflare and the answers come from its name server, over real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import checkdmarc
import dns.resolver
import httpx
import pytest
from checkdmarc.dmarc import check_dmarc
from checkdmarc.mta_sts import query_mta_sts_record
from checkdmarc.smtp_tls_reporting import check_smtp_tls_reporting
from checkdmarc.spf import check_spf
from sqlalchemy import select

from app import errors, events
from app.database import outbox
from app.database.models import (
    AuditLog,
    BillingNotice,
    Domain,
    DomainStatus,
    NoticeKind,
    OperatorAlert,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.integrations.cloudflare_client import CloudflareClient, body_of
from app.integrations.dns_resolver import Resolver
from app.services import domain_drift, domain_setup, mail_policy
from tests.contracts.tools import Sandbox
from tests.fakes import FakeWorld, away
from tests.fixtures.chain import NAME, Quote, Settle, domain_of, order

TOKEN = "sandbox-token"
MAIL = "mta.inboxgrove.test"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    running = Sandbox(("dns", "namecheap", "cloudflare"))
    yield running
    running.close()


class OwnersZone:
    """The zone as whoever holds the account sees it, and the providers that look at it."""

    def __init__(self, sandbox: Sandbox, http: httpx.Client, others: ports.Providers) -> None:
        url = f"{sandbox.url}/cloudflare/client/v4"
        dns = CloudflareClient(http=http, url=url, token=TOKEN, account_id="sandbox-account")
        resolver = Resolver([f"127.0.0.1:{sandbox.world.ports['dns']}"])
        # Every optional record is published too, so that each kind there is can be harmed.
        platform = replace(others.platform, tracking_host=f"track.{MAIL}", mta_sts_mode="enforce")
        self.providers = replace(others, dns=dns, resolver=resolver, platform=platform)
        zone = dns.ensure_zone(NAME)
        self.id = zone.id
        self.servers = servers = list(zone.name_servers)
        sandbox.control("namecheap/elsewhere", domain=NAME, name_servers=servers)
        self._http, self._url = http, f"{url}/zones/{self.id}/dns_records"
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self._http.request(method, self._url + path, headers=self._headers, **more)
        assert answer.is_success, answer.text
        return answer.json()["result"]

    def all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "", params={"per_page": 5000})
        return found

    def add(self, **record: Any) -> None:
        self._ask("POST", "", json=record)

    def delete(self, record: dict[str, Any]) -> None:
        self._ask("DELETE", f"/{record['id']}")

    def alter(self, record: dict[str, Any]) -> None:
        changed = {"priority": 77} if record["type"] == "MX" else {"content": _spoilt(record)}
        self._ask("PATCH", f"/{record['id']}", json=changed)

    def double(self, record: dict[str, Any]) -> None:
        """As a tool that copies records does it, comment and all."""
        fields = ("type", "name", "ttl", "comment")
        self.add(**{name: record[name] for name in fields}, content=_spoilt(record))

    def replace(self, record: dict[str, Any]) -> None:
        """With one of another content, in one call, so that the name is never without."""
        fields = ("type", "name", "ttl", "comment", "priority")
        body = {name: record[name] for name in fields if name in record}
        self.delete(record)
        self.add(**body, content=f"elsewhere.{MAIL}" if record["type"] != "TXT" else '"new"')


def _spoilt(record: dict[str, Any]) -> str:
    """Still of its kind, with something else in it."""
    text: str = record["content"]
    if record["type"] == "CNAME":
        return f"elsewhere.{MAIL}"
    return text.rstrip('"') + ' x=1"' if "v=spf1" in text else text.rstrip('"') + '; x=1"'


@pytest.fixture
def domain_id(outside: FakeWorld, quote: Quote, settle: Settle) -> UUID:
    made = order(quote())
    settle(hours=1)
    assert domain_of(made).status == DomainStatus.ACTIVE
    return made


@pytest.fixture
def zone(sandbox: Sandbox, domain_id: UUID) -> Iterator[OwnersZone]:
    """The active name's zone, published in the sandbox."""
    with httpx.Client() as http:
        zone = OwnersZone(sandbox, http, ports.current())
        for record in zone.all():
            zone.delete(record)
        with transaction(tenant=ALL_TENANTS) as db:
            domain = db.get_one(Domain, domain_id)
            domain.cloudflare_zone_id, domain.name_servers = zone.id, zone.servers
            records = domain_setup.planned(domain)
        zone.providers.dns.apply(zone.id, [ports.DNSRecord(**vars(r)) for r in records])
        # The settings name more than was published: the first look brings it.
        look(domain_id, zone.providers)
        yield zone


def look(domain_id: UUID, providers: ports.Providers) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_drift.look(domain_id, db, providers=providers)


def deeds(domain_id: UUID) -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(AuditLog.action).where(AuditLog.resource_id == domain_id)
        return list(db.scalars(rows.order_by(AuditLog.id)))


def alerts() -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(OperatorAlert.kind)))


def seen_right(domain_id: UUID, zone: OwnersZone) -> bool:
    verdicts = domain_setup.inspect(domain_of(domain_id), zone.providers.resolver)
    return bool(verdicts) and all(verdict.ok for verdict in verdicts)


Mutation = Callable[[OwnersZone, dict[str, Any]], None]


MUTATIONS = [OwnersZone.delete, OwnersZone.alter, OwnersZone.replace, OwnersZone.double]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_each_record_is_put_back(zone: OwnersZone, domain_id: UUID, mutate: Mutation) -> None:
    zone.add(type="TXT", name=NAME, content='"google-site-verification=x"', ttl=300)
    zone.add(type="A", name=f"www.{NAME}", content="192.0.2.9", ttl=300)
    theirs = [record for record in zone.all() if not record["comment"]]
    planned = domain_setup.planned(domain_of(domain_id))
    assert {record.type for record in planned} == {"MX", "TXT", "CNAME"}
    assert seen_right(domain_id, zone)
    if mutate is OwnersZone.double:
        # A name has one CNAME, and a second MX of ours takes nothing away from the first.
        planned = [record for record in planned if record.type == "TXT"]
    for number, record in enumerate(planned, 1):
        body = body_of(ports.DNSRecord(**vars(record)))
        found = next(
            r
            for r in zone.all()
            if (r["type"], r["name"], r["content"]) == (body["type"], body["name"], body["content"])
        )
        mutate(zone, found)
        assert not seen_right(domain_id, zone), record
        look(domain_id, zone.providers)
        assert seen_right(domain_id, zone), record
        assert deeds(domain_id).count("domain_records_healed") == number
    # The customer's own are the very same rows as before.
    assert [record for record in zone.all() if not record["comment"]] == theirs
    assert domain_of(domain_id).failure is None
    assert alerts() == []


def test_a_second_spf_record_is_theirs_and_is_told(zone: OwnersZone, domain_id: UUID) -> None:
    zone.add(type="TXT", name=NAME, content='"v=spf1 include:other.test -all"', ttl=300)
    before = zone.all()
    look(domain_id, zone.providers)
    failure = domain_of(domain_id).failure
    assert failure is not None
    assert "2 records begin with v=spf1" in failure
    assert f"Keep one TXT record at {NAME}" in failure
    assert alerts() == []
    look(domain_id, zone.providers)
    look(domain_id, zone.providers)
    assert alerts() == ["domain_dns_differs"]
    with transaction(tenant=ALL_TENANTS) as db:
        owed = select(BillingNotice).where(BillingNotice.kind == NoticeKind.DOMAIN_DNS_DIFFERS)
        (notice,) = db.scalars(owed)
        assert f"Keep one TXT record at {NAME}" in notice.details["why"]
    assert zone.all() == before
    with transaction(tenant=ALL_TENANTS) as db:
        assert [row["domain"] for row in domain_drift.overview(db)] == [NAME]
    # The customer mends it; nobody has to tell us.
    zone.delete(next(r for r in zone.all() if "other.test" in r["content"]))
    look(domain_id, zone.providers)
    assert domain_of(domain_id).failure is None
    assert deeds(domain_id)[-2:] == ["domain_dns_differs", "domain_dns_as_wanted"]


def test_an_independent_judge_finds_no_error_in_what_is_served(
    sandbox: Sandbox, zone: OwnersZone, domain_id: UUID
) -> None:
    """checkdmarc by real queries; the policy of MTA-STS, which it would fetch, is read elsewhere."""
    with transaction(tenant=ALL_TENANTS) as db:
        domain_drift.set_dmarc_policy(db.get_one(Domain, domain_id), "reject", db)
    look(domain_id, zone.providers)
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port = ["127.0.0.1"], sandbox.world.ports["dns"]
    checkdmarc.utils.DNS_CACHE.clear()
    reports = [
        check_spf(NAME, resolver=asking),
        check_spf(f"bounce.{NAME}", resolver=asking),
        check_dmarc(NAME, resolver=asking),
        check_smtp_tls_reporting(NAME, resolver=asking),
        query_mta_sts_record(NAME, resolver=asking),
    ]
    checkdmarc.utils.DNS_CACHE.clear()
    for report in reports:
        assert "error" not in report, report
        assert report["warnings"] == [], report
    # And neither do we in the zone that all of it leads to.
    assert [found for found in mail_policy.findings(zone.providers) if found.fault] == []


def test_what_settings_and_choices_change_is_published(zone: OwnersZone, domain_id: UUID) -> None:
    assert deeds(domain_id)[-1] == "domain_records_replanned"
    assert {"mta-sts", "mta-sts host", "tracking"} <= {
        record.purpose for record in domain_setup.planned(domain_of(domain_id))
    }
    without = replace(zone.providers.platform, tracking_host="", mta_sts_mode="")
    look(domain_id, replace(zone.providers, platform=without))
    assert not [record for record in zone.all() if record["type"] == "CNAME"]
    assert seen_right(domain_id, zone)
    before = deeds(domain_id)
    look(domain_id, replace(zone.providers, platform=without))
    assert deeds(domain_id) == before


def test_a_choice_that_cannot_be_published_is_told(zone: OwnersZone, domain_id: UUID) -> None:
    """The customer's own host stands where the tracking name belongs; nothing else is held up."""
    other = replace(zone.providers.platform, tracking_host="")
    look(domain_id, replace(zone.providers, platform=other))
    zone.add(type="A", name=f"t.{NAME}", content="192.0.2.9", ttl=300)
    before = zone.all()
    look(domain_id, zone.providers)
    assert zone.all() == before
    failure = domain_of(domain_id).failure
    assert failure is not None
    assert f"+ CNAME t.{NAME} track.{MAIL} cannot be published" in failure
    assert "81053" in failure
    zone.delete(next(record for record in zone.all() if record["type"] == "A"))
    look(domain_id, zone.providers)
    look(domain_id, zone.providers)
    assert domain_of(domain_id).failure is None
    assert seen_right(domain_id, zone)


def test_one_stale_resolver_of_three_calls_nobody(zone: OwnersZone, domain_id: UUID) -> None:
    live = zone.providers.resolver
    views: dict[str, ports.DNSResolver] = {"192.0.2.1": live, "192.0.2.2": live, "old": _Empty()}
    providers = replace(zone.providers, resolver=_Several(views))
    before = deeds(domain_id)
    look(domain_id, providers)
    assert deeds(domain_id) == before
    # To those who ask it is shown.
    verdicts = domain_setup.inspect(domain_of(domain_id), providers.resolver)
    assert {(v.state, v.asked, v.agreeing) for v in verdicts} == {("missing", 3, 2)}
    # When the others see it too, it is drift.
    spf = next(r for r in zone.all() if "v=spf1" in r["content"] and r["name"] == NAME)
    zone.delete(spf)
    look(domain_id, providers)
    assert deeds(domain_id)[-1] == "domain_records_healed"


class _Empty:
    """A resolver that remembers that there was nothing."""

    def lookup(self, name: str, record_type: str) -> list[str]:  # The port's.
        return []

    def views(self) -> dict[str, ports.DNSResolver]:
        return {"old": self}


class _Several:
    def __init__(self, views: dict[str, ports.DNSResolver]) -> None:
        self._views = views

    def lookup(self, name: str, record_type: str) -> list[str]:
        return next(iter(self._views.values())).lookup(name, record_type)

    def views(self) -> dict[str, ports.DNSResolver]:
        return self._views


def test_another_difference_is_shown_and_told_anew(zone: OwnersZone, domain_id: UUID) -> None:
    for number, (name, tag) in enumerate([(NAME, "v=spf1"), (f"_dmarc.{NAME}", "v=DMARC1")], 1):
        zone.add(type="TXT", name=name, content=f'"{tag} x=1"', ttl=300)
        for _ in range(3):
            look(domain_id, zone.providers)
        failure = domain_of(domain_id).failure
        assert failure is not None
        assert f"begin with {tag}" in failure
        assert alerts() == ["domain_dns_differs"] * number
        zone.delete(next(r for r in zone.all() if "x=1" in r["content"]))


def test_silence_is_no_difference(outside: FakeWorld, domain_id: UUID) -> None:
    before = deeds(domain_id)
    outside.resolver.accidents.plan("lookup", away())
    with pytest.raises(errors.ProviderUnavailable):
        look(domain_id, ports.current())
    assert deeds(domain_id) == before
    assert domain_of(domain_id).failure is None


def test_a_zone_that_is_gone_is_told_and_its_return_is_seen(
    outside: FakeWorld, domain_id: UUID
) -> None:
    (zone_id,) = outside.dns.records
    del outside.dns.records[zone_id][2]
    refusal = errors.ProviderFailed(provider="Cloudflare", reason="1001 no such zone")
    outside.dns.accidents.plan("apply", refusal, times=2)
    look(domain_id, ports.current())
    failure = domain_of(domain_id).failure
    assert failure is not None
    assert failure.startswith("DNS: TXT")
    assert "it cannot be put back" in failure
    look(domain_id, ports.current())
    assert alerts() == ["domain_dns_differs"]
    look(domain_id, ports.current())  # The provider takes it again.
    look(domain_id, ports.current())
    assert domain_of(domain_id).failure is None
    assert deeds(domain_id)[-3:] == [
        "domain_dns_differs",
        "domain_records_healed",
        "domain_dns_as_wanted",
    ]


def test_the_calendar_heals(outside: FakeWorld, domain_id: UUID, settle: Settle) -> None:
    (zone_id,) = outside.dns.records
    whole = list(outside.dns.records[zone_id])
    del outside.dns.records[zone_id][2]
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.RecordsDue())
    assert settle() == ["domains.heal_all_records", "domains.heal_records"]
    assert outside.dns.records[zone_id] == whole
    assert deeds(domain_id)[-1] == "domain_records_healed"
