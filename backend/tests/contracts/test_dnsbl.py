"""Blocklists over real DNS: the sandbox's list, lists that are dead, away, or refuse us."""

from __future__ import annotations

from app.integrations import dnsbl
from app.integrations.dns_resolver import Resolver
from app.rules.listings import Verdict
from tests.contracts.tools import Sandbox

LIST = "dbl.test"


def resolver(sandbox: Sandbox) -> Resolver:
    return Resolver([f"127.0.0.1:{sandbox.world.ports['dns']}"])


def test_names_are_told_apart(sandbox: Sandbox) -> None:
    sandbox.control("dns/list", entry="bad-name.com", zone=LIST, code="127.0.1.2")
    names = ["good-name.com", "bad-name.com", "other-name.com"]
    assert dnsbl.domains(resolver(sandbox), [LIST], names) == {
        "good-name.com": Verdict.NOT_LISTED,
        "bad-name.com": Verdict.LISTED,
        "other-name.com": Verdict.NOT_LISTED,
    }


def test_a_refusal_is_no_listing(sandbox: Sandbox) -> None:
    sandbox.control("dns/list", entry="refused.com", zone=LIST, code="127.255.255.254")
    found = dnsbl.domains(resolver(sandbox), [LIST], ["refused.com"])
    assert found == {"refused.com": Verdict.UNKNOWN}


def test_a_list_that_does_not_know_its_test_point_is_not_believed(sandbox: Sandbox) -> None:
    found = dnsbl.domains(resolver(sandbox), ["no-such-list.test"], ["acme.com"])
    assert found == {"acme.com": Verdict.UNKNOWN}


def test_a_list_that_is_away_leaves_it_open(nowhere: str) -> None:
    quick = Resolver([nowhere], timeout=0.2, lifetime=0.3)
    assert dnsbl.domains(quick, [LIST], ["acme.com"]) == {"acme.com": Verdict.UNKNOWN}


def test_without_lists_nobody_knows_and_names_too_long_do_not_hurt(sandbox: Sandbox) -> None:
    long = ".".join(["a" * 62] * 4)
    assert dnsbl.domains(resolver(sandbox), [], ["a.com"]) == {"a.com": Verdict.UNKNOWN}
    assert dnsbl.domains(resolver(sandbox), [LIST], [long]) == {long: Verdict.UNKNOWN}
    assert dnsbl.domains(resolver(sandbox), [LIST], []) == {}
