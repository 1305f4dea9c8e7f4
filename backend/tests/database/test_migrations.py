"""Upgrades beside a running platform: nobody waits long, and the earlier release goes on working."""

from __future__ import annotations

import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures import servers
from tests.fixtures.database import WAITING

BACKEND = Path(__file__).parents[2]
LINT = BACKEND / "scripts/lint-migrations"
LINE = runpy.run_path(str(LINT))["LINE"]

COLUMNS = """
SELECT table_schema || '.' || table_name, column_name, udt_name,
    coalesce(character_maximum_length, 0), is_nullable = 'YES', column_default IS NOT NULL
FROM information_schema.columns
WHERE table_schema IN ('public') AND table_name <> 'alembic_version'
"""
RULES = """
SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('u', 'c', 'f', 'x') AND connamespace = 'public'::regnamespace
UNION ALL
SELECT tablename || ' ' || regexp_replace(indexdef, ' INDEX \\S+ ', ' ') FROM pg_indexes
WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%'
"""


def alembic(url: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *words],
        cwd=BACKEND,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def migrate(url: str, *words: str) -> str:
    process = alembic(url, *words)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LINT), *map(str, files)],
        cwd=BACKEND, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_new_migrations_stop_nobody() -> None:
    said = lint()
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ALTER TABLE domains DROP COLUMN failure;", "ban-drop-column"),
        ("DROP TABLE domains;", "ban-drop-table"),
        ("ALTER TABLE domains RENAME COLUMN failure TO why;", "renaming-column"),
        ("ALTER TABLE domains ADD COLUMN x bigint NOT NULL;", "adding-required-field"),
        ("CREATE INDEX ix ON domains (failure);", "require-concurrent-index-creation"),
        ("ALTER TABLE domains ALTER COLUMN failure TYPE text;", "changing-column-type"),
    ],
)  # fmt: skip
def test_what_would_stop_the_earlier_release_is_found(sql: str, rule: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.sql"
    file.write_text(sql)
    said = lint(file)
    assert said.returncode == 1
    assert rule in said.stdout
    file.write_text(f"-- squawk-ignore {rule}\n{sql}")
    assert lint(file).returncode == 0


@pytest.mark.slow
def test_a_table_in_use_is_tried_again_and_its_readers_wait_seconds(clean: None) -> None:
    url = servers.new_database("patience")
    migrate(url, "upgrade", "0020")
    with psycopg.connect(url) as user, psycopg.connect(url, autocommit=True) as reader:
        user.execute("SELECT count(*) FROM domains")  # And keeps its transaction open.
        upgrade = alembic(url, "upgrade", "head")
        deadline = time.monotonic() + 60

        def waits() -> bool:
            return reader.execute(WAITING).fetchone() != (0,)

        while not waits():
            assert upgrade.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # Behind the upgrade, which gives the table up after four seconds.
        reader.execute("SET statement_timeout = '30s'")
        reader.execute("SELECT count(*) FROM domains")
        assert upgrade.poll() is None
        user.rollback()
        said, _ = upgrade.communicate(timeout=60)
    assert upgrade.returncode == 0, said
    assert "A table is in use" in said
    assert "0021" in migrate(url, "history")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_the_earlier_release_can_read_and_write_the_new_schema(clean: None) -> None:
    """Its statements name their columns: all must be there, alike, and none more be needed."""
    url = servers.new_database("expanding")
    migrate(url, "upgrade", LINE)
    old = {(row[0], row[1]): row[2:] for row in rows(url, COLUMNS)}
    old_rules = {row[0] for row in rows(url, RULES)}
    tables = {table for table, _ in old}
    migrate(url, "upgrade", "head")
    new = {(row[0], row[1]): row[2:] for row in rows(url, COLUMNS)}
    assert not old.keys() - new.keys(), "columns are gone"
    for column, (kind, length, nullable, default) in old.items():
        kind_now, length_now, nullable_now, default_now = new[column]
        assert kind_now == kind, column
        assert length_now == 0 or length_now >= length > 0, column
        assert nullable_now or default_now or not nullable, f"{column} is needed now"
        assert default_now or not default, f"{column} lost its default"
    for column in new.keys() - old.keys():
        if column[0] in tables:
            _, _, nullable, default = new[column]
            assert nullable or default, f"{column} is new, and the earlier release does not fill it"
    added = {row[0] for row in rows(url, RULES)} - old_rules
    narrower = {rule for rule in added if f"public.{rule.split()[0]}" in tables}
    assert not narrower, "the earlier release may break these"


def test_downgrade_and_upgrade_meet(clean: None) -> None:
    url = servers.new_database("back")
    migrate(url, "upgrade", "head")
    before = sorted(rows(url, COLUMNS)), sorted(rows(url, RULES))
    migrate(url, "downgrade", LINE)
    migrate(url, "upgrade", "head")
    assert (sorted(rows(url, COLUMNS)), sorted(rows(url, RULES))) == before
