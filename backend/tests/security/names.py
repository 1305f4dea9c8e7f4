"""What hangs on a domain and has no id in the API: a row of each kind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from app import clock
from app.database.models import (
    DKIMRotation,
    DomainConnection,
    DomainStanding,
    DomainStep,
    OperationState,
    RegistrarOperation,
    StepName,
)

Rows = list[tuple[type[Any], dict[str, Any]]]


def rows_of_a_name(domain_id: UUID) -> Rows:
    now = clock.now()
    fields: Rows = [
        (DomainStep, {"name": StepName.PAYMENT}),
        (
            DomainConnection,
            {"dns": "manual", "token": "x", "next_look_at": now + timedelta(hours=1)},
        ),
        (RegistrarOperation, {"domain_name": "x.com", "state": OperationState.DONE}),
        (DomainStanding, {"zone": "dbl.test", "state": "clear", "since": now, "tried_at": now}),
        (
            DKIMRotation,
            {
                "old_selector": "ig202611",
                "new_selector": "ig202611b",
                "stage": "publishing",
                "leaked": False,
            },
        ),
    ]
    return [(kind, {"domain_id": domain_id, **own}) for kind, own in fields]
