"""The ledger in the warehouse: what Customer.io acknowledged and refused, and since when an action is sent.

Its tables lie in the schema staging. Runs only add rows; `copymart forget` changes those of a person. They
are made here and nowhere else, by the role that sends.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from scripts import warehouse
from scripts.answers import not_built
from scripts.customerio.outbound.spool import Answered, Item
from scripts.errors import UserError
from scripts.json_lists import json_lists
from scripts.land.forgotten import GONE, Known
from scripts.land.forgotten import TABLE as FORGOTTEN
from scripts.snowflake import account
from scripts.snowflake.names import identifier, literal

Row = tuple[Any, ...]
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Table:
    """A table of the ledger: its columns with types, those of a record first, and what names a record."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]


_ANSWER = {
    "status": "varchar",
    "reason": "varchar",
    "acknowledged_at": "timestamp",
    "run_id": "varchar",
}
REQUESTS = Table(
    "outbound_acknowledgements",
    {
        **dict.fromkeys(("request_id", "content_hash", "action", "person_key", "object_key"), "varchar"),
        "happened_at": "timestamp",
        **_ANSWER,
    },
    ("request_id",),
)
MEMBERS = Table(
    "audience_acknowledgements",
    {
        **dict.fromkeys(("audience", "identifier_type", "identifier", "content_hash"), "varchar"),
        "in_audience": "boolean",
        **_ANSWER,
    },
    ("audience", "identifier_type", "identifier"),
)
STARTS = Table(
    "outbound_starts", {"action": "varchar", "starts_at": "timestamp", "run_id": "varchar"}, ("action",)
)
TABLES = (REQUESTS, MEMBERS, STARTS)
WHOSE = {REQUESTS.name: "person_key", MEMBERS.name: "identifier"}
"""The column that says whose a row is."""


@dataclass(frozen=True)
class Where:
    """The project, profile and target whose warehouse it is."""

    project_dir: Path
    profiles_dir: Path | None
    target: str | None

    def __str__(self) -> str:
        """The DuckDB file, or the account, database and schema on Snowflake."""
        found = warehouse.credentials(self.project_dir, self.profiles_dir, self.target)
        if found["type"] == "snowflake":
            return ".".join(str(found[name]) for name in ("account", "database", "schema"))
        return str(Path(found["path"]).resolve())


class Warehouse(Protocol):
    """An open warehouse. `engine`: duckdb or snowflake. `timestamp`: its type without a time zone."""

    engine: str
    timestamp: str

    def schema(self, layer: str) -> str:
        """The schema of a layer."""

    def pages(self, query: str, *given: str) -> Iterator[list[Row]]:
        """Yield the rows of a query, some thousand at a time, with texts for its parameters."""

    def columns(self, relation: str) -> list[str] | None:
        """The columns of a relation such as staging.t, in lower case; None where there is none."""

    def run(self, statement: str, *given: str) -> None:
        """Run a statement, with texts for its parameters."""

    def given(self, columns: dict[str, str], rows: Sequence[Row]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield queries, with their parameters, that together return the rows."""


class OnDuckDB:
    """A DuckDB file."""

    engine, timestamp = "duckdb", "timestamp"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def schema(self, layer: str) -> str:
        """The schema of a layer."""
        return layer

    def pages(self, query: str, *given: str) -> Iterator[list[Row]]:
        """Yield the rows of a query."""
        found = self.connection.execute(query, list(given))
        while rows := found.fetchmany(_AT_ONCE):
            yield rows

    def columns(self, relation: str) -> list[str] | None:
        """The columns of a relation."""
        schema, name = relation.split(".")
        found = self.connection.execute(
            "select column_name from duckdb_columns() where database_name = current_database() "
            "and schema_name = ? and table_name = ? order by column_index",
            [schema, name],
        ).fetchall()
        return [column.lower() for (column,) in found] or None

    def run(self, statement: str, *given: str) -> None:
        """Run a statement."""
        self.connection.execute(statement, list(given))

    def given(self, columns: dict[str, str], rows: Sequence[Row]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield a query of the rows."""
        types = {"boolean": pa.bool_()}
        arrays = [
            pa.array(values, types.get(kind, pa.string()))
            for values, kind in zip(zip(*rows, strict=True), columns.values(), strict=True)
        ]
        self.connection.register("given_rows", pa.table(arrays, names=list(columns)))
        typed = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns.items())
        yield f"select {typed} from given_rows", ()
        self.connection.unregister("given_rows")


