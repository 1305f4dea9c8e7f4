"""`python -m benchmarks.kill`: how fast the kill switch stops a sending tenant.

Three nodes, each a process of its own with the shipped policy in the sandbox; a Valkey; a receiving
host; a tenant that sends 200 mails a second over all of them. At the decision the control plane's
`kill_tenant` runs (kill set first, then a suspension on every node). Measured from its call: until
the last mail that a node still accepted, and until the last mail that the receiving host still saw.
The way from the API to that call (commit, outbox, worker) is not part of it. At the end one node is
restarted with killed mail in its queue, which is made due at once: none of it may leave.
"""

from __future__ import annotations

import asyncio
import json
import smtplib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from app.integrations.kumo_client import KumoClient
from tests.sandbox.kumomta.plane import ADMIN_TOKEN, DOMAIN, PASSWORD, Client, digest, mail

NODES, RATE, SESSIONS, TRIALS = 3, 200, 30, 20
WARM_SECONDS, WATCH_SECONDS = 1.5, 2.5


def main() -> None:
    from tests.sandbox.kumomta.surroundings import valkey

    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as url, cluster(url) as made:
        around, nodes = made
        redis = Redis.from_url(url, decode_responses=True)
        redis.sadd("ig:killed", "!")
        with httpx.Client(trust_env=False) as http:
            admin_urls = [f"{node['http']}/kumomta" for node in nodes]
            client = KumoClient(
                http=http, redis=redis, nodes=lambda: admin_urls, admin_token=ADMIN_TOKEN
            )
            # The first session of a node loads policies and keys; that is not what is measured.
            trial(0, redis, client, around, nodes)
            found = [trial(n, redis, client, around, nodes) for n in range(1, TRIALS + 1)]
            show(found)
            print(f"after a restart of a node: {restarted(redis, client, around, nodes)} left it")
        redis.close()


def trial(
    number: int, redis: Redis, client: KumoClient, around: dict[str, Any], nodes: list[Any]
) -> dict[str, float]:
    tenant, recipient = add_tenant(number, redis), f"t{number}@corp.test"
    accepted: list[float] = []
    began, ended = threading.Barrier(SESSIONS + 1), threading.Event()
    threads = [
        threading.Thread(target=sender, args=(n, number, nodes, accepted, began, ended))
        for n in range(SESSIONS)
    ]
    for thread in threads:
        thread.start()
    began.wait()
    start = time.time()
    time.sleep(WARM_SECONDS)
    decided = time.time()
    client.kill_tenant(tenant, reason="benchmark")
    ordered = time.time()
    time.sleep(WATCH_SECONDS)
    ended.set()
    for thread in threads:
        thread.join()
    seen = [at for at in asked(around, recipient) if at > start]
    return {
        "rate": sum(at < decided for at in accepted) / (decided - start),
        "order": (ordered - decided) * 1000,
        "accepted": max(0.0, max(accepted) - decided) * 1000,
        "delivered": max(0.0, max(seen, default=decided) - decided) * 1000,
    }


def sender(
    number: int,
    tenant: int,
    nodes: list[Any],
    accepted: list[float],
    began: threading.Barrier,
    ended: threading.Event,
) -> None:
    """One session that keeps trying, also after it was refused."""
    message = mail(sender=f"u{tenant}@{DOMAIN}", recipient=f"t{tenant}@corp.test")
    port = nodes[number % NODES]["submission"]
    client = Client(port).secure().login(f"u{tenant}@{DOMAIN}", PASSWORD)
    began.wait()
    due = time.monotonic() + number / RATE
    while not ended.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        due += SESSIONS / RATE
        try:
            client.smtp.send_message(message)
            accepted.append(time.time())
        except smtplib.SMTPServerDisconnected:
            break
        except smtplib.SMTPException:
            # Refused, as it should be once the tenant is stopped.
            continue
    client.smtp.close()


def add_tenant(number: int, redis: Redis) -> str:
    """One inbox of a tenant of its own, with room for everything."""
    tenant, inbox = (f"0190a000-0000-7000-8000-{kind}{number:011}" for kind in "12")
    email = f"u{number}@{DOMAIN}"
    fields: dict[Any, Any] = {
        "inbox": inbox, "tenant": tenant, "domain": DOMAIN, "email": email, "h": digest(PASSWORD),
        "status": "active", "day_limit": 10**6, "month_limit": 10**7,
    }  # fmt: skip
    redis.hset(f"ig:inbox:{email}", mapping=fields)
    return tenant


def restarted(redis: Redis, client: KumoClient, around: dict[str, Any], nodes: list[Any]) -> int:
    """How many mails of a killed tenant left a node after its restart."""
    number = TRIALS + 1
    tenant = add_tenant(number, redis)
    # The receiving host puts these off once, so that they wait in the queue.
    message = mail(sender=f"u{number}@{DOMAIN}", recipient="later@corp.test")
    with Client(nodes[0]["submission"]) as session:
        session.secure().login(f"u{number}@{DOMAIN}", PASSWORD)
        for _ in range(50):
            session.smtp.send_message(message)
    queued = 0
    deadline = time.monotonic() + 20
    while queued < 50 and time.monotonic() < deadline:
        time.sleep(0.1)
        summary = httpx.get(f"{nodes[0]['http']}/control/kumomta/queues", trust_env=False).json()
        queued = sum(q["scheduled"] for q in summary["queues"] if q["tenant"] == tenant)
    client.kill_tenant(tenant, reason="benchmark")
    httpx.post(f"{around['http']}/bench/accept", trust_env=False)
    control = f"{nodes[0]['http']}/control/kumomta"
    httpx.post(f"{control}/restart", timeout=60, trust_env=False).raise_for_status()
    flush = {"tenant": tenant, "data": {}, "always_flush": True, "reason": "benchmark"}
    httpx.post(
        f"{nodes[0]['http']}/kumomta/api/admin/rebind/v1",
        json=flush,
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        trust_env=False,
    ).raise_for_status()
    time.sleep(WATCH_SECONDS)
    print(f"{queued} mails were queued when the tenant was killed")
    return len(asked(around, "later@corp.test"))


