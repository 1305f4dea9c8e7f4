"""The table of permissions is the documentation's and OpenAPI's too."""

from __future__ import annotations

import itertools
from pathlib import Path

from app.database.models import Role
from app.rules import permissions
from app.rules.permissions import Permission

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documentation_shows_the_table() -> None:
    assert permissions.as_markdown() in (DOCS / "permissions.md").read_text()


def test_every_permission_has_a_meaning_and_a_role() -> None:
    assert set(permissions.MEANING) == set(Permission)
    assert {permissions.least_role(permission) for permission in Permission} <= set(Role)


def test_a_mightier_role_loses_nothing() -> None:
    roles = list(permissions.ROLES.values())
    assert all(weaker < stronger for weaker, stronger in itertools.pairwise(roles))
    assert set(permissions.ROLES) == set(Role)


def test_a_key_is_never_given_what_is_a_persons() -> None:
    # A leaked key must not make keys, invite people or change who may sign in.
    assert permissions.of_key([str(permission) for permission in Permission]) == (
        permissions.GRANTABLE
    )
    assert permissions.of_key(["keys:write", "team:write", "nonsense"]) == frozenset()
