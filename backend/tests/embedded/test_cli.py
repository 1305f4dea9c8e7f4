"""The command line: quick to answer, and honest about what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from app.embedded.environment import DEFAULT_PORTS

BACKEND = Path(__file__).resolve().parents[2]


def inboxgrove(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", **env},
    )


@pytest.mark.parametrize(
    "command",
    [
        *("up", "demo", "seed", "status", "api", "worker", "relay", "beat", "migrate"),
        *("ops", "admin", "billing", "mail", "sandbox", "ops nodes", "ops audit-verify"),
    ],
)
def test_every_command_explains_itself(command):
    said = inboxgrove(*command.split(), "--help")
    assert said.returncode == 0, said.stderr
    assert f"inboxgrove {command}" in said.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        # A command, a command of a group, a group of a group, and an option.
        ("mig", "migrate"),
        ("ops audit", "audit-verify"),
        ("ops nodes dr", "drain"),
        ("billing reconcile --js", "--json"),
    ],
)
def test_a_shell_can_complete_what_is_typed(typed, offered):
    said = inboxgrove(
        _INBOXGROVE_COMPLETE="complete_bash",
        COMP_WORDS=f"inboxgrove {typed}",
        COMP_CWORD=str(len(typed.split())),
    )
    assert said.stdout.split() == [offered], said.stderr


def test_seeding_wants_a_stack(tmp_path):
    said = inboxgrove("seed", DATA_DIR=str(tmp_path))
    assert (said.returncode, "inboxgrove up" in said.stderr) == (1, True)


def test_help_imports_nothing_heavy():
    probe = (
        "import sys\nfrom app.cli import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'fastapi', 'sqlalchemy', 'celery', 'stripe', 'psycopg', 'uvicorn'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", probe], cwd=BACKEND, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "[]"


def test_status_of_nothing_is_a_failure_that_scripts_can_read(tmp_path):
    said = inboxgrove("status", DATA_DIR=str(tmp_path))
    assert (said.returncode, str(tmp_path) in said.stdout) == (1, True)
    said = inboxgrove("status", "--json", DATA_DIR=str(tmp_path))
    assert (said.returncode, json.loads(said.stdout)) == (1, {"running": False})


def test_a_stack_that_cannot_start_says_why_and_exits_1(tmp_path):
    said = inboxgrove(
        "up",
        **dict.fromkeys(DEFAULT_PORTS, "0"),
        PG_PORT="0",
        DATA_DIR=str(tmp_path),
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert said.returncode == 1
    assert "REDIS_URL does not answer" in said.stderr
    assert "Traceback" not in said.stderr


def test_migrate_brings_the_named_database_to_head():
    run = subprocess.run(
        [
            *(sys.executable, "-m", "app.embedded", "sh", "-c"),
            f"{sys.executable} -m app.cli migrate && {sys.executable} -m alembic check",
        ],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_command_runs_against_throwaway_servers_and_its_exit_code_is_ours():
    text = "import os, psycopg; print(os.environ['DATABASE_URL']); raise SystemExit(7)"
    run = subprocess.run(
        [sys.executable, "-m", "app.embedded", sys.executable, "-c", text],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 7, run.stderr
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(run.stdout.strip(), connect_timeout=2)
