"""Unloading from Snowflake: it writes the files itself, by COPY INTO an external stage, and this machine
reads them back before the manifest names them.

What COPY INTO does is said in https://docs.snowflake.com/en/sql-reference/sql/copy-into-location.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet as parquet
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential

from scripts import warehouse
from scripts.console import console
from scripts.errors import UserError
from scripts.snowflake import account as snowflake_account
from scripts.snowflake.names import identifier, literal, quoted
from scripts.unload import encode
from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.dialects import Dialect, snowflake
from scripts.unload.encode import Compression
from scripts.unload.engines.base import Columns, Work, arrive, staging_folder
from scripts.unload.manifest import DataFile, Partition, joined, partition_of, query_of
from scripts.unload.places.base import Found, Place
from scripts.unload.publish import Contents

# The stage that `copymart bootstrap snowflake --unload` makes.
STAGE = "UNLOAD_S3"
VERB = "unload"

# One COPY writes so many rows at most, and one partition at least: what is lost when a run is killed.
_MOST_ROWS = 50_000_000
# A list of a condition may hold 16,384 expressions; so many hours are six weeks.
_MOST_PARTITIONS = 1_000
_LARGEST_FILE = 5_368_709_120

_COMPRESSION = {Compression.SNAPPY: "snappy", Compression.NONE: "none"}
_SETTINGS = {
    # else the types of a file are the smallest that hold its values, and two files differ
    "ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION": False,
    # else column names would be in upper case whatever their quotes say
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    # else a COPY that is only asked about now and then may end after five minutes as one without client
    "ABORT_DETACHED_QUERY": False,
}
# What the connector calls the types that a file can hold.
_TIMESTAMP = "TIMESTAMP_NTZ"
_TYPES = {
    "TEXT": "VARCHAR",
    "REAL": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    _TIMESTAMP: _TIMESTAMP,
}
_FETCHED_ROWS = 10_000
_STOPPING_SECONDS = 120


@dataclass(frozen=True)
class Stage:
    """An external stage, by its quoted name, and the folder below its URL where the place begins."""

    name: str
    folder: str

    def address(self, *folders: str) -> str:
        """Return the constant that names a folder below the place."""
        return literal(f"@{self.name}/{joined(self.folder, *folders)}/")


@dataclass(frozen=True)
class Written:
    """A file that Snowflake says it wrote: its key below the dataset's folder, and its rows."""

    key: str
    rows: int


def require_possible(to: str, format: Format, max_file_size: int, given: Mapping[str, str | None]) -> None:
    """Raise UserError for what Snowflake cannot do; `given`: options that nobody may give, by name."""
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
    production = str(warehouse.project_vars(project_dir)["production_schema"])

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


def find_stage(session: Any, named: str, database: str, schema: str, place: Place) -> Stage:
    """Return the stage of a name, in this database and schema unless the name has its own.

    Raises:
        UserError: it is no name, the role sees no such stage, or the stage does not lead to the place.
    """
    name, address = snowflake_account.find_stage(session, named, (identifier(database, "database"), schema))
    told = ".".join(name)
    if address is None:
        raise UserError(
            f"there is no stage {told}, or the role may not use it: `copymart bootstrap snowflake --unload "
            f"{place.uri}/ --storage-role-arn …` makes {STAGE} and grants it; --stage names another one"
        )
    # s3gov:// and s3china:// are AWS's other partitions, s3compat:// other servers: the bucket is named alike
    url = re.sub(r"^s3(gov|china|compat)?://", "", address).rstrip("/") + "/"
    to = place.uri.removeprefix("s3://") + "/"
    if not to.startswith(url):
        raise UserError(
            f"--to {place.uri} does not lie below the URL of the stage {told}, {address or 'none'}: "
            "give a place below it, name another stage with --stage, or move this one with `copymart "
            f"bootstrap snowflake --unload {place.uri}/`"
        )
    return Stage(quoted(*name), to.removeprefix(url).strip("/"))


