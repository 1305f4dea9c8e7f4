"""The supervisor and the stack, over a product of a few lines each: what is tested is who keeps it alive."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from app.embedded.environment import (
    DEFAULT_PORTS,
    Choices,
    StackError,
    choose_ports,
    product_environment,
)
from app.embedded.ports import free_ports
from app.embedded.process import command_of
from app.embedded.stack import Stack, adopt, running_state
from app.embedded.supervisor import Program, Supervisor

BACKEND = Path(__file__).resolve().parents[2]
SERVE = """
import http.server, os, sys
def serve(variable):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(os.environ["DATABASE_URL"].encode())
    http.server.HTTPServer(("127.0.0.1", int(os.environ[variable])), Handler).serve_forever()
"""
PRODUCT = {
    "serve.py": SERVE,
    "alembic.py": "print('migrated')",
    "sandbox.py": "from serve import serve; serve('SANDBOX_PORT')",
    "serve_api.py": "from serve import serve; serve('API_PORT')",
    "app/__init__.py": "",
    "app/cli.py": """
import sys, time
print('runs', sys.argv[1])
if sys.argv[1] == 'api':
    import serve_api
time.sleep(600)
""",
}
ANY_PORTS = dict.fromkeys((*DEFAULT_PORTS, "PG_PORT", "VALKEY_PORT"), "0")
# The parent in the tests that kill it: a stack over the product in argv[1] with the data in argv[2].
RUNNER = """
import json, os, signal, sys
from pathlib import Path
from app.embedded.environment import Choices
from app.embedded.stack import Stack
choices = Choices.read({**os.environ, "DATA_DIR": sys.argv[2]}, Path(sys.argv[1]))
with Stack(choices, lambda line: print(line, file=sys.stderr), Path(sys.argv[1])) as stack:
    signal.signal(signal.SIGTERM, stack.request_stop)
    stack.start()
    print(json.dumps(stack.state()), flush=True)
    stack.watch()
