"""Measures `copymart land` beside what DuckDB alone takes to read the same files into one table.

`python -m scripts.dev.bench.landing WHAT PATH DATABASE` is that floor, in a process of its own.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic, process_time

import duckdb

from scripts.console import error_console, progress
from scripts.dev.bench.measure import Cost, measured, middle

BIN = Path(sys.executable).parent
DAYS = 10

_CALLS = {
    **dict.fromkeys(("event_timestamp", "campaign_id", "action_id"), "bigint"),
    **dict.fromkeys(("user_id", "journey_id", "copy_id", "template_id"), "varchar"),
    **dict.fromkeys(("vars", "attrs"), "json"),
}
_EVENTS = {
    **dict.fromkeys(("event_id", "object_type", "metric", "event_type"), "varchar"),
    "timestamp": "bigint",
    "data": "json",
}
# what a user calls each input, its option of `copymart land`, and the floor
INPUTS = {
    "events, JSON lines": "--events",
    "calls, JSON lines": "--calls",
    "calls, Parquet with MAP columns": "--calls",
}
FLOORS = {
    "events, JSON lines": (
        f"select * from read_json($path || '/**/*.gz', columns = {_EVENTS}, "
        "format = 'newline_delimited', ignore_errors = true)"
    ),
    "calls, JSON lines": (
        f"select * from read_json($path || '/**/*.gz', columns = {_CALLS}, "
        "format = 'newline_delimited', ignore_errors = true)"
    ),
    "calls, Parquet with MAP columns": (
        "select * replace (to_json(vars) as vars, to_json(attrs) as attrs) from read_parquet($path)"
    ),
}
_PARQUET = """
copy (
    select
        event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, template_id,
        vars::map(varchar, varchar) as vars, attrs::map(varchar, varchar) as attrs
    from staging.justai_calls
) to '{}' (format parquet, compression zstd)"""


def bench_landing(folder: Path, calls: int, runs: int, environment: dict[str, str]) -> str:
    """Measure landings of a simulation of so many calls, each beside its floor in turn; return Markdown.

    A landing of the same files again, which are unchanged, shows what start, listing and digests take.

    The logs are made once per number of calls and kept below the folder. `environment`: that of the commands,
    whose warehouse is one of its own here.
    """
    database = folder / "landing.duckdb"
    environment = environment | {"COPYMART_DUCKDB": str(database)}
    paths = _inputs(folder / f"landing_{calls}", calls, environment, database)
    costs: dict[tuple[str, str], list[Cost]] = {}
    rows: dict[str, int] = {}
    with progress("bench landing", runs * len(INPUTS) * 3) as advance:
        for _ in range(runs):
            for what, path in paths.items():
                floor = [sys.executable, "-m", "scripts.dev.bench.landing", what, str(path), str(database)]
                land = [str(BIN / "copymart"), "land", INPUTS[what], str(path)]
                for name, command, fresh in (
                    ("floor", floor, True),
                    ("land", land, True),
                    ("again", land, False),
                ):
                    if fresh:
                        _remove(database)
                    cost, output = measured(command, environment, database)
                    if name == "floor":
                        # without the start of Python
                        cost = replace(cost, **json.loads(output.splitlines()[-1]))
                    costs.setdefault((what, name), []).append(cost)
                    advance(1)
                rows[what] = _landed(database)
                _say(what, rows[what], costs)
    _remove(database)
    return _markdown(rows, {key: middle(found) for key, found in costs.items()})


def _inputs(folder: Path, calls: int, environment: dict[str, str], database: Path) -> dict[str, Path]:
    logs, parquet = folder / "logs", folder / "calls.parquet"
    if not parquet.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        simulate = [str(BIN / "copymart"), "simulate", str(logs), "--calls", str(calls), "--days", str(DAYS)]
        measured([*simulate, "--seed", "3"], environment, database)
        _remove(database)
        measured(
            [str(BIN / "copymart"), "land", "--calls", str(logs / "justai/calls")], environment, database
        )
        draft = parquet.with_suffix(".draft")
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute(_PARQUET.format(draft))
        draft.rename(parquet)
    return dict(zip(INPUTS, (logs / "customerio/events", logs / "justai/calls", parquet), strict=True))


def _landed(database: Path) -> int:
    with duckdb.connect(str(database), read_only=True) as connection:
        query = "select sum(row_count + reject_count) from staging.landed_files"
        return int(connection.execute(query).fetchall()[0][0])


def _say(what: str, rows: int, costs: dict[tuple[str, str], list[Cost]]) -> None:
    floor, land, again = (costs[what, name][-1] for name in ("floor", "land", "again"))
    error_console.print(
        f"{what}, {rows:,} records: floor {floor.wall:.1f} s (processor {floor.processor:.1f}), "
        f"land {land.wall:.1f} s (processor {land.processor:.1f}), again, unchanged, {again.wall:.1f} s "
        f"(processor {again.processor:.1f})",
        soft_wrap=True,
    )


def _markdown(rows: dict[str, int], costs: dict[tuple[str, str], Cost]) -> str:
    lines = [
        "| landing | records | s | processor s | start, s | processor s | floor, s | processor s "
        "| landing without start |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for what, count in rows.items():
        floor, land, start = (costs[what, name] for name in ("floor", "land", "again"))
        work = land.processor - start.processor
        rate = f"{count / work:,.0f} records per processor second"
        lines.append(
            f"| {what} | {count:,} | {land.wall:.1f} | {land.processor:.1f} | {start.wall:.1f} "
            f"| {start.processor:.1f} | {floor.wall:.1f} | {floor.processor:.1f} "
            f"| {rate}, {work / floor.processor:.1f} times the floor |"
        )
    return "\n".join(lines) + "\n"


def _remove(database: Path) -> None:
    for suffix in ("", ".wal"):
        Path(str(database) + suffix).unlink(missing_ok=True)


def _floor(what: str, path: str, database: str) -> None:
    wall, processor = monotonic(), process_time()
    with duckdb.connect(database, config={"threads": 2}) as connection:
        connection.execute("set memory_limit = '3500MB'")
        connection.execute(f"create table records as {FLOORS[what]}", {"path": path})
    print(json.dumps({"wall": monotonic() - wall, "processor": process_time() - processor}))


if __name__ == "__main__":
    _floor(*sys.argv[1:])
