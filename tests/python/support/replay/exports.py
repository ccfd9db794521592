"""The way out of a history: its marts to a folder, runs that are killed, and whole calls back in."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.land.duckdb import DuckDB as LandingEngine
from scripts.land.moved import move, plan_moves
from scripts.land.rules import CALLS, EVENTS
from scripts.unload.command import unload
from scripts.unload.engines.duckdb import DuckDB
from scripts.unload.places.folder import Folder
from scripts.unload.publish import Publisher
from scripts.unload.verify import verify
from support.land import land_path
from support.replay.builds import WAREHOUSE, Builder, Recorded, differences
from support.replay.histories import FOLDERS, HOURS, History, Line, Plan, line_of
from support.replay.plans import empty_warehouse, history_of
from support.replay.steps import LANDINGS, land_some

BEYOND_DOUBLES = 10**18
"""Added to ids, so that a double would hold neighbours as one number."""


class Killed(BaseException):
    """The process ended here."""


def land_columns(history: History, draw: Random) -> None:
    """Calls as a Parquet file whose ids are DECIMAL(38,0) beyond 2^53, and the events of their journeys."""
    calls = draw.sample(history.landed(CALLS.name), k=min(20, len(history.landed(CALLS.name))))
    rows = [
        {
            "event_timestamp": line.at,
            "user_id": "u\0 with NUL",
            "action_id": BEYOND_DOUBLES + number,
            "journey_id": f"columns {number % 7}",
            "copy_id": str(line.data["copy_id"]),
            "template_id": str(line.data["template_id"]),
            "vars": [("subject", f"NUL \0 {number % 3}")],
        }
        for number, line in enumerate(calls)
    ]
    text_map = pa.map_(pa.string(), pa.string())
    kinds = {"action_id": pa.decimal128(38, 0), "vars": text_map}
    columns = {
        name: pa.array([row[name] for row in rows], kinds.get(name)) for name in (rows[0] if rows else ())
    }
    if not rows:
        return
    path = history.folder / FOLDERS[CALLS.name] / f"{draw.choice(HOURS):%Y/%m/%d/%H}" / "columns.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    history.add(draw, EVENTS.name, [_opened(row) for row in rows])
    history.land(draw)


def _opened(row: dict[str, Any]) -> Line:
    data = {
        "delivery_id": f"of {row['journey_id']} {row['action_id']}",
        "journey_id": row["journey_id"],
        "action_id": row["action_id"],
    }
    return line_of(
        EVENTS.name,
        {
            "event_id": f"opened {row['action_id']}",
            "object_type": "email",
            "metric": "opened",
            "timestamp": row["event_timestamp"] + 60,
            "data": data,
        },
    )


def move_files(history: History, draw: Random) -> None:
    """The folder of an hour goes to another place, in the ledger too, as by `copymart land --moved`."""
    folders = sorted({path.parent for path in history.files})
    if folders:
        old = draw.choice(folders)
        # a backfill that comes later needs the hour in the path
        new = old.parents[3] / "moved" / Path(*old.parts[-4:])
        new.parent.mkdir(parents=True)
        old.rename(new)
        history.files = {
            (new / path.name if path.parent == old else path): lines for path, lines in history.files.items()
        }
        engine = LandingEngine(history.connection)
        move(engine, plan_moves(engine, str(old), str(new)))


@contextmanager
def _warehouse(history: History) -> Iterator[None]:
    """Let the verbs read the warehouse of the history."""

    def opened(*_: Any, **__: Any) -> DuckDB:
        cursor = history.connection.cursor()
        cursor.execute(f"use {WAREHOUSE}; set TimeZone = 'UTC'")
        return DuckDB(cursor)

    with (
        patch("scripts.warehouse.kind", lambda *_: "duckdb"),
        patch("scripts.unload.command.open_engine", opened),
        patch("scripts.unload.verify.open_engine", opened),
    ):
        yield


def export(history: History, out: Path, dies_after: int | None = None) -> None:
    """`copymart unload --to out`; `dies_after`: the files after which the process is killed."""
    sent = 0
    put_file = Folder.put_file

    def put(self: Folder, *arguments: Any) -> str:
        nonlocal sent
        sent += 1
        if dies_after is not None and sent > dies_after:
            raise Killed
        return put_file(self, *arguments)

    def settle(self: Publisher, last: bool) -> None:
        if dies_after is not None and sent > dies_after:
            raise Killed
        _SETTLE(self, last=last)

    with (
        _warehouse(history),
        patch.object(Folder, "put_file", put),
        patch.object(Publisher, "settle", settle),
        suppress(Killed),
    ):
        unload(to=str(out))


_SETTLE = Publisher.settle


def check_export(history: History, out: Path) -> None:
    """`copymart verify --deep out`, which raises typer.Exit where anything differs."""
    with _warehouse(history):
        verify(str(out), deep=True)


def land_export(history: History, out: Path) -> None:
    """Land the exported calls in the warehouse in use, and the events of both feeds from their files."""
    land_path(history.connection, out / "calls", CALLS)
    land_path(history.connection, history.folder / FOLDERS[EVENTS.name], EVENTS)
    history.land_exports()


def whole_way(recorded: Recorded, folder: Path, plan: Plan) -> None:
    """Files to an export and back, with unloads between the builds, of which some are killed.

    The export in a folder below `folder` is as `verify --deep` wants it, and its calls give the same marts in
    an empty warehouse.
    """
    out = Path(tempfile.mkdtemp(dir=folder))
    draw = Random(plan.seed)
    with history_of(plan, recorded) as history:
        land_some(history, draw)
        for act in (land_columns, draw.choice(list(LANDINGS)), move_files, draw.choice(list(LANDINGS))):
            act(history, draw)
            history.build()
            export(history, out, draw.choice((None, 0, 3, 20)))
        export(history, out)
        check_export(history, out)
        empty_warehouse(history.connection, "again")
        land_export(history, out)
        Builder(recorded, history.connection, "again", history.seeds).build()
        marts = [model for model in recorded.compared() if model.schema == "marts"]
        unlike = differences(history.connection, marts, WAREHOUSE, "again")
        assert not unlike, f"{plan}\nunlike the marts of the exported calls: {unlike}"
