"""Tables of a DuckDB, or of what it attaches, as sources.

Their rows come as Arrow tables, like those of Parquet, to the same rules. All rows of a transaction are first
copied into a temporary table, so that the hash in the ledger is of the rows that were inserted even where the
source is no DuckDB, or a view of files.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import duckdb
import pyarrow as pa

from scripts.errors import UserError
from scripts.land import chunks as sizes
from scripts.land.chunks import Chunk, Skipped
from scripts.land.parquet import readable
from scripts.land.records import OTHER, first_line
from scripts.land.rules import MACROS, MARKED_JSON, Dataset, name
from scripts.land.source_tables import (
    Hour,
    gone_since,
    hour_filter,
    hour_of,
    known_columns,
    rest_of,
    time_of,
)
from scripts.land.sources import Location, Opened, Refused, SourceFile
from scripts.land.table_names import table_address, table_parts, table_root
from scripts.land.typed import TYPED_MACROS

_SNAPSHOT = "landing_snapshot"
_FIRST_ROWS = 16_384
_MOST_ROWS = 2**20
_WHOLE = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_HOUR_SECONDS = 3600
_ZONED_NS = "TIMESTAMPTZ_NS"


class DuckDBTable:
    """A table or view of a DuckDB connection, see `source_tables.SourceTable`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        location: Location,
        dataset: Dataset,
        bounds: tuple[int, int],
    ) -> None:
        """Find the table.

        Raises:
            UserError: there is none of that name, or it lacks a column.
        """
        self.connection, self.dataset, self.bounds = connection, dataset, bounds
        connection.execute(MACROS + TYPED_MACROS)
        parts = _spelled(connection, location)
        self.root = table_root(parts)
        self.version = f"duckdb {duckdb.__version__}"
        self.source = ".".join(map(name, parts))
        self.types = {
            column: kind for column, kind, *_ in self._query(f"describe select * from {self.source}")
        }
        known, unknown = known_columns(self.root, self.types, dataset.columns)
        self.unknown = tuple(unknown)
        # the columns by what they are called in a chunk, of the sync in their order as those of a file
        fields = {column: field for field, column in known.items()}
        self.columns = (
            {fields.get(column, OTHER + column): column for column in self.types} if dataset.typed else known
        )
        self.of_name = dataset.columns.of_name(self.root) if dataset.columns.of_name else {}
        time = time_of(dataset)
        self.time = time if time in known else None
        self.rest = rest_of(dataset)

    def _query(self, query: str) -> list[Any]:
        try:
            return self.connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise UserError(f"{self.root}: DuckDB cannot read it: {first_line(error)}") from error

    def counts(self) -> dict[Hour, int]:
        """The rows of every hour."""
        return dict(self._query(f"select {self._hour()}, count(*) from {self.source} group by 1"))

    def sums(self, hours: set[Hour] | None) -> dict[Hour, int]:
        """The sum of hashes of each of these hours, None for all."""
        query = f"select hour, sum(hash) from ({self._rows(hours)}) group by hour"
        return {hour: int(total) for hour, total in self._query(query)}

    def _rows(self, hours: set[Hour] | None) -> str:
        columns = ", ".join(map(name, self.columns.values()))
        # a column of the sync may have any name, also that of one of ours
        named = ", ".join(f"{name(column)} as {_held(field)}" for field, column in self.columns.items())
        query = f"select {self._hour()} as hour, hash({columns}) as hash, {named} from {self.source}"
        if hours is None:
            return query
        wanted = pa.table(
            {"wanted": pa.array(sorted(hour for hour in hours if hour is not None), pa.int64())}
        )
        self.connection.register("landing_hours", wanted)
        within = hour_filter(hours, self._within)
        listed = "select 1 from landing_hours where wanted = hour"
        return (
            f"select * from ({query}{f' where {within}' if within else ''}) as read where exists ({listed})"
            f"{' or hour is null' if None in hours else ''}"
        )

    def _time_column(self) -> tuple[str, str]:
        column = self.columns[self.time or ""]
        return name(column), self.types[column]

    def _hour(self) -> str:
        """SQL of a row's hour by the rules for its time; null where they reject it."""
        if not self.time:
            return "null::bigint"
        column, kind = self._time_column()
        if kind == "DATE" and self.dataset.typed:
            seconds = f"case when isfinite({column}) then epoch({column})::bigint end"
        elif kind.startswith("TIMESTAMP"):
            column = _known_time(column, kind)
            seconds = f"case when isfinite({column}) then epoch_us({column}) // 1000000 end"
        elif _WHOLE.fullmatch(kind):
            seconds = (
                f"case when {column} > 100000000000000 then {column} // 1000000 "
                f"when {column} > 100000000000 then {column} // 1000 else {column} end"
            )
        elif kind == "VARCHAR" and self.dataset.typed:
            seconds = f"epoch_us(land_time(land_trimmed({column}))) // 1000000"
        elif kind == "VARCHAR":
            seconds = f"land_seconds(nullif({column}, ''))"
        elif kind in ("JSON", "VARIANT"):
            seconds = f"land_seconds(land_text(nullif({column}::json::varchar, 'null')::json))"
        else:
            seconds = f"land_seconds(land_text(to_json({column})))"
        earliest, latest = self.bounds
        return (
            f"case when {seconds} between {earliest} and {latest - 1} "
            f"then floor({seconds} / {_HOUR_SECONDS})::bigint end"
        )

    def _within(self, first: int, last: int) -> str:
        column, kind = self._time_column()
        if kind in ("TIMESTAMP WITH TIME ZONE", _ZONED_NS):
            column = _known_time(column, kind)
            return f"{column} >= to_timestamp({first}) and {column} < to_timestamp({last})"
        if kind.startswith("TIMESTAMP"):
            begin, end = (f"make_timestamp({second}000000)" for second in (first, last))
            return f"{column} >= {begin} and {column} < {end}"
        if _WHOLE.fullmatch(kind):
            spans = ((first * unit, last * unit - 1) for unit in (1, 1_000, 1_000_000))
            return f"({' or '.join(f'{column} between {low} and {high}' for low, high in spans)})"
        return ""

    def chunks(self, groups: list[list[SourceFile]]) -> Iterator[Chunk | Skipped]:
        """The rows of groups of hours; those of a group are read in one statement."""
        for group in groups:
            yield from self._group(group)
        self.connection.execute(f"drop table if exists {_SNAPSHOT}")

    def _group(self, group: list[SourceFile]) -> Iterator[Chunk | Skipped]:
        rows = self._rows({hour_of(file) for file in group})
        self._query(
            f"create or replace temp table {_SNAPSHOT} as "
            f"select row_number() over () as position, {_line(self.dataset)} as line, * from ({rows})"
        )
        found = {
            hour: (count, total)
            for hour, count, total in self._query(
                f"select hour, count(*), sum(hash) from {_SNAPSHOT} group by hour"
            )
        }
        files: dict[Hour, Opened] = {}
        for file in group:
            hour = hour_of(file)
            if hour in found or hour is None:
                _, total = found.get(hour, (0, 0))
                files[hour] = Opened(file, BytesIO(), f"{self.version}:{int(total)}")
            else:
                yield gone_since(file)
        if files:
            yield from self._pieces(files, sum(count for count, _ in found.values()))

    def _pieces(self, files: dict[Hour, Opened], count: int) -> Iterator[Chunk]:
        numbers = {hour: number for number, hour in enumerate(files)}
        listed = pa.table({"hour": list(numbers), "file_no": pa.array(numbers.values(), pa.int32())})
        opened = dict(enumerate(files.values()))
        unknown = {item.file.uri: self.unknown for item in opened.values() if self.unknown}
        first, size = 1, _FIRST_ROWS
        while True:
            self.connection.register("landing_parts", listed)
            table = self._piece(first, first + size)
            first += size
            closes = first > count
            yield Chunk(table, opened, closes, unknown)
            if closes:
                return
            size = max(1, min(_MOST_ROWS, size * sizes.CHUNK_BYTES // max(table.nbytes, 1)))

    def _piece(self, first: int, last: int) -> pa.Table:
        """The rows [first, last) of the snapshot, as the reader of Parquet gives those of a file."""
        value = _typed_value if self.dataset.typed else _value
        columns = ", ".join(
            f"{value(field, self.types[column])} as {name(field)}" for field, column in self.columns.items()
        )
        query = (
            f"select parts.file_no as landing_file_no, line as landing_line, {columns} "
            f"from {_SNAPSHOT} as rows "
            f"inner join landing_parts as parts on rows.hour is not distinct from parts.hour "
            f"where position >= {first} and position < {last}"
        )
        try:
            read = self.connection.sql(query).to_arrow_table()
            table = readable(read.drop_columns(["landing_file_no", "landing_line"]))
        except (duckdb.Error, pa.ArrowException, Refused) as error:
            raise UserError(f"{self.root}: {first_line(error)}; or land a view that does so") from error
        typed = {field for _, _, field in self.dataset.typed}
        for number, field in enumerate(table.schema):
            kind = self.types.get(self.columns.get(field.name, ""), "")
            if ("JSON" in kind or "VARIANT" in kind) and field.name not in typed:
                table = table.set_column(number, field.with_metadata(MARKED_JSON), table.column(number))
        for column, of_name in self.of_name.items():
            table = table.append_column(column, pa.repeat(pa.scalar(of_name, pa.int64()), len(table)))
        table = table.add_column(0, "line", read["landing_line"])
        table = table.add_column(0, "file_no", read["landing_file_no"])
        batches = table.combine_chunks().to_batches(sizes.BATCH_ROWS)
        return pa.Table.from_batches(batches, table.schema)


def _line(dataset: Dataset) -> str:
    """SQL of a number that no other row of the snapshot has.

    A row of the sync has the same one whenever it is read, by which rows that stay are found.
    """
    if not dataset.typed:
        return "position"
    return "(hash >> 1)::bigint + row_number() over (partition by hash) - 1"


def _known_time(column: str, kind: str) -> str:
    """SQL of a time in a type that functions of DuckDB know; a cast of nanoseconds would round."""
    return f"date_trunc('microsecond', {column})" if kind == _ZONED_NS else column


def _held(field: str) -> str:
    """The column of the snapshot for a field."""
    return name(f"given:{field}")


def _typed_value(field: str, kind: str) -> str:
    """SQL of a column of the sync: JSON in place of a text or number is what it holds."""
    source = _held(field)
    if kind in ("JSON", "VARIANT") and not field.startswith(OTHER):
        return f"land_text({source}::json)"
    return _value(field, kind)


def _value(field: str, kind: str) -> str:
    """SQL of a column in a type that Arrow and the rules know."""
    source = _held(field)
    if kind in ("JSON", "VARIANT"):
        return f"{source}::json::varchar"
    if kind.startswith("TIMESTAMP"):
        if kind == "TIMESTAMP_NS":
            # what DuckDB takes for infinite is to Arrow a time of 2262, and a cast would round what is finite
            micros = f"make_timestamp(epoch_us({source}))"
            return f"case when isfinite({source}) then {micros} else {source}::timestamp end"
        return _known_time(source, kind)
    if "VARIANT" in kind or "JSON" in kind:
        return f"to_json({source})::varchar"
    return source


def _spelled(connection: duckdb.DuckDBPyConnection, location: Location) -> list[str]:
    """The parts of a table's name as they were when it was made.

    Raises:
        UserError: there is no such table.
    """
    given = [part for part, _ in table_parts(location.given)]
    query = (
        "select table_catalog, table_schema, table_name from information_schema.tables "
        "where lower(table_catalog) = lower(?) and lower(table_schema) = lower(?) "
        "and lower(table_name) = lower(?)"
    )
    found = connection.execute(query, given).fetchall()
    if found:
        return list(found[0])
    raise _nothing_of(connection, f"{location.given}: there is no such table or view")


def _nothing_of(connection: duckdb.DuckDBPyConnection, what: str) -> UserError:
    query = "select database_name from duckdb_databases() where not internal order by 1"
    databases = ", ".join(database for (database,) in connection.execute(query).fetchall())
    return UserError(
        f"{what}. The profile's target has the databases {databases}; others stand under its key attach"
    )


def list_tables(connection: duckdb.DuckDBPyConnection, location: Location) -> list[str]:
    """The addresses of the tables and views of a schema.

    Raises:
        UserError: there is no such schema, or nothing is in it.
    """
    given = [part for part, _ in table_parts(location.given, of_schema=True)]
    query = (
        "select table_catalog, table_schema, table_name from information_schema.tables "
        "where lower(table_catalog) = lower(?) and lower(table_schema) = lower(?) order by all"
    )
    found = connection.execute(query, given).fetchall()
    if not found:
        raise _nothing_of(connection, f"{location.given}: there is no such schema, or it has no tables")
    return [table_address(parts) for parts in found]
