"""Exports of Customer.io's warehouse sync in a history, made of the events of its world."""

from random import Random
from typing import Any

from scripts.land.rules import EVENTS
from support.replay.histories import DAY, History, Line, Record
from support.sync import moment

_METRICS = ("sent", "delivered", "opened", "clicked")


def land_sync(history: History, draw: Random) -> None:
    """Metrics of some events, landed or still to come, with most of their deliveries and people."""
    lines = [*history.landed(EVENTS.name), *(line for line in history.left if line.dataset == EVENTS.name)]
    known = [line for line in lines if _is_of_message(line)]
    if known:
        some = draw.choices(known, k=1 + draw.randrange(60))
        _export(history, draw, "metrics", [_metric(draw, line, draw.choice(some)) for line in some])
        _export(
            history,
            draw,
            "deliveries",
            [_delivery(draw, line, draw.choice(some)) for line in some if draw.random() < 0.8],
        )
        # contents draw by themselves, so that a plan's other steps stay what they were
        own = Random(f"contents {history.step} {len(known)}")
        contents = [_content(own, line) for line in some if own.random() < 0.5]
        _export(history, own, "delivery_content", contents)
        _export(history, draw, "people", [_person(draw, line) for line in some if draw.random() < 0.7])
        history.land_exports()


def land_sync_again(history: History, draw: Random) -> None:
    """Some rows of an export once more: as they were, changed, or fewer under the name of the file."""
    if not history.exports:
        return land_sync(history, draw)
    path = draw.choice(sorted(history.exports))
    table, rows = history.exports[path]
    some = draw.sample(rows, draw.randrange(len(rows)) + 1)
    match draw.randrange(3):
        case 0:
            history.export(path, table, some)
        case 1:
            _export(history, draw, table, some)
        case _:
            _export(history, draw, table, [_changed(draw, row, draw.choice(rows)) for row in some])
    history.land_exports()
    return None


def _export(history: History, draw: Random, table: str, rows: list[Record]) -> None:
    if rows:
        history.step += 1
        number = draw.choice((history.step, 1, 2))
        name = f"{table}_v{draw.choice((4, 5))}_{history.step}_{number}.parquet"
        history.export(history.folder / "customerio/sync" / table / name, table, rows)


def _is_of_message(line: Line) -> bool:
    return bool(line.at and line.data.get("delivery_id") and (line.record or {}).get("event_id"))


def _metric(draw: Random, line: Line, other: Line) -> Record:
    record, data = line.record or {}, line.data
    row = {
        "event_id": f"m{record['event_id']}",
        "delivery_id": str((other if draw.random() < 0.1 else line).data["delivery_id"]),
        "metric": str(record.get("metric") or "opened") if draw.random() < 0.7 else draw.choice(_METRICS),
        "created_at": moment(line.at + (draw.randint(-3 * DAY, 3 * DAY) if draw.random() < 0.1 else 0)),
        "seq_num": draw.randrange(4),
        "link_url": _text(data.get("href")),
    }
    for field in ("prefetched", "machine"):
        row[field] = data[field] if isinstance(data.get(field), bool) and draw.random() < 0.9 else None
    return row


def _delivery(draw: Random, line: Line, other: Line) -> Record:
    data, ids = line.data, (other if draw.random() < 0.1 else line).data
    return {
        "delivery_id": str(data["delivery_id"]),
        "subject_id": _text(ids.get("journey_id")),
        "action_id": _number(ids.get("action_id")),
        "campaign_id": _number(ids.get("campaign_id")),
        "internal_customer_id": _person_of(line),
        "delivery_type": "webhook"
        if draw.random() < 0.05
        else str((line.record or {}).get("object_type") or "email"),
        "created_at": moment(line.at),
        "seq_num": draw.randrange(4),
    }


def _content(draw: Random, line: Line) -> Record:
    subject = f"a subject {draw.randrange(5)}"
    return {"delivery_id": str(line.data["delivery_id"]), "subject": subject, "seq_num": draw.randrange(4)}


def _person(draw: Random, line: Line) -> Record:
    person = _person_of(line)
    customer = person.removeprefix("c") if draw.random() < 0.8 else f"renamed {draw.randrange(3)}"
    return {"internal_customer_id": person, "customer_id": customer, "seq_num": draw.randrange(4)}


def _person_of(line: Line) -> str:
    identifiers = line.data.get("identifiers")
    return f"c{identifiers.get('id') if isinstance(identifiers, dict) else ''}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _changed(draw: Random, row: Record, other: Record) -> Record:
    """The row with another value of one of its fields, mostly that of another row."""
    key = next(iter(row))
    field = draw.choice([name for name in row if name not in (key, "seq_num")])
    return {**row, field: other[field], "seq_num": (row["seq_num"] or 0) + draw.choice((0, 1))}
