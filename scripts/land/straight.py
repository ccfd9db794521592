"""Lines that DuckDB inserts straight from their chunks: one statement reads, checks and inserts them.

A temporary table of what was checked, from which good rows and rejects are taken, is a copy of all records.
Here a function of the INSERT's condition notes the few rows that are rejected or hold unknown fields.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import FunctionNullHandling, PythonUDFType

from scripts.land import repeated_keys
from scripts.land.arrow_tables import registered
from scripts.land.checks import HEAD, check_query, raw_query
from scripts.land.engine import Stamp
from scripts.land.maps import keys_once
from scripts.land.records import LINES
from scripts.land.rules import Dataset, name, quoted
from scripts.land.tails import heads

_NOTED = pa.schema(
    [("file_no", pa.int32()), ("line", pa.int64()), ("reason", pa.string()), ("keys", pa.list_(pa.string()))]
)


# DuckDB calls the function below from threads of its own, for any of the landings of this process
_NOTES: dict[str, list[pa.Table]] = {}


def _note(batch: pa.Array, file_no: pa.Array, line: pa.Array, reason: pa.Array, keys: pa.Array) -> pa.Array:
    """Note lines of a batch; true for those that land all the same."""
    _NOTES[batch[0].as_py()].append(pa.table([file_no, line, reason, keys], _NOTED))
    return pc.is_null(reason)


@contextmanager
def ready(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let a connection insert lines straight; to be entered and left outside of a transaction."""
    exists = "select 1 from duckdb_functions() where function_name = 'land_note'"
    if not connection.execute(exists).fetchall():
        connection.create_function(
            "land_note",
            _note,
            ["VARCHAR", "INTEGER", "BIGINT", "VARCHAR", "VARCHAR[]"],
            "BOOLEAN",
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=True,
        )
        repeated_keys.add_to(connection)
    before = _order(connection)
    try:
        yield
    finally:
        with suppress(duckdb.Error):
            connection.execute(f"set preserve_insertion_order = {before}")


def _order(connection: duckdb.DuckDBPyConnection) -> bool:
    ((order,),) = connection.execute("select current_setting('preserve_insertion_order')").fetchall()
    return bool(order)


@dataclass
class Lines:
    """Lines of some files that wait for their INSERT; `files` holds the address for each `file_no`."""

    tables: list[pa.Table] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)
    size: int = 0

    def add(self, table: pa.Table, files: dict[int, str]) -> None:
        """Add a chunk with numbers of its own for its files."""
        first = max(self.files, default=-1) + 1
        numbers = pc.add(table["file_no"], pa.scalar(first, pa.int32()))
        self.tables.append(table.set_column(0, "file_no", numbers))
        self.files |= {first + number: file for number, file in files.items()}
        self.size += max(table.nbytes, 1)


@dataclass
class Landed:
    """What came of lines: how many of a file are rows (reason None) or rejects, and its unknown fields.

    `left` are divided lines that did not land: they, or what stands beside them in a line, are not good.
    """

    counts: dict[str, Counter[str | None]]
    unknown: dict[str, set[str]]
    left: pa.Table | None = None


def can_insert(dataset: Dataset, schema: pa.Schema) -> bool:
    """Whether a chunk can be inserted straight: maps with a key twice are found among checked records."""
    if dataset.typed:
        return False
    if HEAD in schema.names:
        return True
    known = [column in schema.names and keys_once(schema.field(column)) for column in dataset.maps]
    return all(known)


