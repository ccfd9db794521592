"""Landing on a Snowflake target: the session, the landing tables, and the transaction of a batch.

Snowflake itself copies JSON lines and takes the plain ones (`land_lines`). What else there is to judge, odd
lines, Parquet and Avro, is read and checked on this machine, by the code and the rules of every landing, in a
DuckDB that is thrown away: so a line ends on both engines as the same row or the same reject, which
Snowflake's own parser could not promise (PARSE_JSON keeps no text of numbers: 41.50 becomes 41.5, 1e2 a
double). What that gave goes through an internal stage: PUT as Parquet, and COPY INTO the landing tables. All
of a batch, ledger included, is one transaction.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from snowflake.connector.errors import Error

from scripts.errors import UserError
from scripts.land.rules import DATASETS, Dataset
from scripts.snowflake.names import literal
from scripts.warehouse import layer_schema

if TYPE_CHECKING:
    from scripts.land.command import Stamp

STAGE = "landing"
"""Internal stage of the staging schema that batches pass through; `copymart bootstrap` makes it too."""

PART_BYTES = 128 * 2**20
"""Size of one staged file; Snowflake advises 100 to 250 MB compressed."""

_FILES_PER_STATEMENT = 2_000
# a line may be long: VARCHAR alone holds 16 MB, and 128 MB is the most that it can be told to
LONG = "varchar(134217728)"
_TYPES = {"json": LONG, "text": LONG, "timestamp": "timestamp_ntz"}
_TRACE = (("_file", "varchar"), ("_line", "bigint"), ("_loaded_at", "timestamp"), ("_batch_id", "varchar"))
_REJECT = (
    ("_file", "varchar"),
    ("_line", "bigint"),
    ("raw", "text"),
    ("reason", "varchar"),
    ("_loaded_at", "timestamp"),
)
_LEDGER = (
    ("dataset", "varchar"),
    ("file", "varchar"),
    ("path_hour", "timestamp"),
    ("size_bytes", "bigint"),
    ("content_hash", "varchar"),
    ("row_count", "bigint"),
    ("reject_count", "bigint"),
    ("loaded_at", "timestamp"),
    ("batch_id", "varchar"),
    ("unknown_fields", "varchar"),
)
_BATCHES = (("batch_id", "varchar"), ("dataset", "varchar"), ("landed_at", "timestamp"))
_LOCK = (("dataset", "varchar"), ("batch_id", "varchar"))

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Ready:
    """Plain lines of a file that wait in Snowflake: their table, the file's name there, and their number."""

    table: str
    name: str
    rows: int


@dataclass(frozen=True)
class Landing:
    """Where a landing goes: an open session, and the schema of the landing tables.

    `ready` maps the files of the current batch that Snowflake has copied to what it takes of them by itself.
    """

    connection: Any
    schema: str
    ready: dict[str, Ready] = field(default_factory=dict)


def landing_tables() -> dict[str, Columns]:
    """Name and columns (name, DuckDB type) of each landing table; long text is `text` or `json`."""
    tables = {"landed_files": _LEDGER, "landed_batches": _BATCHES, "landing_lock": _LOCK}
    for dataset in DATASETS:
        own = tuple((column, kind) for column, kind, _ in dataset.table)
        tables[dataset.name] = (*own, *_TRACE)
        tables[f"{dataset.name}_rejects"] = _REJECT
        keys = tuple((column, kind) for column, kind, _ in dataset.keys)
        tables[f"{dataset.name}_removed"] = (("batch_id", "varchar"), *keys)
    return tables


def ddl(schema: str) -> list[str]:
    """Statements that make the landing tables.

    Names stand bare, as dbt writes them: Snowflake makes them upper case.
    """
    statements = []
    for table, columns in landing_tables().items():
        listed = ", ".join(f"{column} {_type(kind)}" for column, kind in columns)
        statements.append(f"create table if not exists {schema}.{table} ({listed})")
    statements.append(
        f"insert into {schema}.landing_lock (dataset, batch_id) select column1, null "
        f"from values {', '.join(f'({literal(dataset.name)})' for dataset in DATASETS)} "
        f"where column1 not in (select dataset from {schema}.landing_lock)"
    )
    return statements


def _type(kind: str) -> str:
    return _TYPES.get(kind, kind)


@contextmanager
def open_landing(connection: Any, settings: dict[str, Any], production_schema: str) -> Iterator[Landing]:
    """Yield the landing of an open session, which is closed at the end.

    Raises:
        UserError: the profile's schema is no plain name, or Snowflake refuses a statement.
    """
    schema = layer_schema(settings, "staging", production_schema)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", schema):
        raise UserError(
            f"the schema {schema} of the profile is no plain name: use letters, digits and underscores"
        )
    try:
        yield Landing(connection, schema)
    except Error as error:
        raise UserError(
            f"Snowflake refused a statement: {error.msg}. Files landed before this one are complete; "
            "check the role's rights and run the command again"
        ) from error
    finally:
        connection.close()