class OnSnowflake:
    """A database on Snowflake. Rows go within statements, so that the role needs no stage."""

    engine, timestamp = "snowflake", "timestamp_ntz"

    def __init__(self, session: Any, settings: dict[str, Any], production_schema: str) -> None:
        self.session, self.settings, self.production_schema = session, settings, production_schema

    def schema(self, layer: str) -> str:
        """The schema of a layer."""
        name = warehouse.layer_schema(self.settings, layer, self.production_schema)
        return identifier(name, "schema")

    def pages(self, query: str, *given: str) -> Iterator[list[Row]]:
        """Yield the rows of a query."""
        with account.explained(query), closing(self.session.cursor()) as cursor:
            cursor.execute(query, given or None)
            while rows := cursor.fetchmany(_AT_ONCE):
                yield rows

    def columns(self, relation: str) -> list[str] | None:
        """The columns of a relation."""
        schema, name = relation.upper().split(".")
        query = (
            "select column_name from information_schema.columns "
            f"where table_schema = '{schema}' and table_name = '{name}' order by ordinal_position"
        )
        return [column.lower() for page in self.pages(query) for (column,) in page] or None

    def run(self, statement: str, *given: str) -> None:
        """Run a statement; an error shows it without its parameters, which may name people."""
        with account.explained(statement), closing(self.session.cursor()) as cursor:
            cursor.execute(statement, given or None)

    def given(self, columns: dict[str, str], rows: Sequence[Row]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield queries of some of the rows each."""
        kinds = {"timestamp": "varchar::timestamp_ntz"}
        values = ", ".join(
            f"value:{name}::{kinds.get(kind, kind)} as {name}" for name, kind in columns.items()
        )
        # without the members that are null
        objects = (
            {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            for row in rows
        )
        for piece in json_lists(objects):
            yield f"select {values} from table(flatten(input => parse_json(%s)))", (piece,)


@contextmanager
def opened(
    where: Where, verb: str, read_only: bool = False, most_memory: int | None = None
) -> Iterator[Warehouse]:
    """Open the warehouse, with the tables of the ledger unless it is only read.

    `most_memory`: MiB that DuckDB may use at most; beyond them it spills to disk.

    Raises:
        UserError: it cannot be opened or written, or a view in it reads what is not there.
    """
    given = (where.project_dir, where.profiles_dir, where.target)
    if warehouse.kind(*given) == "snowflake":
        production = warehouse.production_schema(where.project_dir)
        with closing(warehouse.connect_snowflake(*given, verb=verb)) as session:
            there = OnSnowflake(session, warehouse.credentials(*given), production)
            _make_tables(there, read_only)
            yield there
        return
    with closing(warehouse.connect(*given, read_only=read_only)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        if most_memory and most_memory * 2**20 < _memory_limit(connection):
            connection.execute(f"set memory_limit = '{most_memory}MiB'")
        try:
            here = OnDuckDB(connection)
            _make_tables(here, read_only)
            yield here
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise not_built(error) from error
        # a file that could not be written once takes nothing more, which is a fatal error
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            raise warehouse.full(error) or UserError(f"the warehouse cannot be written: {error}") from error


def _memory_limit(connection: duckdb.DuckDBPyConnection) -> float:
    """The bytes that DuckDB may use."""
    ((said,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    number, unit = str(said).split()
    return float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit)


def _make_tables(there: Warehouse, read_only: bool) -> None:
    if read_only:
        return
    staging = there.schema("staging")
    if there.engine == "duckdb":
        there.run(f"create schema if not exists {staging}")
    for table in TABLES:
        columns = ", ".join(f"{name} {_kind(there, kind)}" for name, kind in table.columns.items())
        there.run(f"create table if not exists {staging}.{table.name} ({columns})")


def _kind(there: Warehouse, kind: str) -> str:
    return there.timestamp if kind == "timestamp" else kind


def relation(there: Warehouse, table: Table) -> str:
    """What to select from for a table of the ledger; of no rows where nothing was ever sent."""
    name = f"{there.schema('staging')}.{table.name}"
    if there.columns(name):
        return name
    empty = ", ".join(
        f"cast(null as {_kind(there, kind)}) as {column}" for column, kind in table.columns.items()
    )
    return f"(select * from (select {empty}) as nothing where 1 = 0)"


def last_run(there: Warehouse, table: Table) -> str | None:
    """The id of the last run that a table of the ledger, or that of starts, has; None where it has none."""
    found = (f"select run_id from {relation(there, each)} as runs" for each in (table, STARTS))
    query = f"select max(run_id) from ({' union all '.join(found)}) as runs"
    return next((last for page in there.pages(query) for (last,) in page), None)


def write(there: Warehouse, table: Table, run_id: str, answers: Iterable[tuple[Item, Answered]]) -> None:
    """Add answers to the ledger; those of the same run that it has already are left out.

    Of people who were forgotten after the plan was made, it gets pseudonyms.
    """
    known = _forgotten(there)
    rows = []
    for item, answer in answers:
        record, reason = item.record, answer.reason
        if known and (name := _forgotten_name(item, known)) is not None:
            named = dict(zip(table.columns, record, strict=False))
            record = (*(named | {WHOSE[table.name]: known.pseudonym(name), "content_hash": GONE}).values(),)
            reason = reason and GONE
        rows.append((*record, answer.status, reason, answer.at, run_id))
    insert(there, table, rows)


def _forgotten(there: Warehouse) -> Known | None:
    """The hashes of forgotten people, None if nobody is."""
    name = f"{there.schema('staging')}.{FORGOTTEN}"
    if not there.columns(name):
        return None
    rows = [row for page in there.pages(f"select salt, identifier_hash from {name}") for row in page]
    return Known(rows[0][0], frozenset(found for _, found in rows)) if rows else None


def _forgotten_name(item: Item, known: Known) -> str | None:
    """The identifier in a request that is one of a forgotten person."""
    said = json.loads(item.text)
    if not isinstance(said, dict):
        return None
    if said.get("type") == "object":
        # its own identifiers name the object, as somebody may be called too
        relationships = said.get("cio_relationships") or []
        named = [each.get("identifiers") for each in relationships if isinstance(each, dict)]
    else:
        named = [said.get(place) for place in ("identifiers", "primary", "secondary")]
    for names in named:
        for name in names.values() if isinstance(names, dict) else ():
            if known.has(str(name)):
                return str(name)
    return None


def insert(there: Warehouse, table: Table, rows: Sequence[Row]) -> None:
    """Add rows of one run, whose id is their last column, that are not there."""
    if not rows:
        return
    name = f"{there.schema('staging')}.{table.name}"
    run = literal(str(rows[0][-1]))
    same = " and ".join(f"there.{column} = given.{column}" for column in table.key)
    for query, given in there.given(table.columns, rows):
        there.run(
            f"insert into {name} ({', '.join(table.columns)}) "
            f"select {', '.join(f'given.{column}' for column in table.columns)} from ({query}) as given "
            f"where not exists (select 1 from {name} as there where there.run_id = {run} and {same})",
            *given,
        )
