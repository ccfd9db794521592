"""`copymart land`: raw files to the landing tables of the staging schema, every line to exactly one place."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import duckdb
import pyarrow as pa
import typer
from rich.table import Table
from rich.text import Text

from scripts import s3
from scripts.console import console, error_console, progress
from scripts.errors import UserError
from scripts.land_rules import CALLS, DATASETS, EVENTS, MACROS, Dataset, check_query, duplicates_query, name, raw_query
from scripts.records import PIECE_BYTES, Piece, read_pieces
from scripts.sources import (
    FORMATS_TEXT,
    Location,
    Opened,
    Refused,
    SourceFile,
    list_files,
    locate,
    open_files,
)
from scripts.warehouse import ProfilesDir, ProjectDir, Target, connect, credentials, project_vars

_TRACE = "_file varchar, _line bigint, _loaded_at timestamp"
_LEDGER = """
create table if not exists staging.landed_files (
    dataset varchar, file varchar, path_hour timestamp, size_bytes bigint, content_hash varchar,
    row_count bigint, reject_count bigint, loaded_at timestamp
)"""
_MOST_LINES = 10


def ddl() -> list[str]:
    """Statements that make the landing tables of both data sets where they do not exist."""
    statements = ["create schema if not exists staging", _LEDGER]
    for dataset in DATASETS:
        columns = ", ".join(f"{name(column)} {kind}" for column, kind in dataset.table.items())
        statements += [
            f"create table if not exists staging.{dataset.name} ({columns}, {_TRACE})",
            f"create table if not exists staging.{dataset.name}_rejects"
            " (_file varchar, _line bigint, raw varchar, reason varchar, _loaded_at timestamp)",
        ]
    return statements


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
    """What one run did for one data set; `unknown` maps a file to the fields in it that land ignored."""

    dataset: Dataset
    files: int = 0
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    replaced: int = 0
    removed: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    unknown: dict[str, set[str]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Chunk:
    """Records of one or several files, of one shape. `closes`: the transaction ends with this chunk."""

    table: pa.Table
    opened: list[Opened]
    closes: bool
    unknown: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Skipped:
    """A file without rows to land: `refusal` is None when its content is landed already."""

    file: SourceFile
    refusal: Refused | None = None
    breaks_off: bool = False


def land(
    calls: Annotated[str | None, typer.Option(help="JustAI call logs: folder, glob, file or s3:// prefix.")] = None,
    events: Annotated[str | None, typer.Option(help="Customer.io webhook events: the same.")] = None,
    backfill: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="START END",
            help="Take only files whose path hour (…/YYYY/MM/DD/HH/…, UTC) lies in [START, END) and make the range "
            "equal to them: rows of files that are gone are removed. A time is 2026-09-01 or 2026-09-01T05.",
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Let --backfill empty an hour that had files and now lists none.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be landed, replaced and removed; change nothing.")
    ] = False,
    role_arn: Annotated[str | None, typer.Option(help="AWS role to assume for s3://.")] = None,
    external_id: Annotated[str | None, typer.Option(help="External id that the role asks for.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of an S3 server that is not AWS's.")] = None,
    region: Annotated[str | None, typer.Option(help="AWS region of the bucket.")] = None,
    project_dir: ProjectDir = Path("."),
    profiles_dir: ProfilesDir = None,
    target: Target = None,
) -> None:
    """Land raw files in the staging schema; the same file again changes nothing.

    Reads JSON lines (.jsonl, .ndjson, .json; plain, .gz, .zst), Parquet and Avro. Lines that break a rule go to the
    *_rejects tables. Exit status 1 when a file was refused as a whole; the others have landed then.
    """
    named = [(dataset, uri) for dataset, uri in ((CALLS, calls), (EVENTS, events)) if uri is not None]
    if not named:
        raise UserError("nothing to land: give --calls URI, --events URI or both")
    span = _span(*backfill) if backfill else None
    if allow_empty and not span:
        raise UserError("--allow-empty belongs to --backfill")
    locations = [(dataset, locate(uri)) for dataset, uri in named]
    remote = any(location.is_s3 for _, location in locations)
    store = s3.client(role_arn, external_id, endpoint_url, region) if remote else None
    bounds = _bounds(project_vars(project_dir))
    listed = [(dataset, location, list_files(location, store)) for dataset, location in locations]

    connection = _open(project_dir, profiles_dir, target, dry_run)
    try:
        plans = [plan_landing(connection, *item, span, allow_empty) for item in listed]
        for plan in plans:
            _print_removals(plan)
        if dry_run:
            for plan in plans:
                _print_dry_run(plan, store)
            return
        for statement in ddl():
            connection.execute(statement)
        outcomes = [run(connection, plan, bounds, store) for plan in plans]
    except duckdb.IOException as error:
        raise UserError(f"the warehouse cannot be written: {error}; files landed before this one are complete") from error
    finally:
        connection.close()
    _print_outcomes(outcomes)
    if any(outcome.refused for outcome in outcomes):
        raise typer.Exit(1)


def _open(project_dir: Path, profiles_dir: Path | None, target: str | None, dry_run: bool) -> Any:
    if not dry_run:
        return connect(project_dir, profiles_dir, target)
    settings = credentials(project_dir, profiles_dir, target)
    if settings["type"] == "duckdb" and not Path(settings["path"]).exists():
        return duckdb.connect()
    return connect(project_dir, profiles_dir, target, read_only=True)


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
            moment = datetime.combine(value, time()) if type(value) is date else datetime.fromisoformat(str(value))
        except ValueError:
            raise UserError(f"dbt_project.yml: the var {key} is {value!r}; write a date such as '2000-01-01'") from None
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
    if not any(file.format for file in plan.files) and not plan.removed:
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


def _ledger(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, Known]:
    tables = "select 1 from information_schema.tables where table_schema = 'staging' and table_name = 'landed_files'"
    if not connection.execute(tables).fetchall():
        return {}
    query = "select file, content_hash, size_bytes, path_hour from staging.landed_files where dataset = ?"
    rows = connection.execute(query, [dataset.name]).fetchall()
    return {file: Known(digest, size, hour) for file, digest, size, hour in rows}


def run(connection: duckdb.DuckDBPyConnection, plan: Plan, bounds: tuple[int, int], store: Any = None) -> Outcome:
    """Land the files of a plan; each is committed whole, together with its row in the ledger.

    Then the rows of removed files go, unless a file was refused: it may hold what theirs held.
    """
    started = perf_counter()
    outcome = Outcome(plan.dataset)
    connection.execute(MACROS)
    with progress(f"landing {plan.dataset.name}", len(plan.files)) as advance:
        _land_files(connection, plan, bounds, store, outcome, advance)
    if plan.removed and not outcome.refused:
        _remove(connection, plan)
        outcome.removed = len(plan.removed)
    outcome.seconds = perf_counter() - started
    return outcome


def _land_files(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    bounds: tuple[int, int],
    store: Any,
    outcome: Outcome,
    advance: Any,
) -> None:
    batch: Batch | None = None
    try:
        for item in _ahead(read_chunks(plan, store)):
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
            batch = batch or Batch(connection, plan, bounds)
            batch.add(item)
            if item.closes:
                batch.commit(outcome)
                advance(len(batch.files))
                batch = None
    except BaseException:
        if batch:
            connection.rollback()
        raise


def _ahead[T](items: Iterator[T]) -> Iterator[T]:
    """Make the next item while the current one is used: reading overlaps with DuckDB's work."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def read_chunks(plan: Plan, store: Any = None) -> Iterator[Chunk | Skipped]:
    """Read the files of a plan: small ones together, up to PIECE_BYTES, a large one piece by piece on its own."""
    held: list[tuple[Opened, Piece | None]] = []
    size = 0
    for opened in open_files(_changed_files(plan), store):
        ...
    yield from ()
