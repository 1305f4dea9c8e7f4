"""What people do at the door, for tests that look at each answer."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

PASSWORD = "correct horse battery"


def sign_up(api: httpx.Client, email: str = "ann@acme.test", **fields: str) -> httpx.Response:
    body = {"company_name": "Acme", "email": email, "password": PASSWORD, **fields}
    return api.post("/api/v1/auth/register", json=body)


def sign_in(
    api: httpx.Client, email: str = "ann@acme.test", password: str = PASSWORD, **more: str
) -> httpx.Response:
    return api.post("/api/v1/auth/login", json={"email": email, "password": password, **more})


def fresh_address() -> str:
    """One that the receiving side of the sandbox takes mail for, and nobody used before."""
    return f"ann-{secrets.token_hex(4)}@gmail.test"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed_in_again(api: httpx.Client, **more: str) -> dict[str, str]:
    """The headers of a new session."""
    return bearer(sign_in(api, **more).json()["data"]["access_token"])


def outcome(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error_code")


def forgive() -> None:
    """Forget every attempt that was counted, for tests that need more than a person may make."""
    from sqlalchemy import delete, text

    from app.database.models import Throttle
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        # Whoever counts at this moment counts to the end first; row by row, the two could cross.
        db.execute(text("LOCK TABLE throttles IN EXCLUSIVE MODE"))
        db.execute(delete(Throttle))


@contextmanager
def statements() -> Iterator[list[str]]:
    """What this thread asks the database meanwhile."""
    import threading

    from sqlalchemy import event

    from app.database.session import engine

    asked: list[str] = []
    ours = threading.get_ident()

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if threading.get_ident() == ours:
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def seconds_of(first: Callable[[], Any], second: Callable[[], Any], times: int) -> list[float]:
    """The least that each took, in turns: what is left is what their work takes."""
    import time

    least = [float("inf")] * 2
    for _ in range(times):
        for position, work in enumerate((first, second)):
            began = time.perf_counter()
            work()
            least[position] = min(least[position], time.perf_counter() - began)
    return least
