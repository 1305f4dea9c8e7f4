"""What an attacker would look for in the code: each search finds nothing, and finds what is planted.

After OWASP ASVS 5.0 (1.2.4, 1.2.5, 1.3.2, 1.5.2, 12.3.2) and the rules of Semgrep's and Bandit's
registries for Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
EXECUTES = {"execute", "executemany", "text", "exec_driver_sql", "scalar", "scalars"}

Check = Callable[[ast.AST], bool]


def called(node: ast.AST) -> str:
    """The dotted name of what is called, as far as it is written: `yaml.load`."""
    parts: list[str] = []
    inner = node.func if isinstance(node, ast.Call) else None
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        parts.append(inner.id)
    return ".".join(reversed(parts))


def keyword(node: ast.AST, name: str) -> ast.expr | None:
    words = node.keywords if isinstance(node, ast.Call) else []
    return next((word.value for word in words if word.arg == name), None)


def is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def built(node: ast.expr) -> bool:
    """A text put together at run time: f-string, %, +, format(); of more than our constants."""
    if isinstance(node, ast.JoinedStr):
        return any(
            isinstance(part, ast.FormattedValue) and not is_constant(part.value)
            for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod | ast.Add) and any(
            built(side) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
            for side in (node.left, node.right)
        )
    # Of a text: the `format` of psycopg's SQL takes quoted parts only.
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
    )


def is_constant(node: ast.expr) -> bool:
    """LIKE_THIS or module.LIKE_THIS."""
    name = getattr(node, "attr", None) or getattr(node, "id", "")
    return str(name).isupper()


def built_sql(node: ast.AST) -> bool:
    name = called(node).rpartition(".")[2]
    return (
        isinstance(node, ast.Call) and name in EXECUTES and bool(node.args) and built(node.args[0])
    )


def waits_for_ever(node: ast.AST) -> bool:
    name = called(node)
    makes = {"httpx.Client", "httpx.AsyncClient", "smtplib.SMTP", "smtplib.SMTP_SSL"}
    asks = {f"{lib}.{verb}" for lib in ("httpx", "requests") for verb in VERBS}
    asks |= {"urllib.request.urlopen", "socket.create_connection", "urlopen"}
    if name not in makes | asks:
        return False
    timeout = keyword(node, "timeout")
    return timeout is None or (isinstance(timeout, ast.Constant) and timeout.value is None)


VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request", "stream")


def trusts_anybody(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in {"CERT_NONE", "_create_unverified_context"}
    if isinstance(node, ast.Assign) and is_false(node.value):
        return any(
            isinstance(t, ast.Attribute) and t.attr == "check_hostname" for t in node.targets
        )
    return is_false(keyword(node, "verify")) or is_false(keyword(node, "verify_signature"))


def runs_a_shell(node: ast.AST) -> bool:
    shell = keyword(node, "shell")
    told = shell is not None and not is_false(shell)
    return told or called(node) in {"os.system", "os.popen", "subprocess.getoutput"}


def reads_code(node: ast.AST) -> bool:
    """Makes objects or code out of a text."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        return bool(names & {"pickle", "marshal", "shelve", "dill", "cPickle"})
    return called(node) in {
        "eval",
        "exec",
        "compile",
        "yaml.load",
        "__import__",
        "yaml.unsafe_load",
    }


def is_a_weak_choice(node: ast.AST) -> bool:
    """Old hashes, and randomness that can be guessed."""
    return called(node) in {
        "hashlib.md5", "hashlib.sha1", "random.choice", "random.randint", "random.random",
        "random.choices", "random.getrandbits", "random.randrange", "uuid.uuid1", "uuid1",
    } and not is_false(keyword(node, "usedforsecurity"))  # fmt: skip


def parses_xml_with_entities(node: ast.AST) -> bool:
    """Types may be imported; whoever parses uses defusedxml."""
    if isinstance(node, ast.Import):
        return any(alias.name.startswith(("xml.", "lxml")) for alias in node.names)
    if not isinstance(node, ast.ImportFrom):
        return False
    module = node.module or ""
    types = {"Element", "ParseError"}
    harmless = module == "xml.etree.ElementTree" and {a.name for a in node.names} <= types
    return module.startswith(("xml.", "lxml")) and not harmless


ALLOWED: dict[Check, dict[str, str]] = {
    trusts_anybody: {
        "app/integrations/mailer.py": "a mail server on this very machine: nobody in between",
    },
}
"""By check: the file, and why it is right there."""

PLANTED: dict[Check, tuple[str, ...]] = {
    built_sql: (
        'db.execute(f"SELECT {x}")',
        'db.execute(text("SELECT " + x))',
        'cursor.execute("SELECT %s" % x)',
        'text("SELECT {}".format(x))',
        'db.scalar(text(f"SELECT {LOCK} FROM {table}"))',
    ),
    waits_for_ever: (
        'httpx.get("https://x.test")',
        "httpx.Client()",
        'requests.post("https://x.test", timeout=None)',
        'smtplib.SMTP("x")',
    ),
    trusts_anybody: (
        "httpx.Client(verify=False, timeout=1)",
        "context.verify_mode = ssl.CERT_NONE",
        "context.check_hostname = False",
        "jwt.decode(token, verify_signature=False)",
    ),
    runs_a_shell: ("subprocess.run(x, shell=True)", "os.system(x)"),
    reads_code: (
        "import pickle",
        "from marshal import loads",
        "eval(x)",
        "yaml.load(x)",
        "exec(x)",
    ),
    is_a_weak_choice: ("hashlib.md5(x)", "random.choice(x)", "random.random()"),
    parses_xml_with_entities: (
        "import xml.etree.ElementTree",
        "from lxml import etree",
        "from xml.etree.ElementTree import fromstring",
    ),
}


def found(check: Check, tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if check(node):
            yield getattr(node, "lineno", 0)


@pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)
def test_the_product_has_none(check: Check) -> None:
    lines = [
        f"{path.relative_to(APP.parent)}:{line}"
        for path in sorted(APP.rglob("*.py"))
        # Migrations are made of the names of our tables, and run before anybody is served.
        if "versions" not in path.parts
        for line in found(check, ast.parse(path.read_text()))
    ]
    allowed = ALLOWED.get(check, {})
    assert [line for line in lines if line.partition(":")[0] not in allowed] == []
    # A permission nobody needs any more is a hole for the next one.
    assert {line.partition(":")[0] for line in lines} == set(allowed)


@pytest.mark.parametrize(
    ("check", "planted"),
    [(check, text) for check, texts in PLANTED.items() for text in texts],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_is_planted_is_found(check: Check, planted: str) -> None:
    assert list(found(check, ast.parse(planted)))
