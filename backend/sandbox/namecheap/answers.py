"""The XML envelope of the API, and how a command says no.

Shapes follow the response samples of Namecheap's own SDK (namecheap/go-namecheap-sdk).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from xml.etree import ElementTree as ET

NAMESPACE = "http://api.namecheap.com/xml.response"


class Refusal(Exception):
    """The command is refused with one or more numbered errors; nothing was changed."""

    def __init__(self, *errors: tuple[int, str], body: ET.Element | None = None) -> None:
        super().__init__("; ".join(f"{number} {text}" for number, text in errors))
        self.errors = errors
        self.body = body


def refuse(number: int, text: str) -> Refusal:
    return Refusal((number, text))


def element(tag: str, attributes: dict[str, object] | None = None, text: str = "") -> ET.Element:
    """One element; booleans become `true`/`false` as most of the API writes them."""
    made = ET.Element(tag, {name: _text(value) for name, value in (attributes or {}).items()})
    made.text = text or None
    return made


def tree(tag: str, attributes: dict[str, object], children: Iterable[ET.Element]) -> ET.Element:
    made = element(tag, attributes)
    made.extend(children)
    return made


def date(moment: datetime) -> str:
    """MM/DD/YYYY, the only way the API writes a day."""
    return moment.strftime("%m/%d/%Y")


def money(amount: Decimal, places: int = 2) -> str:
    return f"{amount:.{places}f}"


def document(
    command: str,
    results: Iterable[ET.Element] = (),
    errors: Iterable[tuple[int, str]] = (),
    seconds: float = 0.0,
) -> bytes:
    """The whole answer. An error is an HTTP 200 with Status="ERROR", as at the provider."""
    errors = list(errors)
    root = element("ApiResponse", {"Status": "ERROR" if errors else "OK", "xmlns": NAMESPACE})
    root.append(
        tree("Errors", {}, (element("Error", {"Number": number}, text) for number, text in errors))
    )
    root.append(element("Warnings"))
    # The provider echoes the command in lower case here and in its own spelling below.
    root.append(element("RequestedCommand", text=command.lower()))
    if command:
        root.append(tree("CommandResponse", {"Type": command}, results))
    root.append(element("Server", text="SANDBOX01"))
    root.append(element("GMTTimeDifference", text="--5:00"))
    root.append(element("ExecutionTime", text=f"{seconds:.3f}"))
    ET.indent(root)
    body: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}'.encode()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
