"""Reading Namecheap's XML: tolerant of case, namespaces and empty numbers, strict about size.

Sources: Namecheap's API reference (error numbers, attribute names) and its documented quirks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

MAX_BYTES = 16 * 1024 * 1024
"""The price list and the list of TLDs are some megabytes."""

NOT_OURS = frozenset({"2019166", "2016166", "2030166", "4011103"})
"""The name is not in our account, as far as getInfo can tell."""

AMBIGUOUS = frozenset(
    {
        *("2528166", "3028166", "3031166", "3031900", "3050900", "4023166", "5050900", "5019169"),
        *("4026312", "5026900"),  # A refund went wrong: money may have moved.
    }
)
"""It may have happened: look before acting again."""


class Unreadable(ValueError):
    """Not an answer of the API, for example a proxy's HTML page."""


def parse(body: bytes) -> Element:
    """The root element. Raises Unreadable for anything else, entity bombs included."""
    if len(body) > MAX_BYTES:
        raise Unreadable(f"more than {MAX_BYTES} bytes")
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise Unreadable(body[:120].decode("utf-8", "replace")) from error
    if _local(root.tag) != "apiresponse":
        raise Unreadable(f"<{root.tag}>")
    return root


def errors(root: Element) -> list[tuple[str, str]]:
    """(number, text) of every error; an ERROR status without any is one all the same."""
    found = [(attribute(e, "Number"), (e.text or "").strip()) for e in elements(root, "Error")]
    if not found and attribute(root, "Status").upper() == "ERROR":
        return [("0", "no reason given")]
    return found


def elements(root: Element, name: str) -> Iterator[Element]:
    """All elements of that name, whatever namespace and case."""
    wanted = name.lower()
    return (element for element in root.iter() if _local(element.tag) == wanted)


def first(root: Element, name: str) -> Element:
    """Raises Unreadable when there is none."""
    found = next(elements(root, name), None)
    if found is None:
        raise Unreadable(f"no <{name}>")
    return found


def attribute(element: Element, name: str) -> str:
    """The attribute's text, "" without it; names come in different cases."""
    wanted = name.lower()
    return next((v for key, v in element.attrib.items() if key.lower() == wanted), "").strip()


def yes(element: Element, name: str) -> bool:
    return attribute(element, name).lower() in {"true", "yes", "1"}


def text(element: Element, name: str) -> str:
    """The text of the first element of that name below, "" without it."""
    found = next(elements(element, name), None)
    return (found.text or "").strip() if found is not None else ""


def cents(text: str) -> int:
    """Money text with up to four decimals, rounded up to cents; "" is 0."""
    try:
        amount = Decimal(text or "0") * 100
        return int(amount.to_integral_value(rounding="ROUND_CEILING"))
    except (ArithmeticError, ValueError) as error:
        raise Unreadable(f"not money: {text[:40]!r}") from error


def count(text: str) -> int:
    """A number of years; "" is 1."""
    try:
        return int(text or "1")
    except ValueError as error:
        raise Unreadable(f"not a number: {text[:40]!r}") from error


def day(text: str) -> datetime | None:
    """MM/DD/YYYY, or nothing."""
    try:
        return datetime.strptime(text.split(" ", maxsplit=1)[0], "%m/%d/%Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower()
