"""The whole product on loopback for measurements: databases, API and the sandbox's providers.

The API, the relay and the sandbox are this process's threads; jobs run where the measurement wants.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

UNHURRIED = {
    "NAMECHEAP_CALLS_PER_MINUTE": "1000000",
    "NAMECHEAP_CALLS_PER_HOUR": "1000000",
    "NAMECHEAP_CALLS_PER_DAY": "1000000",
    "CLOUDFLARE_CALLS_PER_FIVE_MINUTES": "1000000",
}
"""Days pass in seconds here, so the registrar's windows of real time mean nothing."""


AS_AT_THE_PROVIDERS = {
    "NAMECHEAP_CALLS_PER_MINUTE": "20",
    "NAMECHEAP_CALLS_PER_HOUR": "700",
    "NAMECHEAP_CALLS_PER_DAY": "8000",
    "CLOUDFLARE_CALLS_PER_FIVE_MINUTES": "1200",
}
"""The product's own defaults."""


@contextmanager
def databases() -> Iterator[None]:
    """An empty PostgreSQL, migrated, and a Valkey; found through the environment."""
    from app.embedded import EmbeddedPostgres, EmbeddedValkey

    with tempfile.TemporaryDirectory(prefix="inboxgrove-bench-") as folder, ExitStack() as stack:
        # Commits need not survive a power cut here; they survive SIGKILL all the same.
        postgres = stack.enter_context(
            EmbeddedPostgres(Path(folder) / "postgres", port=0, fast=True)
        )
        valkey = stack.enter_context(EmbeddedValkey(Path(folder) / "valkey", port=0, fast=True))
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = postgres.url, valkey.url_for(0)
        from app.config import get_settings
        from app.database.models import init_db
        from app.database.session import engine

        get_settings.cache_clear()
        init_db(engine)
        try:
            yield
        finally:
            engine.dispose()


@contextmanager
def stage(*, hurried: bool = True) -> Iterator[Running]:
    """Everything listening, nobody signed up, the clock at the present.

    Unless it is `hurried`, the product keeps to the limits of its registrar and DNS provider.
    """
    from tests.fixtures.world import _api, _environment, _sandbox, free_port

    port = free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="inboxgrove-world-"))
        stack.enter_context(databases())
        _environment(Path(folder), port)
        sandbox = stack.enter_context(_sandbox())
        sandbox.parts["namecheap"].registry.settings.change({"limits": "off"})
        url = f"http://127.0.0.1:{sandbox.ports['http']}"
        os.environ |= {
            "STRIPE_API_BASE": f"{url}/stripe",
            "NAMECHEAP_API_URL": f"{url}/namecheap/xml.response",
            "CLOUDFLARE_API_URL": f"{url}/cloudflare/client/v4",
            "KUMO_ADMIN_URLS": f"{url}/kumomta",
            "DNS_RESOLVERS": f"127.0.0.1:{sandbox.ports['dns']}",
            "DNSBL_DOMAIN_ZONES": "dbl.test",
            "SMTP_URL": f"smtp://127.0.0.1:{sandbox.ports['mx']}",
            "SUBMISSION_PORT": str(sandbox.ports["submission"]),
            **(UNHURRIED if hurried else AS_AT_THE_PROVIDERS),
        }
        from app.config import get_settings

        get_settings.cache_clear()
        stack.enter_context(_api(port))
        yield Running(sandbox, f"http://127.0.0.1:{port}", url)


def drain(*, due_too: bool = False, limit: int = 500) -> list[str]:
    """Run what is due in this process until nothing is; with `due_too` what waits as well."""
    from sqlalchemy import update

    from app import clock
    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction
    from app.tasks import celery_app, jobs, relay  # noqa: F401  # Registers every task.

    if due_too:
        with transaction(tenant=ALL_TENANTS) as db:
            waiting = update(Job).where(Job.state == JobState.WAITING)
            db.execute(waiting.values(next_try_at=clock.now()))
    ran: list[str] = []
    batch: list[tuple[str, UUID]] = []
    while len(ran) < limit:
        batch.clear()
        relay.sweep(lambda task, job_id: batch.append((task, job_id)))
        if not batch:
            return ran
        for task, job_id in batch:
            jobs.run(job_id)
            ran.append(task)
    raise RuntimeError(f"Still not done after {limit} jobs: {ran[-20:]}")


def newcomer(world: Running) -> Customer:
    """Somebody who has just signed up."""
    return Customer(world, drain).sign_up()
