"""What one run will do: the listed files compared with the ledger."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from scripts.console import listed
from scripts.errors import UserError
from scripts.land.exports import EXPORT
from scripts.land.rules import Dataset
from scripts.land.sources import FORMATS_TEXT, Location, SourceFile


@dataclass(frozen=True)
class Known:
    """One file as the ledger has it; `lines` are its rows and rejects."""

    digest: str
    size: int
    path_hour: datetime | None
    lines: int


@dataclass
class Plan:
    """What one run will do for one dataset.

    `names` maps the content of files with rows to the name that the ledger has for it. `copies`: content is
    landed under more than one name. `table`: the table whose parts the files are.
    """

    dataset: Dataset
    location: Location
    files: list[SourceFile]
    known: dict[str, Known]
    removed: list[str] = field(default_factory=list)
    copies: bool = False
    names: dict[tuple[str, int], str] = field(default_factory=dict)
    table: Any = None

    @property
    def keeps_rows(self) -> bool:
        """Whether a row that is there again stays as it landed: of a table of the sync, a row has one number
        whenever it is read, so that an export of others does not touch what belongs to it.
        """
        return self.table is not None and bool(self.dataset.typed)

    def __post_init__(self) -> None:
        for uri, known in self.known.items():
            if known.lines and known.digest:
                self.names.setdefault((known.digest, known.size), uri)

    def other_name(self, file: SourceFile, digest: str) -> str | None:
        """The other name under which the content of a file has landed, if that holds the file back."""
        name = self.names.get((digest, file.size))
        return name if name != file.uri and not self.copies else None

    def take(self, file: SourceFile, digest: str, has_rows: bool = True) -> None:
        """Note that a file will land: its content before is free, and a copy in the same run is held back."""
        known = self.known.get(file.uri)
        if known and self.names.get((known.digest, known.size)) == file.uri:
            del self.names[known.digest, known.size]
        if has_rows:
            self.names.setdefault((digest, file.size), file.uri)

    def keep(self, uri: str) -> None:
        """Note that a file does not land after all: what it brought before stays."""
        for content in [content for content, name in self.names.items() if name == uri]:
            del self.names[content]
        known = self.known.get(uri)
        if known and known.lines and known.digest:
            self.names.setdefault((known.digest, known.size), uri)


def plan_landing(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    location: Location,
    files: list[SourceFile],
    span: tuple[datetime, datetime] | None = None,
    allow_empty: bool = False,
    copies: bool = False,
) -> Plan:
    """Compare the listed files with the ledger.

    Raises:
        UserError: there is nothing to land, or the backfill's range is not safe to make equal to the files.
    """
    known = ledger(connection, dataset)
    plan = Plan(dataset, location, files, known, copies=copies)
    if span:
        _plan_backfill(plan, span, allow_empty)
    if not any(file.format for file in plan.files) and not (span and allow_empty):
        others = sorted({Path(file.uri).suffix or file.uri.rsplit("/", 1)[-1] for file in plan.files})
        where = f"between {span[0]} and {span[1]} UTC " if span else ""
        if location.is_table:
            raise UserError(f"{location.given}: no rows to land {where}".rstrip())
        raise UserError(
            f"{location.given}: no files to land {where}(of {FORMATS_TEXT})"
            + (f"; it holds only {', '.join(others)}" if others else "")
        )
    return plan


def _plan_backfill(plan: Plan, span: tuple[datetime, datetime], allow_empty: bool) -> None:
    first, last = span
    location = plan.location.narrowed(file.uri for file in plan.files)
    closed = [file for file in plan.files if file.format == EXPORT]
    hourless = [file.uri for file in plan.files if file.path_hour is None and file not in closed]
    if hourless:
        raise UserError(
            f"--backfill needs the hour in the path (…/YYYY/MM/DD/HH/…), which {hourless[0]} lacks"
            + (f" ({len(hourless)} such files)" if len(hourless) > 1 else "")
            + ": name a folder or glob of files with hours. What such a file brought, an empty file of its "
            "name takes back"
        )
    plan.files = closed + [file for file in plan.files if file.path_hour and first <= file.path_hour < last]
    there = {file.uri for file in plan.files}
    landed = {
        file: entry.path_hour
        for file, entry in plan.known.items()
        if entry.path_hour and first <= entry.path_hour < last and location.covers(file)
    }
    plan.removed = sorted(set(landed) - there)
    # a file that was renamed within the range is no copy of the one that is gone
    plan.names = {content: name for content, name in plan.names.items() if name not in set(plan.removed)}
    filled = {file.path_hour for file in plan.files if file.format}
    emptied = sorted({hour for hour in landed.values() if hour not in filled and hour is not None})
    if emptied and not allow_empty:
        raise UserError(
            f"{plan.location.given}: {len(emptied)} hour(s) had files and now list none: "
            f"{listed([hour.strftime('%Y-%m-%dT%H') for hour in emptied])}. Expired files are no deletions; "
            "give --allow-empty if these hours' rows are really to be removed"
        )


def ledger(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, Known]:
    """The files of a dataset that have landed, by name."""
    exists = "select 1 from duckdb_tables() where schema_name = 'staging' and table_name = 'landed_files'"
    if not connection.execute(exists).fetchall():
        return {}
    query = (
        # a hash that the owner took away makes a file land again
        "select file, coalesce(content_hash, ''), size_bytes, path_hour, row_count + reject_count "
        "from staging.landed_files where dataset = ? order by file"
    )
    rows = connection.execute(query, [dataset.name]).fetchall()
    return {file: Known(digest, size, hour, lines) for file, digest, size, hour, lines in rows}


def same_etag(plan: Plan, file: SourceFile) -> bool:
    """Whether a file on S3 is the one that was landed before."""
    known = plan.known.get(file.uri)
    return bool(known and file.etag and (known.digest, known.size) == (file.etag, file.size))
