"""Unloading from Snowflake: it writes the files itself, by COPY INTO an external stage, and this machine
reads them back before the manifest names them.

COPY INTO: https://docs.snowflake.com/en/sql-reference/sql/copy-into-location
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential

from scripts import warehouse
from scripts.console import console
from scripts.errors import UserError
from scripts.snowflake import account
from scripts.snowflake.names import identifier, literal, quoted
from scripts.staging import staging_folder
from scripts.unload import encode
from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.dialects import Dialect, snowflake
from scripts.unload.encode import Compression
from scripts.unload.engines.base import Columns, Work
from scripts.unload.engines.snowflake_files import checked, delete_unpublished, read_back, written_of
from scripts.unload.engines.snowflake_stage import STAGE, Stage, find_stage
from scripts.unload.places.base import Place

VERB = "unload"

# One COPY writes at most this many rows, and at least one partition. A kill loses that much.
_MOST_ROWS = 50_000_000
# The list of a condition may hold 16,384 expressions; this many hours are six weeks.
_MOST_PARTITIONS = 1_000
_LARGEST_FILE = 5_368_709_120

_COMPRESSION = {Compression.SNAPPY: "snappy", Compression.NONE: "none"}
_SETTINGS = {
    # without it, a file's types are the smallest that hold its values, and two files differ
    "ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION": False,
    # without it, a COPY that is only polled may be ended after five minutes as one without a client
    "ABORT_DETACHED_QUERY": False,
}
# The connector's names of the types that a file can hold.
_TIMESTAMP = "TIMESTAMP_NTZ"
_TYPES = {
    "TEXT": "VARCHAR",
    "REAL": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    _TIMESTAMP: _TIMESTAMP,
}
# VARCHAR alone holds 16 MB, and a text of vars or attrs may be longer.
_LONG = "VARCHAR(134217728)"
_FETCHED_ROWS = 10_000
_STOPPING_SECONDS = 120


def require_possible(to: str, format: Format, max_file_size: int, given: Mapping[str, str | None]) -> None:
    """Raise UserError for what Snowflake cannot do; `given`: the values of options it refuses, by name."""
    if not to.startswith("s3://"):
        raise UserError(
            f"--to {to}: Snowflake writes to S3, by its external stage: give s3://bucket/prefix below the "
            "stage's URL, or --target duckdb to unload to a folder"
        )
    if format is Format.AVRO:
        raise UserError("--format avro: Snowflake unloads CSV, JSON and Parquet: leave it out for Parquet")
    if max_file_size > _LARGEST_FILE:
        raise UserError(f"--max-file-size: Snowflake writes files of at most {_LARGEST_FILE:,} bytes")
    for option in (option for option, value in given.items() if value):
        raise UserError(
            f"{option} is for files that this machine uploads. Snowflake writes them as its stage says "
            "(alter stage … set encryption = (type = 'AWS_SSE_KMS' kms_key_id = '…')), and manifests get "
            "what the bucket gives by default: leave it out"
        )


def compression_for(named: Compression | None) -> Compression:
    """Return the compression to use.

    Raises:
        UserError: Snowflake's Parquet does not have it.
    """
    if named and named not in _COMPRESSION:
        raise UserError(f"--compression {named}: Snowflake's Parquet takes {', '.join(_COMPRESSION)}")
    return named or Compression.SNAPPY


def open_snowflake(
    project_dir: Path, profiles_dir: Path | None, target: str | None, place: Place | None, stage: str | None
) -> "Snowflake":
    """Open a session of the Snowflake target; with a place, for unloading there.

    Raises:
        UserError: the session cannot be opened, or the stage is not there or leads elsewhere.
    """
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    production = warehouse.production_schema(project_dir)

    def schema(layer: str) -> str:
        return identifier(warehouse.layer_schema(settings, layer, production), "schema")

    tags = {"to": place.uri} if place else {}
    verb = VERB if place else "verify"
    session = warehouse.connect_snowflake(project_dir, profiles_dir, target, verb, tags, _SETTINGS)
    engine = Snowflake(session, snowflake(schema), warehouse.query_tag(verb, tags))
    try:
        if place:
            named = stage or f"{schema('staging')}.{STAGE}"
            engine.stage = find_stage(session, named, str(settings["database"]), schema("staging"), place)
    except BaseException:
        engine.close()
        raise
    return engine


class Snowflake:
    """A session on Snowflake as an engine to unload from. `stage`: of an unload; `tag`: of its queries."""

    name = "snowflake"

    def __init__(self, session: Any, dialect: Dialect, tag: str) -> None:
        self.session, self.dialect, self.tag = session, dialect, tag
        self.stage: Stage | None = None
        self._described: dict[str, Columns] = {}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with account.explained(sql), self.session.cursor() as cursor:
            return [tuple(row) for row in cursor.execute(sql).fetchall()]

    def describe(self, query: str) -> Columns:
        """Return names, in lower case, and types of a query's columns.

        Types are what the columns are cast to on their way out: BIGINT becomes INT64 in Parquet, a bare
        NUMBER DECIMAL (https://docs.snowflake.com/en/user-guide/data-unload-considerations).

        Raises:
            UserError: Snowflake refuses, or a column has a type that no file can hold.
        """
        if query not in self._described:
            with account.explained(query), self.session.cursor() as cursor:
                columns = tuple((column.name.lower(), _type(column)) for column in cursor.describe(query))
            self._described[query] = columns
        return self._described[query]

    def object_name(self, dataset: Dataset, format: Format) -> str:
        """Return the form of the names that Snowflake gives."""
        return f"data_*.{format.value}"

    def begin(self, place: Place) -> None:
        """Cancel what a killed run left running: Snowflake goes on without its client.

        Raises:
            UserError: Snowflake refuses, or the query does not end.
        """
        running = (
            "select query_id from table(information_schema.query_history_by_user(result_limit => 10000)) "
            f"where query_tag = {literal(self.tag)} and session_id != current_session() and "
            "upper(execution_status) in ('RUNNING', 'QUEUED', 'BLOCKED', 'RESUMING_WAREHOUSE')"
        )

        def left() -> list[str]:
            return [str(query_id) for (query_id,) in self.query(running)]

        query_ids = left()
        for query_id in query_ids:
            self._cancel(query_id)
            console.print(
                f"cancelled {query_id}, which a killed run left running on Snowflake", soft_wrap=True
            )
        if not query_ids:
            return
        try:
            Retrying(
                retry=retry_if_result(bool),
                wait=wait_exponential(0.1, max=5),
                stop=stop_after_delay(_STOPPING_SECONDS),
            )(left)
        except RetryError:
            raise UserError(
                f"a query of an earlier unload to {place.uri} is still being cancelled on Snowflake: run the "
                "same command again in a few minutes"
            ) from None

    def write(self, work: Work) -> None:
        """Let Snowflake write some partitions, read them back, publish them, and continue with the next."""
        chunks = list(encode.chunks(work.plan.write, _MOST_ROWS, _MOST_PARTITIONS))
        for number, chunk in enumerate(chunks):
            if number:
                work.publisher.settle(last=False)
            work.require()
            answer = self._run(self.copy_statement(work, list(chunk)))
            written = written_of(work.plan.dataset, answer)
            try:
                there = checked(work, chunk, written)
                read_back(work, chunk, written, there)
            except BaseException:
                # no manifest names them, and the next run would delete them
                with suppress(UserError):
                    delete_unpublished(work, written)
                raise

    def copy_statement(self, work: Work, partitions: list[str]) -> str:
        """Return the statement that writes these partitions.

        The expression of PARTITION BY sees only the columns of the files. Timestamps have no time zone,
        because unloading one with a time zone is an error.
        """
        assert self.stage
        dataset, options = work.plan.dataset, work.options
        columns = ", ".join(
            f"cast(chosen.{name} as {_LONG if kind == 'VARCHAR' else kind}) as {quoted(name)}"
            for name, kind in work.plan.columns
        )
        rows = self.dialect.rows(dataset, options.layout, partitions)
        divided, named = "", "include_query_id = true "
        if dataset.period:
            # with PARTITION BY, names contain the query's id anyway
            column = quoted(dataset.moment.split(".")[-1])
            divided, named = f"partition by ({self.dialect.folders(dataset, column)}) ", ""
        return (
            f"copy into {self.stage.address(dataset.name)} from (select {columns} from ({rows}) as chosen) "
            f"{divided}file_format = (type = parquet compression = {_COMPRESSION[options.compression]}) "
            f"max_file_size = {options.max_file_size} {named}detailed_output = true header = true"
        )

    def _run(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement that may take long; what stops this run also cancels the statement."""
        with account.explained(statement), self.session.cursor() as cursor:
            cursor.execute_async(statement)
            try:
                cursor.get_results_from_sfqid(cursor.sfqid)
                found = cursor.fetchall()
                names = [column[0].lower() for column in cursor.description]
            except BaseException as error:
                said = f"{cursor.sfqid} may still run on Snowflake; the next run cancels it"
                with suppress(UserError):
                    self._cancel(cursor.sfqid)
                    said = f"cancelled {cursor.sfqid} on Snowflake; run the same command again to finish"
                if not isinstance(error, Exception):
                    console.print(said, soft_wrap=True)
                raise
        return [dict(zip(names, row, strict=True)) for row in found]

    def _cancel(self, query_id: str) -> None:
        self.query(f"select system$cancel_query({literal(query_id)})")

    @contextmanager
    def rows(
        self, dataset: Dataset, layout: Layout, partition: str
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Fetch a partition's rows into a temporary DuckDB, which compares more than memory holds."""
        query = self.dialect.rows(dataset, layout, [partition])
        columns = self.describe(self.dialect.whole(dataset, layout))
        # times as numbers, because session and connector decide how a client shows times
        fetched = ", ".join(
            f"date_part(epoch_microsecond, {name})" if kind == _TIMESTAMP else name for name, kind in columns
        )
        values = ", ".join(
            f"make_timestamp(cast({name} as bigint))" if kind == _TIMESTAMP else name
            for name, kind in columns
        )
        made = ", ".join(f"{name} {'timestamp' if kind == _TIMESTAMP else kind}" for name, kind in columns)
        with staging_folder() as folder:
            connection = duckdb.connect(config={"temp_directory": str(folder)})
            try:
                connection.execute(f"create table expected ({made})")
                with account.explained(query), self.session.cursor() as cursor:
                    cursor.execute(f"select {fetched} from ({query}) as chosen")
                    while some := cursor.fetchmany(_FETCHED_ROWS):
                        lists = map(list, zip(*some, strict=True))
                        batch = pyarrow.table(list(lists), names=[name for name, _ in columns])
                        connection.register("batch", batch)
                        connection.execute(f"insert into expected select {values} from batch")
                yield connection, "select * from expected"
            finally:
                connection.close()

    def close(self) -> None:
        """End the session."""
        self.session.close()


def _type(column: Any) -> str:
    """Return the type to unload a column as, from the connector's description of it."""
    # imported here because the connector takes half a second, which DuckDB targets should not
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    kind = FIELD_ID_TO_NAME[column.type_code]
    if kind == "FIXED":
        return f"DECIMAL({column.precision}, {column.scale})" if column.scale else "BIGINT"
    if kind not in _TYPES:
        raise UserError(
            f"column {column.name.lower()} is of type {kind}, which cannot be unloaded: change its model"
        )
    return _TYPES[kind]
