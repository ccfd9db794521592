"""Tables of a Snowflake account as sources: it counts, hashes, checks and inserts their rows by itself.

Only counts, sums of hashes and names of hours reach this machine. The rows of a transaction are first copied
into a temporary table of the session, so that their hash in the ledger is of what was inserted.
"""

import json
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from secrets import token_hex
from typing import Any

from snowflake.connector.errors import ProgrammingError

from scripts.errors import UserError
from scripts.land.chunks import Chunk, Skipped
from scripts.land.rules import Dataset
from scripts.land.snowflake.lines import lines_of
from scripts.land.snowflake.session import PlainLines, Session, execute
from scripts.land.snowflake.typed_columns import check_typed_query, seconds_of
from scripts.land.snowflake.typed_rows import SEMI_STRUCTURED, Column, check_query, hour_of_row, value_of
from scripts.land.source_tables import (
    Hour,
    gone_since,
    hour_filter,
    hour_of,
    known_columns,
    rest_of,
    time_of,
)
from scripts.land.sources import Location, Opened, SourceFile
from scripts.land.table_names import table_address, table_parts, table_root
from scripts.snowflake.names import quoted

MOST_LISTED = 50_000
"""Hours that a statement may list: its text has at most 1 MB. For more of them, all hours are hashed."""

_KINDS = {
    *("TEXT", "NUMBER", "FLOAT", "BOOLEAN", "DATE", *SEMI_STRUCTURED),
    *("TIMESTAMP_NTZ", "TIMESTAMP_TZ", "TIMESTAMP_LTZ"),
}


