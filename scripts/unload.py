"""copymart unload: marts to Parquet, one file per UTC hour, day or table, each replaced as a whole."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import duckdb
import pyarrow
import pyarrow.parquet as parquet
import typer
from rich.table import Table

from scripts import warehouse
from scripts.console import console, progress
from scripts.errors import UserError

# Raise it when a column of a dataset is renamed, retyped or removed; readers find it in the manifest.
SCHEMA_VERSION = 1
MANIFEST = "_manifest.json"
STAGING = ".staging-"


class Layout(StrEnum):
    """Whether calls and deliveries carry the copy's text or leave it to copy_variants."""

    FULL = "full"
    SPLIT = "split"


@dataclass(frozen=True)
class Period:
    """The time one file covers: the folders of a moment, and the step to the next."""

    folders: str
    step: timedelta

    def floor(self, moment: datetime) -> datetime:
        """Return the start of the period that holds the moment."""
        return moment - (moment - datetime.min) % self.step

    def ceiling(self, moment: datetime) -> datetime:
        """Return the end of the period that the moment is the end of or lies in."""
        return -(-(moment - datetime.min) // self.step) * self.step + datetime.min


HOUR = Period("%Y/%m/%d/%H", timedelta(hours=1))
DAY = Period("%Y/%m/%d", timedelta(days=1))

# A dataset of one file has one partition, of no name and no time.
WHOLE = ""


@dataclass(frozen=True)
class Dataset:
    """A relation to unload. `moment` is a timestamp or date in SQL; without period all rows make one file."""

    name: str
    mart: str
    period: Period | None
    moment: str
    columns: tuple[str, ...]
    joined: str = ""
    text_columns: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The one file name in every partition, so that a new file takes the place of the old one."""
        return f"{self.name}.parquet"

    @property
    def relations(self) -> list[str]:
        """Every relation that is read, as schema.table."""
        return [self.mart, *re.findall(r"(?:marts|intermediate)\.\w+", self.joined)]

    @property
    def source(self) -> str:
        """The from clause of its rows."""
        return f"from {self.mart} as mart {self.joined}"

    def select(self, layout: Layout) -> str:
        """Return the columns of a file as a select list."""
        dropped = self.text_columns if layout is Layout.SPLIT else ()
        return ", ".join(column for column in self.columns if column not in dropped)


def _seconds(column: str, name: str | None = None) -> str:
    return f"cast(epoch({column}) as bigint) as {name or column.split('.')[-1]}"


DATASETS = {
    dataset.name: dataset
    for dataset in (
        # Exactly the vendor's record: names, order and types are the agreement.
        Dataset(
            "calls",
            "marts.fct_calls",
            HOUR,
            "make_timestamp(mart.event_timestamp * 1000000)",
            (
                *("event_timestamp", "user_id", "campaign_id", "action_id", "journey_id", "copy_id"),
                *("template_id", "vars", "attrs"),
            ),
            text_columns=("vars",),
        ),
        Dataset(
            "deliveries",
            "marts.fct_deliveries",
            HOUR,
            "mart.last_called_at",
            (
                *(_seconds("mart.last_called_at", "event_timestamp"), "mart.user_id", "mart.campaign_id"),
                *("mart.action_id", "mart.journey_id", "mart.copy_id", "mart.template_id", "contents.vars"),
                *("mart.attrs", "mart.delivery_key", "mart.content_hash", "mart.delivery_date"),
                *("mart.first_called_at", "mart.last_called_at", "mart.call_count", "mart.copy_conflict"),
            ),
            joined="left join intermediate.int_copy_contents as contents using (content_hash)",
            text_columns=("contents.vars",),
        ),
        Dataset(
            "copy_variants",
            "marts.dim_copy_variants",
            None,
            "mart.valid_from",
            (
                *("version_key", "copy_id", "version_number", "template_id", "content_hash", "subject"),
                *("preheader", "body", "vars", "change_type", _seconds("valid_from"), _seconds("valid_to")),
                "is_current",
            ),
        ),
        Dataset("copy_metrics_daily", "marts.copy_metrics_daily", DAY, "mart.metric_date", ("mart.*",)),
        Dataset(
            "copy_cohort_metrics_daily",
            "marts.copy_cohort_metrics_daily",
            DAY,
            "mart.delivery_date",
            ("mart.*",),
        ),
    )
}


@dataclass(frozen=True)
class Span:
    """Whole UTC hours from start to before end; None is open."""

    start: datetime | None
    end: datetime | None

    def of(self, period: Period) -> "Span":
        """Return the span widened to whole periods: a day's file is only ever written as a whole."""
        start = period.floor(self.start) if self.start else None
        return Span(start, period.ceiling(self.end) if self.end else None)

    def holds(self, moment: datetime) -> bool:
        """Tell whether the moment lies in the span."""
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)

    def where(self, moment: str) -> str:
        """Return the span as a SQL condition on a timestamp."""
        bounds = ((">=", self.start), ("<", self.end))
        tests = [f"{moment} {sign} timestamp '{bound}'" for sign, bound in bounds if bound]
        return " and ".join(tests) or "true"


