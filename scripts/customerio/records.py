"""An item of the App API as a record: its key, what it belongs to, when it was made, which version it is."""

import json
from datetime import datetime
from typing import Any

from scripts.land.api import Record, Reject

Landed = Record | Reject

_LARGEST = 2**63
"""Beyond it no column takes a number."""


def record(entity: str, scope: str, key: str | None, item: Any, at: datetime) -> Landed:
    """The record of an item, or the reject where it has no key or is no JSON that a warehouse takes."""
    try:
        payload = as_text(item)
    except ValueError:
        return Reject(entity, scope, ascii(item), "not_a_number")
    if not isinstance(item, dict):
        return Reject(entity, scope, payload, "not_an_object")
    if not key:
        return Reject(entity, scope, payload, "missing_id")
    return Record(entity, key, scope, payload, at, _moment(entity, item), _version(item))


def as_text(item: Any) -> str:
    """JSON with sorted members, so that equal items are equal texts.

    Half of a surrogate pair stands for no character, and engines refuse it.

    Raises:
        ValueError: it holds NaN or an infinite number.
    """
    text = json.dumps(item, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text_of(item: Any, *members: str) -> str | None:
    """The first of these members that is there, as text."""
    if not isinstance(item, dict):
        return None
    for member in members:
        value = item.get(member)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def deduplicate_id(item: Any) -> tuple[str | None, int | None]:
    """Id and last change (unix seconds) in `<id>:<unix>`; ids may have colons."""
    text = text_of(item, "deduplicate_id")
    if text is None:
        return None, None
    before, _, after = text.rpartition(":")
    # 18 digits fit in a column, and are more than any second has
    is_time = after.isascii() and after.isdigit() and len(after) <= 18
    return (before, int(after)) if before and is_time else (None, None)


def action_ids(items: list[Any], stubs: list[Any]) -> list[str | None]:
    """The ids of a campaign's actions, some of which Customer.io gives without one.

    Webhook and SMS actions may have no `id`: then it is in their deduplicate_id, or it is that of the only
    action of their type which the campaign names and no other action has.
    """
    ids = [text_of(item, "id") or deduplicate_id(item)[0] for item in items]
    for place, item in enumerate(items):
        if ids[place] is not None:
            continue
        kind = text_of(item, "type")
        alike = [
            other
            for other, known in zip(items, ids, strict=True)
            if known is None and text_of(other, "type") == kind
        ]
        free = [
            stub_id
            for stub in stubs
            if text_of(stub, "type") == kind and (stub_id := text_of(stub, "id")) and stub_id not in ids
        ]
        if len(alike) == len(free) == 1:
            ids[place] = free[0]
    return ids


def person_id(item: Any) -> str | None:
    """A person's cio_id, which everybody has and keeps; else the id or the address, said to be one."""
    if cio_id := text_of(item, "cio_id"):
        return cio_id
    return next((f"{name}:{found}" for name in ("id", "email") if (found := text_of(item, name))), None)


def _moment(entity: str, item: dict[str, Any]) -> int | None:
    for member in {"messages": ("created",), "activities": ("timestamp",)}.get(entity, ()):
        value = item.get(member)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            # as the views read it
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return int(value)
    return None


def _version(item: dict[str, Any]) -> int | None:
    """The last change by deduplicate_id: of two payloads of a message the later one has more metrics."""
    return deduplicate_id(item)[1]