"""


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def fetch(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as got:
        return got.read().decode()


@pytest.fixture
def product(tmp_path: Path) -> Path:
    for name, text in PRODUCT.items():
        path = tmp_path / "product" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "product"


@pytest.fixture
def run_stack(
    product: Path, tmp_path: Path
) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict]]]:
    parents: list[subprocess.Popen[str]] = []

    def run(data: str = "data", **env: str):
        parent = subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(product), str(tmp_path / data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(BACKEND), **ANY_PORTS, **env},
        )
        parents.append(parent)
        line = parent.stdout.readline()
        return parent, json.loads(line) if line else {"error": parent.stderr.read()}

    yield run
    for parent in parents:
        parent.terminate()
        parent.communicate(timeout=30)


def choices(data_dir: Path, **env: str) -> Choices:
    return Choices.read({"DATA_DIR": str(data_dir), **ANY_PORTS, **env}, data_dir / "nowhere")


def gone(pids: dict[str, int]) -> Callable[[], bool]:
    """Whether none of these processes is left; by command line, since a pid may be used again."""
    alive = {pid: command for pid in pids.values() if (command := command_of(pid))}
    assert alive, pids
    return lambda: all(command_of(pid) != command for pid, command in alive.items())


def test_everything_comes_up_in_order_and_goes_down_without_orphans(product, tmp_path):
    lines: list[str] = []
    with Stack(choices(tmp_path / "data"), lines.append, product) as stack:
        stack.start()
        titles = [line.split()[0] for line in lines]
        state = json.loads((tmp_path / "data/stack.json").read_text())
        body = fetch(state["endpoints"]["api"])
        with psycopg.connect(body) as db:
            assert db.execute("SELECT current_database()").fetchone() == ("inboxgrove_db",)
        with Redis.from_url(stack.env["REDIS_URL"]) as client:
            assert client.ping()
        all_gone = gone(state["pids"])
        assert not all_gone()
    assert titles == [
        "PostgreSQL",
        "Valkey",
        "migrate",
        "sandbox",
        "API",
        "relay",
        "worker",
        "beat",
    ]
    assert all_gone()
    assert state["ready"]
    assert not (tmp_path / "data/stack.json").exists()
    assert (tmp_path / "data/secrets.json").stat().st_mode & 0o777 == 0o600
    assert "migrated" in (tmp_path / "data/logs/migrate.log").read_text()


def test_secrets_and_data_survive_a_restart(product, tmp_path):
    seen = []
    for _ in range(2):
        with Stack(choices(tmp_path / "data"), lambda _: None, product) as stack:
            stack.start()
            seen.append(
                (stack.env["SECRET_KEY"], stack.env["ENCRYPTION_KEYS"], stack.env["DATABASE_URL"])
            )
    assert seen[0] == seen[1]


def test_a_second_stack_on_the_same_data_is_refused_and_on_other_data_runs(
    run_stack, product, tmp_path
):
    parent, first = run_stack()
    with pytest.raises(
        StackError, match=rf"already runs on .*data \(process {parent.pid}\).*DATA_DIR"
    ):
        Stack(choices(tmp_path / "data"), lambda _: None, product).start()
    _, second = run_stack("other")
    assert fetch(first["endpoints"]["api"]) != fetch(second["endpoints"]["api"])


def test_sigterm_leaves_nothing_behind(run_stack, tmp_path):
    parent, state = run_stack()
    all_gone = gone(state["pids"])
    began = time.monotonic()
    parent.terminate()
    assert parent.wait(20) == 0
    assert time.monotonic() - began < 15
    assert all_gone()


def test_a_killed_stack_leaves_nothing_behind(run_stack, tmp_path):
    parent, state = run_stack()
    all_gone = gone(state["pids"])
    parent.kill()
    assert eventually(all_gone), {title: command_of(pid) for title, pid in state["pids"].items()}
    _, again = run_stack()
    assert fetch(again["endpoints"]["api"])


@pytest.mark.parametrize("title", ["worker", "API", "PostgreSQL", "Valkey"])
def test_what_is_killed_comes_back_at_the_same_address(run_stack, tmp_path, title):
    _, state = run_stack()
    os.kill(state["pids"][title], signal.SIGKILL)

    def healed() -> bool:
        now = running_state(tmp_path / "data")
        return now["pids"][title] != state["pids"][title]

    assert eventually(healed)
    env = state["environment"]
    assert eventually(lambda: _answers(env, state["endpoints"]["api"]))


def _answers(env: dict[str, str], api: str) -> bool:
    try:
        psycopg.connect(env["DATABASE_URL"], connect_timeout=2).close()
        with Redis.from_url(env["REDIS_URL"]) as client:
            client.ping()
        return bool(fetch(api))
    except (OSError, psycopg.OperationalError):
        return False


@pytest.mark.parametrize(
    ("file", "title"),
    [("alembic.py", "migrate"), ("serve_api.py", "API"), ("sandbox.py", "sandbox")],
)
def test_a_part_that_fails_shows_its_last_words(product, tmp_path, file, title):
    (product / file).write_text("raise SystemExit('the roof is on fire')")
    with Stack(choices(tmp_path / "data"), lambda _: None, product) as stack:
        with pytest.raises(StackError, match=r"(?s)exit code 1.*the roof is on fire") as failure:
            stack.start()
        all_gone = gone(stack.state()["pids"])
    assert title in str(failure.value) or title == "migrate"
    assert all_gone()


def test_a_stop_during_the_start_is_obeyed(product, tmp_path):
    (product / "serve_api.py").write_text("import time; time.sleep(600)")
    stack = Stack(choices(tmp_path / "data"), lambda _: None, product)
    previous = signal.signal(signal.SIGALRM, stack.request_stop)
    signal.setitimer(signal.ITIMER_REAL, 3)
    try:
        with stack:
            stack.start()
            assert stack.stopping
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def program(tmp_path: Path, text: str, **more: object) -> Program:
    return Program(
        title="part",
        arguments=["-c", text],
        env=dict(os.environ),
        cwd=tmp_path,
        log_file=tmp_path / "part.log",
        **more,
    )


def test_a_part_that_keeps_dying_is_given_up_after_five_restarts(tmp_path):
    lines: list[str] = []
    supervisor = Supervisor(lines.append, pause=0.01)
    supervisor.add(program(tmp_path, "raise SystemExit('no')"))
    with pytest.raises(StackError, match=r"(?s)part keeps dying.*no"):
        eventually(lambda: supervisor.check() is None)
    assert sum("starting it again" in line for line in lines) == 5


def test_a_part_that_must_run_is_never_given_up(tmp_path):
    lines: list[str] = []
    supervisor = Supervisor(lines.append, pause=0.01)
    supervisor.add(program(tmp_path, "raise SystemExit('no')"), always=True)
    assert eventually(
        lambda: supervisor.check() is None or sum("again" in line for line in lines) > 14
    )
    supervisor.stop()


def test_a_part_that_ignores_sigterm_is_killed_with_its_children(tmp_path):
    supervisor = Supervisor(lambda _: None)
    stubborn = program(
        tmp_path,
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)",
        patience=0.5,
    )
    supervisor.add(stubborn)
    assert eventually(lambda: (tmp_path / "part.log").read_text().strip() != "")
    child = int((tmp_path / "part.log").read_text())
    supervisor.stop()
    assert not stubborn.alive
    assert eventually(lambda: command_of(child) == "")


def test_a_busy_port_is_named_by_its_variable(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        with pytest.raises(StackError, match=rf"API_PORT \({port}\).*PORTS=auto"):
            choose_ports(choices(tmp_path, API_PORT=port))
        with pytest.raises(StackError, match="API_PORT"):  # One that was asked for is not swapped.
            choose_ports(choices(tmp_path, API_PORT=port, PORTS="auto"))


def test_busy_defaults_are_swapped_when_asked(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        defaults = DEFAULT_PORTS | {"API_PORT": port}
        with pytest.raises(StackError, match="API_PORT"):
            choose_ports(choices(tmp_path, API_PORT=""), defaults)
        chosen = choose_ports(choices(tmp_path, API_PORT="", PORTS="auto"), defaults)
    assert chosen["API_PORT"] != port


def test_the_dns_port_must_be_free_for_udp_too(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        port = str(busy.getsockname()[1])
        with pytest.raises(StackError, match=rf"DNS_PORT \({port}\)"):
            choose_ports(choices(tmp_path, DNS_PORT=port))


def environment(tmp_path: Path, **env: str) -> dict[str, str]:
    chosen = choices(tmp_path, **env)
    return product_environment(chosen, choose_ports(chosen), "postgresql://db", "redis://r")


def test_the_sandbox_stands_in_for_every_provider_that_has_no_key(tmp_path):
    env = environment(tmp_path, STRIPE_SECRET_KEY="sk_test_of_a_real_account")
    assert "STRIPE_API_BASE" not in env
    assert env["NAMECHEAP_API_URL"].endswith(f":{env['SANDBOX_PORT']}/namecheap/xml.response")
    assert env["DNS_RESOLVERS"] == f"127.0.0.1:{env['DNS_PORT']}"
    assert env["IG_AUTH_PEPPER"] == env["KUMO_AUTH_PEPPER"]
    assert env["IG_TRACE_KEY"] == env["KUMO_TRACE_KEY"]


def test_what_the_caller_says_wins(tmp_path):
    env = environment(
        tmp_path, MAIL_ZONE="mta.example.com", SECRET_KEY="mine", KUMO_ADMIN_TOKEN="t"
    )
    assert (env["MAIL_ZONE"], env["SECRET_KEY"], env["IG_ADMIN_TOKEN"]) == (
        "mta.example.com",
        "mine",
        "t",
    )


def test_without_a_sandbox_nothing_points_at_one(tmp_path):
    env = environment(tmp_path, SANDBOX="off")
    assert (
        set(env) & {"STRIPE_API_BASE", "DNS_RESOLVERS", "KUMO_ADMIN_URLS", "CLOCK_OFFSET_FILE"}
        == set()
    )


def test_the_file_is_read_below_the_environment(tmp_path):
    (tmp_path / ".env").write_text("MAIL_ZONE=file.example\nLOG_LEVEL=DEBUG\nDATABASE_URL=\n")
    chosen = Choices.read({"MAIL_ZONE": "shell.example"}, tmp_path)
    assert chosen.given == {"MAIL_ZONE": "shell.example", "LOG_LEVEL": "DEBUG"}
    assert chosen.data_dir == tmp_path / ".data"


def test_a_database_that_was_named_and_is_away_is_reported(product, tmp_path):
    url = f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/db"
    with Stack(choices(tmp_path / "data", DATABASE_URL=url), lambda _: None, product) as stack:
        with pytest.raises(StackError, match="DATABASE_URL does not answer"):
            stack.start()
        assert not (tmp_path / "data/postgresql").exists()


def test_commands_beside_a_stack_find_its_database(run_stack, tmp_path):
    _, state = run_stack()
    data = str(tmp_path / "data")
    assert adopt({"DATA_DIR": data})["DATABASE_URL"] == state["environment"]["DATABASE_URL"]
    assert adopt({"DATA_DIR": data, "DATABASE_URL": "postgresql://elsewhere"}) == {}
    assert adopt({"DATA_DIR": str(tmp_path / "none")}) == {}