def make_tables(landing: Landing) -> None:
    """Make what is missing: Snowflake asks for the right to make a thing even where it is there already."""
    if not has_schema(landing):
        execute(landing, f"create schema if not exists {landing.schema}")
    if not _existing(landing) >= {table.upper() for table in landing_tables()}:
        for statement in ddl(landing.schema):
            execute(landing, statement)
    # a row of SHOW begins with the time at which the thing was made, and then its name
    stages = {row[1] for row in execute(landing, f"show stages in schema {landing.schema}")}
    if STAGE.upper() not in stages:
        execute(landing, f"create stage if not exists {landing.schema}.{STAGE}")


def has_schema(landing: Landing) -> bool:
    """Whether the schema of the landing tables is there for this role."""
    query = "select 1 from information_schema.schemata where schema_name = %s"
    return bool(execute(landing, query, (landing.schema.upper(),)))


def _existing(landing: Landing) -> set[str]:
    query = "select table_name from information_schema.tables where table_schema = %s"
    return {name for (name,) in execute(landing, query, (landing.schema.upper(),))}


@contextmanager
def scratch(landing: Landing, statements: list[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB with landing tables as `statements` make them, empty but for Snowflake's ledger."""
    with TemporaryDirectory(prefix="copymart-landing-") as folder:
        connection = duckdb.connect(f"{folder}/landing.duckdb", config={"temp_directory": f"{folder}/spill"})
        try:
            for statement in statements:
                connection.execute(statement)
            if "LANDED_FILES" in _existing(landing):
                _copy_ledger(landing, connection)
            yield connection
        finally:
            connection.close()


def _copy_ledger(landing: Landing, connection: duckdb.DuckDBPyConnection) -> None:
    query = (
        "select dataset, file, date_part(epoch_second, path_hour), size_bytes, content_hash "
        f"from {landing.schema}.landed_files"
    )
    ledger = pa.table(
        dict(
            zip(
                ("dataset", "file", "path_hour", "size_bytes", "content_hash"),
                map(list, zip(*execute(landing, query), strict=True)),
                strict=False,
            )
        )
        or {"file": pa.array([], pa.string())}
    )
    if ledger.num_columns > 1:
        connection.execute(
            "insert into staging.landed_files by name "
            "select * replace (make_timestamp(path_hour::bigint * 1000000) as path_hour) from ledger"
        )


def publisher(landing: Landing) -> Callable[..., None]:
    """Return what brings a transaction of the scratch DuckDB to Snowflake, see `publish`."""

    def publish_here(
        connection: duckdb.DuckDBPyConnection, dataset: Dataset, stamp: "Stamp", before: dict[str, str | None]
    ) -> None:
        publish(landing, connection, dataset, stamp, before)

    return publish_here


def publish(
    landing: Landing,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stamp: "Stamp",
    before: dict[str, str | None],
) -> None:
    """Load what the open transaction of `connection` brought, in one transaction of Snowflake.

    `before` maps each file of the batch to the content that the ledger gave for it, None for a new file; what
    a known file brought before is deleted.

    Raises:
        UserError: another landing has landed one of the files meanwhile, or Snowflake loaded other counts.
    """
    with TemporaryDirectory(prefix="copymart-batch-") as folder:
        staged = _stage(landing, connection, dataset, stamp, Path(folder))
    execute(landing, "begin")
    try:
        _lock(landing, dataset, stamp, before)
        execute(
            landing,
            f"insert into {landing.schema}.landed_batches (batch_id, dataset, landed_at) "
            "select %s, %s, to_timestamp_ntz(%s)",
            (stamp.batch_id, dataset.name, stamp.landed_at.isoformat(sep=" ")),
        )
        replaced = [file for file, digest in before.items() if digest is not None]
        for first in range(0, len(replaced), _FILES_PER_STATEMENT):
            _delete(landing, dataset, replaced[first : first + _FILES_PER_STATEMENT], stamp)
        for table, count in staged.items():
            _copy(landing, table, count, stamp)
        _take(
            landing, dataset, stamp, {file: landing.ready[file] for file in before if file in landing.ready}
        )
        execute(landing, "commit")
    except BaseException:
        # a session that is gone has rolled back, and must not hide why
        with suppress(Error):
            execute(landing, "rollback")
        raise


def _stage(
    landing: Landing,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stamp: "Stamp",
    folder: Path,
) -> dict[str, int]:
    """PUT the batch's rows, rejects and ledger as Parquet; return the rows of each table that has any."""
    counts = {}
    for table in (dataset.name, f"{dataset.name}_rejects", "landed_files"):
        columns = ", ".join(
            # a time as text is read alike whatever a reader makes of Parquet's logical types
            f'cast("{column}" as {"varchar" if kind in _TYPES else kind}) as "{column}"'
            for column, kind in landing_tables()[table]
        )
        mine = f" where batch_id = {literal(stamp.batch_id)}" if table == "landed_files" else ""
        ((count,),) = connection.execute(f"select count(*) from staging.{table}{mine}").fetchall()
        if not count:
            continue
        counts[table] = count
        place = folder / table
        connection.execute(
            f"copy (select {columns} from staging.{table}{mine}) to {literal(str(place))} "
            f"(format parquet, compression snappy, file_size_bytes {PART_BYTES})"
        )
        for path in sorted(place.glob("*.parquet") if place.is_dir() else [place]):
            file = literal(f"file://{path.as_posix()}")
            execute(landing, f"put {file} {_place(landing, table, stamp)} auto_compress = false")
    return counts


def _place(landing: Landing, table: str, stamp: "Stamp") -> str:
    # a folder of the batch's own: load history would skip a file of a name that it has seen
    return f"@{landing.schema}.{STAGE}/{stamp.batch_id}/{table}/"


def _lock(landing: Landing, dataset: Dataset, stamp: "Stamp", before: dict[str, str | None]) -> None:
    """Wait for other landings of the data set: inserts alone never wait for each other on Snowflake."""
    execute(
        landing,
        f"update {landing.schema}.landing_lock set batch_id = %s where dataset = %s",
        (stamp.batch_id, dataset.name),
    )
    files = list(before)
    for first in range(0, len(files), _FILES_PER_STATEMENT):
        some = files[first : first + _FILES_PER_STATEMENT]
        found = dict(
            execute(
                landing,
                f"select file, content_hash from {landing.schema}.landed_files "
                f"where dataset = %s and file in ({_FILES})",
                (dataset.name, json.dumps(some)),
            )
        )
        changed = [file for file in some if found.get(file) != before[file]]
        if changed:
            raise UserError(
                f"{changed[0]} was landed by another process meanwhile ({len(changed)} such file(s)); "
                "what this run landed before is complete: run the command again when the other is done"
            )


_FILES = "select value::varchar from table(flatten(input => parse_json(%s)))"


def _delete(landing: Landing, dataset: Dataset, files: list[str], stamp: "Stamp") -> None:
    schema = landing.schema
    names = ", ".join(column for column, _, _ in dataset.keys)
    keys = ", ".join(_key(value) for _, _, value in dataset.keys)
    listed = json.dumps(files)
    execute(
        landing,
        f"insert into {schema}.{dataset.name}_removed (batch_id, {names}) select distinct %s, {keys} "
        f"from {schema}.{dataset.name} where _file in ({_FILES})",
        (stamp.batch_id, listed),
    )
    for table in (dataset.name, f"{dataset.name}_rejects"):
        execute(landing, f"delete from {schema}.{table} where _file in ({_FILES})", (listed,))
    execute(
        landing,
        f"delete from {schema}.landed_files where dataset = %s and file in ({_FILES})",
        (dataset.name, listed),
    )


def _take(landing: Landing, dataset: Dataset, stamp: "Stamp", ready: dict[str, Ready]) -> None:
    """Insert the plain lines of files."""
    expected = sum(file.rows for file in ready.values())
    if not expected:
        return
    columns = ", ".join(column for column, _, _ in dataset.table)
    (table,) = {file.table for file in ready.values()}
    files = json.dumps([{"name": file.name, "uri": uri} for uri, file in ready.items()])
    result = execute(
        landing,
        f"insert into {landing.schema}.{dataset.name} ({columns}, _file, _line, _loaded_at, _batch_id) "
        f"select {columns}, files.uri, line, to_timestamp_ntz(%s), %s from {table} inner join "
        "(select value:name::varchar as name, value:uri::varchar as uri "
        "from table(flatten(input => parse_json(%s)))) as files on file = files.name where plain",
        (stamp.landed_at.isoformat(sep=" "), stamp.batch_id, files),
    )
    if int(result[0][0]) != expected:
        raise UserError(
            f"Snowflake took {result[0][0]} of {expected} plain lines into {landing.schema}.{dataset.name}; "
            "the batch was undone: run the command again"
        )


def _key(value: str) -> str:
    column, _, member = value.partition(".")
    return f"nullif(parse_json({column}, 'd'):{member}::varchar, '')" if member else column


def _copy(landing: Landing, table: str, count: int, stamp: "Stamp") -> None:
    columns = landing_tables()[table]
    names = ", ".join(column for column, _ in columns)
    values = ", ".join(f"$1:{column}::{_type(kind)}" for column, kind in columns)
    loaded = execute(
        landing,
        f"copy into {landing.schema}.{table} ({names}) from (select {values} "
        f"from {_place(landing, table, stamp)}) file_format = (type = parquet) purge = true",
    )
    # a row per file: name, status, rows parsed, rows loaded; one row of one text when there was no file
    rows = sum(int(row[3]) for row in loaded if len(row) > 3)
    if rows != count:
        raise UserError(
            f"Snowflake loaded {rows} of {count} rows into {landing.schema}.{table}; the batch was undone: "
            "run the command again"
        )


def execute(landing: Landing, statement: str, parameters: tuple[Any, ...] | None = None) -> list[Any]:
    """Run one statement in the session of a landing and return its rows."""
    with landing.connection.cursor() as cursor:
        return list(cursor.execute(statement, parameters).fetchall())
