"""The manifests of a place: which objects hold a dataset now, and what each run wrote and removed.

`<dataset>/_manifest.json` is what readers follow, `<dataset>/_manifests/<run_id>.json` the record of a run.
Their keys are relative to the dataset's folder, so that an export may be moved.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from scripts.errors import UserError
from scripts.unload.datasets import HOUR, WHOLE, Dataset, Format, Layout, Period
from scripts.unload.places.base import Found, Place, Run

MANIFEST = "_manifest.json"
RUNS = "_manifests"
# Raise it when the manifest changes in a way that an older copymart would misread.
MANIFEST_VERSION = 2
_RUN_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
_BEGUN_AT = "%Y%m%dT%H%M%SZ"
# Snowflake's own names: data_, the query's id, and numbers that distinguish the files of one query.
_OF_QUERY = re.compile(r"data_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_\d+)*(?:\.[a-z]+)?\.parquet")


@dataclass(frozen=True)
class Shape:
    """How rows are written; a partition with another shape than the run's is rewritten.

    `engine`: what wrote the rows, because the types of the two engines' files differ slightly.
    """

    schema_version: int
    layout: str
    format: str
    # sha256 of the names and types
    columns_sha256: str
    engine: str = "duckdb"


@dataclass(frozen=True)
class DataFile:
    """An object with rows. `etag` is the place's; it shows whether the object has changed since."""

    key: str
    rows: int
    bytes: int
    sha256: str
    etag: str
    min_event_timestamp: int | None
    max_event_timestamp: int | None


@dataclass(frozen=True)
class Partition:
    """A partition as it was published: rows with their hash sum, objects, and the run that wrote it."""

    partition: str
    rows: int
    hash_sum: str
    shape: Shape
    run_id: str
    files: tuple[DataFile, ...]

    @property
    def file_rows(self) -> int:
        """The rows of its files, which are those of the partition unless somebody edited the manifest."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True)
class Manifest:
    """What a dataset consists of at a place.

    `columns`: names and types of what is written now. `expired`: published partitions whose objects are gone
    from the place, by its retention or deleted by somebody; they have no files.
    """

    dataset: str
    shape: Shape
    columns: tuple[tuple[str, str], ...]
    partitions: dict[str, Partition]
    expired: dict[str, Partition]


@dataclass(frozen=True)
class State:
    """A dataset at a place: its manifest with etag, and what a listing found.

    `objects`: those with copymart's names, by key below the dataset's folder. `others`: all other keys there.
    """

    manifest: Manifest | None
    etag: str | None
    objects: dict[str, Found]
    others: frozenset[str] = frozenset()

    @property
    def foreign(self) -> list[str]:
        """The keys of files that are not copymart's, but that a reader of the listing takes for data."""
        hidden = re.compile(r"(^|/)[._]")
        endings = tuple(f".{each}" for each in Format)
        return sorted(key for key in self.others if key.endswith(endings) and not hidden.search(key))

    @property
    def was_written(self) -> bool:
        """Whether a run wrote the dataset here, even if all but a run's record is gone."""
        records = (key for key in self.others if key.startswith(f"{RUNS}/"))
        return bool(self.etag or self.objects or any(records))


@dataclass(frozen=True)
class Outcome:
    """What one run did to a dataset: partitions written, removed and found gone, keys to delete."""

    written: tuple[Partition, ...] = ()
    removed: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


def shape_of(
    dataset: Dataset,
    layout: Layout,
    format: Format,
    columns: Iterable[tuple[str, str]],
    version: int,
    engine: str,
) -> Shape:
    """Return the shape of a dataset's rows with these columns, pairs of name and type."""
    return Shape(version, _layout(dataset, layout), format.value, _columns_sha256(columns), engine)


def _columns_sha256(columns: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps([list(column) for column in columns]).encode()).hexdigest()


def sums_compare(dataset: Dataset, one: Shape, other: Shape) -> bool:
    """Return whether equal rows of these two shapes have equal hash sums.

    dbt keeps those of hours, over columns of its own and alike on all engines. The others are made of all
    columns, by an engine.
    """
    alike = (one.engine, one.columns_sha256) == (other.engine, other.columns_sha256)
    return dataset.period is HOUR or alike


