"""Takes a dataset at a place from one manifest to the next, on any engine.

The order keeps readers safe: objects first, then the run's record, then the manifest on the condition that
nobody else wrote it, and last the deletion of objects that the manifest no longer names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from scripts.console import console
from scripts.errors import UserError
from scripts.unload.datasets import EVERYTHING, Dataset, Span
from scripts.unload.manifest import (
    MANIFEST,
    RUNS,
    Manifest,
    Outcome,
    Partition,
    Shape,
    State,
    begun_at,
    joined,
    partition_of,
    render,
    render_run,
    sums_compare,
    updated,
)
from scripts.unload.places.base import DELETES_PER_REQUEST, Changed, Place, Run, StillOurs, Upload

# Lifecycle rules of buckets count in days.
LEAST_RETENTION = timedelta(days=1)
# Without --backfill a run may remove this many partitions, or this share of them: a day of hours, which an
# ordinary backfill of the landing empties.
MOST_REMOVED, MOST_REMOVED_SHARE = 24, 0.1


@dataclass(frozen=True)
class Contents:
    """What a partition holds in the warehouse: its row count, and the sum of the row hashes."""

    rows: int
    hash_sum: str


@dataclass(frozen=True)
class Plan:
    """What one run will do to a dataset.

    `write`: partitions in order of time, with what they must hold. `remove`: partitions without rows.
    `strays`: keys that no manifest names, left by a killed run. `unknown`: such keys outside the run's range,
    which only a run over everything may delete. `expired`: partitions whose objects are gone from the place;
    writing them again would undo its retention. `kept`: how many partitions stay as they are.
    """

    dataset: Dataset
    span: Span
    shape: Shape
    columns: tuple[tuple[str, str], ...]
    write: dict[str, Contents]
    remove: tuple[str, ...]
    strays: tuple[str, ...]
    unknown: tuple[str, ...]
    expired: tuple[str, ...]
    kept: int
    uploads: tuple[Upload, ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Return whether the place needs no change."""
        return not (self.write or self.remove or self.expired or self.strays or self.uploads)


def plan(
    dataset: Dataset,
    span: Span,
    shape: Shape,
    columns: tuple[tuple[str, str], ...],
    contents: Mapping[str, Contents],
    state: State,
    backfill: bool,
) -> Plan:
    """Compare the warehouse with the place, in a span.

    Raises:
        UserError: part of a dataset would get another layout, format or columns than the rest, or be all that
            the manifest names; or, without `backfill`, much of the dataset would be removed.
    """
    span = span.of(dataset.period)
    published = state.manifest.partitions if state.manifest else {}
    gone_before = state.manifest.expired if state.manifest else {}
    if span != EVERYTHING:
        _require_shape(dataset, shape, published.values(), span)
    expired = [
        name
        for name, there in published.items()
        if not backfill
        and span.holds(dataset.period, name)
        and any(file.key not in state.objects for file in there.files)
        and _is_old(there)
        and _is_unchanged(dataset, there, contents.get(name), shape)
    ]
    write = {
        name: held
        for name, held in sorted(contents.items())
        if backfill
        or not (
            name in expired
            or _is_unchanged(dataset, gone_before.get(name), held, shape)
            or _is_published(published.get(name), held, shape, state)
        )
    }
    remove = [
        name
        for name in (*published, *gone_before)
        if name not in contents and span.holds(dataset.period, name)
    ]
    if not backfill:
        for there in (published, gone_before):
            _require_history(dataset, span, set(there), set(remove))
        if not state.manifest:
            # lost, unreadable or older: only the listing tells what an earlier run published
            listed = {str(partition_of(dataset, key)) for key in state.objects}
            _require_history(dataset, span, listed, listed - contents.keys())
    named = {file.key for each in published.values() for file in each.files}
    strays, unknown = [], []
    for key in state.objects.keys() - named:
        name = partition_of(dataset, key)
        assert name is not None
        if span.holds(dataset.period, name) or name in published:
            strays.append(key)
        else:
            unknown.append(key)
    if unknown and state.etag and not state.manifest:
        raise UserError(
            f"the manifest of {dataset.name} is unreadable or an older copymart's, and does not tell what "
            "lies outside the range: unload all of it once, without --start and --end"
        )
    return Plan(
        dataset,
        span,
        shape,
        columns,
        write,
        tuple(sorted(remove)),
        tuple(sorted(strays)),
        tuple(sorted(unknown)),
        tuple(sorted(expired)),
        len(contents) - len(write),
    )


def _require_history(dataset: Dataset, span: Span, published: set[str], remove: set[str]) -> None:
    """Refuse to empty an export because the warehouse was rebuilt from less than it once held."""
    within = [name for name in published if span.holds(dataset.period, name)]
    gone = sorted(remove.intersection(within))
    if len(gone) > MOST_REMOVED and len(gone) > MOST_REMOVED_SHARE * len(within):
        raise UserError(
            f"{dataset.name}: {len(gone):,} of {len(within):,} partitions there have no rows in the "
            f"warehouse (e.g. {gone[0]}) and would be removed; nothing of it was changed. Did the warehouse "
            "lose history? Land and build that first. If they are to go, give --backfill, with --start and "
            "--end or for all: it removes them"
        )


def _is_old(there: Partition) -> bool:
    """Return whether it is old enough for a retention rule; a younger partition was lost otherwise."""
    return datetime.now(UTC) - begun_at(there.run_id) >= LEAST_RETENTION


