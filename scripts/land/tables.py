"""The landing tables of DuckDB."""

import duckdb

from scripts.console import console
from scripts.land.datasets import DATASETS
from scripts.land.forgotten import COLUMNS as FORGOTTEN_COLUMNS
from scripts.land.forgotten import TABLE as FORGOTTEN
from scripts.land.rules import EVENTS, MACROS, Dataset, member_columns, name, quoted

TRACE = {"_file": "varchar", "_line": "bigint", "_loaded_at": "timestamp", "_batch_id": "varchar"}
"""The columns, with their types, that say where and when a row landed."""

_LEDGER = """
create table if not exists staging.landed_files (
    dataset varchar, file varchar, path_hour timestamp, size_bytes bigint, content_hash varchar,
    row_count bigint, reject_count bigint, loaded_at timestamp, batch_id varchar, unknown_fields varchar
)"""
API = "customerio_api"
"""Landing table of what Customer.io's App API returned; rejects and state stand beside it."""

API_TABLES = {
    API: {
        "entity": "varchar",
        "key": "varchar",
        "payload": "json",
        "extracted_at": "timestamp",
        "_scope": "varchar",
        "_moment": "bigint",
        "_version": "bigint",
        "_loaded_at": "timestamp",
        "_batch_id": "varchar",
    },
    f"{API}_rejects": {
        "entity": "varchar",
        "key": "varchar",
        "raw": "text",
        "reason": "varchar",
        "_scope": "varchar",
        "_loaded_at": "timestamp",
    },
    f"{API}_state": {"entity": "varchar", "scope": "varchar", "position": "bigint", "batch_id": "varchar"},
}
"""Columns, with their types, of each landing table of the App API."""

REMOVED_SINCE = {EVENTS.name: {"user_id": "varchar"}}
"""Columns of tables of removed keys that tables of an earlier version lack."""

_COMPRESSION = {
    # no two alike, so that only the search for a compression costs
    "customerio_events.event_id": "uncompressed",
    "customerio_events.data": "zstd",
}
"""Columns for which DuckDB chooses badly by itself; tables that are there keep what they have."""

_BATCHES = """
create table if not exists staging.landed_batches (batch_id varchar, dataset varchar, landed_at timestamp)"""


def ddl() -> list[str]:
    """Statements that create all landing tables, or bring them up to date."""
    statements = ["create schema if not exists staging", _LEDGER, _BATCHES]
    trace = ", ".join(f"{column} {kind}" for column, kind in TRACE.items())
    for dataset in DATASETS:
        columns = ", ".join(_column(dataset, column, kind) for column, kind, _ in dataset.table)
        keys = ", ".join(f"{name(column)} {kind}" for column, kind in dataset.removed().items())
        statements += [
            f"create table if not exists staging.{dataset.name} ({columns}, {trace})",
            f"create table if not exists staging.{dataset.name}_rejects"
            " (_file varchar, _line bigint, raw varchar, reason varchar, _loaded_at timestamp)",
            f"create table if not exists staging.{dataset.name}_removed (batch_id varchar, {keys})",
            f"alter table staging.{dataset.name} add column if not exists _batch_id varchar",
        ]
    # a warehouse of an earlier version has the keys of removed events without their person
    for column, kind in REMOVED_SINCE[EVENTS.name].items():
        statements.append(
            f"alter table staging.{EVENTS.name}_removed add column if not exists {column} {kind}"
        )
    for table, types in API_TABLES.items():
        columns = ", ".join(f"{column} {kind}" for column, kind in types.items())
        statements.append(f"create table if not exists staging.{table} ({columns})")
    forgotten = ", ".join(f"{column} {kind}" for column, kind in FORGOTTEN_COLUMNS.items())
    statements.append(f"create table if not exists staging.{FORGOTTEN} ({forgotten})")
    ledger = "alter table staging.landed_files add column if not exists"
    return [*statements, f"{ledger} batch_id varchar", f"{ledger} unknown_fields varchar"]


def _column(dataset: Dataset, column: str, kind: str) -> str:
    compression = _COMPRESSION.get(f"{dataset.name}.{column}")
    return f"{name(column)} {kind}{f' using compression {compression}' if compression else ''}"


def removed_keys(dataset: Dataset, schema: str) -> str:
    """Query, but for its condition on `_file`, that gives the columns of the table of removed keys.

    The ledger must still have the files.
    """
    table = f"{schema}.{dataset.name}"
    # all of them are plain names
    keys = ", ".join(f"landed.{key}" for key in dataset.keys)
    if not dataset.of_hours:
        return f"{keys} from {table} as landed"
    files = f"select file, path_hour from {schema}.landed_files where dataset = {quoted(dataset.name)}"
    return (
        f"{keys}, files.path_hour, landed._batch_id as landed_batch_id from {table} as landed "
        f"left join ({files}) as files on landed._file = files.file"
    )


def fill_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Give the rows of a table of an earlier version the columns that landing reads out of `data` today.

    They get what they would get if they landed again, without their files, in one transaction. New columns of
    a typed dataset stay null in them: what their files had there is in `other`.
    """
    for dataset in DATASETS:
        described = connection.execute(f"describe staging.{dataset.name}").fetchall()
        missing = dataset.types().keys() - {column for column, *_ in described}
        if dataset.typed:
            for column in sorted(missing):
                added = f"add column {name(column)} {dataset.types()[column]}"
                connection.execute(f"alter table staging.{dataset.name} {added}")
        if dataset.typed or not missing:
            continue
        ((count,),) = connection.execute(f"select count(*) from staging.{dataset.name}").fetchall()
        say_filling(dataset, count)
        connection.execute(MACROS)
        connection.begin()
        connection.execute(f"create table staging.{dataset.name}_filled as {_filled(dataset)}")
        connection.execute(f"drop table staging.{dataset.name}")
        connection.execute(f"alter table staging.{dataset.name}_filled rename to {dataset.name}")
        connection.commit()


def say_filling(dataset: Dataset, count: int) -> None:
    """Tell the user why this landing takes longer than others."""
    if count:
        columns = ", ".join(member_columns(dataset))
        console.print(
            f"{dataset.name}: an earlier version landed its {count:,} rows. Reading {columns} out of their "
            "data, once",
            soft_wrap=True,
        )


def _filled(dataset: Dataset) -> str:
    read = member_columns(dataset)
    columns = ", ".join(
        f"{read[column]} as {name(column)}" if column in read else name(column) for column in dataset.types()
    )
    return (
        f"select {columns}, {', '.join(TRACE)} "
        f"from (select *, data as f_data, json_transform(data, {quoted(dataset.members)}) as d "
        f"from staging.{dataset.name})"
    )
