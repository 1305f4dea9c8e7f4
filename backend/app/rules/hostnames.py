"""Names that may be bought: their form, and names that pretend to be somebody else's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from app.rules import homographs

DEFAULT_TLDS = ("com", "net", "org", "io", "co")
MAX_LABEL = 63
MAX_NAME = 253
"""Octets of a label and of a whole name in its usual writing (RFC 1035, 2.3.4)."""

# Letters, digits and hyphens, a hyphen neither first nor last (RFC 1123, 2.1).
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_TLD = re.compile(r"[a-z]{2,63}")

NOT_SOLD = frozenset({"au", "ca", "de", "es", "eu", "fr", "nu", "uk", "us"})
"""Endings whose registries ask registrants for more than a contact address."""

RESERVED = frozenset({"arpa", "example", "internal", "invalid", "local", "localhost", "onion"})
"""Special-use names that nobody can register (RFC 6761 and its registry)."""

BRANDS: tuple[str, ...] = tuple(
    (resources.files("app.rules") / "data" / "brands.txt").read_text("ascii").split()
)
"""The names that phishers borrow most; data/README.md says whose list it is."""

ORDINARY = frozenset({
    "amazonas", "amazonia", "goggle", "openair", "revolute", "revolution", "revolutionary",
    "revolutions", "strike", "stride", "strip", "stripes", "striped", "strips", "strive", "twister",
})  # fmt: skip
"""Words of the language that happen to lie close to a brand."""

_CONTAINED = 6
"""From this length on a brand is looked for inside longer words, and with one letter changed;
shorter ones would forbid half the dictionary."""

# The part of Unicode TR39's confusables that is left once only letters, digits and hyphens are
# allowed, and the digits that are commonly read as letters.
_DIGITS = str.maketrans({"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b"})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


class BadName(ValueError):
    """The name cannot be bought here; `why` says it to a person."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why


@dataclass(frozen=True)
class Hostname:
    """A registrable name: one label below a top-level domain, in lower case."""

    label: str
    tld: str

    def __str__(self) -> str:
        return f"{self.label}.{self.tld}"


def parse(text: str) -> Hostname:
    """Read a name to buy. Raises BadName with what is wrong.

    Internationalised names are refused, as U-labels and as `xn--` alike: their look-alikes need a
    person's eye.
    """
    name = text.strip().lower().removesuffix(".")
    if homographs.is_international(name):
        raise BadName(text, _why_not_international(name))
    if len(name) > MAX_NAME:
        raise BadName(text, f"a name has at most {MAX_NAME} characters")
    labels = name.split(".")
    if len(labels) == 1:
        raise BadName(text, "add an ending, such as .com")
    if len(labels) > 2:
        raise BadName(text, "only names directly below an ending can be bought, such as acme.com")
    return Hostname(check_label(labels[0]), check_tld(labels[1]))


def _why_not_international(name: str) -> str:
    brand = lookalike(homographs.reading(name).partition(".")[0])
    if brand is not None:
        return f"it reads as {brand}, written with letters of another alphabet"
    return "internationalised names are not sold: use a-z, 0-9 and hyphens"


def check_label(text: str) -> str:
    """The label in lower case. Raises BadName."""
    label = text.strip().lower()
    if len(label) > MAX_LABEL:
        raise BadName(text, f"the part before the dot has at most {MAX_LABEL} characters")
    if not _LABEL.fullmatch(label):
        raise BadName(text, "use letters, digits and hyphens, no hyphen first or last")
    if label[2:4] == "--":
        # RFC 5891, 4.2.3.1: kept for encodings such as xn--.
        raise BadName(text, "the third and fourth characters must not both be hyphens")
    return label


def check_tld(text: str) -> str:
    """The ending in lower case, with or without its dot. Raises BadName."""
    tld = text.strip().lower().removeprefix(".")
    if not _TLD.fullmatch(tld):
        raise BadName(text, "an ending is letters only, such as com")
    if tld in RESERVED:
        raise BadName(text, f".{tld} is reserved and cannot be registered")
    if tld in NOT_SOLD:
        raise BadName(text, f".{tld} asks registrants for more than we collect; choose another")
    return tld


def check_to_buy(text: str) -> Hostname:
    """A name that we would register for a customer. Raises BadName for form and for look-alikes."""
    name = parse(text)
    brand = lookalike(name.label)
    if brand is not None:
        raise BadName(
            str(name), f"it looks like {brand}, and mail from it would be taken for theirs"
        )
    return name


def lookalike(label: str) -> str | None:
    """The well-known brand that `label` could be mistaken for; None when there is none."""
    parts = [part for part in label.split("-") if part not in ORDINARY]
    seen = {skeleton(text) for text in (*parts, "".join(parts)) if text}
    return next((brand for brand in BRANDS if any(_resembles(text, brand) for text in seen)), None)


def _resembles(text: str, brand: str) -> bool:
    wanted = skeleton(brand)
    if text == wanted or len(wanted) < _CONTAINED:
        return text == wanted
    for word in ORDINARY:
        if brand in word:
            text = text.replace(skeleton(word), "")
    return wanted in text or within_one_edit(wanted, text)


def skeleton(text: str) -> str:
    """What the eye reads: `rnicr0soft` and `microsoft` have the same skeleton (after TR39, 4)."""
    text = text.translate(_DIGITS)
    for pair, single in _PAIRS:
        text = text.replace(pair, single)
    return text


def within_one_edit(a: str, b: str) -> bool:
    """Whether `a` becomes `b` by one letter added, dropped, changed or swapped with the next."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    return (
        a == b
        or a[1:] == b[1:]
        or a[1:] == b
        or a == b[1:]
        or (a[:2] == b[:2][::-1] and a[2:] == b[2:])
    )


def candidates(query: str, tlds: Sequence[str] = DEFAULT_TLDS) -> list[Hostname]:
    """What a person who typed `query` wants to see: the name they wrote, then the other endings.

    `Acme Mail` is read as `acme-mail`. Raises BadName.
    """
    text = query.strip().lower().removesuffix(".")
    label, dot, ending = text.partition(".")
    label = re.sub(r"[\s_]+", "-", label.strip())
    if dot:
        parse(f"{label}.{ending}")
    wanted = [*([ending] if dot else []), *tlds]
    label = check_to_buy(f"{label}.com").label
    return [Hostname(label, tld) for tld in dict.fromkeys(check_tld(tld) for tld in wanted)]


def suggestions(label: str) -> list[Hostname]:
    """Other names for somebody whose own is taken, all of good form and none a look-alike."""
    made = (
        f"get{label}", f"try{label}", f"{label}hq", f"{label}-mail", f"hello-{label}",
        f"{label}-team", f"use{label}", f"{label}-outreach",
    )  # fmt: skip
    return [
        Hostname(other, "com")
        for other in made
        if len(other) <= MAX_LABEL and lookalike(other) is None
    ]
