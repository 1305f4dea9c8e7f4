"""Which of our mails a person gets, chosen by each for themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from app.api.deps import DB, Person, requires
from app.api.responses import Envelope, ok
from app.api.schemas import notifications as s
from app.database.models import User
from app.rules.notifications import TITLES, Topic
from app.rules.permissions import Permission
from app.services import notification_choices

router = APIRouter(prefix="/auth/me/notifications", tags=["auth"])


@router.get(
    "",
    response_model=Envelope[s.NotificationsOut],
    **requires(Permission.ACCOUNT_READ, person=True),
)
def notifications(person: Person) -> Any:
    """Which mails you get: owners all they did not switch off, others what they switched on."""
    return ok(_out(person.user, notification_choices.of(person.user, person.tenant)))


@router.patch(
    "",
    response_model=Envelope[s.NotificationsOut],
    **requires(Permission.PROFILE_WRITE, person=True, audit_event="user_changed"),
)
def choose_notifications(body: s.NotificationsPatch, person: Person, db: DB) -> Any:
    """Switch topics on and off for yourself.

    What a law or a card network asks us to say is not among them: that a trial turns into a charge,
    that a payment failed, that a domain ends or leaves, that sending was stopped and why.
    """
    chosen = notification_choices.choose(person.user, person.tenant, body.wanted(), db)
    return ok(_out(person.user, chosen))


def _out(user: User, choices: Mapping[Topic, bool]) -> dict[str, Any]:
    topics = [{"topic": each, "title": TITLES[each], "on": choices[each]} for each in Topic]
    return {"email": user.email, "topics": topics}
