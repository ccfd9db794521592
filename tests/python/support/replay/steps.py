"""What happens in a history: landings, edits of seeds, and builds of every kind."""

import csv
import json
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random

from scripts.land.rules import CALLS, EVENTS
from support.replay.builds import (
    FOUND,
    SAMPLE_SEEDS,
    Death,
)
from support.replay.exports_of_sync import land_sync, land_sync_again
from support.replay.histories import DAY, FOLDERS, TIME, WEEKS, History, Line, Record, line_of


def land_some(history: History, draw: Random, share: float | None = None) -> None:
    """Land the next lines, in one to four files per data set, some lines and files twice."""
    count = int(len(history.left) * share) if share is not None else 1 + draw.randrange(120)
    taken, history.left = history.left[:count], history.left[count:]
    for dataset in FOLDERS:
        lines = [line for line in taken if line.dataset == dataset]
        draw.shuffle(lines)
        number = draw.randint(1, 4)
        for part in range(number):
            some = lines[part::number]
            if some and draw.random() < 0.3:
                some = some + draw.choices(some, k=3)
            if some:
                history.add(draw, dataset, some)
            if some and draw.random() < 0.15:
                history.add(draw, dataset, some)
    history.land(draw)


def land_again(history: History, draw: Random) -> None:
    """Land lines that are there already in a file of their own, in another order."""
    dataset = draw.choice((EVENTS.name, EVENTS.name, CALLS.name))
    lines = history.landed(dataset)
    if len(lines) > 1:
        again = draw.sample(lines, min(len(lines), 2 + draw.randrange(40)))
        changed = draw.choice((0.0, 0.0, 0.3))
        history.add(
            draw,
            dataset,
            [edited(history, draw, line) if draw.random() < changed else line for line in again],
        )
        history.land(draw)


def land_shorter(history: History, draw: Random) -> None:
    """Replace a file by one with fewer of its lines."""
    if history.files:
        path = draw.choice(sorted(history.files))
        lines = history.files[path]
        fewer = draw.sample(lines, draw.randrange(len(lines)) if lines else 0)
        # a file without any record is refused: what it brought before stays, landed alone it brings nothing
        history.write(path, fewer if any(line.record for line in fewer) else [])
        history.land(draw)


def land_edited(history: History, draw: Random) -> None:
    """Replace a file by one with the same lines, some of them edited."""
    if history.files:
        path = draw.choice(sorted(history.files))
        lines = [edited(history, draw, line) if draw.random() < 0.3 else line for line in history.files[path]]
        history.write(path, lines)
        history.land(draw)


def land_moved(history: History, draw: Random) -> None:
    """An event again, a second younger and of another message."""
    lines = history.landed(EVENTS.name)
    if lines:
        line, other = draw.choice(lines), draw.choice(lines)
        record = json.loads(json.dumps(line.record))
        record["timestamp"] = line.at + 1
        for name in ("delivery_id", "journey_id"):
            record["data"][name] = other.data.get(name)
        history.add(draw, EVENTS.name, [line_of(EVENTS.name, record)])
        history.land(draw, EVENTS.name)


def edited(history: History, draw: Random, line: Line) -> Line:
    """The line with another value of one field, mostly that of another line."""
    others = history.landed(line.dataset)
    if not line.data or not others:
        return line
    other = draw.choice(others)
    record: Record = json.loads(json.dumps(line.record))
    if draw.random() < 0.3:
        record[TIME[line.dataset]] = line.at + draw.randint(-3 * DAY, 3 * DAY)
    elif line.dataset == CALLS.name:
        _edit_call(draw, record, other.data)
    else:
        _edit_event(draw, record, other)
    return line_of(line.dataset, record)


def _edit_call(draw: Random, record: Record, other: Record) -> None:
    fields = draw.choice(
        (
            *(("copy_id", "template_id", "vars"), ("copy_id",), ("vars",), ("journey_id",)),
            *(("journey_id", "action_id"), ("attrs",), ("user_id",), ("campaign_id",)),
        )
    )
    record.update({name: other.get(name) for name in fields})
    if "journey_id" in fields and draw.random() < 0.2:
        record["journey_id"] = None


def _edit_event(draw: Random, record: Record, other: Line) -> None:
    match draw.randrange(5):
        case 0:
            record.update({name: (other.record or {}).get(name) for name in ("object_type", "metric")})
        case 1:
            record["object_type"] = "webhook"
        case 2:
            name = draw.choice(("prefetched", "machine", "synthetic"))
            record["data"][name] = not record["data"].get(name)
        case _:
            names = (
                "delivery_id",
                "delivery_id",
                "journey_id",
                "action_id",
                "parent_action_id",
                "campaign_id",
            )
            name = draw.choice(names)
            record["data"][name] = other.data.get(name) if draw.random() < 0.8 else None
            if name == "campaign_id":
                # and of another person
                record["data"]["identifiers"] = other.data.get("identifiers")


