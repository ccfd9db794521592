"""Source calls of a history: they land beside all else, are replaced and removed, and their triggers change.

They draw by themselves, so that a plan's other steps stay what they were.
"""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from scripts.land.pipelines import PIPELINE_CALLS
from support.land import land_path
from support.replay.builds import SAMPLE_SEEDS

if TYPE_CHECKING:
    from support.replay.histories import History

FOLDER = "pipelines/calls"
# Few, so that calls meet: the same message again, the same person, object and token.
MESSAGES, PEOPLE, OBJECTS, DAYS = 40, 5, 3, 6
EVENTS = (
    *("Plan Viewed", "Plan Viewed", "User Deleted", "User Suppressed", "User Unsuppressed"),
    *("Object Deleted", "Relationship Deleted", "Application Opened", "Device Deleted"),
    *("Report Delivery Event", "Report Content Event"),
)


def land_source_calls(history: "History") -> None:
    """Land a new file of calls, or one in the place of another, or remove one; sometimes edit the triggers.

    At the end of a history what is there lands again, and nothing else.
    """
    if history.is_over:
        if history.calls:
            land_path(history.connection, history.folder / FOLDER, PIPELINE_CALLS)
        return
    draw = Random(f"source calls {history.step} {len(history.calls)}")
    if draw.random() < 0.15:
        edit_triggers(history, draw)
    what = draw.random() if history.calls else 0.0
    if what < 0.7:
        hour = f"2026/01/{1 + draw.randrange(DAYS):02}/00"
        path = history.folder / FOLDER / hour / f"{len(history.calls):03}-{history.step:04}.jsonl"
        write(history, path, draw)
    elif what < 0.85:
        write(history, draw.choice(sorted(history.calls)), draw)
    else:
        path = draw.choice(sorted(history.calls))
        path.unlink()
        hour = history.calls.pop(path)
        span = (hour, hour + timedelta(hours=1))
        land_path(history.connection, history.folder / FOLDER, PIPELINE_CALLS, span, True)
    if history.calls:
        land_path(history.connection, history.folder / FOLDER, PIPELINE_CALLS)


def say(history: "History", hour: int, *records: dict[str, Any]) -> None:
    """Land these calls as the one file of an hour; with none, remove the file that is there."""
    folder = history.folder / FOLDER
    path = folder / f"2026/01/01/{hour:02}/calls.jsonl"
    if not records:
        path.unlink()
        begin = datetime(2026, 1, 1, hour)
        land_path(history.connection, folder, PIPELINE_CALLS, (begin, begin + timedelta(hours=1)), True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"timestamp": 1767225600 + 3600 * hour} | record for record in records]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    land_path(history.connection, folder, PIPELINE_CALLS)


def write(history: "History", path: Path, draw: Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    calls = [call(draw) for _ in range(1 + draw.randrange(15))]
    path.write_text("".join(json.dumps(record) + "\n" for record in calls))
    year, month, day, hour = map(int, path.parts[-5:-1])
    history.calls[path] = datetime(year, month, day, hour)


def call(draw: Random) -> dict[str, Any]:
    """A call of any type; its messageId may be that of another one."""
    kind = draw.choice(
        ("identify", "identify", "track", "track", "track", "page", "screen", "group", "alias")
    )
    people = [f"p-{number}" for number in range(PEOPLE)] + ["mia@example.com", None]
    properties = {
        "objectId": f"o-{draw.randrange(OBJECTS)}",
        "url": "https://example.com/",
        "email": draw.choice(("mia@example.com", None)),
        "deliveryId": "d",
        "metric": draw.choice(("opened", "seen")),
        "actionType": "viewed_content",
    }
    letter = draw.choice("xy")
    traits = {
        draw.choice("abc"): draw.choice((1, "2026-03-01", None, "x" * 1001)),
        "email": draw.choice(("mia@example.com", "Ann@Example.com", None)),
        "relationshipAttributes": {"role": draw.choice("abc")},
        **draw.choice(({}, {"objectId": f"o-{draw.randrange(OBJECTS)}"})),
        # of two such calls the later has too many for one person
        **(dict.fromkeys((f"{number}{letter}" for number in range(160)), 1) if draw.random() < 0.1 else {}),
    }
    seconds = 86_400 * draw.randrange(DAYS) + draw.randrange(86_400)
    return {
        "type": kind,
        "messageId": f"m-{draw.randrange(MESSAGES)}" if draw.random() < 0.9 else None,
        "userId": draw.choice(people),
        "previousId": draw.choice(people),
        "anonymousId": draw.choice(("a-1", None)),
        "groupId": f"o-{draw.randrange(OBJECTS)}",
        "event": draw.choice(EVENTS),
        "name": "Home",
        "timestamp": 1767225600 + seconds,
        "receivedAt": draw.choice((None, 1767225600 + seconds + draw.randrange(2 * 86_400))),
        "context": {"device": {"token": draw.choice("st"), "type": "ios"}},
        "properties": properties if kind != "identify" else None,
        "traits": traits if kind in ("identify", "group") else None,
    }


def edit_triggers(history: "History", draw: Random) -> None:
    """The owner switches triggers off, takes some away, or has them as they were."""
    with (SAMPLE_SEEDS / "destination_actions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if draw.random() < 0.7:
        rows = [row for row in rows if draw.random() < 0.9]
        for row in rows:
            row["enabled"] = draw.choice(("true", "true", "true", "false"))
    with (history.seeds / "destination_actions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["action", "call_type", "event_name", "enabled"])
        writer.writeheader()
        writer.writerows(rows)
