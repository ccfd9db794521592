"""copymart unload: marts to Parquet or Avro by UTC hour, day or table, in a folder or on S3.

It writes only partitions whose content differs from the manifest at the destination.
"""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scripts import s3, warehouse
from scripts.console import S3, SNOWFLAKE, WHAT, WHERE_TO
from scripts.errors import UserError
from scripts.unload import encode, publish
from scripts.unload.contents import require_relations
from scripts.unload.datasets import (
    DATASETS,
    Format,
    Layout,
    chosen_datasets,
    parse_span,
)
from scripts.unload.encode import Compression
from scripts.unload.engines import snowflake as engine_snowflake
from scripts.unload.engines.base import Options
from scripts.unload.engines.open import open_engine
from scripts.unload.engines.snowflake_stage import STAGE
from scripts.unload.failures import explained
from scripts.unload.places import lease
from scripts.unload.places.open import open_place, write_headers
from scripts.unload.places.s3 import PART_SIZE
from scripts.unload.run import new_run, planned, print_plans, unload_all, with_rows

_AGAIN = "What is published there is complete; fix the cause and run the same command again"
# Panel of --help for the options that change the files themselves.
FILES = "Files"
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


EXAMPLES = """
copymart unload --to export
copymart unload --to s3://acme/export --dry-run \\
    --role-arn arn:aws:iam::123456789012:role/unloader
copymart unload --to export --dataset calls \\
    --start 2026-01-01 --end 2026-01-02 --backfill
"""


def unload(
    to: Annotated[
        str,
        typer.Option(
            help="Folder or `s3://bucket/prefix` to write to; each dataset gets a folder in it.",
            rich_help_panel=WHERE_TO,
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(f'`{name}`' for name in DATASETS)}; may be repeated.",
            show_default="all of them",
            rich_help_panel=WHAT,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="First UTC hour, `2026-09-01T05` or `2026-09-01`; daily marts take whole days.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(help="UTC hour to stop before.", rich_help_panel=WHAT)] = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="Rewrite every partition of the range, changed or not, and remove those without rows, even "
            f"more than {publish.MOST_REMOVED} and more than a tenth of all.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List what would be written and deleted; change nothing.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    layout: Annotated[
        Layout,
        typer.Option(
            help="`split` leaves vars out of calls and deliveries; copy_variants has them.",
            rich_help_panel=FILES,
        ),
    ] = Layout.FULL,
    format: Annotated[
        Format,
        typer.Option(help="In Avro, vars and attrs are maps of strings.", rich_help_panel=FILES),
    ] = Format.PARQUET,
    compression: Annotated[
        Compression | None,
        typer.Option(
            help="Avro takes gzip and none, Snowflake snappy and none.",
            show_default="zstd, gzip for Avro, snappy on Snowflake",
            rich_help_panel=FILES,
        ),
    ] = None,
    max_file_size: Annotated[
        str,
        typer.Option(
            help="A partition above this size becomes several files: `512M`, `1G`.", rich_help_panel=FILES
        ),
    ] = "512M",
    concurrency: Annotated[
        int, typer.Option(min=1, max=32, help="Files in transfer at once.", rich_help_panel=WHERE_TO)
    ] = 8,
    staging: Annotated[
        Path | None,
        typer.Option(
            help="Folder for files before their upload: at most two chunks of a million rows, or with a "
            "Snowflake target as many files as `--concurrency`.",
            show_default="in TO for a folder, the system's for S3",
            rich_help_panel=WHERE_TO,
        ),
    ] = None,
    role_arn: s3.RoleArn = None,
    external_id: s3.ExternalId = None,
    session_name: s3.SessionName = None,
    endpoint_url: s3.EndpointUrl = None,
    region: s3.Region = None,
    sse: Annotated[
        str | None,
        typer.Option(
            help="Encryption: AES256 or aws:kms.",
            show_default="the bucket's own",
            rich_help_panel=S3,
        ),
    ] = None,
    kms_key_id: Annotated[
        str | None, typer.Option(help="KMS key for `--sse aws:kms`.", rich_help_panel=S3)
    ] = None,
    acl: Annotated[
        str | None,
        typer.Option(
            help="`bucket-owner-full-control`, for a bucket of another account that uses ACLs.",
            rich_help_panel=S3,
        ),
    ] = None,
    part_size: Annotated[
        str | None,
        typer.Option(
            help="A file above this size is uploaded in parts; a broken connection costs one part.",
            show_default="64M",
            rich_help_panel=S3,
        ),
    ] = None,
    lease_seconds: Annotated[
        int,
        typer.Option(
            min=1,
            help="How long the lock of a killed run keeps others out. It is renewed at a third.",
            rich_help_panel=S3,
        ),
    ] = lease.DEFAULT_SECONDS,
    no_if_match: Annotated[
        bool,
        typer.Option(
            "--no-if-match",
            help="For S3 servers without If-Match on PUT, such as OpenStack Swift: only one run at a time, "
            "and you delete the lock of a killed run by hand.",
            rich_help_panel=S3,
        ),
    ] = False,
    stage: Annotated[
        str | None,
        typer.Option(
            help="External stage that leads to TO: NAME, SCHEMA.NAME or DATABASE.SCHEMA.NAME.",
            show_default=f"{STAGE} in the staging schema, which copymart bootstrap creates",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Write marts as Parquet or Avro by UTC hour, where they changed since the last unload to the same place.

    Files go to `TO/<dataset>/YYYY/MM/DD/HH/`; `TO/<dataset>/_manifest.json` lists them. Hours without rows in
    the warehouse are removed. `--start` and `--end` limit both to a range. A mart without rows is skipped, or
    is an error if `--dataset` names it. So are all marts without rows, unless no calls have landed.

    With a Snowflake target, Snowflake writes Parquet to S3 through an external stage whose URL `TO` lies
    below, and this machine reads it back. It refuses `--sse`, `--kms-key-id`, `--acl` and `--part-size`.

    Exit status 1 when anything was not done. Run the same command again to finish.

    \f
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
    with explained("write", place.uri, options.staging, room, _AGAIN), _terminable():
        try:
            require_relations(engine, chosen)
            chosen = with_rows(engine, chosen, place, span, named=bool(dataset))
            if not chosen:
                return
            if dry_run:
                plans = [planned(engine, each, place, span, options, backfill) for each in chosen]
                print_plans(engine, plans, place)
                return
            run = new_run()
            with place.lock(run, lease_seconds) as require:
                engine.begin(place)
                unload_all(engine, chosen, place, require, run, span, options, backfill)
        finally:
            engine.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM from a scheduler like Ctrl-C: the run publishes what is done and releases the lock."""

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
