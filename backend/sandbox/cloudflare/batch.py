"""Changing records: deletes, patches, puts, posts, in this order, all of them or none."""

from __future__ import annotations

from typing import Any

from sandbox.cloudflare import records
from sandbox.cloudflare.envelope import Refused
from sandbox.cloudflare.records import Record
from sandbox.cloudflare.zones import Zones
from sandbox.store import Document

STEPS = ("deletes", "patches", "puts", "posts")
Steps = dict[str, list[dict[str, Any]]]


def check(body: dict[str, Any], most: int | None) -> Steps:
    """The steps of a batch request; refuses unknown keys, wrong shapes and too many records."""
    unknown = sorted(set(body) - set(STEPS))
    if unknown:
        raise Refused(400, 9207, f"Request body is invalid: unknown key {unknown[0]!r}.")
    given = {name: body[name] for name in STEPS if body.get(name) is not None}
    for name, items in given.items():
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise Refused(400, 9207, f"Request body is invalid: {name} is a list of objects.")
    steps: Steps = given
    total = sum(len(items) for items in steps.values())
    if most is not None and total > most:
        raise Refused(400, 9209, f"A batch changes at most {most} records on this plan.")
    return steps


def find(kept: dict[str, Record], key: Any) -> Record:
    if not isinstance(key, str) or key not in kept:
        raise Refused(404, 81044, "Record does not exist.")
    return kept[key]


def apply(zones: Zones, doc: Document, steps: Steps) -> dict[str, list[Record]]:
    """Work on a copy; the zone is written once, when every step succeeded."""
    kept: dict[str, Record] = dict(doc["records"])
    done: dict[str, list[Record]] = {name: [] for name in STEPS}
    now = zones.now()
    zone = doc["name"]
    for item in steps.get("deletes", []):
        done["deletes"].append(find(kept, item.get("id")))
        del kept[item["id"]]
    for name in ("patches", "puts"):
        for item in steps.get(name, []):
            old = find(kept, item.get("id"))
            body = {key: value for key, value in item.items() if key != "id"}
            made = (
                records.patched(old, body, zone) if name == "patches" else records.read(body, zone)
            )
            others = {key: record for key, record in kept.items() if key != old["id"]}
            records.conflict(made, others)
            kept[old["id"]] = _finished(made, old["id"], old["created_on"], now)
            done[name].append(kept[old["id"]])
    for item in steps.get("posts", []):
        made = records.read(item, zone)
        records.conflict(made, kept)
        key = zones.identifier()
        kept[key] = _finished(made, key, now, now)
        done["posts"].append(kept[key])
    doc["records"] = kept
    doc["modified_on"] = now
    zones.save(doc)
    return done


def _finished(record: Record, key: str, created: str, modified: str) -> Record:
    return {"id": key, **record, "created_on": created, "modified_on": modified}
