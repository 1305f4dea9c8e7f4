"""The mail plane drifts at random, also while customers change things; one comparison mends it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from redis import Redis

from app import errors
from app.database.models import Inbox, InboxStatus, Suppression, Tenant
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import directory_repair
from app.services.directory_repair import Repairs
from app.services.inbox_service import InboxService
from app.services.suppression_service import SuppressionService
from tests.fixtures.customer import Customer
from tests.fixtures.world import SECRET, Running

ADMIN = {"Authorization": f"Bearer {SECRET}"}


def reconcile(*, thorough: bool = True) -> Repairs:
    with transaction(tenant=ALL_TENANTS) as db:
        return directory_repair.reconcile(db, ports.current().mail, thorough=thorough)


@pytest.fixture
def settled(paying: Customer, own_domain: Any, drain: Callable[..., list[str]]) -> list[str]:
    """Forty logins in two domains, one paused, two suppressions: in step. The ids."""
    body = {"domain_ids": [own_domain(paying), own_domain(paying)], "inbox_count": 40}
    made = paying.post("/infrastructure/provision", **body)
    paying.post("/infrastructure/suppressions", targets=["ann@gmail.test", "@void.test"])
    drain()
    ids = [str(inbox["id"]) for inbox in made["inboxes"]]
    paying.http.patch(f"/infrastructure/inboxes/{ids[0]}", json={"status": "paused"})
    drain()
    reconcile()
    assert not reconcile().any
    return ids


def picture(redis: Redis, world: Running) -> dict[str, Any]:
    """All that the mail plane holds, but for counters, notes and ids of suspensions."""
    kept: dict[str, Any] = {}
    for pattern in ("ig:inbox:*", "ig:domain:*"):
        kept |= {key: redis.hgetall(key) for key in redis.scan_iter(pattern)}
    for pattern in ("ig:suppressed:*", "ig:killed", "ig:draining"):
        kept |= {key: redis.smembers(key) for key in redis.scan_iter(pattern)}
    rules = world.sandbox.get("/kumomta/api/admin/suspend/v1", headers=ADMIN).json()
    kept["suspensions"] = {(rule.get("tenant"), rule.get("campaign")) for rule in rules}
    return kept


def drift(redis: Redis, world: Running, tenant: str, rng: random.Random) -> str:
    """One thing goes wrong; which field of Repairs must say so."""
    # After a wipe there are none to damage, so a stranger's comes up.
    logins = sorted(redis.scan_iter("ig:inbox:*")) or ["ig:inbox:y@gone.test"]
    domains = sorted(redis.scan_iter("ig:domain:*")) or ["ig:domain:gone.test"]
    suppressed = f"ig:suppressed:{tenant}"

    def wrong(key: str, field: str, value: str) -> Callable[[], object]:
        return lambda: redis.hset(key, field, value)

    def suspend(**whom: str) -> Callable[[], object]:
        body = {**whom, "reason": "ig:kill:drift", "duration": "9 days"}
        return lambda: world.sandbox.post(
            "/kumomta/api/admin/suspend/v1", json=body, headers=ADMIN
        ).raise_for_status()

    def lift() -> None:
        for rule in world.sandbox.get("/kumomta/api/admin/suspend/v1", headers=ADMIN).json():
            world.sandbox.request(
                "DELETE", "/kumomta/api/admin/suspend/v1", json={"id": rule["id"]}, headers=ADMIN
            )

    stranger = {"inbox": str(uuid4()), "tenant": tenant, "email": "x@gone.test", "h": "00"}
    kinds: list[tuple[str, Callable[[], object]]] = [
        ("inboxes", lambda: redis.delete(rng.choice(logins))),
        ("inboxes", wrong(rng.choice(logins), "status", "retired")),
        ("inboxes", wrong(rng.choice(logins), "day_limit", "99999")),
        ("inboxes", wrong(rng.choice(logins), "h", "00" * 32)),
        ("strangers", lambda: redis.hset("ig:inbox:x@gone.test", mapping=stranger)),
        ("domains", lambda: redis.delete(rng.choice(domains))),
        ("domains", wrong(rng.choice(domains), "selector", "other")),
        ("domains", wrong("ig:domain:gone.test", "tenant", tenant)),
        ("suppressions", lambda: redis.srem(suppressed, "ann@gmail.test")),
        ("suppressions", lambda: redis.sadd(suppressed, "nobody@asked.test")),
        ("suppressions", lambda: redis.sadd(f"ig:suppressed:{uuid4()}", "a@b.test")),
        ("revived", lambda: redis.sadd("ig:killed", f"t:{tenant}")),
        ("draining", lambda: redis.sadd("ig:draining", str(uuid4()))),
        ("orders", suspend(tenant=tenant)),
        ("orders", suspend(campaign=str(uuid4()))),
        ("orders", lift),
        ("restarted", lambda: world.control("kumomta/restart")),
        ("restored", redis.flushdb),
    ]
    what, do = rng.choice(kinds)
    do()
    return what


@pytest.mark.parametrize("seed", range(4))
def test_whatever_drifts_is_mended_and_counted(
    settled: list[str], paying: Customer, redis: Redis, world: Running, seed: int
) -> None:
    rng = random.Random(seed)
    right = picture(redis, world)
    for _ in range(8):
        wrong = {drift(redis, world, paying.tenant_id, rng) for _ in range(rng.randint(1, 3))}
        before = _counted("restored" if "restored" in wrong else min(wrong))
        repairs = reconcile()
        if "restored" in wrong:
            assert repairs.restored
            assert _counted("restored") == before + 1
        elif len(wrong) == 1:
            assert getattr(repairs, min(wrong)), (wrong, repairs)
            assert _counted(min(wrong)) > before
        assert picture(redis, world) == right
        assert not reconcile().any


def _counted(what: str) -> float:
    return REGISTRY.get_sample_value("ig_mail_plane_repairs_total", {"what": what}) or 0.0


def test_the_quick_look_leaves_the_rest_to_the_thorough_one(
    settled: list[str], redis: Redis, paying: Customer
) -> None:
    redis.srem(f"ig:suppressed:{paying.tenant_id}", "ann@gmail.test")
    assert reconcile(thorough=False).suppressions == 0
    assert reconcile().suppressions == 1


def test_comparing_while_people_change_things_undoes_nothing(
    settled: list[str], paying: Customer, redis: Redis, drain: Callable[..., list[str]]
) -> None:
    """Everybody at once; when it is quiet the copy is the truth without another comparison."""
    stop = threading.Event()
    failed: list[BaseException] = []
    tenant_id = UUID(paying.tenant_id)

    def keep(
        work: Callable[[random.Random], None], seed: int, times: int = 10**9
    ) -> threading.Thread:
        def run() -> None:
            rng = random.Random(seed)
            for _ in range(times):
                if stop.is_set() or failed:
                    return
                try:
                    work(rng)
                except errors.Unavailable:
                    continue  # It waited too long for somebody's lock, as requests may.
                except BaseException as error:
                    failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def change(rng: random.Random) -> None:
        with transaction(tenant=tenant_id) as db:
            if rng.random() < 0.5:
                InboxService.rotate_password(UUID(rng.choice(settled)), db)
            else:
                status = rng.choice([InboxStatus.ACTIVE, InboxStatus.PAUSED])
                InboxService.set_status(UUID(rng.choice(settled)), status, db)

    def suppress(rng: random.Random) -> None:
        with transaction(tenant=tenant_id) as db:
            tenant = db.get_one(Tenant, tenant_id)
            SuppressionService.add(tenant, [f"n{rng.randint(0, 10**9)}@corp.test"], "manual", db)

    def drift_a_little(rng: random.Random) -> None:
        logins = sorted(redis.scan_iter("ig:inbox:*"))
        if logins:
            redis.hset(rng.choice(logins), "day_limit", "1")
        reconcile()

    people = [keep(change, 1, times=60), keep(suppress, 2, times=60)]
    machine = keep(drift_a_little, 3)
    while any(thread.is_alive() for thread in people):
        drain()
    stop.set()
    machine.join(30)
    assert not failed, failed
    drain()
    # No suppression was lost on the way, and what logins hold is of no older state.
    with transaction(tenant=ALL_TENANTS) as db:
        listed = {row.target for row in db.query(Suppression)}
        hmacs = {row.username: row.password_hmac for row in db.query(Inbox)}
    assert redis.smembers(f"ig:suppressed:{tenant_id}") >= listed
    assert {name: redis.hget(f"ig:inbox:{name}", "h") for name in hmacs} == hmacs
    reconcile()
    assert not reconcile().any


def test_a_kill_that_comes_during_a_comparison_stays(
    settled: list[str],
    paying: Customer,
    operator: httpx.Client,
    redis: Redis,
    drain: Callable[..., list[str]],
    world: Running,
) -> None:
    """However the two interleave, the tenant is stopped without waiting for the next comparison."""
    path = f"/admin/tenants/{paying.tenant_id}"
    for _ in range(4):
        stop = threading.Event()

        def compare(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                reconcile(thorough=False)

        thread = threading.Thread(target=compare)
        thread.start()
        assert operator.post(f"{path}/suspend", json={"reason": "blacklisted"}).is_success
        drain()
        stop.set()
        thread.join(30)
        assert redis.sismember("ig:killed", f"t:{paying.tenant_id}")
        rules = world.sandbox.get("/kumomta/api/admin/suspend/v1", headers=ADMIN).json()
        assert paying.tenant_id in {rule.get("tenant") for rule in rules}
        assert operator.post(f"{path}/reinstate").is_success
        drain()
        reconcile()