class Snowflake:
    """A session on Snowflake as an engine to unload from. `stage`: of an unload; `tag`: of its queries."""

    name = "snowflake"

    def __init__(self, session: Any, dialect: Dialect, tag: str) -> None:
        self.session, self.dialect, self.tag = session, dialect, tag
        self.stage: Stage | None = None
        self._described: dict[str, Columns] = {}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with snowflake_account.refusals(sql), self.session.cursor() as cursor:
            return [tuple(row) for row in cursor.execute(sql).fetchall()]

    def describe(self, query: str) -> Columns:
        """Return names, in lower case, and types of a query's columns.

        Types are what the columns are cast to on their way out: BIGINT becomes INT64 in Parquet, a bare
        NUMBER DECIMAL (https://docs.snowflake.com/en/user-guide/data-unload-considerations).

        Raises:
            UserError: Snowflake refuses, or a column has a type that no file can hold.
        """
        if query not in self._described:
            with snowflake_account.refusals(query), self.session.cursor() as cursor:
                columns = tuple((column.name.lower(), _type(column)) for column in cursor.describe(query))
            self._described[query] = columns
        return self._described[query]

    def object_name(self, dataset: Dataset, format: Format) -> str:
        """Return the form of the names that Snowflake gives."""
        return f"data_*.{format.value}"

    def begin(self, place: Place) -> None:
        """Cancel what a run that was killed left running: Snowflake goes on without it.

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
                f"cancelled {query_id}, which a run that was killed left running on Snowflake", soft_wrap=True
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
        """Let Snowflake write some partitions, read them back and settle them, and go on with the next."""
        chunks = list(encode.chunks(work.plan.write, _MOST_ROWS, _MOST_PARTITIONS))
        for number, chunk in enumerate(chunks):
            if number:
                work.publisher.settle(last=False)
            work.require()
            answer = self._run(self.copy_statement(work, list(chunk)))
            written = written_of(work.plan.dataset, answer)
            try:
                there = _checked(work, chunk, written)
                _read_back(work, chunk, written, there)
            except BaseException:
                # nobody knows of them, and the next run would delete them
                with suppress(UserError):
                    _delete_unpublished(work, written)
                raise

    def copy_statement(self, work: Work, partitions: list[str]) -> str:
        """Return the statement that writes these partitions.

        The expression of PARTITION BY sees the columns of the files alone. Timestamps have no time zone, as
        the unload of one that has ends with an error.
        """
        assert self.stage
        dataset, options = work.plan.dataset, work.options
        columns = ", ".join(
            f"cast(chosen.{name} as {kind}) as {quoted(name)}" for name, kind in work.plan.columns
        )
        rows = self.dialect.rows(dataset, options.layout, partitions)
        divided, named = "", "include_query_id = true "
        if dataset.period:
            # names hold the query's id of themselves then
            column = quoted(dataset.moment.split(".")[-1])
            divided, named = f"partition by ({self.dialect.folders(dataset, column)}) ", ""
        return (
            f"copy into {self.stage.address(dataset.name)} from (select {columns} from ({rows}) as chosen) "
            f"{divided}file_format = (type = parquet compression = {_COMPRESSION[options.compression]}) "
            f"max_file_size = {options.max_file_size} {named}detailed_output = true header = true"
        )

    def _run(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement that may take long; whatever stops this run stops the statement too."""
        with snowflake_account.refusals(statement), self.session.cursor() as cursor:
            cursor.execute_async(statement)
            try:
                cursor.get_results_from_sfqid(cursor.sfqid)
                found = cursor.fetchall()
                names = [column[0].lower() for column in cursor.description]
            except BaseException as error:
                told = f"{cursor.sfqid} may still run on Snowflake; the next run cancels it"
                with suppress(UserError):
                    self._cancel(cursor.sfqid)
                    told = f"cancelled {cursor.sfqid} on Snowflake; run the same command again to finish"
                if not isinstance(error, Exception):
                    console.print(told, soft_wrap=True)
                raise
        return [dict(zip(names, row, strict=True)) for row in found]

    def _cancel(self, query_id: str) -> None:
        self.query(f"select system$cancel_query({literal(query_id)})")

    @contextmanager
    def rows(
        self, dataset: Dataset, layout: Layout, partition: str
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Bring a partition's rows to a DuckDB that is thrown away, which compares more than memory holds."""
        query = self.dialect.rows(dataset, layout, [partition])
        columns = self.describe(self.dialect.whole(dataset, layout))
        # times as numbers: what a client makes of times depends on session and connector
        fetched = ", ".join(
            f"date_part(epoch_microsecond, {name})" if kind == _TIMESTAMP else name for name, kind in columns
        )
        values = ", ".join(
            f"make_timestamp(cast({name} as bigint))" if kind == _TIMESTAMP else name
            for name, kind in columns
        )
        made = ", ".join(f"{name} {'timestamp' if kind == _TIMESTAMP else kind}" for name, kind in columns)
        with TemporaryDirectory(prefix="copymart-verify-") as folder:
            connection = duckdb.connect(config={"temp_directory": folder})
            try:
                connection.execute(f"create table expected ({made})")
                with snowflake_account.refusals(query), self.session.cursor() as cursor:
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
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    kind = FIELD_ID_TO_NAME[column.type_code]
    if kind == "FIXED":
        return f"DECIMAL({column.precision}, {column.scale})" if column.scale else "BIGINT"
    if kind not in _TYPES:
        raise UserError(
            f"column {column.name.lower()} is of type {kind}, which cannot be unloaded: change its model"
        )
    return _TYPES[kind]


def written_of(dataset: Dataset, answer: Sequence[Mapping[str, Any]]) -> list[Written]:
    """Return the files in the answer of a COPY with DETAILED_OUTPUT.

    Their names are paths, and the documentation does not say from where: only their end is looked at.

    Raises:
        UserError: the answer has other columns.
    """
    depth = len(dataset.period.folders.split("/")) if dataset.period else 0
    try:
        return [
            Written("/".join(file["file_name"].split("/")[-1 - depth :]), int(file["row_count"]))
            for file in answer
        ]
    except KeyError as error:
        raise UserError(
            f"COPY INTO answered without {error.args[0]}, with {', '.join(answer[0])}: this copymart does "
            "not know the answer. The next run deletes what it wrote"
        ) from error


def _checked(work: Work, chunk: Mapping[str, Contents], written: Sequence[Written]) -> dict[str, Found]:
    """Return the objects below the dataset's folder, by key, among them all that Snowflake says it wrote.

    Raises:
        UserError: partitions have other rows than the warehouse, or a file is not at the place.
    """
    dataset, place = work.plan.dataset, work.place
    rows: Counter[str | None] = Counter()
    for file in written:
        rows[partition_of(dataset, file.key)] += file.rows
    expected = {name: held.rows for name, held in chunk.items()}
    if rows != expected:
        off = sorted(set(map(str, rows.items())) ^ set(map(str, expected.items())))[:3]
        raise UserError(
            f"{dataset.name}: the files that Snowflake wrote have other rows than the warehouse had (e.g. "
            f"{', '.join(off)}); they were deleted and none was published. Was there a `dbt build` meanwhile?"
            " Unload again when it is done; when it happens without, it is a fault of copymart"
        )
    folder = f"{dataset.name}/"
    there = {found.key.removeprefix(folder): found for found in place.list(folder)}
    for file in written:
        if file.key not in there:
            raise UserError(
                f"Snowflake says that it wrote {folder}{file.key}, and it is not at {place.uri}: does the "
                "stage lead to another server than --endpoint-url, or did somebody delete it?"
            )
    return there


def _read_back(
    work: Work, chunk: Mapping[str, Contents], written: Sequence[Written], there: Mapping[str, Found]
) -> None:
    """Read every file as its readers will, and note the partitions."""
    files: dict[str, list[Written]] = {name: [] for name in chunk}
    for file in sorted(written, key=lambda each: each.key):
        files[str(partition_of(work.plan.dataset, file.key))].append(file)
    with staging_folder(work.options.staging) as folder, ThreadPoolExecutor(work.options.concurrency) as pool:
        try:
            on_their_way = [
                pool.submit(_partition, name, held, files[name], there, work, folder)
                for name, held in chunk.items()
            ]
            for future in on_their_way:
                future.add_done_callback(lambda _: work.advance(1))
            arrive(on_their_way, work.publisher)
        finally:
            pool.shutdown(cancel_futures=True)


def _partition(
    name: str,
    held: Contents,
    files: Sequence[Written],
    there: Mapping[str, Found],
    work: Work,
    folder: Path,
) -> Partition:
    return Partition(
        name,
        held.rows,
        held.hash_sum,
        work.plan.shape,
        work.run.run_id,
        tuple(_data_file(file, there[file.key], work, folder) for file in files),
    )


def _data_file(file: Written, found: Found, work: Work, folder: Path) -> DataFile:
    where = joined(work.plan.dataset.name, file.key)
    uri = f"{work.place.uri}/{where}"
    path = folder / file.key.replace("/", "-")
    work.place.fetch(where, path)
    try:
        names = parquet.read_schema(path).names
        encoded = encode.described(path)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{uri}, which Snowflake wrote, cannot be read: {error}") from error
    expected = [name for name, _ in work.plan.columns]
    if names != expected or encoded.rows != file.rows:
        raise UserError(
            f"{uri}, which Snowflake wrote, has {encoded.rows:,} rows of the columns {', '.join(names)}; it "
            f"should have {file.rows:,} of {', '.join(expected)}. It was deleted; run the same command again"
        )
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    size = path.stat().st_size
    path.unlink()
    return DataFile(file.key, file.rows, size, sha256, found.etag, *encoded.times)


def _delete_unpublished(work: Work, written: Sequence[Written]) -> None:
    """Delete what the queries of these files wrote, whatever folder it is in, but for noted partitions."""
    publisher = work.publisher
    noted = {file.key for each in (*publisher.waiting, *publisher.outcome.written) for file in each.files}
    queries = {query_of(file.key.rpartition("/")[2]) for file in written} - {None}
    folder = f"{work.plan.dataset.name}/"
    work.place.delete(
        [
            found.key
            for found in work.place.list(folder)
            if query_of(found.key.rpartition("/")[2]) in queries
            and found.key.removeprefix(folder) not in noted
        ]
    )
