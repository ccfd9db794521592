"""Source calls as lines of files: spelt in several ways, sent again, late, with the times of wrong clocks."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

from scripts.simulate.files import compress
from scripts.simulate.source_calls import Call

FOLDER, FILE = Path("pipelines/calls"), "calls.jsonl.gz"
HOUR_MS = 3_600_000


def write(calls: list[Call], seed: int, out: Path) -> dict[str, int]:
    """Write all lines in folders by their hour of arrival; return how many there are of each hard case."""
    draw = Random(f"source lines {seed}")
    hours: dict[int, list[str]] = defaultdict(list)
    cases: dict[str, int] = defaultdict(int)
    for call in calls:
        arrival = call.at + draw.randint(0, 5_000)
        if draw.random() < 0.06:
            arrival += draw.randint(30, 900) * HOUR_MS
            cases["source call weeks late"] += 1
        skew = draw.choice((-1, 1)) * draw.randint(1, 90) * 60_000 if draw.random() < 0.15 else 0
        cases["source call of a wrong clock"] += bool(skew)
        hours[arrival // HOUR_MS].append(line(call, arrival, skew, draw))
        if draw.random() < 0.08:
            again = arrival + draw.choice((0, draw.randint(1, 40) * HOUR_MS))
            text = line(call, again, skew, draw, other=again > arrival and draw.random() < 0.5)
            hours[again // HOUR_MS].append(text)
            cases["source call delivered again"] += 1
    for hour, texts in hours.items():
        folder = datetime.fromtimestamp(hour * 3_600, UTC).strftime("%Y/%m/%d/%H")
        compress(out / FOLDER / folder / FILE, memoryview("".join(texts).encode()))
    return dict(cases)


def line(call: Call, arrival: int, skew: int, draw: Random, other: bool = False) -> str:
    """One line. `skew`: by how much the device's clock is wrong; `other`: it says what must not count."""
    record: dict[str, Any] = {"messageId": call.message_id, **call.said.fields, "receivedAt": iso(arrival)}
    if skew:
        record |= {"originalTimestamp": iso(call.at + skew), "sentAt": iso(arrival + skew)}
    else:
        record["timestamp"] = draw.choice((iso(call.at), iso(call.at, 2), call.at))
    if other:
        name = "traits" if "traits" in record else "properties"
        record[name] = {**record.get(name, {}), "attempt": 2}
    if draw.random() < 0.5:
        record = dict(reversed(record.items()))
    if draw.random() < 0.5:
        record = {name: value for name, value in record.items() if value is not None}
    spaces = draw.choice(((",", ":"), (", ", ": ")))
    return json.dumps(record, ensure_ascii=draw.random() < 0.5, separators=spaces) + "\n"


def iso(millis: int, hours: int = 0) -> str:
    """A time in ISO 8601, in UTC or so many hours east of it."""
    zone = timezone(timedelta(hours=hours)) if hours else UTC
    text = datetime.fromtimestamp(millis // 1_000, zone).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis % 1_000:03}" + (f"+{hours:02}:00" if hours else "Z")