def _layout(dataset: Dataset, layout: Layout) -> str:
    """Return the layout's name; a dataset without text has one layout only."""
    return (layout if dataset.text_columns else Layout.FULL).value


def begun_at(run_id: str) -> datetime:
    """Return when a run began.

    Raises:
        ValueError: it is no id of a run.
    """
    if not re.fullmatch(_RUN_ID, run_id):
        raise ValueError(run_id)
    return datetime.strptime(run_id.partition("-")[0], _BEGUN_AT).replace(tzinfo=UTC)


def object_name(dataset: str, format: Format) -> str:
    """Return the name of a partition's only object: equal in every run, so that it replaces the old one."""
    return f"{dataset}.{format.value}"


def part_name(dataset: str, format: Format, run_id: str, number: int) -> str:
    """Return the name of a part (number from 1), with the run's id so that no run overwrites another's."""
    return f"{dataset}-{run_id}-{number:05d}.{format.value}"


def joined(*parts: str) -> str:
    """Return a key of these parts; an empty partition name adds nothing."""
    return "/".join(part for part in parts if part)


def partition_of(dataset: Dataset, key: str) -> str | None:
    """Return the partition of a key below the dataset's folder; None when the object is not copymart's."""
    partition, _, name = key.rpartition("/")
    endings = "|".join(Format)
    ours = re.fullmatch(rf"{re.escape(dataset.name)}(-{_RUN_ID}-\d{{5,}})?\.({endings})", name)
    if not (ours or query_of(name)):
        return None
    if dataset.period is None:
        return WHOLE if not partition else None
    return partition if _is_partition(dataset.period, partition) else None


def query_of(name: str) -> str | None:
    """Return the id of the query in a name that Snowflake gave; None for other names.

    https://docs.snowflake.com/en/sql-reference/sql/copy-into-location: <path>/data_<uuid>_<name>.<extension>
    """
    found = _OF_QUERY.fullmatch(name)
    return found[1] if found else None


def _is_partition(period: Period, text: str) -> bool:
    try:
        # strptime also accepts 2026/1/1, which copymart never writes
        return period.start(text).strftime(period.folders) == text
    except ValueError:
        return False


def read_state(place: Place, dataset: Dataset) -> State:
    """Read the state of a dataset at a place.

    Raises:
        UserError: the manifest was written by a newer copymart, or the place refuses.
    """
    folder = f"{dataset.name}/"
    objects = {}
    others = set()
    for found in place.list(folder):
        key = found.key.removeprefix(folder)
        if partition_of(dataset, key) is None:
            others.add(key)
        else:
            objects[key] = found
    read = place.read(folder + MANIFEST)
    manifest = parse(read.body, dataset, f"{place.uri}/{folder}{MANIFEST}") if read else None
    return State(manifest, read.etag if read else None, objects, frozenset(others))


