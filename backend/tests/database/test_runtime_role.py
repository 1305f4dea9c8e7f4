"""The role the product runs as: what it cannot do, and who can make it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from app.config import get_settings
from app.database.models import init_db
from app.database.role import AS_RUNTIME, RUNTIME_ROLE
from app.database.session import ALL_TENANTS, engine, transaction
from app.embedded.postgres import RUNTIME_ROLE as EMBEDDED_NAME
from tests.fixtures import servers

BACKEND = Path(__file__).parents[2]


@pytest.fixture
def empty_database(clean: None) -> str:
    """The superuser's URL of a database without a schema."""
    return servers.new_database("empty")


def test_the_embedded_server_makes_the_same_role() -> None:
    assert EMBEDDED_NAME == RUNTIME_ROLE


def test_the_product_acts_as_the_role_and_owns_nothing(clean: None) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.execute(
            text(
                "SELECT current_user, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles"
                " WHERE rolname = current_user"
            )
        ).one()
        assert tuple(row) == (RUNTIME_ROLE, False, False, False)
        # Temporary tables last as long as a connection, and hold what it put there.
        owned = (
            "SELECT count(*) FROM pg_class"
            " WHERE relpersistence <> 't' AND relowner = :role::regrole"
        )
        owned = owned.replace(":role", f"'{RUNTIME_ROLE}'")
        assert db.scalar(text(owned)) == 0


def test_giving_the_role_up_leads_back_to_it(clean: None) -> None:
    with engine.connect() as connection:
        connection.execute(text("RESET ROLE"))
        assert connection.scalar(text("SELECT current_user")) == RUNTIME_ROLE


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET action = 'x'",  # history is not rewritten
        "DELETE FROM audit_logs",  # nor cut
        "TRUNCATE audit_logs CASCADE",  # nor emptied
        "DELETE FROM decisions",  # why somebody was cut off stays known
        "UPDATE operator_acts SET action = 'x'",  # operators are watched as well
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",  # isolation is not switched off
        "DROP POLICY tenant ON users",  # nor weakened
        "CREATE TABLE mine (x int)",  # the schema belongs to migrations
        "UPDATE alembic_version SET version_num = '0001'",  # and so does its version
    ],
)
def test_what_the_role_may_not_do(clean: None, statement: str) -> None:
    with engine.connect() as connection, pytest.raises(ProgrammingError, match=r"permission|owner"):
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        connection.execute(text(statement))


def test_a_superusers_url_is_isolated_too(clean: None) -> None:
    url = servers.admin_url_of(get_settings().psycopg_url)
    with psycopg.connect(url, options=AS_RUNTIME) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert connection.execute("SELECT current_user").fetchone() == (RUNTIME_ROLE,)


def test_a_member_that_owns_nothing_can_run_the_product(clean: None) -> None:
    url = servers.admin_url_of(get_settings().psycopg_url)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS member_only")
        admin.execute(
            sql.SQL("CREATE ROLE member_only LOGIN PASSWORD 'p' IN ROLE {}").format(
                sql.Identifier(RUNTIME_ROLE)
            )
        )
    member = psycopg.conninfo.make_conninfo(url, user="member_only", password="p")
    with psycopg.connect(member, options=AS_RUNTIME) as connection:
        connection.execute("SELECT set_config('app.tenant', '*', true)")
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (0,)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("ALTER TABLE users DISABLE ROW LEVEL SECURITY")


def test_init_db_works_through_the_products_own_engine(empty_database: str) -> None:
    app_engine: Engine = create_engine(
        empty_database.replace("postgresql://", "postgresql+psycopg://"),
        connect_args={"options": AS_RUNTIME},
    )
    init_db(app_engine)
    init_db(app_engine)
    with app_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tenants")) == 0
    app_engine.dispose()


def test_a_user_who_may_not_make_the_role_is_told_what_to_do(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as admin:
        # The role exists in this cluster, and this user is no member of it.
        admin.execute("DROP ROLE IF EXISTS outsider")
        admin.execute("CREATE ROLE outsider LOGIN PASSWORD 'p'")
        admin.execute("GRANT ALL ON SCHEMA public TO outsider")
    url = psycopg.conninfo.conninfo_to_dict(empty_database)
    made = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=BACKEND,
        env={
            "PATH": "/usr/bin:/bin",
            "DATABASE_URL": f"postgresql://outsider:p@{url['host']}:{url['port']}/{url['dbname']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode != 0
    assert f"GRANT {RUNTIME_ROLE} TO outsider" in made.stderr
