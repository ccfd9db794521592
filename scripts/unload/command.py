"""copymart unload: marts to Parquet or Avro by UTC hour, day or table, in a folder or on S3.

Only partitions whose content differs from what the manifest at the destination says are written.
"""

import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scripts import s3, warehouse
from scripts.console import console, progress
from scripts.errors import UserError
from scripts.unload import encode, publish
from scripts.unload.contents import contents_of, is_empty, require_relations
from scripts.unload.datasets import (
    DATASETS,
    EVERYTHING,
    SCHEMA_VERSION,
    Dataset,
    Format,
    Layout,
    Span,
    chosen_datasets,
    parse_span,
)
from scripts.unload.encode import Compression
from scripts.unload.engines import snowflake as engine_snowflake
from scripts.unload.engines.base import Engine, Options, Work, open_engine
from scripts.unload.manifest import Partition, State, joined, read_state, shape_of
from scripts.unload.places import lease
from scripts.unload.places.base import Place, Run, StillOurs
from scripts.unload.places.s3 import (
    PART_SIZE,
    EndpointUrl,
    ExternalId,
    Region,
    RoleArn,
    SessionName,
    open_place,
    write_headers,
)
from scripts.unload.publish import Plan, Publisher
from scripts.unload.refusals import told

_AGAIN = "What is published there is whole; mend it and run the same command again"
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def unload(
    to: Annotated[
        str, typer.Option(help="Folder or s3://bucket/prefix to write to; each dataset gets a folder in it.")
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(DATASETS)}; may be repeated.", show_default="all of them"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="First UTC hour, 2026-09-01T05 or 2026-09-01; daily marts take whole days."),
    ] = None,
    end: Annotated[str | None, typer.Option(help="UTC hour to stop before.")] = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="Write every partition of the range anew, changed or not, and remove those without rows "
            f"even where they are more than {publish.MOST_REMOVED} and more than a tenth of all.",
        ),
    ] = False,
    layout: Annotated[
        Layout, typer.Option(help="split leaves vars out of calls and deliveries; copy_variants has them.")
    ] = Layout.FULL,
    format: Annotated[
        Format, typer.Option(help="In Avro, vars and attrs are maps of text.")
    ] = Format.PARQUET,
    compression: Annotated[
        Compression | None,
        typer.Option(
            help="Avro takes gzip and none, Snowflake snappy and none.",
            show_default="zstd, gzip for Avro, snappy on Snowflake",
        ),
    ] = None,
    max_file_size: Annotated[
        str, typer.Option(help="A partition with a larger file becomes several; 512M, 1G.")
    ] = "512M",
    part_size: Annotated[
        str | None,
        typer.Option(
            help="On S3 a larger file goes up in parts; a broken connection costs one of them.",
            show_default="64M",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=32, help="Files on their way at once.")] = 8,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List what would be written and deleted, and change nothing."),
    ] = False,
    role_arn: RoleArn = None,
    external_id: ExternalId = None,
    session_name: SessionName = None,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    sse: Annotated[
        str | None, typer.Option(help="Encryption on S3: AES256, aws:kms.", show_default="the bucket's own")
    ] = None,
    kms_key_id: Annotated[str | None, typer.Option(help="KMS key for --sse aws:kms.")] = None,
    acl: Annotated[
        str | None,
        typer.Option(help="bucket-owner-full-control, for a bucket of another account that uses ACLs."),
    ] = None,
    staging: Annotated[
        Path | None,
        typer.Option(
            help="Folder for files on their way, at most two chunks of a million rows, or with a Snowflake "
            "target as many files as --concurrency says.",
            show_default="in TO for a folder, the system's for S3",
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            help="Snowflake target: the external stage that leads to TO, as NAME, SCHEMA.NAME or "
            "DATABASE.SCHEMA.NAME.",
            show_default=f"{engine_snowflake.STAGE} in the staging schema, which copymart bootstrap makes",
        ),
    ] = None,
    lease_seconds: Annotated[
        int,
        typer.Option(
            min=1, help="On S3: how long the lock of a killed run keeps others out. Renewed at a third."
        ),
    ] = lease.DEFAULT_SECONDS,
    no_if_match: Annotated[
        bool,
        typer.Option(
            "--no-if-match",
            help="For S3 servers without If-Match on PUT, such as OpenStack Swift: one run at a time, "
            "and the lock of a killed run must be deleted by hand.",
        ),
    ] = False,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Write marts under TO/<dataset>/YYYY/MM/DD/HH/, by UTC hour, where they changed since the last unload.

    TO/<dataset>/_manifest.json tells what is there. Hours that have no rows any more are removed. --start and
    --end limit both to a range. A mart without rows is skipped, and an error when --dataset names it. Run the
    same command again to finish a run that was cut short. Exit status 1 when anything was not done.

    With a Snowflake target Snowflake itself writes Parquet to S3, by an external stage whose URL TO lies
    below, and this machine reads it back. --sse, --kms-key-id, --acl and --part-size cannot be given then.

    Raises:
        UserError: TO, a dataset or the range cannot be used, the warehouse lacks a mart or its rows, another
            run is writing there, or writing failed.
    """
    kind = warehouse.kind(project_dir, profiles_dir, target)
    size = _size("--max-file-size", max_file_size)
    if kind == "snowflake":
        only_here = {"--sse": sse, "--kms-key-id": kms_key_id, "--acl": acl, "--part-size": part_size}
        engine_snowflake.require_possible(to, format, size, only_here)
        chosen_compression = engine_snowflake.compression_for(compression)
    else:
        if stage:
            raise UserError("--stage names a stage of Snowflake, and the profile's target is of type " + kind)
        chosen_compression = encode.compression_for(format, compression)
    place = open_place(
        to,
        "--to",
        lambda: s3.client(role_arn, external_id, endpoint_url, region, session_name),
        write_headers(sse, kms_key_id, acl),
        if_match=not no_if_match,
        part_size=_size("--part-size", part_size) if part_size else PART_SIZE,
    )
    chosen = chosen_datasets(dataset)
    span = parse_span(start, end)
    options = Options(layout, format, chosen_compression, size, concurrency, staging or place.drafts())
    engine = open_engine(project_dir, profiles_dir, target, place, stage)
    room = f"make room, or name another folder than {options.staging} with --staging"
    with told("write", place.uri, options.staging, room, _AGAIN), _terminable():
        try:
            require_relations(engine, chosen)
            chosen = _with_rows(engine, chosen, place, span, named=bool(dataset))
            if dry_run:
                plans = [_plan(engine, each, place, span, options, backfill) for each in chosen]
                _print_plans(engine, plans, place)
                return
            run = new_run()
            with place.lock(run, lease_seconds) as require:
                engine.begin(place)
                _unload_all(engine, chosen, place, require, run, span, options, backfill)
        finally:
            engine.close()


def new_run() -> Run:
    """Return a run that begins now."""
    now = datetime.now(UTC)
    return Run(
        f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        socket.gethostname(),
        now.isoformat(timespec="seconds"),
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """End a run that a scheduler stops as ctrl-C would: it settles what is done and frees the lock."""

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _size(option: str, text: str) -> int:
    match = re.fullmatch(r"(\d+)([kMG]?)", text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not size:
        raise UserError(f"{option} {text}: write a size such as 512M or 1G")
    return size


def _with_rows(engine: Engine, chosen: list[Dataset], place: Place, span: Span, named: bool) -> list[Dataset]:
    """Leave out datasets with empty marts, with a note.

    An empty mart is a build that went wrong, or data that never landed, more often than a reason to empty an
    export. Only a range of a dataset that the caller `named` may be emptied by one.

    Raises:
        UserError: all of a named dataset is to be unloaded and its mart is empty, or all marts are empty.
    """
    empty = [
        each
        for each in chosen
        if not (named and span.of(each.period) != EVERYTHING) and is_empty(engine, each)
    ]
    if empty and (named or len(empty) == len(chosen)):
        marts = ", ".join(each.mart for each in empty)
        raise UserError(f"nothing to unload: no rows in {marts}. {place.uri} stays as it is")
    for each in empty:
        console.print(
            f"skipped {each.name}: {each.mart} has no rows; {place.uri}/{each.name} stays as it is",
            soft_wrap=True,
        )
    return [each for each in chosen if each not in empty]


def _plan(
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


def _unload_all(
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
        plan, state = _plan(engine, dataset, place, span, options, backfill)
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
    """Write, upload and settle what the plan says, and return the partitions that were written.

    When something fails, what was uploaded until then is settled, so that the manifest tells the truth.
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


def _print_plans(engine: Engine, plans: list[tuple[Plan, State]], place: Place) -> None:
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
