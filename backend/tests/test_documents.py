"""The documents: what they tell people to paste works, and what they list is all there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from app import errors
from app.middleware.error_handler import status_of
from tests.fixtures.customer import Customer

BACKEND = Path(__file__).parents[1]
DOCS = BACKEND / "docs"


def family(kind: type[errors.InboxGroveError]) -> set[type[errors.InboxGroveError]]:
    return {kind}.union(*(family(child) for child in kind.__subclasses__()))


def test_every_error_is_explained_with_its_status() -> None:
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d{3}) \|", _read("guide/errors.md"), re.M))
    wanted = {one.code: str(status_of(one())) for one in family(errors.InboxGroveError)}
    assert told == wanted | {"METHOD_NOT_ALLOWED": "405"}


def test_every_page_is_in_the_table_of_contents() -> None:
    class Reader(yaml.SafeLoader):
        """Knows nothing of the Python names that the file mentions."""

    Reader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)
    plan = yaml.load((BACKEND / "mkdocs.yml").read_text(), Reader)  # A SafeLoader.
    named = set(re.findall(r"'([\w/.-]+\.md)'", str(plan["nav"])))
    assert named == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_quickstart_can_be_pasted(customer: Customer, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    blocks = re.findall(r"^```bash\n(.*?)^```$", _read("guide/quickstart.md"), re.M | re.S)
    assert len(blocks) >= 6
    script = "set -euo pipefail\n" + "\n".join(blocks)
    finished = threading.Event()

    def work() -> None:
        """What relay and worker do beside it."""
        while not finished.wait(0.05):
            customer.drain(due_too=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        done = subprocess.run(
            [bash],
            input=script,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "API": f"{customer.world.api_url}/api/v1",
                "SANDBOX": customer.world.sandbox_url,
                "SUBMISSION_PORT": str(customer.world.submission_port),
            },
        )
    finally:
        finished.set()
        worker.join(60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("accepted for you@gmail.test\n")
    assert "email,username,password" in done.stdout


def test_the_generated_client_speaks_to_the_product(customer: Customer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BACKEND / "scripts" / "sdk", tmp_path / "sdk"],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        cwd=BACKEND,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    customer.sign_up()
    spoken = subprocess.run(
        [sys.executable, "-c", SPEAK],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        cwd=tmp_path / "sdk",
        env={
            "URL": customer.world.api_url,
            "TOKEN": customer.signed_up["access_token"],
            "PATH": os.environ["PATH"],
        },
    )
    assert spoken.returncode == 0, spoken.stderr
    assert spoken.stdout.split() == [
        customer.tenant_id,
        "starter",
        "NOT_FOUND",
        "0",
    ]


SPEAK = """
import os
from uuid import UUID
from inboxgrove_client import AuthenticatedClient
from inboxgrove_client.api.auth import me
from inboxgrove_client.api.domains import get_domain, list_domains
client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["TOKEN"])
told = me.sync(client=client).data.tenant
print(told.id, told.subscription_tier)
print(get_domain.sync(UUID(int=1), client=client).error_code)
print(len(list_domains.sync(client=client).data))
"""


def test_schemas_have_names_for_people() -> None:
    from app.main import app

    names = app.openapi()["components"]["schemas"]
    assert not [name for name in names if name.startswith("app__")]


@pytest.mark.parametrize("page", ["guide/api.md", "guide/quickstart.md"])
def test_paths_that_pages_name_exist(page: str) -> None:
    from app.main import app

    known = {re.sub(r"\{\w+\}", "{id}", path) for path in app.openapi()["paths"]}
    named = re.findall(r"`(?:GET|POST|PATCH|DELETE) (/[\w/{}-]+)", _read(page))
    assert [path for path in named if f"/api/v1{path}" not in known and path not in known] == []


def _read(page: str) -> str:
    return (DOCS / page).read_text()
