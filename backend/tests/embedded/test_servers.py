"""The embedded servers: what they keep, what they refuse, and that they never outlive their owner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from app.embedded import EmbeddedPostgres, EmbeddedServer, EmbeddedServerError, EmbeddedValkey
from app.embedded.ports import is_free
from app.embedded.postgres import find_binaries
from app.embedded.process import command_of, stop_orphan
from app.embedded.valkey import find_binary

BACKEND = Path(__file__).resolve().parents[2]
NOBODY = 65534
# Runs both servers and says where they are, until somebody ends it.
OWNER = """
import json, sys, time
from app.embedded import EmbeddedPostgres, EmbeddedValkey
with EmbeddedPostgres(sys.argv[1] + "/pg", port=0) as pg, EmbeddedValkey(sys.argv[1] + "/vk", port=0) as vk:
    print(json.dumps({"pids": [pg.pid, vk.pid], "pg": pg.url, "vk": vk.url, "command": pg.command()}), flush=True)
    time.sleep(120)
"""


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def own() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict]]]:
    """Start an owner process; whatever is still there afterwards is killed."""
    owners: list[subprocess.Popen[str]] = []

    def start(directory: Path, *prefix: str, python: str = sys.executable, env: dict | None = None):
        paths = [str(BACKEND), sysconfig.get_paths()["purelib"]]
        owner = subprocess.Popen(
            [*prefix, python, "-c", OWNER, str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(env or {})},
        )
        owners.append(owner)
        line = owner.stdout.readline()
        return owner, json.loads(line) if line else {"error": owner.stderr.read()}

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


def test_a_fresh_cluster_gives_the_app_a_role_that_row_security_binds(tmp_path):
    with EmbeddedPostgres(tmp_path, port=0, fast=True) as server:
        with psycopg.connect(server.url) as db:
            role = db.execute(
                "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            owner = db.execute(
                "SELECT pg_get_userbyid(datdba), datcollate, datlocprovider, encoding FROM pg_database "
                "WHERE datname = current_database()"
            ).fetchone()
            version = db.info.server_version
            db.execute("CREATE TABLE sorted (name text)")
            db.execute("INSERT INTO sorted VALUES ('b'), ('a'), ('B')")
            names = db.execute("SELECT name FROM sorted ORDER BY name").fetchall()
        with psycopg.connect(server.admin_url) as db:
            assert db.execute(
                "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()[0]
    assert role == ("inboxgrove", False, False, False)
    assert owner[0] == "inboxgrove"
    assert owner[3] == 6  # UTF8
    assert names == [("B",), ("a",), ("b",)]
    assert version >= 150000


def test_passwords_are_asked_for_and_nothing_listens_but_loopback_tcp(tmp_path):
    with EmbeddedPostgres(tmp_path, port=0, fast=True) as server:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://inboxgrove@127.0.0.1:{server.port}/inboxgrove_db")
        with psycopg.connect(server.admin_url) as db:
            assert db.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert db.execute("SHOW unix_socket_directories").fetchone() == ("",)
    assert (tmp_path / "passwords.json").stat().st_mode & 0o777 == 0o600


def test_valkey_asks_for_its_password_and_never_evicts(tmp_path):
    with EmbeddedValkey(tmp_path, port=0) as server, Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as stranger:
            stranger.sendall(b"PING\r\n")
            assert stranger.recv(100).startswith(b"-NOAUTH")
        assert server.url.split("@")[0].split(":")[-1] not in command_of(server.pid)
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o777 == 0o600


def test_a_second_start_finds_the_data_and_takes_the_same_port(tmp_path):
    with (
        EmbeddedPostgres(tmp_path / "pg", port=0) as pg,
        EmbeddedValkey(tmp_path / "vk", port=0) as vk,
    ):
        urls = pg.url, vk.url
        with psycopg.connect(pg.url) as db:
            db.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with Redis.from_url(vk.url) as client:
            client.set("kept", "42")
    with (
        EmbeddedPostgres(tmp_path / "pg", port=0) as pg,
        EmbeddedValkey(tmp_path / "vk", port=0) as vk,
    ):
        assert (pg.url, vk.url) == urls
        with psycopg.connect(pg.url) as db:
            assert db.execute("SELECT answer FROM kept").fetchone() == (42,)
        with Redis.from_url(vk.url) as client:
            assert client.get("kept") == b"42"


def test_databases_are_copied_from_a_template(tmp_path):
    with EmbeddedPostgres(tmp_path, port=0, fast=True) as server:
        with psycopg.connect(server.create_database("mould")) as db:
            db.execute("CREATE TABLE inherited (id int)")
        with psycopg.connect(server.create_database("cast", template="mould")) as db:
            assert db.execute("SELECT count(*) FROM inherited").fetchone() == (0,)
            server.drop_database("mould")
            names = {name for (name,) in db.execute("SELECT datname FROM pg_database")}
    assert "mould" not in names
    assert "cast" in names


@pytest.mark.parametrize(
    ("kind", "variable"), [(EmbeddedPostgres, "PG_PORT"), (EmbeddedValkey, "VALKEY_PORT")]
)
def test_a_port_that_was_asked_for_and_is_busy_is_refused_by_name(
    tmp_path, monkeypatch, kind, variable
):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        monkeypatch.setenv(variable, str(port))
        with pytest.raises(EmbeddedServerError, match=rf"{port}.*{variable}"):
            kind(tmp_path).start()


def test_a_busy_default_makes_way_to_the_next_free_port(tmp_path, monkeypatch):
    monkeypatch.delenv("VALKEY_PORT", raising=False)
    with EmbeddedValkey(tmp_path / "one") as one, EmbeddedValkey(tmp_path / "two") as two:
        assert two.port > one.port >= EmbeddedValkey.default_port


def test_the_remembered_port_is_left_when_it_is_taken(tmp_path):
    with EmbeddedValkey(tmp_path, port=0) as server:
        port = server.port
    with socket.create_server(("127.0.0.1", port)), EmbeddedValkey(tmp_path, port=0) as server:
        assert server.port != port


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])
def test_one_directory_has_one_owner(tmp_path, kind: type[EmbeddedServer]):
    with kind(tmp_path, port=0, fast=True) as first:
        with pytest.raises(EmbeddedServerError, match=f"already run by process {os.getpid()}"):
            kind(tmp_path, port=0).start()
        assert first.alive


def test_data_of_another_major_version_is_named_and_left_alone(tmp_path):
    with EmbeddedPostgres(tmp_path, port=0, fast=True):
        pass
    (tmp_path / "cluster/PG_VERSION").write_text("9\n")
    with pytest.raises(
        EmbeddedServerError, match=r"written by PostgreSQL 9, and this is PostgreSQL \d\d"
    ):
        EmbeddedPostgres(tmp_path, port=0).start()
    (tmp_path / "cluster/PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, port=0, fast=True) as server:
        assert server.alive


def test_an_initdb_that_was_cut_off_is_begun_anew(tmp_path):
    (tmp_path / "cluster.new/base").mkdir(parents=True)
    with EmbeddedPostgres(tmp_path, port=0, fast=True) as server:
        assert server.alive
    assert not (tmp_path / "cluster.new").exists()
    assert not (tmp_path / "initdb.password").exists()


def test_a_server_that_cannot_start_shows_its_last_words(tmp_path):
    with EmbeddedPostgres(tmp_path, port=0, fast=True):
        pass
    (tmp_path / "cluster/postgresql.auto.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        EmbeddedPostgres(tmp_path, port=0).start()


def test_a_path_longer_than_a_socket_address_will_do(tmp_path):
    deep = tmp_path / ("grove " * 12).strip() / ("inbox" * 20)
    assert len(str(deep)) > 160
    with (
        EmbeddedPostgres(deep / "pg", port=0, fast=True) as pg,
        EmbeddedValkey(deep / "vk", port=0) as vk,
    ):
        assert pg.alive
        assert vk.alive


def test_a_killed_owner_takes_its_servers_along_and_the_data_survives(tmp_path, own):
    owner, said = own(tmp_path)
    with psycopg.connect(said["pg"]) as db:
        db.execute("CREATE TABLE survivor AS SELECT 1 AS id")
    with Redis.from_url(said["vk"]) as client:
        client.set("survivor", "1")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    for pid in said["pids"]:
        assert eventually(lambda pid=pid: str(tmp_path) not in command_of(pid)), f"{pid} lives on"
    with (
        EmbeddedPostgres(tmp_path / "pg", port=0) as pg,
        EmbeddedValkey(tmp_path / "vk", port=0) as vk,
    ):
        with psycopg.connect(pg.url) as db:
            assert db.execute("SELECT id FROM survivor").fetchone() == (1,)
        with Redis.from_url(vk.url) as client:
            assert client.get("survivor") == b"1"


def test_an_orphan_is_stopped_by_the_next_start(tmp_path):
    """Where the kernel does not stop it: as on macOS, the server is simply still there."""
    with EmbeddedValkey(tmp_path, port=0) as server:
        port = server.port
    orphan = subprocess.Popen(
        [str(find_binary()), str(tmp_path / "valkey.conf")], stdout=subprocess.DEVNULL
    )
    try:
        assert eventually(lambda: not is_free(port))
        (tmp_path / "server.pid").write_text(str(orphan.pid))
        with EmbeddedValkey(tmp_path, port=0) as server:
            assert server.pid != orphan.pid
            assert orphan.wait(10) == 0
    finally:
        orphan.kill()
        orphan.wait()


def test_a_reused_pid_is_not_mistaken_for_an_orphan(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        assert not stop_orphan(stranger.pid, str(tmp_path), signal.SIGKILL)
        assert stranger.poll() is None
        stranger.kill()


def test_a_platform_without_binaries_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="set DATABASE_URL"):
        find_binaries("no_such_package", tmp_path)
    with pytest.raises(EmbeddedServerError, match="set REDIS_URL"):
        find_binary("no_such_package")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
needs_setpriv = pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="setpriv is not installed"
)


@needs_root
def test_root_changes_no_owner_and_opens_no_directory(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "pg", port=0, fast=True) as server:
        if server.command()[0] != "unshare":
            pytest.skip("user namespaces are forbidden here")
        assert (closed / "pg/cluster").stat().st_uid == 0
        with psycopg.connect(server.url) as db:
            db.execute("SELECT 1")
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
@needs_setpriv
def test_root_without_user_namespaces_falls_back_to_setpriv(tmp_path, own):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/setpriv").symlink_to(shutil.which("setpriv"))
    tmp_path.chmod(0o700)
    owner, said = own(tmp_path / "data", env={"PATH": str(tmp_path / "bin")})
    assert said["command"][0] == "setpriv"
    with psycopg.connect(said["pg"]) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    owner.kill()
    owner.wait()
    for pid in said["pids"]:
        assert eventually(lambda pid=pid: str(tmp_path) not in command_of(pid)), f"{pid} lives on"


@needs_root
def test_root_that_can_become_nobody_is_told_what_to_do(tmp_path, own):
    (tmp_path / "bin").mkdir()
    _, said = own(tmp_path / "data", env={"PATH": str(tmp_path / "bin")})
    assert "Start as a normal user, or set DATABASE_URL" in said["error"]


@needs_root
def test_a_normal_user_needs_no_detour(own):
    """As nobody; where nobody may not read this Python, as root who sees herself as nobody."""
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    pretend = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    paths = os.pathsep.join([str(BACKEND), sysconfig.get_paths()["purelib"]])
    for become, python in (
        (drop, sys.executable),
        (drop, "/usr/bin/python3"),
        (pretend, sys.executable),
    ):
        trial = subprocess.run(
            [*become, python, "-c", "import app.embedded"],
            check=False,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        if trial.returncode == 0:
            break
    else:
        pytest.skip("root can become nobody else here")
    home = Path("/tmp") / f"inboxgrove-test-{os.getpid()}"
    home.mkdir(mode=0o700)
    try:
        if become is drop:
            os.chown(home, NOBODY, NOBODY)
        _, said = own(home, *become, python=python)
        assert "command" in said, said
        assert Path(said["command"][0]).name == "postgres"
        with psycopg.connect(said["pg"]) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
    finally:
        shutil.rmtree(home, ignore_errors=True)
