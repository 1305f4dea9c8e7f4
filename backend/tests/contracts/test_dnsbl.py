"""Blocklists over real DNS: the sandbox's list, lists that are dead, away, or refuse us."""

from __future__ import annotations

from app.integrations import dnsbl
from app.integrations.dns_resolver import Resolver
from app.rules.blocklists import Kind, State, blocklist
from tests.contracts.tools import Sandbox

LIST = blocklist("dbl.test", Kind.DOMAIN)


def resolver(sandbox: Sandbox) -> Resolver:
    return Resolver([f"127.0.0.1:{sandbox.world.ports['dns']}"])


def test_names_are_told_apart(sandbox: Sandbox) -> None:
    sandbox.control("dns/list", entry="bad-name.com", zone=LIST.zone, code="127.0.0.2")
    names = ["good-name.com", "bad-name.com", "other-name.com"]
    assert dnsbl.verdicts([LIST], names, resolver(sandbox)) == {
        "good-name.com": State.CLEAR,
        "bad-name.com": State.LISTED,
        "other-name.com": State.CLEAR,
    }


def test_a_refusal_is_no_listing(sandbox: Sandbox) -> None:
    sandbox.control("dns/list", entry="refused.com", zone=LIST.zone, code="127.255.255.254")
    found = dnsbl.verdicts([LIST], ["refused.com"], resolver(sandbox))
    assert found == {"refused.com": State.UNKNOWN}


def test_a_list_that_does_not_know_its_test_point_is_not_believed(sandbox: Sandbox) -> None:
    dead = blocklist("no-such-list.test", Kind.DOMAIN)
    found = dnsbl.verdicts([dead], ["acme.com"], resolver(sandbox))
    assert found == {"acme.com": State.UNKNOWN}


def test_a_list_that_is_away_leaves_it_open(nowhere: str) -> None:
    quick = Resolver([nowhere], timeout=0.2, lifetime=0.3)
    assert dnsbl.verdicts([LIST], ["acme.com"], quick) == {"acme.com": State.UNKNOWN}


def test_without_lists_nobody_knows_and_names_too_long_do_not_hurt(sandbox: Sandbox) -> None:
    long = ".".join(["a" * 62] * 4)
    assert dnsbl.verdicts([], ["a.com"], resolver(sandbox)) == {"a.com": State.UNKNOWN}
    assert dnsbl.verdicts([LIST], [long], resolver(sandbox)) == {long: State.UNKNOWN}
    assert dnsbl.verdicts([LIST], [], resolver(sandbox)) == {}
