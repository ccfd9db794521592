"""What Customer.io must hold after the source calls of a simulation, one call after another."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.simulate.source_calls import Attributes, Call

PEOPLE = {
    *("create_or_update_person", "create_or_update_device", "create_or_update_object"),
    *("track_event", "track_page_view", "track_screen_view"),
}
"""The actions that create a person."""
Key = tuple[str, str]


@dataclass
class Held:
    """What is held of a person, an object or a relationship."""

    attributes: Attributes = field(default_factory=dict)
    times: list[int] = field(default_factory=list)

    def take(self, at: int, attributes: Attributes) -> None:
        """Let a call change it."""
        self.times.append(at)
        self.attributes |= attributes

    def row(self) -> dict[str, Any]:
        """Its columns in the marts."""
        return {
            "attributes": as_text(self.attributes),
            "first_request_at": moment(min(self.times)),
            "last_request_at": moment(max(self.times)),
        }


@dataclass
class Device:
    """A device, as of its last call."""

    at: int
    platform: str
    attributes: Attributes


@dataclass
class Workspace:
    """The state of Customer.io. `names`: by what else somebody was called before."""

    people: dict[str, Held] = field(default_factory=dict)
    objects: dict[Key, Held] = field(default_factory=dict)
    relationships: dict[tuple[Key, str], Held] = field(default_factory=dict)
    devices: dict[tuple[str, str], Device] = field(default_factory=dict)
    suppressed: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)


def held_after(calls: Iterable[Call]) -> Workspace:
    """The state after all calls, which come in order."""
    there = Workspace()
    for call in calls:
        if call.said.held_back is None:
            take(there, call)
    return there


def take(there: Workspace, call: Call) -> None:
    """Let one call change the state."""
    said = call.said
    name = (said.person or "").lower()
    who = there.names.get(name, name) or None
    match said.action:
        case "delete_person" | "suppress_person":
            remove(there, who)
            if said.action == "suppress_person" and who:
                there.suppressed.add(who)
        case "unsuppress_person":
            there.suppressed.discard(who or "")
        case "merge_people":
            merge(there, who or "", said.merged or "")
        case "delete_object":
            there.objects.pop(said.object_key or ("", ""), None)
            for key in [key for key in there.relationships if key[0] == said.object_key]:
                del there.relationships[key]
        case "delete_relationship" if said.object_key and who:
            there.relationships.pop((said.object_key, who), None)
        case "delete_device" if said.device and who:
            there.devices.pop((who, said.device[0]), None)
        case _:
            change(there, call, None if who in there.suppressed else who)


def change(there: Workspace, call: Call, who: str | None) -> None:
    """A call that writes: a person, an object, that they belong together, a device."""
    said = call.said
    if who and said.action in PEOPLE:
        there.people.setdefault(who, Held()).take(call.at, said.attributes)
        email = said.attributes.get("email")
        if email and who != email.lower():
            there.names[email.lower()] = who
    if said.object_key:
        there.objects.setdefault(said.object_key, Held()).take(call.at, said.object_attributes)
        if who:
            key = (said.object_key, who)
            there.relationships.setdefault(key, Held()).take(call.at, said.relationship)
    if said.device and who:
        token, platform, attributes = said.device
        there.devices[who, token] = Device(call.at, platform, attributes)


def remove(there: Workspace, who: str | None) -> None:
    """Delete a person with their devices and relationships."""
    there.people.pop(who or "", None)
    for device in [key for key in there.devices if key[0] == who]:
        del there.devices[device]
    for relationship in [key for key in there.relationships if key[1] == who]:
        del there.relationships[relationship]


def merge(there: Workspace, kept: str, gone: str) -> None:
    """Give to who stays what they lack of who goes."""
    there.names[gone] = kept
    if gone in there.people:
        old, new = there.people.pop(gone), there.people.setdefault(kept, Held())
        new.attributes = old.attributes | new.attributes
        new.times += old.times
    for who, token in [key for key in there.devices if key[0] == gone]:
        there.devices[kept, token] = there.devices.pop((who, token))


def as_text(attributes: Attributes) -> str:
    """The attributes as the models write them."""
    return json.dumps(attributes, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def moment(millis: int) -> datetime:
    """A time of the marts."""
    return datetime.fromtimestamp(millis // 1000, UTC).replace(tzinfo=None, microsecond=millis % 1000 * 1000)


SCHEMAS = {
    "dim_people": (
        *("person", "customer_id", "email", "attributes", "attribute_count"),
        *("first_request_at", "last_request_at", "request_count"),
    ),
    "dim_objects": ("object_type_id", "object_id", "attributes", "first_request_at", "last_request_at"),
    "bridge_relationships": (
        *("object_type_id", "object_id", "person", "attributes"),
        *("first_request_at", "last_request_at"),
    ),
    "dim_devices": ("person", "token", "platform", "attributes", "last_used_at"),
    "outbound_requests": ("message_id", "action", "happened_at", "held_back_reason"),
}


def tables(calls: list[Call]) -> dict[str, list[dict[str, Any]]]:
    """The rows that each table must show; `person` is their id, or the address where they have none."""
    there = held_after(calls)
    return {
        "dim_people": [
            {
                "person": who,
                "customer_id": None if "@" in who else who,
                "email": held.attributes.get("email", who if "@" in who else None),
                "attribute_count": len(held.attributes),
                "request_count": len(held.times),
                **held.row(),
            }
            for who, held in there.people.items()
        ],
        "dim_objects": [
            {"object_type_id": kind, "object_id": name, **held.row()}
            for (kind, name), held in there.objects.items()
        ],
        "bridge_relationships": [
            {"object_type_id": kind, "object_id": name, "person": who, **held.row()}
            for ((kind, name), who), held in there.relationships.items()
        ],
        "dim_devices": [
            {
                "person": who,
                "token": token,
                "platform": held.platform,
                "attributes": as_text(held.attributes),
                "last_used_at": moment(held.at),
            }
            for (who, token), held in there.devices.items()
        ],
        "outbound_requests": [
            {
                "message_id": call.message_id,
                "action": call.said.action,
                "happened_at": moment(call.at),
                "held_back_reason": call.said.held_back,
            }
            for call in calls
        ],
    }


def write(calls: list[Call], folder: Path) -> None:
    """Write the truth of the tables about Customer.io."""
    for name, rows in tables(calls).items():
        fields = [(column, _type(column)) for column in SCHEMAS[name]]
        ordered = sorted(rows, key=lambda row: [str(row[column]) for column, _ in fields])
        pq.write_table(pa.Table.from_pylist(ordered, pa.schema(fields)), folder / f"{name}.parquet")


def _type(column: str) -> pa.DataType:
    if column.endswith("_at"):
        return pa.timestamp("us")
    return pa.int64() if column.endswith("_count") else pa.string()


def cases(calls: list[Call]) -> dict[str, int]:
    """How many calls there are of each story, and how many are held back for each reason."""
    return dict(
        Counter(f"source call {call.story}" for call in calls)
        + Counter(f"source call {call.said.held_back}" for call in calls if call.said.held_back)
    )