def land_gone(history: History, draw: Random) -> None:
    """Remove one file or all of an hour, by a backfill; sometimes their lines come in another file."""
    if history.files:
        path = draw.choice(sorted(history.files))
        dataset = history.dataset_of(path)
        alike = [other for other in history.files if other.parent == path.parent]
        gone = [line for file in (alike if draw.random() < 0.7 else [path]) for line in history.remove(file)]
        history.backfill(dataset, hour_of(path))
        if draw.random() < 0.3:
            history.add(draw, dataset, gone)
            history.land(draw, dataset)


def land_undone(history: History, draw: Random) -> None:
    """Remove one of the files that came last, alone, by a backfill."""
    if history.files:
        path = draw.choice(sorted(history.files, key=lambda path: path.name)[-3:])
        dataset = history.dataset_of(path)
        history.remove(path)
        history.backfill(dataset, hour_of(path))


def hour_of(path: Path) -> datetime:
    year, month, day, hour = map(int, path.parts[-5:-1])
    return datetime(year, month, day, hour)


def land_late_edit(history: History, draw: Random) -> None:
    """Weeks late, a call with another content between two calls of its copy."""
    calls = sorted(history.landed(CALLS.name), key=lambda line: line.at)
    copies: dict[str, list[Line]] = {}
    for call in calls:
        copies.setdefault(str(call.data["copy_id"]).lower(), []).append(call)
    gaps = [
        (one, two)
        for lines in copies.values()
        for one, two in pairwise(lines)
        if one.at + 1 < min(two.at, calls[-1].at - WEEKS)
    ]
    if gaps:
        one, two = draw.choice(gaps)
        at = draw.randrange(one.at + 1, min(two.at, calls[-1].at - WEEKS))
        changes = {"event_timestamp": at, "vars": {"subject": f"an edit {draw.randrange(3)}"}}
        if draw.random() < 0.5:
            changes["journey_id"] = f"late {draw.randrange(1000)}"
        history.add(draw, CALLS.name, [line_of(CALLS.name, {**one.data, **changes})])
        history.land(draw, CALLS.name)


def land_retry(history: History, draw: Random) -> None:
    """On the next day a call for the same delivery, with another copy."""
    calls = history.landed(CALLS.name)
    retried = [line for line in calls if line.data.get("journey_id") and line.data.get("action_id")]
    if retried:
        latest: dict[tuple[object, object], Line] = {}
        for call in sorted(retried, key=lambda line: line.at):
            latest[call.data["journey_id"], call.data["action_id"]] = call
        call, other = draw.choice(list(latest.values())), draw.choice(calls)
        copy = {name: other.data.get(name) for name in ("copy_id", "template_id", "vars")}
        retry = {**call.data, **copy, "event_timestamp": call.at + DAY}
        history.add(draw, CALLS.name, [line_of(CALLS.name, retry)])
        history.land(draw, CALLS.name)


def land_earlier_open(history: History, draw: Random) -> None:
    """An open of a message that lies one to three days before one that has landed."""
    opens = [
        line
        for line in history.landed(EVENTS.name)
        if str((line.record or {}).get("metric")).endswith("opened")
    ]
    if opens:
        line = draw.choice(opens)
        at = line.at - draw.randint(DAY, 3 * DAY)
        earlier = {**(line.record or {}), "event_id": f"earlier {draw.randrange(10**6)}", "timestamp": at}
        history.add(draw, EVENTS.name, [line_of(EVENTS.name, earlier)])
        history.land(draw, EVENTS.name)


def journey_of(line: Line) -> str:
    return str(line.data.get("journey_id") or "")


def edit_control(history: History, draw: Random) -> None:
    """The owner names a template's control copy and control template, others or none."""
    calls = [line.data for line in history.landed(CALLS.name)]
    mapped = {row["template_id"] for row in history.settings["template_actions"]}
    # a change of these touches no message, so nothing else leads to the dates of their events
    unmapped = [call for call in calls if call["template_id"] not in mapped]
    if calls:
        call = draw.choice(unmapped if unmapped and draw.random() < 0.4 else calls)
        copy = str(call["copy_id"]).lower() if draw.random() < 0.7 else ""
        rows = history.settings["template_settings"]
        row = next((row for row in rows if row["template_id"] == call["template_id"]), None)
        if row is None:
            row = {"template_id": call["template_id"], "name": call["template_id"], "min_sends": "1"}
            rows.append(row)
        row["control_copy_id"] = copy
        others = sorted({str(other["template_id"]) for other in calls} - {row["template_id"]})
        if others and draw.random() < 0.9:
            row["control_template_id"] = draw.choice(others) if draw.random() < 0.8 else ""
        history.save("template_settings")


