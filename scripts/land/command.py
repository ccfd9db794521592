"""`copymart land`: raw files to the landing tables of the staging schema, every line to exactly one place."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from itertools import chain
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import Annotated, Any, TypeVar

import duckdb
import pyarrow as pa
import typer
from rich.table import Table
from rich.text import Text

from scripts import s3
from scripts.console import SNOWFLAKE, WHAT, console, error_console, progress
from scripts.errors import UserError
from scripts.land.records import PIECE_BYTES, Piece, read_pieces
from scripts.land.rules import (
    CALLS,
    DATASETS,
    EVENTS,
    MACROS,
    Dataset,
    check_query,
    duckdb_key,
    exact_query,
    name,
    quoted,
    raw_query,
    suspects_query,
)
from scripts.land.sources import (
    FORMATS_TEXT,
    Location,
    Opened,
    Refused,
    SourceFile,
    list_files,
    locate,
    open_file,
    open_files,
    printable,
)
from scripts.warehouse import (
    ProfilesDir,
    ProjectDir,
    Target,
    connect,
    connect_snowflake,
    credentials,
    project_vars,
)

_TRACE = "_file varchar, _line bigint, _loaded_at timestamp, _batch_id varchar"
_LEDGER = """
create table if not exists staging.landed_files (
    dataset varchar, file varchar, path_hour timestamp, size_bytes bigint, content_hash varchar,
    row_count bigint, reject_count bigint, loaded_at timestamp, batch_id varchar, unknown_fields varchar
)"""
_BATCHES = """
create table if not exists staging.landed_batches (batch_id varchar, dataset varchar, landed_at timestamp)"""

CHUNK_BYTES = 2 * PIECE_BYTES
MOST_FILES = 2_000
BATCH_ROWS = 16_384
MOST_LINES = 10
_NAMED = "see staging.landed_files.unknown_fields"


def ddl() -> list[str]:
    """Statements that make the landing tables of both data sets, or bring them to what they are now."""
    statements = ["create schema if not exists staging", _LEDGER, _BATCHES]
    for dataset in DATASETS:
        columns = ", ".join(f"{name(column)} {kind}" for column, kind, _ in dataset.table)
        keys = ", ".join(f"{name(column)} {kind}" for column, kind, _ in dataset.keys)
        statements += [
            f"create table if not exists staging.{dataset.name} ({columns}, {_TRACE})",
            f"create table if not exists staging.{dataset.name}_rejects"
            " (_file varchar, _line bigint, raw varchar, reason varchar, _loaded_at timestamp)",
            f"create table if not exists staging.{dataset.name}_removed (batch_id varchar, {keys})",
            f"alter table staging.{dataset.name} add column if not exists _batch_id varchar",
        ]
    ledger = "alter table staging.landed_files add column if not exists"
    return [*statements, f"{ledger} batch_id varchar", f"{ledger} unknown_fields varchar"]


@dataclass(frozen=True)
class Stamp:
    """Which landing transaction a row belongs to."""

    batch_id: str
    landed_at: datetime


Publish = Callable[[duckdb.DuckDBPyConnection, Dataset, Stamp, dict[str, str | None]], None]
"""Brings what an open transaction holds to another warehouse: its connection, data set and stamp, and for
each of its files the content that the ledger gave for it before, None for a new file."""


@dataclass(frozen=True)
class Known:
    """What the ledger says of one file."""

    digest: str
    size: int
    path_hour: datetime | None


@dataclass
class Plan:
    """What one run means to do for one data set."""

    dataset: Dataset
    location: Location
    files: list[SourceFile]
    known: dict[str, Known]
    removed: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What one run did for one data set.

    `unknown` maps a file to the fields in it that land ignored. `held_back` are the files that are gone but
    whose rows a backfill did not remove, because a file was refused.
    """

    dataset: Dataset
    files: int = 0
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    replaced: int = 0
    removed: int = 0
    held_back: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    unknown: dict[str, set[str]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Chunk:
    """Records of one or several files, of one shape; the key of a file is its `file_no` in the table.

    `closes`: the transaction ends with this chunk. `unknown`: a file's columns that land ignores. `taken`:
    how many rows of a file another warehouse takes by itself.
    """

    table: pa.Table
    files: dict[int, Opened]
    closes: bool
    unknown: dict[str, tuple[str, ...]]
    taken: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A file without rows to land: `refusal` is None when its content is landed already."""

    file: SourceFile
    refusal: Refused | None = None
    breaks_off: bool = False


Read = Callable[[Plan, tuple[int, int], Any], Iterator[Chunk | Skipped]]
"""Gives the chunks of a plan's files, from the plan, the bounds of a record's time and the S3 client."""


@dataclass(frozen=True)
class Warehouse:
    """What a landing works with: the DuckDB that checks, and for Snowflake what stands before and behind it.

    `list_files` lists a location, from it and the S3 client.
    """

    connection: duckdb.DuckDBPyConnection
    publish: Publish | None = None
    read: Read | None = None
    list_files: Callable[[Location, Any], list[SourceFile]] = list_files


EXAMPLES = """
copymart land --calls logs/justai/calls --events logs/customerio/events
copymart land --calls s3://acme/justai/calls \\
    --role-arn arn:aws:iam::123456789012:role/loader
copymart land --calls s3://acme/justai/calls \\
    --backfill 2026-01-01 2026-01-08 --dry-run
"""


def land(
    calls: Annotated[
        str | None,
        typer.Option(help="JustAI call logs: a folder, glob, file or `s3://` prefix.", rich_help_panel=WHAT),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(help="Customer.io webhook events: likewise.", rich_help_panel=WHAT),
    ] = None,
    backfill: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="START END",
            help="Make the range [START, END) equal to the files there now: rows of files that are gone are "
            "removed. The range is in UTC hours of the files' paths (`…/YYYY/MM/DD/HH/…`), written "
            "`2026-09-01` or `2026-09-01T05`.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Let `--backfill` empty an hour that had files and now has none.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be landed, replaced and removed; change nothing.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    role_arn: s3.RoleArn = None,
    external_id: s3.ExternalId = None,
    endpoint_url: s3.EndpointUrl = None,
    region: s3.Region = None,
    stage: Annotated[
        str | None,
        typer.Option(
            help="Snowflake stage through which to read `s3://`: NAME, SCHEMA.NAME or DATABASE.SCHEMA.NAME.",
            show_default="LANDING_S3 of the staging schema, if it exists",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    project_dir: ProjectDir = Path("."),
    profiles_dir: ProfilesDir = None,
    target: Target = None,
) -> None:
    """Load raw files into the landing tables; landing a file twice changes nothing.

    Reads JSON lines (`.jsonl`, `.ndjson`, `.json`; plain, `.gz`, `.zst`), Parquet and Avro. A file that did
    not change is skipped; a file that did replaces its rows. Lines that break a rule go to the `*_rejects`
    tables with the reason.

    With a Snowflake target, Snowflake copies and parses JSON lines: local files through PUT, `s3://` through
    a stage.

    Exit status 1 when a file was refused as a whole; all other files have landed.

    \f
    Raises:
        UserError: there is nothing to land, an option or the profile cannot be used, or a backfill would
            empty an hour.
    """
    for option, uri in (("--calls", calls), ("--events", events)):
        # Path("") is the current folder, which nobody meant.
        if uri is not None and not uri.strip():
            raise UserError(
                f"{option} is empty: give a folder, glob, file or s3:// prefix (is a shell variable unset?), "
                "or leave it out"
            )
    named = [(dataset, uri) for dataset, uri in ((CALLS, calls), (EVENTS, events)) if uri is not None]
    if not named:
        raise UserError("nothing to land: give --calls URI, --events URI or both")
    span = _span(*backfill) if backfill else None
    if allow_empty and not span:
        raise UserError("--allow-empty belongs to --backfill")
    locations = [(dataset, locate(uri)) for dataset, uri in named]
    remote = any(location.is_s3 for _, location in locations)
    store = s3.client(role_arn, external_id, endpoint_url, region) if remote else None
    settings = project_vars(project_dir)
    bounds = _bounds(settings)
    profile = credentials(project_dir, profiles_dir, target)
    elsewhere = profile["type"] == "snowflake"
    if stage is not None and not elsewhere:
        raise UserError(f"--stage belongs to a Snowflake target; the profile's is of type {profile['type']}")
    # before a warehouse is made; only an open session knows which places on S3 a stage covers
    listed = [
        (dataset, location, None if elsewhere and location.is_s3 else list_files(location, store))
        for dataset, location in locations
    ]
    place = (profile, project_dir, profiles_dir, target, dry_run)
    with (
        _open_snowflake(*place, settings["production_schema"], stage) if elsewhere else _open_duckdb(*place)
    ) as warehouse:
        plans = [
            plan_landing(
                warehouse.connection,
                dataset,
                location,
                warehouse.list_files(location, store) if files is None else files,
                span,
                allow_empty,
            )
            for dataset, location, files in listed
        ]
        for plan in plans:
            _print_removals(plan)
        if dry_run:
            for plan in plans:
                _print_dry_run(plan)
            return
        outcomes = [
            run(warehouse.connection, plan, bounds, store, warehouse.publish, warehouse.read)
            for plan in plans
        ]
    _print_outcomes(outcomes)
    if any(outcome.refused for outcome in outcomes):
        raise typer.Exit(1)


@contextmanager
def _open_snowflake(
    profile: dict[str, Any],
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    dry_run: bool,
    production_schema: str,
    stage: str | None,
) -> Iterator[Warehouse]:
    # imported here because the connector takes half a second, which DuckDB targets should not
    from scripts.land.snowflake.lines import find_stage, list_through, reader
    from scripts.land.snowflake.transaction import make_tables, open_landing, publisher, scratch

    session = connect_snowflake(project_dir, profiles_dir, target, verb="land")
    with open_landing(session, profile, production_schema) as landing:
        if not dry_run:
            make_tables(landing)
        external = find_stage(landing, stage)
        with scratch(landing, ddl()) as connection:
            yield Warehouse(
                connection, publisher(landing), reader(landing, external), list_through(landing, external)
            )


@contextmanager
def _open_duckdb(
    profile: dict[str, Any],
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    dry_run: bool,
) -> Iterator[Warehouse]:
    if dry_run and profile["type"] == "duckdb" and not Path(profile["path"]).exists():
        connection = duckdb.connect()
    else:
        connection = connect(project_dir, profiles_dir, target, read_only=dry_run)
    try:
        for statement in () if dry_run else ddl():
            connection.execute(statement)
        yield Warehouse(connection)
    except (duckdb.IOException, duckdb.TransactionException) as error:
        raise UserError(
            f"the warehouse cannot be written: {error}; files landed before this one are complete"
        ) from error
    finally:
        connection.close()


def _span(start: str, end: str) -> tuple[datetime, datetime]:
    first, last = _hour(start), _hour(end)
    if first >= last:
        raise UserError(f"--backfill {start} {end}: START must lie before END (END is not part of the range)")
    return first, last


def _hour(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--backfill: {text!r} is no time; write 2026-09-01 or 2026-09-01T05 (UTC)") from None
    if moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if moment != moment.replace(minute=0, second=0, microsecond=0):
        raise UserError(f"--backfill: {text!r} is no whole hour (UTC)")
    return moment


def _bounds(settings: dict[str, Any]) -> tuple[int, int]:
    """Unix seconds [earliest, latest) that a record's time must lie in."""
    seconds = []
    for key in ("earliest_event_at", "latest_event_at"):
        value = settings.get(key)
        try:
            moment = (
                datetime.combine(value, time()) if type(value) is date else datetime.fromisoformat(str(value))
            )
        except ValueError:
            raise UserError(
                f"dbt_project.yml: the var {key} is {value!r}; write a date such as '2000-01-01'"
            ) from None
        seconds.append(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    return seconds[0], seconds[1]


def plan_landing(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    location: Location,
    files: list[SourceFile],
    span: tuple[datetime, datetime] | None = None,
    allow_empty: bool = False,
) -> Plan:
    """Compare the listed files with the ledger.

    Raises:
        UserError: there is nothing to land, or the backfill's range is not safe to make equal to the files.
    """
    known = _ledger(connection, dataset)
    plan = Plan(dataset, location, files, known)
    if span:
        _plan_backfill(plan, span, allow_empty)
    if not any(file.format for file in plan.files) and not (span and allow_empty):
        others = sorted({Path(file.uri).suffix or file.uri.rsplit("/", 1)[-1] for file in plan.files})
        where = f"between {span[0]} and {span[1]} UTC " if span else ""
        raise UserError(
            f"{location.given}: no files to land {where}(of {FORMATS_TEXT})"
            + (f"; it holds only {', '.join(others)}" if others else "")
        )
    return plan


def _plan_backfill(plan: Plan, span: tuple[datetime, datetime], allow_empty: bool) -> None:
    first, last = span
    hourless = [file.uri for file in plan.files if file.path_hour is None]
    if hourless:
        raise UserError(
            f"--backfill needs the hour in the path (…/YYYY/MM/DD/HH/…), which {hourless[0]} lacks"
            + (f" ({len(hourless)} such files)" if len(hourless) > 1 else "")
        )
    plan.files = [file for file in plan.files if file.path_hour and first <= file.path_hour < last]
    there = {file.uri for file in plan.files}
    landed = {
        file: entry.path_hour
        for file, entry in plan.known.items()
        if entry.path_hour and first <= entry.path_hour < last and plan.location.covers(file)
    }
    plan.removed = sorted(set(landed) - there)
    filled = {file.path_hour for file in plan.files if file.format}
    emptied = sorted({hour for hour in landed.values() if hour not in filled and hour is not None})
    if emptied and not allow_empty:
        raise UserError(
            f"{plan.location.given}: {len(emptied)} hour(s) had files and now list none: "
            f"{_some([hour.strftime('%Y-%m-%dT%H') for hour in emptied])}. Expired files are no deletions; "
            "give --allow-empty if these hours' rows are really to be removed"
        )


def _some(texts: list[str]) -> str:
    more = len(texts) - MOST_LINES
    return ", ".join(texts[:MOST_LINES]) + (f" and {more} more" if more > 0 else "")


def _ledger(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, Known]:
    exists = "select 1 from duckdb_tables() where schema_name = 'staging' and table_name = 'landed_files'"
    if not connection.execute(exists).fetchall():
        return {}
    query = "select file, content_hash, size_bytes, path_hour from staging.landed_files where dataset = ?"
    rows = connection.execute(query, [dataset.name]).fetchall()
    return {file: Known(digest, size, hour) for file, digest, size, hour in rows}


def run(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    bounds: tuple[int, int],
    store: Any = None,
    publish: Publish | None = None,
    read: Read | None = None,
) -> Outcome:
    """Land the files of a plan; each is committed whole, together with its row in the ledger.

    Then the rows of removed files go, unless a file was refused: it may hold what theirs held. With `publish`
    a transaction is brought elsewhere, and `connection` keeps nothing of it. `read` gives the files' chunks;
    without it this machine reads all files.
    """
    started = perf_counter()
    outcome = Outcome(plan.dataset)
    connection.execute(MACROS)
    with progress(f"landing {plan.dataset.name}", len(plan.files)) as advance:
        chunks = read(plan, bounds, store) if read else ahead(read_chunks(plan, store))
        _land_files(connection, plan, bounds, chunks, outcome, advance, publish)
    if outcome.refused:
        outcome.held_back = len(plan.removed)
    elif plan.removed:
        _remove(connection, plan, publish)
        outcome.removed = len(plan.removed)
    outcome.seconds = perf_counter() - started
    return outcome


def _land_files(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    bounds: tuple[int, int],
    chunks: Iterator[Chunk | Skipped],
    outcome: Outcome,
    advance: Any,
    publish: Publish | None,
) -> None:
    batch: Batch | None = None
    try:
        for item in chunks:
            if isinstance(item, Skipped):
                advance(1)
                if item.breaks_off and batch:
                    connection.rollback()
                    batch = None
                if item.refusal:
                    outcome.refused.append((item.file.uri, str(item.refusal)))
                else:
                    outcome.unchanged += 1
                continue
            batch = batch or Batch(connection, plan, bounds, publish)
            batch.add(item)
            if item.closes:
                batch.commit(outcome)
                advance(len(batch.files))
                batch = None
    except BaseException:
        # a rollback that fails too (disk full, say) must not hide why
        with suppress(duckdb.Error):
            if batch:
                connection.rollback()
        raise


Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Make the next item while the current one is used: reading overlaps with DuckDB's work."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def read_chunks(plan: Plan, store: Any = None) -> Iterator[Chunk | Skipped]:
    """Read the files of a plan: small ones together, up to CHUNK_BYTES, a large one piece by piece."""
    fresh = []
    for file in plan.files:
        if same_etag(plan, file):
            yield Skipped(file)
        else:
            fresh.append(file)

    held: list[tuple[Opened, Piece]] = []
    size = 0
    for opened in open_files(fresh, store):
        if not isinstance(opened, Opened):
            yield Skipped(*opened)
            continue
        known = plan.known.get(opened.file.uri)
        if known and known.digest == opened.digest:
            opened.stream.close()
            yield Skipped(opened.file)
            continue
        pieces = read_pieces(opened, plan.dataset.columns)
        try:
            first, second = next(pieces), next(pieces, None)
        except Refused as refusal:
            yield Skipped(opened.file, refusal)
            continue
        full = size + first.table.nbytes > CHUNK_BYTES or len(held) >= MOST_FILES
        if held and (second or full or not first.table.schema.equals(held[-1][1].table.schema)):
            yield _chunk(held)
            held, size = [], 0
        if second:
            yield from _large_file(opened, chain((first, second), pieces))
        else:
            held.append((opened, first))
            size += first.table.nbytes
    if held:
        yield _chunk(held)


def same_etag(plan: Plan, file: SourceFile) -> bool:
    """Whether a file on S3 is the one that was landed before."""
    known = plan.known.get(file.uri)
    return bool(known and file.etag and (known.digest, known.size) == (file.etag, file.size))


def _large_file(opened: Opened, pieces: Iterator[Piece]) -> Iterator[Chunk | Skipped]:
    """One chunk per piece of a file; the last one closes the transaction, a refusal undoes it."""
    last = next(pieces)
    try:
        for piece in pieces:
            yield _chunk([(opened, last)], closes=False)
            last = piece
    except Refused as refusal:
        yield Skipped(opened.file, refusal, breaks_off=True)
        return
    yield _chunk([(opened, last)])


def _chunk(held: list[tuple[Opened, Piece]], closes: bool = True) -> Chunk:
    tables = []
    for number, (_, piece) in enumerate(held):
        numbers = pa.repeat(pa.scalar(number, pa.int32()), len(piece.table))
        tables.append(piece.table.add_column(0, "file_no", numbers))
    whole = pa.concat_tables(tables).combine_chunks()
    # DuckDB scans an Arrow table by its record batches, in parallel: neither one nor thousands of them.
    table = pa.Table.from_batches(whole.to_batches(BATCH_ROWS), whole.schema)
    unknown = {opened.file.uri: piece.unknown for opened, piece in held if piece.unknown}
    return Chunk(table, {number: opened for number, (opened, _) in enumerate(held)}, closes, unknown)


def _begin(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> Stamp:
    """Begin a transaction that leaves a row in landed_batches if it is committed."""
    now = datetime.now(UTC).replace(tzinfo=None)
    stamp = Stamp(f"{now:%Y%m%dT%H%M%S%f}-{token_hex(4)}", now)
    connection.begin()
    connection.execute(
        "insert into staging.landed_batches values (?, ?, ?)", [stamp.batch_id, dataset.name, now]
    )
    return stamp


class Batch:
    """One transaction: some files whole, with their rows in the ledger."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        bounds: tuple[int, int],
        publish: Publish | None = None,
    ) -> None:
        self.connection, self.plan, self.bounds, self.publish = connection, plan, bounds, publish
        self.files: dict[str, Opened] = {}
        self.counts: dict[str, Counter[str | None]] = {}
        self.unknown: dict[str, set[str]] = {}
        self.stamp = _begin(connection, plan.dataset)

    def add(self, chunk: Chunk) -> None:
        """Check the records of a chunk and insert them."""
        uris = {number: opened.file.uri for number, opened in chunk.files.items()}
        fresh = [uri for uri in uris.values() if uri not in self.files]
        self.files |= {opened.file.uri: opened for opened in chunk.files.values()}
        replaced = [uri for uri in fresh if uri in self.plan.known]
        _delete(self.connection, self.plan.dataset, replaced, self.stamp)
        for uri, names in chunk.unknown.items():
            self.unknown.setdefault(uri, set()).update(names)
        for uri, count in chunk.taken.items():
            self.counts.setdefault(uri, Counter())[None] += count
        self.connection.register("chunk", chunk.table)
        numbers = pa.array(uris.keys(), pa.int32())
        self.connection.register("files", pa.table({"file_no": numbers, "file": list(uris.values())}))
        self._insert(chunk.table.schema)
        self.connection.unregister("chunk")
        self.connection.unregister("files")

    def _insert(self, schema: pa.Schema) -> None:
        execute, dataset = self.connection.execute, self.plan.dataset
        table = f"staging.{dataset.name}"
        earliest, latest = self.bounds
        checked = check_query(dataset, schema)
        execute(
            f"create or replace temp table checked as {checked}", {"earliest": earliest, "latest": latest}
        )
        if dataset.maps:
            self._check_maps(dataset, schema)
        columns = ", ".join(name(column) for column, _, _ in dataset.table)
        execute(
            f"insert into {table} ({columns}, _file, _line, _loaded_at, _batch_id) "
            f"select {columns}, file, line, $landed_at, $batch_id from checked join files using (file_no) "
            "where reason is null",
            {"landed_at": self.stamp.landed_at, "batch_id": self.stamp.batch_id},
        )
        counting = "select file, reason, count(*) from checked join files using (file_no) group by all"
        counts = execute(counting).fetchall()
        for uri, reason, count in counts:
            self.counts.setdefault(uri, Counter())[reason] += count
        if any(reason for _, reason, _ in counts):
            execute(
                f"insert into {table}_rejects select file, line, raw, reason, $landed_at "
                f"from ({raw_query(dataset, schema)}) join checked using (file_no, line) "
                "join files using (file_no) where reason is not null",
                {"landed_at": self.stamp.landed_at},
            )
        self._note_unknown_fields(dataset)

    def _check_maps(self, dataset: Dataset, schema: pa.Schema) -> None:
        execute = self.connection.execute
        execute(f"create or replace temp table suspects as {suspects_query(dataset)}")
        flags = "select coalesce(bool_or(twice), false), coalesce(max(suspicion), 0) from suspects"
        ((twice, suspicion),) = execute(flags).fetchall()
        if twice:
            for column in dataset.maps:
                execute(
                    f"update checked set reason = 'duplicate_key_in_{column}' where reason is null "
                    f"and {name(column)} in (select value from suspects where twice and field = '{column}')"
                )
        if suspicion:
            maps = ", ".join(f"{name(column)} = exact.{name(column)}" for column in dataset.maps)
            execute(
                f"update checked set {maps} from ({exact_query(dataset, schema)}) as exact "
                "where checked.file_no = exact.file_no and checked.line = exact.line"
            )

    def _note_unknown_fields(self, dataset: Dataset) -> None:
        query = """
            select distinct file, unnest(keys) as key
            from (select distinct file_no, keys from checked where keys is not null)
            join files using (file_no)"""
        fields = ", ".join(quoted(column) for column in dataset.columns.fields)
        for file, key in self.connection.execute(f"from ({query}) where key not in ({fields})").fetchall():
            self.unknown.setdefault(file, set()).add(key)

    def commit(self, outcome: Outcome) -> None:
        """Write the ledger, end the transaction, and only then count its files in `outcome`."""
        rows = [(uri, opened, self.counts.get(uri, Counter())) for uri, opened in self.files.items()]
        ledger = pa.table(
            {
                "dataset": pa.array([self.plan.dataset.name] * len(rows), pa.string()),
                "file": pa.array([uri for uri, _, _ in rows], pa.string()),
                "path_hour": pa.array([opened.file.path_hour for _, opened, _ in rows], pa.timestamp("us")),
                "size_bytes": pa.array([opened.file.size for _, opened, _ in rows], pa.int64()),
                "content_hash": pa.array([opened.digest for _, opened, _ in rows], pa.string()),
                "row_count": pa.array([counts[None] for _, _, counts in rows], pa.int64()),
                "reject_count": pa.array(
                    [counts.total() - counts[None] for _, _, counts in rows], pa.int64()
                ),
                "loaded_at": pa.array([self.stamp.landed_at] * len(rows), pa.timestamp("us")),
                "batch_id": pa.array([self.stamp.batch_id] * len(rows), pa.string()),
                "unknown_fields": pa.array(
                    [
                        ",".join(sorted(names)) if (names := self.unknown.get(uri)) else None
                        for uri in self.files
                    ],
                    pa.string(),
                ),
            }
        )
        self.connection.register("ledger", ledger)
        self.connection.execute("insert into staging.landed_files by name from ledger")
        self.connection.unregister("ledger")
        _end(self.connection, self.plan, self.stamp, self.files, self.publish)

        outcome.files += len(rows)
        outcome.replaced += sum(uri in self.plan.known for uri in self.files)
        for _, _, counts in rows:
            outcome.rows += counts[None]
            outcome.rejected.update({reason: count for reason, count in counts.items() if reason})
        outcome.unknown |= self.unknown


def _end(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    stamp: Stamp,
    files: Iterable[str],
    publish: Publish | None,
) -> None:
    """End the transaction, here or where `publish` brings it."""
    if publish is None:
        connection.commit()
        return
    known = {file: plan.known.get(file) for file in files}
    publish(
        connection,
        plan.dataset,
        stamp,
        {file: entry.digest if entry else None for file, entry in known.items()},
    )
    connection.rollback()


def _delete(connection: duckdb.DuckDBPyConnection, dataset: Dataset, uris: list[str], stamp: Stamp) -> None:
    """Delete what files brought; the keys of their rows stay behind, for models to make those anew."""
    if not uris:
        return
    connection.register("gone", pa.table({"file": pa.array(uris, pa.string())}))
    keys = ", ".join(f"{duckdb_key(value)} as {name(column)}" for column, _, value in dataset.keys)
    connection.execute(
        f"insert into staging.{dataset.name}_removed by name select distinct $batch_id as batch_id, {keys} "
        f"from staging.{dataset.name} where _file in (from gone)",
        {"batch_id": stamp.batch_id},
    )
    for table in (dataset.name, f"{dataset.name}_rejects"):
        connection.execute(f"delete from staging.{table} where _file in (from gone)")
    connection.execute(
        "delete from staging.landed_files where dataset = ? and file in (from gone)", [dataset.name]
    )
    connection.unregister("gone")


def _remove(connection: duckdb.DuckDBPyConnection, plan: Plan, publish: Publish | None) -> None:
    stamp = _begin(connection, plan.dataset)
    _delete(connection, plan.dataset, plan.removed, stamp)
    _end(connection, plan, stamp, plan.removed, publish)


def _print_removals(plan: Plan) -> None:
    if plan.removed:
        console.print(
            f"{plan.dataset.name}: {len(plan.removed)} file(s) are gone, their rows will be removed:"
        )
        for uri in plan.removed:
            console.print(Text(f"  {uri}"), soft_wrap=True)


def _print_dry_run(plan: Plan) -> None:
    counts: Counter[str] = Counter()
    for file in plan.files:
        try:
            action = _intention(plan, file)
        except Refused as refusal:
            action = "refuse"
            _print_refused(file.uri, str(refusal))
        counts[action] += 1
        if action in ("land", "replace"):
            console.print(Text(f"would {action} {file.uri}"), soft_wrap=True)
    summary = ", ".join(f"{action} {counts[action]}" for action in ("land", "replace", "refuse"))
    console.print(
        f"{plan.dataset.name}: would {summary}, remove {len(plan.removed)} file(s), "
        f"{counts['unchanged']} unchanged; nothing was changed"
    )


def _intention(plan: Plan, file: SourceFile) -> str:
    """What a landing would do with a file; only a local file that was landed before is read for that."""
    known = plan.known.get(file.uri)
    if file.format is None or (known and not file.etag):
        opened = open_file(file)
        opened.stream.close()
        return "unchanged" if known and known.digest == opened.digest else "replace"
    if not known:
        return "land"
    return "unchanged" if same_etag(plan, file) else "replace"


def _print_outcomes(outcomes: list[Outcome]) -> None:
    table = Table("data set", box=None, padding=(0, 2, 0, 0))
    counts = ("files", "rows", "rejected", "unchanged", "replaced", "removed", "refused", "seconds", "rows/s")
    for column in counts:
        table.add_column(column, justify="right")
    for outcome in outcomes:
        numbers = (
            *(outcome.files, outcome.rows, outcome.rejected.total(), outcome.unchanged, outcome.replaced),
            *(outcome.removed, len(outcome.refused)),
        )
        rate = outcome.rows / outcome.seconds if outcome.seconds else 0
        table.add_row(
            outcome.dataset.name,
            *(f"{number:,}" for number in numbers),
            f"{outcome.seconds:.1f}",
            f"{rate:,.0f}",
        )
    console.print(table, width=max(console.width, 110), no_wrap=True)
    for outcome in outcomes:
        _print_notes(outcome)


def _print_notes(outcome: Outcome) -> None:
    if outcome.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in outcome.rejected.most_common())
        console.print(f"{outcome.dataset.name} rejected: {reasons}", soft_wrap=True)
        console.print(f"  see: select * from staging.{outcome.dataset.name}_rejects", soft_wrap=True)
    for line in unknown_notes(outcome.unknown):
        console.print(Text(line), soft_wrap=True)
    if outcome.held_back:
        console.print(
            f"{outcome.dataset.name}: the rows of {outcome.held_back} file(s) that are gone were "
            "not removed, because a file was refused: mend it and run again",
            soft_wrap=True,
        )
    for uri, reason in outcome.refused:
        _print_refused(uri, reason)


def unknown_notes(unknown: dict[str, set[str]]) -> list[str]:
    """Lines that name the fields land ignored, from a mapping of file to fields: at most MOST_LINES.

    One line stands for all files with the same set of fields, the set of most files first.
    """
    files: dict[tuple[str, ...], list[str]] = {}
    for uri, names in sorted(unknown.items()):
        files.setdefault(tuple(sorted(names)), []).append(uri)
    ordered = sorted(files.items(), key=lambda item: (-len(item[1]), item[1][0]))
    whole = len(ordered) if len(ordered) <= MOST_LINES else MOST_LINES - 1
    notes = [
        f"ignored unknown field(s) {_some(list(names))} in "
        + (f"{len(uris):,} files, the first {uris[0]}; {_NAMED}" if len(uris) > 1 else uris[0])
        for names, uris in ordered[:whole]
    ]
    if rest := ordered[whole:]:
        others = sorted({name for names, _ in rest for name in names})
        count = sum(len(uris) for _, uris in rest)
        notes.append(f"ignored unknown field(s) {_some(others)} in {count:,} more files; {_NAMED}")
    return notes


def _print_refused(uri: str, reason: str) -> None:
    error_console.print(Text.assemble(("refused: ", "red"), f"{printable(uri)}: {reason}"), soft_wrap=True)