@dataclass(frozen=True)
class Plan:
    """What one dataset's run will do: rows per partition to write, partitions to remove.

    `is_empty`: its mart has no rows at all, in the span or outside it.
    """

    dataset: Dataset
    span: Span
    layout: Layout
    rows: dict[str, int]
    obsolete: list[str]
    is_empty: bool


def unload(
    to: Annotated[str, typer.Option(help="Folder to write to; each dataset gets a folder in it.")],
    dataset: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(DATASETS)}; may be repeated.", show_default="all of them"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="First UTC hour, 2026-09-01T05 or 2026-09-01; daily marts take whole days."),
    ] = None,
    end: Annotated[str | None, typer.Option(help="UTC hour to stop before.")] = None,
    layout: Annotated[
        Layout, typer.Option(help="split leaves vars out of calls and deliveries; copy_variants has them.")
    ] = Layout.FULL,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written and removed, and write nothing.")
    ] = False,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Write marts as Parquet under TO/<dataset>/YYYY/MM/DD/HH/, by UTC hour.

    Without --start and --end every hour of a dataset is replaced, and hours without rows are removed; with
    them exactly that range is. A mart without rows is skipped, and an error when --dataset names it. Run the
    same command again to finish a run that was cut short.

    Raises:
        UserError: TO, a dataset or the range cannot be used, the warehouse lacks a mart or its rows, or
            writing failed.
    """
    folder = _folder(to)
    chosen = _chosen(dataset)
    span = _span(start, end)
    connection = warehouse.connect(project_dir, profiles_dir, target, read_only=True)
    try:
        _require_relations(connection, chosen)
        plans = [_plan(connection, each, folder / each.name, span, layout) for each in chosen]
        plans = _with_rows(plans, folder, named=bool(dataset))
        if dry_run:
            _print_plans(plans, folder)
            return
        _unload_all(connection, plans, folder)
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise UserError(
            f"cannot write {place}: {error.strerror}. What is published there is whole; "
            "mend it and run the same command again"
        ) from error
    except duckdb.Error as error:
        raise UserError(f"unloading to {folder} failed, run the same command again: {error}") from error
    finally:
        connection.close()


def _folder(to: str) -> Path:
    if not to:
        raise UserError("--to is empty: name the folder to write to")
    if "://" in to:
        raise UserError(f"--to {to}: unloading to an object store is not available yet; unload to a folder")
    folder = Path(to).expanduser()
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"--to {to}: {path} is a file; name a folder")
    return folder


def _chosen(names: list[str] | None) -> list[Dataset]:
    unknown = [name for name in names or () if name not in DATASETS]
    if unknown:
        raise UserError(f"unknown dataset {', '.join(unknown)}; there are {', '.join(DATASETS)}")
    return [DATASETS[name] for name in dict.fromkeys(names or DATASETS)]


def _span(start: str | None, end: str | None) -> Span:
    span = Span(_hour("--start", start), _hour("--end", end))
    if span.start and span.end and span.start >= span.end:
        raise UserError(f"--start {start} is not before --end {end}; the range is [start, end)")
    return span


def _hour(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text} is no time; write 2026-09-01T05 or 2026-09-01 (UTC)") from None
    if moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if not 1970 <= moment.year < 9999:
        raise UserError(f"{option} {text} lies outside the years 1970 to 9998")
    if moment != HOUR.floor(moment):
        raise UserError(f"{option} {text} is not a whole UTC hour; write 2026-09-01T05 or 2026-09-01")
    return moment


def _require_relations(connection: duckdb.DuckDBPyConnection, datasets: list[Dataset]) -> None:
    query = "select table_schema || '.' || table_name from information_schema.tables"
    there = {name for (name,) in connection.execute(query).fetchall()}
    missing = sorted({name for dataset in datasets for name in dataset.relations} - there)
    if missing:
        raise UserError(f"the warehouse has no {', '.join(missing)}: run `dbt build` first")


def _plan(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, folder: Path, span: Span, layout: Layout
) -> Plan:
    if dataset.period is None:
        total = _row(connection, f"select count(*) from {dataset.mart}")[0]
        rows = {WHOLE: total} if total else {}
        span = Span(None, None)
    else:
        span = span.of(dataset.period)
        query = (
            f"select strftime(cast({dataset.moment} as timestamp), '{dataset.period.folders}'), count(*) "
            f"from {dataset.mart} as mart where {span.where(dataset.moment)} group by all order by all"
        )
        rows = dict(connection.execute(query).fetchall())
    everything = span == Span(None, None)
    _require_layout(dataset, folder, layout, everything)
    obsolete = [
        partition
        for partition in _partitions(dataset, folder)
        if partition not in rows and (dataset.period is None or span.holds(_start(dataset.period, partition)))
    ]
    is_empty = not rows and _row(connection, f"select not exists (from {dataset.mart})")[0]
    return Plan(dataset, span, layout, rows, obsolete, is_empty)


def _with_rows(plans: list[Plan], folder: Path, named: bool) -> list[Plan]:
    """Leave out the plans of empty marts, with a note.

    An empty mart is a build that went wrong, or data that never landed, more often than a reason to empty an
    export. Only a range of a dataset that the caller `named` may be emptied by one.

    Raises:
        UserError: all of a named dataset is to be unloaded and its mart is empty, or all marts are empty.
    """
    empty = [plan for plan in plans if plan.is_empty and not (named and plan.span != Span(None, None))]
    if empty and (named or len(empty) == len(plans)):
        marts = ", ".join(plan.dataset.mart for plan in empty)
        raise UserError(f"nothing to unload: no rows in {marts}. {folder} stays as it is")
    for plan in empty:
        console.print(
            f"skipped {plan.dataset.name}: {plan.dataset.mart} has no rows; "
            f"{folder / plan.dataset.name} stays as it is",
            soft_wrap=True,
        )
    return [plan for plan in plans if plan not in empty]


def _require_layout(dataset: Dataset, folder: Path, layout: Layout, everything: bool) -> None:
    """Refuse to mix two layouts in one dataset; replacing all of it may change the layout."""
    before = _manifest(folder / MANIFEST).get("layout", layout)
    if dataset.text_columns and before != layout and not everything:
        raise UserError(
            f"{folder} has the layout {before}: give --layout {before}, or change all of it by leaving out "
            "--start and --end"
        )


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def _start(period: Period, partition: str) -> datetime:
    return datetime.strptime(partition, period.folders)


def _partitions(dataset: Dataset, folder: Path) -> list[str]:
    """Return the partitions of the dataset that have a file, sorted."""
    if dataset.period is None:
        return [WHOLE] if (folder / dataset.file_name).exists() else []
    depth = dataset.period.folders.count("/") + 1
    # Only folders that we would have made ourselves: anything else in there is not ours.
    digits = "/".join(["[0-9][0-9][0-9][0-9]"] + ["[0-9][0-9]"] * (depth - 1))
    found = (
        path.parent.relative_to(folder).as_posix() for path in folder.glob(f"{digits}/{dataset.file_name}")
    )
    return sorted(partition for partition in found if _is_date(dataset.period, partition))


def _is_date(period: Period, partition: str) -> bool:
    try:
        _start(period, partition)
    except ValueError:
        return False
    return True


def _unload_all(connection: duckdb.DuckDBPyConnection, plans: list[Plan], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = _table("seconds")
    with _only_writer(folder):
        for leftover in folder.glob(f"{STAGING}*"):
            shutil.rmtree(leftover)
        for plan in plans:
            began = time.monotonic()
            staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
            try:
                _stage(connection, plan, staging)
                _publish(plan, staging, folder / plan.dataset.name)
                size = _write_manifest(connection, plan, staging, folder / plan.dataset.name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            _add_row(table, plan, f"{size:,}", f"{time.monotonic() - began:.1f}")
    console.print(table)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder for this run, so that no other run sweeps its staging folder away."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another unload is writing to {folder}; wait for it to end") from None
        yield
    finally:
        os.close(handle)


def _stage(connection: duckdb.DuckDBPyConnection, plan: Plan, staging: Path) -> None:
    """Write the plan's partitions below `staging` and check their rows against the warehouse's.

    DuckDB keeps no order of rows inside a file; sorting 1 M rows first costs 1.3 times the time (2.7 with one
    thread, which the same bytes every time would need).
    """
    dataset, period = plan.dataset, plan.dataset.period
    if not plan.rows:
        return
    # A relative name with a quote in it must not end the literal.
    place = str(staging.absolute()).replace("'", "''")
    if period is None:
        query = f"select {dataset.select(plan.layout)} {dataset.source}"
        connection.execute(
            f"copy ({query}) to '{place}/{dataset.file_name}' (format parquet, compression zstd)"
        )
    else:
        query = (
            f"select {dataset.select(plan.layout)}, cast({dataset.moment} as timestamp) as _moment "
            f"{dataset.source} where {plan.span.where(dataset.moment)}"
        )
        unit = "hour" if period is HOUR else "day"
        connection.execute(
            f"copy (select * replace (date_trunc('{unit}', _moment) as _moment) from ({query})) to '{place}' "
            "(format parquet, compression zstd, partition_by (_moment), "
            f"partition_path (strftime(_moment, '{period.folders}')))"
        )
        for path in staging.glob("**/data_0.parquet"):
            path.rename(path.with_name(dataset.file_name))
    staged = {
        path.parent.relative_to(staging).as_posix(): parquet.read_metadata(path).num_rows
        for path in staging.glob("**/*.parquet")
    }
    staged = {WHOLE if partition == "." else partition: rows for partition, rows in staged.items()}
    if staged != plan.rows:
        off = sorted(set(staged.items()) ^ set(plan.rows.items()))[:3]
        raise UserError(
            f"{dataset.name}: the files written have other rows than the warehouse (e.g. {off}); nothing was "
            f"published. Run `dbt build` and unload again; when it happens again, it is a fault of copymart"
        )


def _publish(plan: Plan, staging: Path, folder: Path) -> None:
    """Move each staged file over its predecessor, then remove the partitions that have no rows any more."""
    name = plan.dataset.file_name
    with progress(f"unload {plan.dataset.name}", len(plan.rows) + len(plan.obsolete)) as advance:
        for partition in plan.rows:
            (folder / partition).mkdir(parents=True, exist_ok=True)
            os.replace(staging / partition / name, folder / partition / name)
            advance(1)
        for partition in plan.obsolete:
            (folder / partition / name).unlink()
            _remove_empty(folder / partition, folder)
            advance(1)


def _remove_empty(path: Path, top: Path) -> None:
    while path != top and not any(path.iterdir()):
        path.rmdir()
        path = path.parent


def _write_manifest(connection: duckdb.DuckDBPyConnection, plan: Plan, staging: Path, folder: Path) -> int:
    """Describe every file of the dataset in its manifest, and return the bytes of those that this run wrote.

    Files of other partitions keep their entry unless they changed since it was written, as they do in a run
    that is killed before its manifest.
    """
    manifest = folder / MANIFEST
    known = {entry["partition"]: entry for entry in _manifest(manifest).get("partitions", [])}
    written = manifest.stat().st_mtime_ns if known else 0
    entries = []
    for partition in _partitions(plan.dataset, folder):
        path = folder / partition / plan.dataset.file_name
        status = path.stat()
        entry = known.get(partition)
        if (
            partition in plan.rows
            or entry is None
            or entry["bytes"] != status.st_size
            or status.st_mtime_ns >= written
        ):
            entry = _describe(path, partition, folder)
        entries.append(entry)
    if not entries and not folder.exists():
        return 0
    query = f"select {plan.dataset.select(plan.layout)} {plan.dataset.source}"
    columns = connection.execute(f"describe {query}").fetchall()
    text = json.dumps(
        {
            "dataset": plan.dataset.name,
            "schema_version": SCHEMA_VERSION,
            "layout": plan.layout.value,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "columns": [{"name": column[0], "type": column[1]} for column in columns],
            "rows": sum(entry["rows"] for entry in entries),
            "partitions": entries,
        },
        indent=1,
    )
    draft = staging / MANIFEST
    draft.write_text(text + "\n", encoding="utf-8")
    os.replace(draft, manifest)
    return sum(entry["bytes"] for entry in entries if entry["partition"] in plan.rows)


def _manifest(path: Path) -> dict[str, Any]:
    """Return the manifest; an empty one where none is readable, so that all files are described anew."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _describe(path: Path, partition: str, folder: Path) -> dict[str, Any]:
    try:
        metadata = parquet.read_metadata(path)
    except pyarrow.ArrowInvalid as error:
        raise UserError(
            f"{path} is no readable Parquet file: remove it and run the same command again"
        ) from error
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    low, high = _time_range(metadata)
    return {
        "partition": partition,
        "file": path.relative_to(folder).as_posix(),
        "rows": metadata.num_rows,
        "bytes": path.stat().st_size,
        "sha256": checksum,
        "min_event_timestamp": low,
        "max_event_timestamp": high,
    }


def _time_range(metadata: Any) -> tuple[int | None, int | None]:
    """Return a file's least and greatest event_timestamp from its footer; None without that column."""
    names = metadata.schema.names
    if "event_timestamp" not in names:
        return None, None
    column = names.index("event_timestamp")
    groups = [metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups)]
    return min(group.min for group in groups), max(group.max for group in groups)


def _table(*more: str) -> Table:
    table = Table("dataset")
    for name in ("partitions", "removed", "rows", "bytes", *more):
        table.add_column(name, justify="right")
    return table


def _add_row(table: Table, plan: Plan, *cells: str) -> None:
    rows = sum(plan.rows.values())
    table.add_row(plan.dataset.name, f"{len(plan.rows):,}", f"{len(plan.obsolete):,}", f"{rows:,}", *cells)


def _print_plans(plans: list[Plan], folder: Path) -> None:
    table = _table()
    for plan in plans:
        _add_row(table, plan, "")
    console.print(f"Dry run: nothing is written to {folder}", soft_wrap=True)
    console.print(table)
    for plan in plans:
        for partition in plan.obsolete:
            console.print(f"would remove {folder / plan.dataset.name / partition}", soft_wrap=True)
