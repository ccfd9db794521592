"""What one run of `copymart unload` does at a place, by dataset, and what a dry run prints."""

import secrets
import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from rich.table import Table

from scripts.console import console, progress
from scripts.errors import UserError
from scripts.unload import publish
from scripts.unload.contents import contents_of, is_empty, landed_without_calls
from scripts.unload.datasets import EVERYTHING, SCHEMA_VERSION, Dataset, Format, Span
from scripts.unload.engines.base import Engine, Options, Work
from scripts.unload.manifest import Partition, State, joined, read_state, shape_of
from scripts.unload.places.base import Place, Run, StillOurs
from scripts.unload.publish import Plan, Publisher


def new_run() -> Run:
    """Return a run that begins now."""
    now = datetime.now(UTC)
    return Run(
        f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        socket.gethostname(),
        now.isoformat(timespec="seconds"),
    )


def with_rows(engine: Engine, chosen: list[Dataset], place: Place, span: Span, named: bool) -> list[Dataset]:
    """Leave out datasets with empty marts, with a note.

    An empty mart more often means a failed build, or data that never landed, than a reason to empty an
    export. It empties only a range of a dataset that the caller `named`. Nothing is left where only feeds
    without calls have landed, and nothing was unloaded to the place: no mart here has rows of those.

    Raises:
        UserError: all of a named dataset is to be unloaded and its mart is empty, or all marts are empty
            although calls have landed or were unloaded.
    """
    empty = [
        each
        for each in chosen
        if not (named and span.of(each.period) != EVERYTHING) and is_empty(engine, each)
    ]
    if empty and (named or len(empty) == len(chosen)):
        if (
            not named
            and landed_without_calls(engine)
            and not any(read_state(place, each).etag for each in empty)
        ):
            console.print(
                "nothing to unload: no calls have landed, and all that is unloaded follows from calls. "
                f"{place.uri} stays as it is",
                soft_wrap=True,
            )
            return []
        marts = ", ".join(each.mart for each in empty)
        raise UserError(f"nothing to unload: no rows in {marts}. {place.uri} stays as it is")
    for each in empty:
        console.print(
            f"skipped {each.name}: {each.mart} has no rows; {place.uri}/{each.name} stays as it is",
            soft_wrap=True,
        )
    return [each for each in chosen if each not in empty]


def planned(
    engine: Engine,
    dataset: Dataset,
    place: Place,
    span: Span,
    options: Options,
    backfill: bool,
) -> tuple[Plan, State]:
    columns = engine.describe(engine.dialect.whole(dataset, options.layout))
    shape = shape_of(dataset, options.layout, options.format, columns, SCHEMA_VERSION, engine.name)
    contents = contents_of(engine, dataset, span.of(dataset.period))
    state = read_state(place, dataset)
    plan = publish.plan(dataset, span, shape, columns, contents, state, backfill)
    if plan.unknown:
        console.print(
            f"{place.uri}/{dataset.name}: {len(plan.unknown):,} objects outside the range are in no manifest "
            f"(e.g. {plan.unknown[0]}); a run without --start and --end settles them",
            soft_wrap=True,
        )
    if plan.expired:
        console.print(
            f"{place.uri}/{dataset.name}: objects of {len(plan.expired):,} partitions are gone (e.g. "
            f"{plan.expired[0]}), expired by the place's retention or deleted. They are left so; --backfill "
            "writes them again",
            soft_wrap=True,
        )
    return replace(plan, uploads=publish.unfinished(place, dataset)), state


def unload_all(
    engine: Engine,
    chosen: list[Dataset],
    place: Place,
    require: StillOurs,
    run: Run,
    span: Span,
    options: Options,
    backfill: bool,
) -> None:
    table = Table("dataset")
    for name in ("written", "kept", "removed", "rows", "bytes", "seconds"):
        table.add_column(name, justify="right")
    for dataset in chosen:
        began = time.monotonic()
        plan, state = planned(engine, dataset, place, span, options, backfill)
        written: tuple[Partition, ...] = ()
        if not plan.changes_nothing:
            written = _write(engine, plan, state, place, require, run, options)
        size = sum(file.bytes for each in written for file in each.files)
        counts = (len(written), plan.kept, len(plan.remove), sum(each.rows for each in written), size)
        table.add_row(dataset.name, *(f"{count:,}" for count in counts), f"{time.monotonic() - began:.1f}")
    console.print(table)


def _write(
    engine: Engine,
    plan: Plan,
    state: State,
    place: Place,
    require: StillOurs,
    run: Run,
    options: Options,
) -> tuple[Partition, ...]:
    """Write, upload and publish what the plan says, and return the partitions that were written.

    If something fails, what was uploaded until then is published, so that the manifest is right.
    """
    for upload in plan.uploads:
        require()
        place.abort(upload)
    publisher = Publisher(place, require, run, state, plan)
    with progress(f"unload {plan.dataset.name}", len(plan.write)) as advance:
        try:
            engine.write(Work(plan, place, require, run, options, publisher, advance))
        except BaseException:
            with suppress(UserError, OSError):
                publisher.settle(last=False)
            raise
    publisher.settle(last=True)
    return publisher.outcome.written


def print_plans(engine: Engine, plans: list[tuple[Plan, State]], place: Place) -> None:
    console.print(f"Dry run: nothing is written to {place.uri}", soft_wrap=True)
    for plan, state in plans:
        folder = f"{place.uri}/{plan.dataset.name}"
        published = state.manifest.partitions if state.manifest else {}
        name = engine.object_name(plan.dataset, Format(plan.shape.format))
        kept = {joined(partition, name) for partition in plan.write}
        gone = [
            file.key
            for partition in (*plan.write, *plan.remove)
            if partition in published
            for file in published[partition].files
        ]
        for partition, held in plan.write.items():
            console.print(
                f"would write {folder}/{joined(partition, name)} ({held.rows:,} rows)", soft_wrap=True
            )
        for key in sorted({*gone, *plan.strays} - kept):
            console.print(f"would delete {folder}/{key}", soft_wrap=True)
        for upload in plan.uploads:
            console.print(f"would abort the unfinished upload of {place.uri}/{upload.key}", soft_wrap=True)
        console.print(
            f"{plan.dataset.name}: {len(plan.write):,} to write, {plan.kept:,} kept, "
            f"{len(plan.remove):,} to remove",
            soft_wrap=True,
        )