def parse(body: bytes, dataset: Dataset, where: str) -> Manifest | None:
    """Return a manifest; None for one that is unreadable or older, whose dataset is then rewritten.

    Anyone with write access may edit it, and what it names is deleted later, so only copymart's own names are
    trusted.

    Raises:
        UserError: it was written by a newer copymart.
    """
    try:
        said = json.loads(body)
        version = said.get("manifest_version", 1)
        if version > MANIFEST_VERSION:
            raise UserError(f"{where} was written by a newer copymart: use that one")
        if version < MANIFEST_VERSION:
            return None
        if said["dataset"] != dataset.name:
            return None
        partitions = [_partition(dataset, each) for each in said["partitions"]]
        expired = [_partition(dataset, each) for each in said["expired"]]
        columns = tuple((column["name"], column["type"]) for column in said["columns"])
        if _columns_sha256(columns) != said["columns_sha256"]:
            return None
        return Manifest(
            dataset.name,
            _shape(dataset, said),
            columns,
            {each.partition: each for each in partitions},
            {each.partition: each for each in expired},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _partition(dataset: Dataset, said: dict[str, Any]) -> Partition:
    name = said["partition"]
    files = tuple(_file(dataset, name, each) for each in said["files"])
    if not (_is_partition(dataset.period, name) if dataset.period else name == WHOLE):
        raise ValueError(name)
    begun_at(said["run_id"])
    return Partition(name, int(said["rows"]), said["hash_sum"], _shape(dataset, said), said["run_id"], files)


def _file(dataset: Dataset, partition: str, said: dict[str, Any]) -> DataFile:
    if partition_of(dataset, said["key"]) != partition:
        raise ValueError(said["key"])
    times = {
        name: None if said[name] is None else int(said[name])
        for name in ("min_event_timestamp", "max_event_timestamp")
    }
    return DataFile(**{**said, **times, "rows": int(said["rows"]), "bytes": int(said["bytes"])})


def _shape(dataset: Dataset, said: dict[str, Any]) -> Shape:
    return Shape(
        said["schema_version"],
        _layout(dataset, Layout(said["layout"])),
        Format(said["format"]).value,
        said["columns_sha256"],
        # manifests from before Snowflake could write
        said.get("engine", "duckdb"),
    )


def _said(partition: Partition) -> dict[str, Any]:
    said = asdict(partition)
    return {
        "partition": said["partition"],
        "rows": said["rows"],
        "hash_sum": said["hash_sum"],
        "min_event_timestamp": _least(each.min_event_timestamp for each in partition.files),
        "max_event_timestamp": _greatest(each.max_event_timestamp for each in partition.files),
        **said["shape"],
        "run_id": said["run_id"],
        "files": list(said["files"]),
    }


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _greatest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def render(manifest: Manifest, run: Run) -> bytes:
    """Return the text of a manifest, with a line per partition, so that a diff shows what changed."""
    partitions = [manifest.partitions[name] for name in sorted(manifest.partitions)]
    head = {
        "manifest_version": MANIFEST_VERSION,
        "dataset": manifest.dataset,
        **asdict(manifest.shape),
        "run_id": run.run_id,
        "written_at": _now(),
        "columns": [{"name": name, "type": kind} for name, kind in manifest.columns],
        "rows": sum(each.rows for each in partitions),
        "bytes": sum(file.bytes for each in partitions for file in each.files),
    }
    expired = [manifest.expired[name] for name in sorted(manifest.expired)]
    text = json.dumps(head, indent=1).removesuffix("\n}")
    return f'{text},\n "partitions": {_lines(partitions)},\n "expired": {_lines(expired)}\n}}\n'.encode()


def _lines(partitions: Iterable[Partition]) -> str:
    lines = ",\n  ".join(json.dumps(_said(each)) for each in partitions)
    return f"[\n  {lines}\n ]" if lines else "[]"


def render_run(dataset: str, run: Run, outcome: Outcome) -> bytes:
    """Return the record of what a run did to a dataset; if the run was killed later, until then."""
    said = {
        "dataset": dataset,
        "run_id": run.run_id,
        "host": run.host,
        "started_at": run.started_at,
        "written_at": _now(),
        "rows": sum(each.rows for each in outcome.written),
        "written": [_said(each) for each in outcome.written],
        "removed": list(outcome.removed),
        "expired": list(outcome.expired),
        "deleted": list(outcome.deleted),
    }
    return (json.dumps(said, indent=1) + "\n").encode()


def updated(before: Manifest | None, now: Manifest, outcome: Outcome) -> Manifest:
    """Return the manifest with what a run wrote, removed and found gone."""
    partitions = dict(before.partitions) if before else {}
    expired = dict(before.expired) if before else {}
    for name in outcome.expired:
        if name in partitions:
            expired[name] = replace(partitions.pop(name), files=())
    for each in outcome.written:
        partitions[each.partition] = each
        expired.pop(each.partition, None)
    for name in outcome.removed:
        partitions.pop(name, None)
        expired.pop(name, None)
    return replace(now, partitions=partitions, expired=expired)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