def _holds(there: Partition | None, held: Contents | None) -> bool:
    """Return whether a partition was published with the warehouse's contents."""
    return bool(there and held and (there.rows, there.hash_sum) == (held.rows, held.hash_sum))


def _is_unchanged(dataset: Dataset, there: Partition | None, held: Contents | None, shape: Shape) -> bool:
    """Return whether the rows of a partition without objects are those of the warehouse, for all we know."""
    if there and held and not sums_compare(dataset, there.shape, shape):
        return there.rows == held.rows
    return _holds(there, held)


def _is_published(there: Partition | None, held: Contents, shape: Shape, state: State) -> bool:
    """Return whether a partition is there with the warehouse's contents and the manifest's objects."""
    if there is None or there.shape != shape or not _holds(there, held) or there.file_rows != there.rows:
        return False
    found = (state.objects.get(file.key) for file in there.files)
    return all(
        each is not None and (each.bytes, each.etag) == (file.bytes, file.etag)
        for each, file in zip(found, there.files, strict=True)
    )


def _require_shape(dataset: Dataset, shape: Shape, published: Iterable[Partition], span: Span) -> None:
    """Refuse to mix layouts, formats or columns in a dataset; only a run over everything may change them."""
    for each in published:
        if span.holds(dataset.period, each.partition):
            continue
        for option, ours, theirs in (
            ("--layout", shape.layout, each.shape.layout),
            ("--format", shape.format, each.shape.format),
            ("a --target on", shape.engine, each.shape.engine),
        ):
            if ours != theirs:
                raise UserError(
                    f"{dataset.name} lies there with {option} {theirs}: give {option} {theirs}, or change "
                    "all of it by leaving out --start and --end"
                )
        if each.shape != shape:
            raise UserError(
                f"{dataset.name} has other columns or another schema version now than outside the range "
                f"(e.g. in {each.partition}): unload all of it once, without --start and --end"
            )


class Publisher:
    """The changes of one dataset in one run, published in as many steps as the caller wants.

    Not thread-safe.
    """

    def __init__(self, place: Place, require: StillOurs, run: Run, state: State, plan: Plan) -> None:
        self.place, self.require, self.run, self.plan = place, require, run, plan
        self.manifest, self.etag = state.manifest, state.etag
        self.outcome = Outcome()
        self.waiting: list[Partition] = []

    def add(self, partition: Partition) -> None:
        """Add a partition whose objects are at the place."""
        self.waiting.append(partition)

    def settle(self, last: bool) -> None:
        """Write the manifest with what was added, then delete what it no longer names.

        `last`: every partition of the plan was added, so partitions without rows and strays are removed too.

        Raises:
            UserError: the lock was lost, another writer changed the manifest, or the place refuses.
        """
        self.waiting.sort(key=lambda each: each.partition)
        removed = self.plan.remove if last else ()
        expired = self.plan.expired if last else ()
        before = self.manifest.partitions if self.manifest else {}
        names = chain((each.partition for each in self.waiting), removed, expired)
        replaced = [before[name] for name in names if name in before]
        written = {file.key for each in self.waiting for file in each.files}
        gone = {file.key for each in replaced for file in each.files}
        if last:
            gone |= set(self.plan.strays) - {file.key for each in self.outcome.written for file in each.files}
        gone -= written
        if not (self.waiting or removed or expired or gone):
            return
        outcome = Outcome(
            (*self.outcome.written, *self.waiting),
            (*self.outcome.removed, *removed),
            (*self.outcome.expired, *expired),
            (*self.outcome.deleted, *sorted(gone)),
        )
        self._write_manifests(outcome)
        self.outcome, self.waiting = outcome, []
        keys = [joined(self.plan.dataset.name, key) for key in sorted(gone)]
        for at in range(0, len(keys), DELETES_PER_REQUEST):
            # before each request: the lock may be lost while the one before it takes
            self.require()
            self.place.delete(keys[at : at + DELETES_PER_REQUEST])

    def _write_manifests(self, outcome: Outcome) -> None:
        name = self.plan.dataset.name
        empty = Manifest(name, self.plan.shape, self.plan.columns, {}, {})
        manifest = updated(self.manifest, empty, outcome)
        record = joined(name, RUNS, f"{self.run.run_id}.json")
        self.require()
        there = self.place.read(record)
        try:
            self.place.put(record, render_run(name, self.run, outcome), there.etag if there else None)
            self.require()
            self.etag = self.place.put(joined(name, MANIFEST), render(manifest, self.run), self.etag)
        except Changed as changed:
            raise UserError(
                f"{self.place.uri}/{changed}: another writer changed it during this run, which its lock "
                "should forbid. Find out who writes there, then run the same command again"
            ) from None
        self.manifest = manifest


def unfinished(place: Place, dataset: Dataset) -> tuple[Upload, ...]:
    """Return the unfinished uploads of copymart's objects; none, with a note, if they cannot be listed.

    The vendor's agreement does not name this permission, and not every server has this request.
    """
    folder = f"{dataset.name}/"
    try:
        uploads = place.unfinished(folder)
    except UserError as error:
        console.print(f"unfinished uploads cannot be looked for: {error}", soft_wrap=True)
        return ()
    return tuple(
        each
        for each in uploads
        if each.key.startswith(folder) and partition_of(dataset, each.key.removeprefix(folder)) is not None
    )
