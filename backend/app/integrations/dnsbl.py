"""Asking DNS blocklists, several questions at once, through the resolver's port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.errors import InboxGroveError
from app.integrations.ports import DNSResolver
from app.rules import blocklists
from app.rules.blocklists import Answer, Blocklist, State

AT_ONCE = 8
"""Questions on their way at the same time: a search asks for about a dozen names."""

Asked = Mapping[tuple[str, str], Answer]
"""By name of the list and subject."""


def ask(lists: Sequence[Blocklist], subjects: Sequence[str], resolver: DNSResolver) -> Asked:
    """Each list's answer about each subject; a list that fails its own test answers nothing.

    Never raises: a list that is away, refuses us or holds nearly everybody is UNKNOWN.
    """
    if not lists or not subjects:
        return {}
    answers: dict[tuple[str, str], Answer] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dnsbl") as pool:
        for of in lists:
            broken = _test(of, resolver)
            if broken is not None:
                answers |= {(of.name, each): blocklists.unknown(broken) for each in subjects}
                continue
            questions = [of.question(each) for each in subjects]
            found = list(pool.map(lambda name, of=of: _look_up(name, of, resolver), questions))
            listed = sum(answer.state == State.LISTED for answer in found)
            if blocklists.is_wide(listed, len(found)):
                found = [
                    blocklists.unknown("it lists too many to be believed", answer.codes)
                    for answer in found
                ]
            answers |= {(of.name, each): said for each, said in zip(subjects, found, strict=True)}
    return answers


def verdicts(
    lists: Sequence[Blocklist], subjects: Sequence[str], resolver: DNSResolver
) -> dict[str, State]:
    """What all lists together say of each subject; without lists nobody can know."""
    answers = ask(lists, subjects, resolver)
    return {
        each: blocklists.together([answers[of.name, each].state for of in lists])
        for each in subjects
    }


def _test(of: Blocklist, resolver: DNSResolver) -> str | None:
    """Why the list is not to be believed now."""
    try:
        held = resolver.lookup(of.must_hold, "A")
        free = resolver.lookup(of.must_not_hold, "A")
    except InboxGroveError:
        return "the list does not answer"
    return blocklists.is_sound(held, free, of)


def _look_up(name: str, of: Blocklist, resolver: DNSResolver) -> Answer:
    try:
        return blocklists.read(resolver.lookup(name, "A"), of)
    except InboxGroveError:
        # A name of 253 characters leaves no room for the list's zone; a list may be away.
        return blocklists.unknown("the list does not answer")
