"""A repeated request does nothing twice and gets the first answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from app import clock, errors
from app.database import idempotency
from app.database.idempotency import Answered, Mine
from app.database.models import IdempotencyRecord, Inbox, Provision, new_id
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

PATH = "/infrastructure/provision"


def count(model: type) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(select(func.count()).select_from(model)) or 0


def test_the_same_key_gets_the_same_bytes(paying: Customer, own_domain) -> None:
    body = {"domain_id": own_domain(paying), "inbox_count": 3}
    first = paying.try_post(PATH, key="k-1", **body)
    again = paying.try_post(PATH, key="k-1", **body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert count(Inbox) == 3


def test_the_kept_answer_is_encrypted(paying: Customer, own_domain) -> None:
    body = {"domain_id": own_domain(paying), "inbox_count": 1}
    csv = paying.try_post(PATH, key="k-1", **body).json()["data"]["csv_data"]
    password = csv.splitlines()[1].split(",")[2]
    with transaction(tenant=ALL_TENANTS) as db:
        kept = bytes(db.scalars(select(IdempotencyRecord)).one().body or b"")
    assert len(kept) > 100
    assert password.encode() not in kept


def test_another_body_under_the_same_key_is_refused(paying: Customer, own_domain) -> None:
    domain_id = own_domain(paying)
    paying.try_post(PATH, key="k-1", domain_id=domain_id, inbox_count=1)
    answer = paying.try_post(PATH, key="k-1", domain_id=domain_id, inbox_count=2)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    other = paying.try_post("/infrastructure/suppressions", key="k-1", targets=["a@b.test"])
    assert other.json()["error_code"] == "IDEMPOTENCY_KEY_REUSED"
    assert count(Inbox) == 1


def test_another_tenant_may_use_the_same_key(paying: Customer, other: Customer, own_domain) -> None:
    first = paying.try_post(PATH, key="k", domain_id=own_domain(paying), inbox_count=1)
    second = other.try_post(PATH, key="k", domain_id=own_domain(other), inbox_count=1)
    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in second.headers


def test_fifty_calls_at_once_do_it_once(paying: Customer, own_domain) -> None:
    body = {"domain_id": own_domain(paying), "inbox_count": 2}
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: paying.try_post(PATH, key="k", **body), range(50)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {201, 409} or statuses == {201: 50}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error_code"] == "REQUEST_IN_PROGRESS"
            assert int(answer.headers["Retry-After"]) >= 1
    assert (count(Provision), count(Inbox)) == (1, 2)
    assert paying.try_post(PATH, key="k", **body).status_code == 201


def test_fifty_price_offers_at_once_make_one_intent(paying: Customer) -> None:
    path = "/billing/domain-purchase-intent"
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda _: paying.try_post(path, key="k", domain_name="fifty-mail.com"), range(50)
            )
        )
    made = {a.json()["data"]["purchase_id"] for a in answers if a.status_code == 201}
    assert len(made) == 1
    assert {a.status_code for a in answers} <= {201, 409, 503}


def test_an_error_gives_the_key_back(paying: Customer, own_domain) -> None:
    body = {"inbox_count": 1, "domain_id": str(new_id())}
    assert paying.try_post(PATH, key="k", **body).status_code == 404
    assert paying.try_post(PATH, key="k", domain_id="no uuid").status_code == 400
    assert count(IdempotencyRecord) == 0
    body["domain_id"] = own_domain(paying)
    assert paying.try_post(PATH, key="k", **body).status_code == 201


def test_a_failing_provider_gives_the_key_back(paying: Customer, world: Running) -> None:
    path = "/billing/domain-purchase-intent"
    world.fault("stripe", "payment_intents", "fail_before", times=9, status=500)
    answer = paying.try_post(path, key="k", domain_name="again-mail.com")
    assert answer.status_code in {502, 503}
    assert count(IdempotencyRecord) == 0


def test_a_key_is_forgotten_after_a_day(paying: Customer, own_domain, world: Running) -> None:
    domain_id = own_domain(paying)
    paying.try_post(PATH, key="k", domain_id=domain_id, inbox_count=1)
    world.advance(hours=24, seconds=1)
    paying.sign_in_again()
    answer = paying.try_post(PATH, key="k", domain_id=domain_id, inbox_count=2)
    assert answer.status_code == 201
    assert answer.json()["data"]["inboxes_created"] == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "has blank", "tab\there"])
def test_a_key_is_a_short_word(paying: Customer, key: str) -> None:
    answer = paying.http.post(PATH, json={}, headers={"Idempotency-Key": key})
    assert answer.status_code == 400


def test_a_revoked_session_gets_no_kept_answer(paying: Customer, own_domain) -> None:
    body = {"domain_id": own_domain(paying), "inbox_count": 1}
    assert paying.try_post(PATH, key="k", **body).status_code == 201
    paying.post("/auth/logout")
    assert paying.try_post(PATH, key="k", **body).status_code == 401


class TestClaims:
    HASH = hashlib.sha256(b"body").digest()

    @pytest.fixture
    def tenant(self, paying: Customer) -> UUID:
        return UUID(paying.tenant_id)

    def claim(self, tenant: UUID) -> Mine:
        mine = idempotency.claim(tenant, "k", self.HASH)
        assert isinstance(mine, Mine)
        return mine

    def test_a_twin_is_told_to_wait(self, tenant: UUID) -> None:
        self.claim(tenant)
        with pytest.raises(errors.RequestInProgress):
            idempotency.claim(tenant, "k", self.HASH)

    def test_an_abandoned_claim_is_taken_over(self, tenant: UUID, world: Running) -> None:
        dead = self.claim(tenant)
        world.advance(seconds=59)
        with pytest.raises(errors.RequestInProgress):
            idempotency.claim(tenant, "k", self.HASH)
        world.advance(seconds=2)
        heir = self.claim(tenant)
        # The one thought dead lives after all: its effect must not stand beside the heir's.
        reply = Answered(200, "text/plain", b"late")
        with pytest.raises(errors.RequestInProgress), transaction(tenant=tenant) as db:
            idempotency.answer(db, dead, reply)
        idempotency.release(dead)
        with transaction(tenant=tenant) as db:
            idempotency.answer(db, heir, Answered(200, "text/plain", b"mine"))
        assert idempotency.claim(tenant, "k", self.HASH) == Answered(200, "text/plain", b"mine")

    def test_the_answer_falls_with_the_effect(self, tenant: UUID) -> None:
        mine = self.claim(tenant)
        with pytest.raises(RuntimeError), transaction(tenant=tenant) as db:
            idempotency.answer(db, mine, Answered(200, None, b"x"))
            raise RuntimeError
        with pytest.raises(errors.RequestInProgress):
            idempotency.claim(tenant, "k", self.HASH)

    def test_a_release_leaves_an_answer_alone(self, tenant: UUID) -> None:
        mine = self.claim(tenant)
        with transaction(tenant=tenant) as db:
            idempotency.answer(db, mine, Answered(200, None, b"x"))
        idempotency.release(mine)
        assert idempotency.claim(tenant, "k", self.HASH) == Answered(200, None, b"x")

    def test_housekeeping_forgets_it(self, tenant: UUID) -> None:
        self.claim(tenant)
        with transaction(tenant=ALL_TENANTS) as db:
            row = db.scalars(select(IdempotencyRecord)).one()
            assert row.expires_at - clock.now() > timedelta(hours=23)
            db.execute(text("UPDATE idempotency_records SET expires_at = now() - interval '1 day'"))
        assert isinstance(idempotency.claim(tenant, "k", b"\1" * 32), Mine)