def insert(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    lines: Lines,
    bounds: tuple[int, int],
    stamp: Stamp,
) -> Landed:
    """Insert the good lines, and the others as rejects."""
    chunk = pa.concat_tables(lines.tables)
    numbers = pa.array(lines.files.keys(), pa.int32())
    files = pa.table({"file_no": numbers, "file": list(lines.files.values())})
    with registered(connection, chunk=chunk, files_of_chunk=files):
        if HEAD in chunk.schema.names:
            return _insert_divided(connection, dataset, lines, chunk, bounds, stamp)
        noted = _insert_good(connection, dataset, chunk.schema, bounds, stamp)
        rejected = noted.filter(pc.is_valid(noted["reason"]))
        with registered(connection, noted=noted):
            if len(rejected):
                connection.execute(
                    f"insert into staging.{dataset.name}_rejects select file, line, raw, reason, $landed_at "
                    f"from ({raw_query(dataset, chunk.schema)}) join noted using (file_no, line) "
                    "join files_of_chunk using (file_no) where reason is not null",
                    {"landed_at": stamp.landed_at},
                )
            unknown = _unknown(connection, dataset) if len(noted) else {}
        return Landed(_counts(lines, chunk, rejected), unknown)


def _insert_divided(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    lines: Lines,
    chunk: pa.Table,
    bounds: tuple[int, int],
    stamp: Stamp,
) -> Landed:
    noted = _insert_good(connection, heads(dataset), chunk.schema, bounds, stamp)
    counts = _counts(lines, chunk, noted)
    for found in counts.values():
        del found["odd"]
    if not len(noted):
        return Landed(counts, {})
    with registered(connection, noted=noted):
        left = connection.sql(
            f"select file_no, {', '.join(LINES.names)} from chunk semi join noted using (file_no, line)"
        ).to_arrow_table()
    return Landed(counts, {}, left)


def _insert_good(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    schema: pa.Schema,
    bounds: tuple[int, int],
    stamp: Stamp,
) -> pa.Table:
    """Insert the good lines of `chunk`; return what was noted of rejects and of lines with unknown fields."""
    checked = check_query(dataset, schema)
    parameters: dict[str, int | str | datetime] = {"landed_at": stamp.landed_at, "batch_id": stamp.batch_id}
    parameters |= {
        key: value for key, value in zip(("earliest", "latest"), bounds, strict=True) if f"${key}" in checked
    }
    columns = ", ".join(name(column) for column, _, _ in dataset.table)
    fields = ", ".join(map(quoted, dataset.columns.fields))
    good = f"_reason is null and (keys is null or list_has_all([{fields}], keys))"
    reason = "_reason"
    if HEAD in schema.names:
        reason = "'odd'"
    found: list[pa.Table] = []
    _NOTES[stamp.batch_id] = found
    order = _order(connection)
    # in order, DuckDB leaves many row groups half full, and writes them again at the checkpoint
    connection.execute("set preserve_insertion_order = false")
    try:
        connection.execute(
            f"insert into staging.{dataset.name} ({columns}, _file, _line, _loaded_at, _batch_id) "
            f"select {columns}, file, line, $landed_at, $batch_id "
            f"from ({checked}) join files_of_chunk using (file_no) "
            f"where case when {good} then true "
            f"else land_note($batch_id, file_no, line, {reason}, keys) end",
            parameters,
        )
    finally:
        del _NOTES[stamp.batch_id]
    # other statements need the order; after an error, `ready` sees to it
    connection.execute(f"set preserve_insertion_order = {order}")
    return pa.concat_tables(found) if found else _NOTED.empty_table()


def _counts(lines: Lines, chunk: pa.Table, rejected: pa.Table) -> dict[str, Counter[str | None]]:
    counts: dict[str, Counter[str | None]] = {}
    for item in pc.value_counts(chunk["file_no"].combine_chunks()).to_pylist():
        counts.setdefault(lines.files[item["values"]], Counter())[None] += item["counts"]
    for number, reason in zip(rejected["file_no"].to_pylist(), rejected["reason"].to_pylist(), strict=True):
        counts[lines.files[number]].update({None: -1, reason: 1})
    return counts


def _unknown(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, set[str]]:
    fields = ", ".join(map(quoted, dataset.columns.fields))
    found: Iterable[tuple[str, str]] = connection.execute(
        "select distinct file, key from (select file_no, unnest(keys) as key from noted) "
        f"join files_of_chunk using (file_no) where key not in ({fields})"
    ).fetchall()
    unknown: dict[str, set[str]] = {}
    for file, key in found:
        unknown.setdefault(file, set()).add(key)
    return unknown