class SnowflakeTable:
    """A table or view of a Snowflake account, see `source_tables.SourceTable`."""

    def __init__(
        self, session: Session, location: Location, dataset: Dataset, bounds: tuple[int, int]
    ) -> None:
        """Find the table.

        Raises:
            UserError: there is none of that name, the role may not see it, or it lacks a column.
        """
        self.session, self.dataset, self.bounds = session, dataset, bounds
        parts = [name if is_quoted else name.upper() for name, is_quoted in table_parts(location.given)]
        self.root = table_root(parts)
        self.source = quoted(*parts)
        found = self._columns(parts)
        columns, unknown = known_columns(self.root, found, dataset.columns)
        iso_times = dataset.columns.iso_times
        self.columns = {field: Column(name, found[name], iso_times) for field, name in columns.items()}
        self.unknown = tuple(unknown)
        self.others = tuple(Column(name, found[name]) for name in unknown if dataset.typed)
        for column in self._read():
            if column.kind not in _KINDS:
                raise UserError(
                    f"{self.root}: its column {column.name} of type {column.kind} has no meaning here: land "
                    "a view that makes text of it"
                )
        ((version,),) = execute(session, "select current_version()")
        self.version = f"snowflake {version}"
        self.time = self.columns.get(time_of(dataset) or "")
        self.rest = rest_of(dataset)

    def _read(self) -> tuple[Column, ...]:
        return (*self.columns.values(), *self.others)

    def _columns(self, parts: list[str]) -> dict[str, str]:
        query = (
            f"select column_name, data_type from {quoted(parts[0])}.information_schema.columns "
            "where table_schema = %s and table_name = %s order by ordinal_position"
        )
        try:
            found = dict(execute(self.session, query, (parts[1], parts[2])))
        except ProgrammingError as error:
            raise UserError(f"{self.root}: {error.msg}. {self._advice(parts)}") from error
        if not found:
            raise UserError(
                f"{self.root}: there is no such table or view for this role. {self._advice(parts)}"
            )
        return found

    def _advice(self, parts: list[str]) -> str:
        return (
            f"The role that lands needs: grant usage on database {quoted(parts[0])}; grant usage on schema "
            f"{quoted(*parts[:2])}; grant select on table {self.source}"
        )

    def _query(self, query: str) -> list[Any]:
        try:
            return execute(self.session, query)
        except ProgrammingError as error:
            raise UserError(
                f"{self.root}: Snowflake cannot read it: {error.msg}. "
                f"{self._advice([part for part, _ in table_parts(self.root)])}"
            ) from error

    def counts(self) -> dict[Hour, int]:
        """The rows of every hour."""
        hours = f"select {self._hour()} as hour from {self.source}"
        query = f"select hour, count(*) from ({hours}) as hours group by hour"
        return {_hour(found): int(count) for found, count in self._query(query)}

    def sums(self, hours: set[Hour] | None) -> dict[Hour, int]:
        """The sum of hashes of each of these hours, None for all."""
        wanted = None if hours is None or len(hours) > MOST_LISTED else hours
        query = f"select hour, to_varchar(sum(hash)) from ({self._rows(wanted)}) as hashed group by hour"
        return {_hour(found): int(total) for found, total in self._query(query)}

    def _hour(self) -> str:
        if not self.time:
            return "cast(null as bigint)"
        return hour_of_row(self.time, self.bounds, seconds_of(self.time) if self.dataset.typed else None)

    def _rows(self, hours: set[Hour] | None) -> str:
        # a column of the sync may have any name, also that of one of ours
        read = [(column, _held(column) if self.dataset.typed else column) for column in self._read()]
        names = ", ".join(f"{quoted(column.name)} as {quoted(held.name)}" for column, held in read)
        hashed = ", ".join(map(value_of, self._read()))
        query = f"select {self._hour()} as hour, hash({hashed}) as hash, {names} from {self.source}"
        if hours is None:
            return query
        within = hour_filter(hours, self._within)
        # a subquery of IN may not stand beside OR; no hour is -1
        listed = json.dumps(sorted(-1 if hour is None else hour for hour in hours))
        return (
            f"select * from ({query}{f' where {within}' if within else ''}) as read "
            "where coalesce(hour, -1) in "
            f"(select value::int from table(flatten(input => parse_json('{listed}'))))"
        )

    def _within(self, first: int, last: int) -> str:
        """Constants, by which Snowflake skips micro-partitions."""
        if not self.time:
            return ""
        name = quoted(self.time.name)
        if self.time.is_time:
            begin, end = (f"to_{self.time.kind.lower()}({second})" for second in (first, last))
            return f"{name} >= {begin} and {name} < {end}"
        if self.time.is_number:
            spans = ((first * unit, last * unit) for unit in (1, 1_000, 1_000_000))
            return f"({' or '.join(f'({name} >= {low} and {name} < {high})' for low, high in spans)})"
        return ""

    def chunks(self, groups: list[list[SourceFile]]) -> Iterator[Chunk | Skipped]:
        """Check groups of hours in Snowflake; a chunk says how many rows of each wait there."""
        for group in groups:
            yield from self._group(group)

    def _group(self, group: list[SourceFile]) -> Iterator[Chunk | Skipped]:
        # names of their own: a temporary table hides one of the schema
        tag = token_hex(4)
        rows, checked = (f"{self.session.schema}.landing_{what}_{tag}" for what in ("rows", "checked"))
        wanted = self._rows({hour_of(file) for file in group})
        self._query(
            f"create or replace temporary table {rows} as "
            f"select {_line(self.dataset)} as line, * from ({wanted}) as numbered"
        )
        totals = {
            _hour(hour): int(total)
            for hour, total in self._query(f"select hour, to_varchar(sum(hash)) from {rows} group by hour")
        }
        where = (rows, self.bounds, self.root, self.rest)
        if self.dataset.typed:
            known = {field: _held(column) for field, column in self.columns.items()}
            others = {column.name: _held(column) for column in self.others}
            query = check_typed_query(self.dataset, known, others, *where)
        else:
            query = check_query(self.dataset, self.columns, *where)
        self._query(f"create or replace temporary table {checked} as {query}")
        counts: dict[str, Counter[str | None]] = {}
        for name, reason, count in self._query(
            f"select file, reason, count(*) from {checked} group by file, reason"
        ):
            counts.setdefault(name, Counter())[reason] += int(count)

        files: dict[int, Opened] = {}
        for number, file in enumerate(group):
            hour = hour_of(file)
            if hour is None or hour in totals:
                files[number] = Opened(file, BytesIO(), f"{self.version}:{totals.get(hour, 0)}")
                mine = counts.setdefault(file.uri, Counter())
                rejected = mine.total() - mine[None]
                self.session.plain[file.uri] = PlainLines(checked, file.uri, mine[None], rejected)
            else:
                yield gone_since(file)
        if files:
            unknown = {item.file.uri: self.unknown for item in files.values() if self.unknown}
            for name, found in self._unread(checked):
                unknown[name] = (*unknown.get(name, ()), *found)
            try:
                yield Chunk(lines_of([]), files, True, unknown, counts)
            finally:
                self.session.plain.clear()
        for table in (rows, checked):
            execute(self.session, f"drop table if exists {table}")

    def _unread(self, checked: str) -> Iterator[tuple[str, list[str]]]:
        """The parts, each with fields of which the landing table cannot hold a value."""
        if self.dataset.typed:
            query = f"select distinct file, unread from {checked} where unread is not null"
            for name, unread in self._query(query):
                yield name, unread.rstrip(",").split(",")


def _held(column: Column) -> Column:
    """The column of the temporary table for a column of a table of the sync."""
    return Column(f"given {column.name}", column.kind)


def _line(dataset: Dataset) -> str:
    """SQL of a number that no other row of the snapshot has.

    A row of the sync has the same one whenever it is read, by which rows that stay are found.
    """
    if not dataset.typed:
        return "row_number() over (order by hour)"
    return "bitshiftright(hash, 1) + row_number() over (partition by hash order by hour) - 1"


def list_tables(session: Session, location: Location) -> list[str]:
    """The addresses of the tables and views of a schema that the role sees.

    Raises:
        UserError: there is no such schema for the role, or nothing is in it.
    """
    given = table_parts(location.given, of_schema=True)
    database, schema = (name if is_quoted else name.upper() for name, is_quoted in given)
    query = (
        f"select table_name from {quoted(database)}.information_schema.tables "
        "where table_schema = %s order by table_name"
    )
    advice = (
        f"The role that lands needs: grant usage on database {quoted(database)}; grant usage on schema "
        f"{quoted(database, schema)}; grant select on all tables in schema {quoted(database, schema)}"
    )
    try:
        found = [name for (name,) in execute(session, query, (schema,))]
    except ProgrammingError as error:
        raise UserError(f"{location.given}: {error.msg}. {advice}") from error
    if not found:
        raise UserError(f"{location.given}: there is no table or view in it for this role. {advice}")
    return [table_address([database, schema, name]) for name in found]


def _hour(found: Any) -> Hour:
    return None if found is None else int(found)
