"""Which of our mails a person gets."""

from __future__ import annotations

from pydantic import StrictBool

from app.api.schemas.base import In, Out, example
from app.rules.notifications import Topic


class TopicOut(Out):
    topic: Topic
    title: str
    on: bool


class NotificationsOut(Out):
    email: str
    """Where they go."""
    topics: list[TopicOut]


class NotificationsPatch(In):
    """What is left out stays as it is."""

    model_config = example({"receipts": True, "usage": False})

    receipts: StrictBool | None = None
    renewals: StrictBool | None = None
    usage: StrictBool | None = None
    domains: StrictBool | None = None

    def wanted(self) -> dict[Topic, bool]:
        chosen = self.model_dump(exclude_none=True)
        return {topic: chosen[topic] for topic in Topic if topic in chosen}
