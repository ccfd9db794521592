"""Records, files and a landing without the command line, shared by the tests of `copymart land`."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from scripts.land.datasets import DATASETS
from scripts.land.duckdb import DuckDB
from scripts.land.outcome import Outcome
from scripts.land.plan import plan_landing
from scripts.land.rules import CALLS, Dataset
from scripts.land.sources import list_files, locate
from scripts.land.table_plan import plan_table
from scripts.land.tables import ddl
from scripts.land.transaction import run

BOUNDS = (946_684_800, 4_102_444_800)
COPY = "3f0c9b52-6a1e-4d0b-9a43-5f0b8c2d7e11"
LANDED_CALL = {
    "event_timestamp": 1767268801,
    "user_id": "u-1001",
    "campaign_id": 7,
    "action_id": 41,
    "journey_id": "01JQ8Z6V3M4T7C9D2F5G8H1K0N",
    "copy_id": COPY,
    "template_id": "plan-nudge",
    "vars": '{"subject":"Your plan, in one page","preheader":"Two minutes, no call"}',
    "attrs": '{"persona":"planner"}',
}
HOUR = 1_788_220_800  # 2026-09-01T00Z
HOURS = ("2026/08/31/23", "2026/09/01/00", "2026/09/01/05", "2026/09/02/00")
SPAN = (datetime(2026, 9, 1), datetime(2026, 9, 2))


def call(**changes: Any) -> dict[str, Any]:
    """The example record of the vendor's agreement, with changes; a value of `...` drops the field."""
    record = {
        "event_timestamp": 1767268801,
        "user_id": "u-1001",
        "campaign_id": 7,
        "action_id": 41,
        "journey_id": "01JQ8Z6V3M4T7C9D2F5G8H1K0N",
        "copy_id": COPY,
        "template_id": "plan-nudge",
        "vars": {"subject": "Your plan, in one page", "preheader": "Two minutes, no call"},
        "attrs": {"persona": "planner"},
    }
    return {key: value for key, value in (record | changes).items() if value is not ...}


def send(second: int, copy: str = COPY, **changes: Any) -> dict[str, Any]:
    """A send: a call without template and words."""
    ids = {"copy_id": copy, "journey_id": f"j{second}", "attrs": {"a": "b"}}
    return call(template_id=..., vars=..., event_timestamp=HOUR + second, **(ids | changes))


def variant(words: str, copy: str = COPY, template: str = "t", **changes: Any) -> dict[str, Any]:
    """A variant with its words; its attrs say nothing of a person."""
    return {"copy_id": copy, "template_id": template, "vars": {"s": words}, "attrs": {"of": "it"}} | changes


def event(**changes: Any) -> dict[str, Any]:
    """A `sent` event of the reference, with changes; a value of `...` drops the field."""
    record = {
        "event_id": "01JQ8Z73K1M2N3P4Q5R6S7T8V9",
        "object_type": "email",
        "metric": "sent",
        "timestamp": 1767268806,
        "data": {"campaign_id": 7, "action_id": 42, "delivery_id": "ZGVsLWVtYWlsLTAwMDE="},
    }
    return {key: value for key, value in (record | changes).items() if value is not ...}


def text(*records: dict[str, Any] | str) -> str:
    """One line per record; a record that is text already stays as it is."""
    lines = (
        record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records
    )
    return "".join(line + "\n" for line in lines)


def write(path: Path, *records: dict[str, Any] | str) -> Path:
    """Write JSON lines, gzipped when the name ends in .gz, and the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text(*records).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def hourly(folder: Path, *hours: str) -> list[Path]:
    """One file of three calls and a broken line for every hour."""
    return [
        write(folder / hour / "calls.jsonl.gz", *(call(user_id=f"{hour}-{n}") for n in range(3)), "broken")
        for hour in hours
    ]


def warehouse(path: str | Path = ":memory:") -> duckdb.DuckDBPyConnection:
    """A DuckDB with empty landing tables."""
    connection = duckdb.connect(str(path), config={"threads": 2})
    for statement in ddl():
        connection.execute(statement)
    return connection


def land_path(
    connection: duckdb.DuckDBPyConnection,
    path: str | Path,
    dataset: Dataset = CALLS,
    span: tuple[datetime, datetime] | None = None,
    allow_empty: bool = False,
    store: Any = None,
    copies: bool = True,
) -> Outcome:
    """Land a folder, glob, file or prefix as the command does; copies too, which many tests land."""
    location = locate(str(path))
    plan = plan_landing(connection, dataset, location, list_files(location, store), span, allow_empty, copies)
    return run(DuckDB(connection), plan, BOUNDS, store)


def land_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    dataset: Dataset = CALLS,
    days: int = 7,
    **options: Any,
) -> Outcome:
    """Land a table as the command does."""
    engine = DuckDB(connection)
    plan = plan_table(engine, dataset, locate(f"table:{name}"), BOUNDS, days, **options)
    return run(engine, plan, BOUNDS)


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as mappings."""
    result = connection.execute(query)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def landed(connection: duckdb.DuckDBPyConnection, dataset: Dataset = CALLS) -> list[dict[str, Any]]:
    """The landed records in file and line order, without their trace."""
    query = (
        "select * exclude (_file, _line, _loaded_at, _batch_id) "
        f"from staging.{dataset.name} order by _file, _line"
    )
    return rows(connection, query)


def rejected(connection: duckdb.DuckDBPyConnection, dataset: Dataset = CALLS) -> list[tuple[int, str, str]]:
    """(line, raw, reason) of the rejects in file and line order."""
    query = f"select _line, raw, reason from staging.{dataset.name}_rejects order by _file, _line"
    return connection.execute(query).fetchall()


def state(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    """Every row and every file that is landed, without when and in which batch, in a fixed order."""
    tables = {"landed_files": "loaded_at, batch_id"}
    for dataset in DATASETS:
        tables |= {dataset.name: "_loaded_at, _batch_id", f"{dataset.name}_rejects": "_loaded_at"}
    return {
        table: sorted(
            connection.execute(f"select * exclude ({trace}) from staging.{table}").fetchall(), key=repr
        )
        for table, trace in tables.items()
    }
