"""What the relay reads of the broker: how long the oldest message of a queue has waited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from redis import Redis

from app import clock
from app.tasks import celery_app

MONEY, MAIL = "billing.expire_trials", "provisioning.publish_inboxes"


def test_it_is_the_first_that_will_be_taken(redis: Redis, travel: Callable[..., None]) -> None:
    assert celery_app.oldest(MONEY) is None
    began = clock.now()
    celery_app.send(MONEY, uuid4())
    travel(seconds=100)
    celery_app.send(MONEY, uuid4())
    found = celery_app.oldest(MONEY)
    assert found is not None
    assert found - began < timedelta(seconds=60)
    assert celery_app.oldest(MAIL) is None, "each queue for itself"
    # A worker takes the one that has waited longest.
    redis.rpop("celery:money")
    later = celery_app.oldest(MONEY)
    assert later is not None
    assert later - began > timedelta(seconds=60)


def test_a_tick_of_beat_does_not_hide_the_others(redis: Redis) -> None:
    celery_app.app.send_task(celery_app.TICK)
    assert celery_app.oldest("delivery.any") is None
    celery_app.send("delivery.any", uuid4())
    assert redis.llen("celery:default") == 2
    assert celery_app.oldest("delivery.any") is not None