def asked(around: dict[str, Any], recipient: str) -> list[float]:
    """When the receiving host took mails for this address."""
    answer = httpx.get(f"{around['http']}/bench/seen?to={recipient}", timeout=30, trust_env=False)
    seen: list[float] = answer.json()
    return seen


def show(found: list[dict[str, float]]) -> None:
    rate = statistics.mean(one["rate"] for one in found)
    print(f"{NODES} nodes, {TRIALS} kills, {rate:.0f} mails a second accepted before each")
    for name, title in (
        ("order", "the order itself, all nodes"),
        ("accepted", "decision to last accepted DATA"),
        ("delivered", "decision to last delivery"),
    ):
        values = sorted(one[name] for one in found)
        middle, worst = statistics.median(values), values[-1]
        print(f"\n{title}: median {middle:.0f} ms, p99 (worst of {TRIALS}) {worst:.0f} ms")
        for low in range(0, int(worst) + 1, 50):
            count = sum(low <= value < low + 50 for value in values)
            if count:
                print(f"  {low:>5} ms {'#' * count} {count}")


# The other processes ----------------------------------------------------------------------------


@contextmanager
def cluster(redis_url: str) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """The surroundings in one process, each node in another; their addresses."""
    processes: list[subprocess.Popen[str]] = []

    def launch(role: str, **known: Any) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.kill", role, json.dumps(known)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        addresses: dict[str, Any] = json.loads(process.stdout.readline())
        return addresses

    try:
        around = launch("around")
        yield around, [launch("node", redis=redis_url, **around) for _ in range(NODES)]
    finally:
        for process in processes:
            process.terminate()
            process.wait(timeout=20)


async def run_around() -> None:
    """Control plane, DNS and receiving host."""
    from typing import cast

    import uvicorn
    from aiosmtpd.controller import UnthreadedController
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from tests.sandbox.kumomta.plane import ControlPlane, Names, Receiver, eventually

    seen: dict[str, list[float]] = {}

    class Sink(Receiver):
        """Remembers only when a mail came."""

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            for recipient in envelope.rcpt_tos:
                seen.setdefault(recipient, []).append(time.time())
            return "250 2.0.0 OK"

    sink = Sink(refusals={"later": "450 4.2.0 come back later"})

    async def told(request: Request) -> Response:
        return JSONResponse(seen.get(request.query_params["to"], []))

    async def accept(_: Request) -> Response:
        sink.refusals.clear()
        return Response()

    control = ControlPlane()
    app = control.app()
    app.router.routes += [
        Route("/bench/seen", told),
        Route("/bench/accept", accept, methods=["POST"]),
    ]
    loop = asyncio.get_running_loop()
    names, _ = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    exchange = UnthreadedController(sink, hostname="127.0.0.1", port=0, loop=loop)
    server = cast("asyncio.Server", await exchange._create_server())
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error", lifespan="off")
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web._serve())
    await eventually(lambda: web.started)
    port = web.servers[0].sockets[0].getsockname()[1]
    print(
        json.dumps(
            {
                "http": f"http://127.0.0.1:{port}",
                "dns": names.get_extra_info("sockname")[1],
                "mx": server.sockets[0].getsockname()[1],
            }
        ),
        flush=True,
    )
    while not serving.done():
        await asyncio.sleep(1)
        # Nobody reads the records here, and there are tens of thousands.
        control.posts.clear()


async def run_node(known: dict[str, Any]) -> None:
    from sandbox.config import SandboxConfig
    from sandbox.server import running
    from sandbox.world import World
    from tests.sandbox.kumomta.plane import MTA_TOKEN, PEPPER, TRACE_KEY

    env = {
        "IG_CONTROL_URL": known["http"], "IG_MTA_TOKEN": MTA_TOKEN, "IG_ADMIN_TOKEN": ADMIN_TOKEN,
        "IG_REDIS_URL": known["redis"], "IG_AUTH_PEPPER": PEPPER, "IG_TRACE_KEY": TRACE_KEY,
    }  # fmt: skip
    config = SandboxConfig(http_port=0, dns_port=0, mx_port=0, submission_port=0, env=env)
    world = World.create(config)
    world.ports |= {"dns": known["dns"], "mx": known["mx"]}
    async with running(world, ("kumomta",)):
        url = f"http://127.0.0.1:{world.ports['http']}"
        print(json.dumps({"http": url, "submission": world.ports["submission"]}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["around"]:
        asyncio.run(run_around())
    elif sys.argv[1:2] == ["node"]:
        asyncio.run(run_node(json.loads(sys.argv[2])))
    else:
        main()
