"""`python -m benchmarks.dns_heal`: how soon a harmed record is right again.

One active name with every record there is, optional ones too, over the whole way: a record is
harmed by the provider's API, the look that the calendar asks for is run as a job, and real DNS
queries tell when the record is seen as wanted. Each record is deleted, altered and (TXT) doubled in
turn. In the sandbox the provider's name servers show a change at once and nobody caches; outside, a
resolver may show the old record for its TTL of 300 seconds more.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

MAIL = "mta.inboxgrove.test"
TOKEN = "sandbox-token"  # The sandbox's, which everybody knows.
LOOKS = 50
INTERVAL_SECONDS = 900
"""Between two looks, in tasks/schedule.py."""


def main() -> None:
    from benchmarks.billing.stage import newcomer, stage

    os.environ |= {"TRACKING_HOST": f"track.{MAIL}", "MTA_STS_MODE": "enforce"}
    with stage() as world:
        run(world, newcomer(world))


def run(world: Running, customer: Customer) -> None:
    domain_id = UUID(customer.buy_domain()["id"])
    assert right(customer, domain_id)
    zone = Zone(world, domain_id)
    looks = [timed(lambda: heal(customer)) for _ in range(LOOKS)]
    print(f"{'':>10} {'cases':>6} {'median':>9} {'worst':>9}")
    print(f"{'nothing':>10} {len(looks):>6} {shown(looks)}")
    worst = 0.0
    for how, harm in (("deleted", zone.delete), ("altered", zone.alter), ("doubled", zone.double)):
        took = []
        for record in zone.ours():
            if how == "doubled" and record["type"] != "TXT":
                continue
            harm(record)
            assert not right(customer, domain_id), record
            took.append(timed(lambda: heal(customer)))
            assert right(customer, domain_id), record
        worst = max(worst, *took)
        print(f"{how:>10} {len(took):>6} {shown(took)}")
    print(f"Worst case with the wait for the next look: {INTERVAL_SECONDS + worst / 1000:.1f} s")
    share = statistics.median(looks) / 1000 / INTERVAL_SECONDS
    print(f"One worker looks at {1 / share:,.0f} names within {INTERVAL_SECONDS} s")


def heal(customer: Customer) -> None:
    """What the calendar does every quarter of an hour, and all that follows from it."""
    from app import events
    from app.database import outbox
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.RecordsDue())
    customer.drain()


def right(customer: Customer, domain_id: UUID) -> bool:
    """Asked of the DNS now."""
    return bool(customer.get(f"/domains/{domain_id}/dns")["all_ok"])


class Zone:
    """The name's zone as somebody sees it who has the account."""

    def __init__(self, world: Running, domain_id: UUID) -> None:
        from app.database.models import Domain
        from app.database.session import ALL_TENANTS, transaction

        with transaction(tenant=ALL_TENANTS) as db:
            zone_id = db.get_one(Domain, domain_id).cloudflare_zone_id
        self._url = f"{world.sandbox_url}/cloudflare/client/v4/zones/{zone_id}/dns_records"
        self._http = httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"})

    def ours(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._do("GET", "", params={"per_page": 5000})
        return [record for record in found if record["comment"]]

    def delete(self, record: dict[str, Any]) -> None:
        self._do("DELETE", f"/{record['id']}")

    def alter(self, record: dict[str, Any]) -> None:
        change = {"priority": 77} if record["type"] == "MX" else {"content": spoilt(record)}
        self._do("PATCH", f"/{record['id']}", json=change)

    def double(self, record: dict[str, Any]) -> None:
        kept = {name: record[name] for name in ("type", "name", "ttl", "comment")}
        self._do("POST", "", json={**kept, "content": spoilt(record)})

    def _do(self, method: str, path: str, **more: Any) -> Any:
        answer = self._http.request(method, self._url + path, **more)
        assert answer.is_success, answer.text
        return answer.json()["result"]


def spoilt(record: dict[str, Any]) -> str:
    if record["type"] == "CNAME":
        return f"elsewhere.{MAIL}"
    text: str = record["content"].rstrip('"')
    return text + (' x=1"' if "v=spf1" in text else '; x=1"')


def timed(act: Callable[[], None]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def shown(took: list[float]) -> str:
    return f"{statistics.median(took):>6.0f} ms {max(took):>6.0f} ms"


if __name__ == "__main__":
    main()
