"""A table as a source: its UTC hours stand for files, and the ledger keeps a hash for each.

An hour is looked at in two steps: every run counts all hours, which reads the time column alone, and hashes
those whose count changed or that are recent. The hash is a sum of the engine's hashes of rows, which differ
between engines and may differ between versions of one; so the ledger keeps the version beside the sum.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from scripts.errors import UserError
from scripts.land.chunks import Chunk, Skipped
from scripts.land.plan import Known, Plan, same_etag
from scripts.land.records import Columns, check_columns
from scripts.land.rules import TIMES, Dataset
from scripts.land.sources import Refused, SourceFile
from scripts.land.table_names import TABLE

Hour = int | None
"""Whole hours since 1970-01-01 UTC; None for the rows without a usable time, which are one part."""

MOST_ROWS = 5_000_000
"""Rows of one transaction; an hour that has more is a transaction of its own, because it lands whole."""
MOST_PARTS = 10_000
"""Hours of one transaction, which statements may have to list."""

_EPOCH = datetime(1970, 1, 1)
_HOUR = timedelta(hours=1)


class SourceTable(Protocol):
    """A table of a warehouse, with the columns that a dataset reads.

    `root`: its name in the ledger, `table:DATABASE.SCHEMA.NAME`. `version`: engine and version of its hashes.
    `rest`: the name of the part without an hour, below `root`.
    """

    @property
    def root(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def rest(self) -> str: ...

    def counts(self) -> dict[Hour, int]:
        """The rows of every hour, in one statement that reads the time column."""

    def sums(self, hours: set[Hour] | None) -> dict[Hour, int]:
        """The sum of hashes of each of these hours (None: of all), in one statement."""

    def chunks(self, groups: list[list[SourceFile]]) -> Iterator[Chunk | Skipped]:
        """The rows of groups of hours, each read once and landed in one transaction."""


@dataclass
class Listing:
    """What one run found in a table.

    `parts`: its hours, with their hash as `etag`, or the ledger's where nothing says that they changed.
    `hashes`: parts that another version of the engine hashed, with the hash of this version; of `unproven`
    nothing says that they are as they were. `counted`: parts that were counted and not hashed. `gone`: landed
    hours without rows now.
    """

    parts: list[SourceFile]
    hashes: dict[str, str] = field(default_factory=dict)
    unproven: int = 0
    counted: int = 0
    gone: int = 0


_SYNC_TIMES = ("created_at", "timestamp")


def time_of(dataset: Dataset) -> str | None:
    """The field by whose hours a table lands; None: of a dataset without one, all rows are one part."""
    if not dataset.typed:
        return TIMES.get(dataset.name)
    return next((time for time in _SYNC_TIMES if time in dataset.columns.fields), None)


def rest_of(dataset: Dataset) -> str:
    """The name of the part without an hour: the rows without a usable time, or all where none has one."""
    return "without_time" if time_of(dataset) else "all"


def may_change_anywhere(dataset: Dataset) -> bool:
    """Whether a loader may replace old rows in place: of a row of the sync that changes, it is the key that
    stays. What happened at a time stays as it was.
    """
    time = time_of(dataset)
    return bool(dataset.typed) and (time,) not in dataset.columns.required


def part_name(table: SourceTable, hour: Hour) -> str:
    """The name of a part in the ledger."""
    return f"{table.root}/{table.rest if hour is None else f'{start_of(hour):%Y/%m/%d/%H}'}"


def start_of(hour: int) -> datetime:
    """The beginning of an hour (UTC, naive)."""
    return _EPOCH + hour * _HOUR


def hour_of(file: SourceFile) -> Hour:
    """The hour of a part."""
    return None if file.path_hour is None else (file.path_hour - _EPOCH) // _HOUR


def known_columns(root: str, names: Iterable[str], columns: Columns) -> tuple[dict[str, str], list[str]]:
    """The table's columns that land reads, by field, and those that it does not know. Case does not count.

    Raises:
        UserError: a column that must be there is missing, or two differ only by case.
    """
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(name.lower(), []).append(name)
    double = [
        found
        for key, found in spelled.items()
        if len(found) > 1 and (key in columns.fields or columns.of_name)
    ]
    if double:
        raise UserError(
            f"{root}: its columns {' and '.join(double[0])} differ only by case: land a view with one of them"
        )
    try:
        fields = check_columns(list(spelled), columns)
    except Refused as refusal:
        raise UserError(f"{root}: {refusal}") from refusal
    return {name: spelled[name][0] for name in fields}, sorted(
        name for key, found in spelled.items() if key not in fields for name in found
    )


def list_parts(
    table: SourceTable,
    known: dict[str, Known],
    since: datetime,
    everything: bool = False,
    span: tuple[datetime, datetime] | None = None,
) -> Listing:
    """Count the table's hours, and hash those that may have changed.

    `since`: hours from here on are always hashed; with `everything` all are, with a `span` those within it,
    and no others are listed.
    """
    counts = table.counts()
    if part_name(table, None) in known:
        counts.setdefault(None, 0)
    if span:
        first, last = ((moment - _EPOCH) // _HOUR for moment in span)
        counts = {hour: count for hour, count in counts.items() if hour is not None and first <= hour < last}
    names = {hour: part_name(table, hour) for hour in counts}
    landed = {hour: known.get(name) for hour, name in names.items()}

    def is_looked_at(hour: Hour) -> bool:
        entry = landed[hour]
        recent = table.rest == "all" if hour is None else start_of(hour) >= since
        unknown = not entry or not entry.digest or entry.lines != counts[hour]
        return everything or span is not None or recent or unknown

    hashed = {hour for hour in counts if is_looked_at(hour)}
    sums = table.sums(hashed if len(hashed) < len(counts) or span else None) if hashed else {}
    digests = {hour: f"{table.version}:{sums.get(hour, 0)}" for hour in hashed}
    listing = Listing([], counted=len(counts) - len(hashed))
    alike = _versions_alike(table.version, digests, landed)
    for hour in sorted(counts, key=lambda hour: (hour is None, hour or 0)):
        entry, digest = landed[hour], digests.get(hour)
        if entry and (digest is None or _same(entry, counts[hour], digest, alike)):
            if digest and digest != entry.digest:
                listing.hashes[names[hour]] = digest
                listing.unproven += entry.digest.rpartition(":")[0] not in alike
            digest = entry.digest
        begin = None if hour is None else start_of(hour)
        listing.parts.append(
            SourceFile(names[hour], 0, TABLE, etag=digest, path_hour=begin, rows=counts[hour])
        )
    if not span:
        mine = {name for name in known if name.startswith(f"{table.root}/")}
        listing.gone = len(mine - set(names.values()))
    return listing


def _same(entry: Known, count: int, digest: str, alike: set[str]) -> bool:
    """Whether an hour is as it landed; the hash of another version alone says nothing."""
    if not entry.digest:
        return False
    version = digest.rpartition(":")[0]
    before, _, total = entry.digest.rpartition(":")
    same = total == digest.rpartition(":")[2] if before in alike else before != version
    return entry.lines == count and same


def _versions_alike(version: str, digests: dict[Hour, str], landed: dict[Hour, Known | None]) -> set[str]:
    """The versions whose hashes are those of this one: an hour with the same sum proves it."""
    found = {version}
    for hour, digest in digests.items():
        entry = landed[hour]
        if entry and entry.lines and entry.digest:
            before, _, total = entry.digest.rpartition(":")
            if total == digest.rpartition(":")[2]:
                found.add(before)
    return found


def notes(table: SourceTable, listing: Listing, days: int, has_backfill: bool = True) -> list[str]:
    """What a run did not look at, in words."""
    said = []
    if listing.counted:
        said.append(
            f"{table.root}: {listing.counted:,} of {len(listing.parts):,} part(s) were counted and not "
            f"hashed, because they have as many rows as landed and are older than {days} day(s) "
            "(table_rescan_days): rows that were edited there are not seen; --all hashes every hour"
        )
    if listing.gone:
        said.append(
            f"{table.root}: {listing.gone:,} hour(s) that landed have no rows now; what they brought stays"
            + (". --backfill START END --allow-empty removes it" if has_backfill else "")
        )
    if listing.unproven:
        said.append(
            f"{table.root}: another version of the engine hashed {listing.unproven:,} part(s): they are "
            "taken as unchanged, and will be compared by the hash of this version"
        )
    return said


def changed_parts(plan: Plan) -> Iterator[SourceFile | Skipped]:
    """The parts of a plan that are to land; those that are not, as Skipped."""
    for file in plan.files:
        if same_etag(plan, file):
            yield Skipped(file)
        elif file.rows and (other := plan.other_name(file, file.etag or "")):
            yield Skipped(file, other_name=other)
        else:
            if file.rows:
                plan.take(file, file.etag or "")
            yield file


def table_chunks(table: SourceTable, plan: Plan) -> Iterator[Chunk | Skipped]:
    """Yield the rows of the hours that changed, whole hours up to MOST_ROWS in a transaction."""
    groups: list[list[SourceFile]] = []
    held = 0
    for item in changed_parts(plan):
        if isinstance(item, Skipped):
            yield item
            continue
        if not groups or held + item.rows > MOST_ROWS or len(groups[-1]) == MOST_PARTS:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += item.rows
    yield from table.chunks(groups)


def gone_since(file: SourceFile) -> Skipped:
    """An hour whose rows went between the count and the landing."""
    return Skipped(file, Refused("its rows went while it was read: run the command again"))


def hour_filter(hours: set[Hour], within: Callable[[int, int], str]) -> str:
    """A condition on the raw time column for these hours, by which an engine skips what it stores.

    `within` gives it for seconds [first, last); empty where rows without a time are wanted too.
    """
    whole = [hour for hour in hours if hour is not None]
    if not whole or len(whole) < len(hours):
        return ""
    return within(min(whole) * 3600, (max(whole) + 1) * 3600)