def edit_actions(history: History, draw: Random) -> None:
    """The owner maps a message's action to the template of a call, unmaps it, or takes the sample's map."""
    rows = history.settings["template_actions"]
    calls = {journey: line.data for line in history.landed(CALLS.name) if (journey := journey_of(line))}
    pairs = [
        (calls[journey_of(line)], line.data)
        for line in history.landed(EVENTS.name)
        if line.data.get("action_id") and journey_of(line) in calls
        if line.data["action_id"] != calls[journey_of(line)].get("action_id")
    ]
    if pairs and draw.random() < 0.8:
        row, campaign = _mapping(draw, pairs)
        others = [other for other in rows if row.items() <= other.items()]
        for other in others:
            rows.remove(other)
        if not others:
            rows.append({**row, "campaign_id": campaign})
    else:
        with (SAMPLE_SEEDS / "template_actions.csv").open() as file:
            rows[:] = csv.DictReader(file)
    history.save("template_actions")


def edit_back(history: History, draw: Random) -> None:
    """The owner takes a change of a seed back: it is as it was before one of the last changes."""
    if history.earlier:
        seed, rows = draw.choice(history.earlier[-3:])
        history.settings[seed][:] = [dict(row) for row in rows]
        history.save(seed)


def _mapping(draw: Random, pairs: list[tuple[Record, Record]]) -> tuple[Record, object]:
    """A row of the action map for one of the pairs of call and event, and its campaign."""
    with_parent = [pair for pair in pairs if pair[1].get("parent_action_id")]
    by_parent = with_parent and draw.random() < 0.3
    call, event = draw.choice(with_parent if by_parent else pairs)
    role = draw.choice(("message", "message", "message", "message", "message", "webhook", "control"))
    acted = call if role == "webhook" and call.get("action_id") else event
    action = acted["parent_action_id" if by_parent and acted is event else "action_id"]
    row = {"template_id": call["template_id"], "role": role, "action_id": str(action)}
    return row, draw.choice(("", acted.get("campaign_id")))


def build(history: History, draw: Random) -> None:
    """`dbt build`."""
    history.build()


def build_refresh(history: History, draw: Random) -> None:
    """`dbt build --full-refresh`."""
    history.build(refresh=True)


def build_dies(history: History, draw: Random) -> None:
    """A build that breaks off somewhere, as a whole or with one model; sometimes it is a full refresh."""
    history.build(death=Death(draw.random(), draw.random() < 0.5), refresh=draw.random() < 0.2)


def build_while_landing(history: History, draw: Random) -> None:
    """A build during which something lands, as it can on a warehouse with several writers."""
    landing = draw.choice((land_some, land_again, land_shorter, land_edited, land_gone))
    history.build(meanwhile=lambda: landing(history, draw), at=draw.random())


def build_part(history: History, draw: Random) -> None:
    """`dbt build --select +model`, or @model, sometimes as a full refresh."""
    assert history.builder
    recorded = history.builder.recorded
    model = draw.choice(sorted(recorded.models))
    wanted = recorded.below(model) if draw.random() < 0.5 else {model}
    history.build(select=recorded.above(*wanted), refresh=draw.random() < 0.3)


def build_mended(history: History, draw: Random) -> None:
    """`dbt build --full-refresh --select model+` or model, as after somebody changed a table by hand.

    Sometimes the model above it is as old as its last build, after `dbt build --exclude model+`.
    """
    assert history.builder
    recorded = history.builder.recorded
    models = [name for name, model in recorded.models.items() if model.materialized == "incremental"]
    model = draw.choice(sorted(models))
    below = recorded.below(model)
    if draw.random() < 0.3:
        history.build(select=recorded.models.keys() - below)
        history.build(select=below - {model}, refresh=True)
    else:
        wanted = below if draw.random() < 0.7 else {model}
        # dbt rebuilds a model that a queue compares only with the queue
        queues = {queue for queue, found in FOUND.items() if found in wanted}
        history.build(select=wanted | queues, refresh=True)


Act = Callable[[History, Random], None]
# What happens between builds, and how a build goes; the numbers weigh how often.
LANDINGS: dict[Act, int] = {
    land_some: 8,
    land_again: 3,
    land_shorter: 3,
    land_edited: 3,
    land_moved: 3,
    land_gone: 3,
    land_undone: 3,
    land_late_edit: 5,
    land_retry: 4,
    land_earlier_open: 3,
    land_sync: 6,
    land_sync_again: 4,
    edit_control: 3,
    edit_actions: 6,
    edit_back: 5,
}
BUILDS: dict[Act, int] = {
    build: 13,
    build_dies: 5,
    build_while_landing: 2,
    build_part: 4,
    build_mended: 6,
    build_refresh: 1,
}
STEPS = {act.__name__: act for act in (*LANDINGS, *BUILDS)}
