"""Records as Terraform configuration, for people who keep their zone in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from app.rules import dns_records
from app.rules.dns_records import Record


def terraform(domain: str, records: Sequence[Record]) -> str:
    """Resources of the Cloudflare provider, version 5 (`cloudflare_dns_record`).

    The zone's id is a variable. TXT content is in quotes and cut into strings of 255 octets, as the
    provider's API keeps it.
    """
    blocks = [
        (
            f"# DNS records of {domain}\n"
            'variable "zone_id" {\n  type        = string\n'
            f'  description = "The Cloudflare zone that holds {domain}"\n}}\n'
        )
    ]
    used: set[str] = set()
    for record in records:
        fields: list[tuple[str, str]] = [
            ("zone_id", "var.zone_id"),
            ("type", _string(record.type)),
            ("name", _string(record.name)),
            ("content", _string(_content(record))),
            ("ttl", str(record.ttl)),
        ]
        if record.priority is not None:
            fields.append(("priority", str(record.priority)))
        if record.purpose:
            fields.append(("comment", _string(f"inboxgrove:{record.purpose}")))
        width = max(len(name) for name, _ in fields)
        body = "".join(f"  {name.ljust(width)} = {value}\n" for name, value in fields)
        title = _label(record, used)
        blocks.append(f'resource "cloudflare_dns_record" "{title}" {{\n{body}}}\n')
    return "\n".join(blocks)


def _content(record: Record) -> str:
    return dns_records.quoted(record.content) if record.type == "TXT" else record.content


def _string(text: str) -> str:
    """A quoted HCL string: JSON's escapes, and the template marks doubled."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def _label(record: Record, used: set[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "_", f"{record.type}_{record.name}".lower()).strip("_")
    name, number = base, 2
    while name in used:
        name, number = f"{base}_{number}", number + 1
    used.add(name)
    return name
