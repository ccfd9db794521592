"""`copymart land`: raw files to the landing tables; every line ends in exactly one place."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts import s3
from scripts.console import SNOWFLAKE, WHAT
from scripts.console import listed as listed_names
from scripts.errors import UserError
from scripts.land.duckdb import open_duckdb
from scripts.land.engine import Engine
from scripts.land.given import backfill_span, rescan_days, time_bounds
from scripts.land.moved import move, plan_moves
from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.plan import plan_landing
from scripts.land.report import (
    print_dry_run,
    print_left_out,
    print_moves,
    print_outcomes,
    print_removals,
)
from scripts.land.rules import CALLS, EVENTS, SENDS, VARIANTS, Dataset
from scripts.land.sources import Location, SourceFile, list_files, locate
from scripts.land.sync import by_table
from scripts.land.sync_tables import plan_sync_tables
from scripts.land.table_plan import plan_table
from scripts.land.transaction import run
from scripts.warehouse import (
    ProfilesDir,
    ProjectDir,
    Target,
    connect,
    credentials,
    production_schema,
    project_vars,
)

EXAMPLES = """
copymart land --calls logs/justai/calls --events logs/customerio/events
copymart land --calls s3://acme/justai/calls \\
    --role-arn arn:aws:iam::123456789012:role/loader
copymart land --calls s3://acme/justai/calls \\
    --backfill 2026-01-01 2026-01-08 --dry-run
copymart land --calls s3://acme/sends --variants s3://acme/variants
copymart land --calls table:RAW.JUSTAI.CALLS
copymart land --sync s3://acme/customerio/sync
copymart land --sync table:RAW.CUSTOMERIO
copymart land --pipeline-calls s3://acme/pipelines/calls
copymart land --landing s3://acme
copymart land --moved /data/logs s3://acme/logs
"""


def land(
    calls: Annotated[
        str | None,
        typer.Option(
            help="JustAI call logs: a folder, glob, file, `s3://` prefix, or `table:DATABASE.SCHEMA.NAME`.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(help="Customer.io webhook events: likewise.", rich_help_panel=WHAT),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            help="JustAI's variants with their words, likewise, where it exports two tables. `--calls` then "
            "names the sends, which have no template_id and no vars.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    sync: Annotated[
        str | None,
        typer.Option(
            help="Customer.io's warehouse sync: a folder, glob, file or `s3://` prefix of its Parquet files, "
            "`TABLE_v4_…parquet` or in a folder per table; or `table:DATABASE.SCHEMA`, a schema with its "
            "tables.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    pipeline_calls: Annotated[
        str | None,
        typer.Option(
            help="Source calls (identify, track, page, screen, group, alias): a folder, glob, file, `s3://` "
            "prefix or table, as for `--calls`.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    landing: Annotated[
        str | None,
        typer.Option(
            help="A folder or `s3://` prefix of several feeds: lands each that lies there, of "
            "`justai/calls`, `justai/sends`, `justai/variants`, `customerio/events`, `pipelines/calls` and "
            "`customerio/sync` (which no `--backfill` touches).",
            rich_help_panel=WHAT,
        ),
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
    copies: Annotated[
        bool,
        typer.Option(
            "--copies",
            help="Also land files whose content has landed under another name. Without it they are held "
            "back, because their rows would be there twice.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    moved: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="OLD NEW",
            help="The file or folder OLD lies at NEW now: its rows stay, under their new names. With "
            "`--calls`, `--events`, `--sync` or `--landing`, land after that.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Of a table, look for changes in every hour. Without it, hours that are older than "
            "`table_rescan_days` (dbt_project.yml) are only counted; tables of the sync whose rows change "
            "later are compared whole anyway.",
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
    role: Annotated[
        str | None,
        typer.Option(
            help="Snowflake role that lands; `copymart bootstrap snowflake` creates one.",
            envvar="COPYMART_LAND_ROLE",
            show_default="the profile's role",
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
    tables with the reason. Of the warehouse sync, every export of a row is kept, and models read the latest;
    columns that land does not know are kept as JSON.

    A table lands by the UTC hours of its time column: hours that changed replace what they brought. It is one
    of Snowflake's, or one of the DuckDB file or of what the profile's target attaches. Of a schema with the
    sync's tables, names begin as those of its files do; a row that is there again stays as it landed.

    With a Snowflake target, Snowflake copies and parses JSON lines: local files through PUT, `s3://` through
    a stage.

    Exit status 1 when a file was refused as a whole, or held back because its content has landed under
    another name; all other files have landed.

    \f
    Raises:
        UserError: there is nothing to land, an option or the profile cannot be used, or a backfill would
            empty an hour.
    """
    for option, uri in (
        *(("--calls", calls), ("--variants", variants), ("--events", events)),
        *(("--sync", sync), ("--pipeline-calls", pipeline_calls), ("--landing", landing)),
    ):
        # Path("") is the current folder, which is never meant
        if uri is not None and not uri.strip():
            raise UserError(
                f"{option} is empty: give a folder, glob, file or s3:// prefix (is a shell variable unset?), "
                "or leave it out"
            )
    of_calls = CALLS if variants is None else SENDS
    given = (
        *((VARIANTS, variants), (of_calls, calls), (EVENTS, events)),
        (PIPELINE_CALLS, pipeline_calls),
    )
    named = [(dataset, uri) for dataset, uri in given if uri is not None]
    if landing is not None and (named or sync is not None):
        raise UserError(
            "--landing takes every feed that lies there: leave out --calls, --variants, --events, --sync and "
            "--pipeline-calls"
        )
    if not named and sync is None and landing is None and not moved:
        raise UserError(
            "nothing to land: give --calls URI, --events URI, --variants URI, --sync URI, "
            "--pipeline-calls URI or several of them"
        )
    span = backfill_span(*backfill) if backfill else None
    if span and sync is not None:
        raise UserError(
            "--backfill does not go with --sync, whose files have no hour in their path: a file or table "
            "that changed replaces its rows without it"
        )
    if span and not named and landing is None:
        raise UserError("--backfill belongs to --calls or --events; --moved alone lands nothing")
    if allow_empty and not span:
        raise UserError("--allow-empty belongs to --backfill")
    locations: list[tuple[Dataset | None, Location]] = [(dataset, locate(uri)) for dataset, uri in named]
    if sync is not None:
        locations.append((None, locate(sync, of_schema=True)))
    if landing is not None:
        locations = _feeds_of(landing, of_hours=span is not None)
    remote = any(location.is_s3 for _, location in locations)
    store = s3.client(role_arn, external_id, endpoint_url, region) if remote else None
    settings = project_vars(project_dir)
    bounds, days = time_bounds(settings), rescan_days(settings)
    if everything and not any(location.is_table for _, location in locations):
        raise UserError(
            "--all belongs to a table: give --calls, --variants, --events or --pipeline-calls "
            "table:DATABASE.SCHEMA.NAME, or --sync table:DATABASE.SCHEMA"
        )
    profile = credentials(project_dir, profiles_dir, target)
    elsewhere = profile["type"] == "snowflake"
    if stage is not None and not elsewhere:
        raise UserError(f"--stage belongs to a Snowflake target; the profile's is of type {profile['type']}")
    if moved and not elsewhere and not dry_run:
        # a file that is missing has no rows to rename, and must not be made
        connect(project_dir, profiles_dir, target, read_only=True).close()
    # listed before a warehouse is created; only an open session knows which places on S3 a stage covers
    listed = [
        (
            dataset,
            location,
            None if location.is_table or (elsewhere and location.is_s3) else list_files(location, store),
        )
        for dataset, location in locations
    ]
    if landing is not None:
        listed = [item for item in listed if item[2] != []]
        if not listed:
            raise UserError(_no_feed(landing))
    where = (profile, project_dir, profiles_dir, target, dry_run)
    with (
        _open_snowflake(*where, production_schema(project_dir), stage, role)
        if elsewhere
        else open_duckdb(*where) as engine
    ):
        if moved:
            moves = plan_moves(engine, *moved)
            print_moves(moves, dry_run)
            if not dry_run:
                move(engine, moves)
        plans = []
        for feed, location, files in listed:
            found = files
            if found is None and not location.is_table:
                found = engine.list_files(location, store)
            if landing is not None and not found:
                continue
            # variants without an hour hold for all time, whatever range is made equal
            whole = feed is VARIANTS and not all(file.path_hour for file in found or [])
            range_ = None if whole or (feed is VARIANTS and found is None) else span
            if found is None and not feed:
                plans += plan_sync_tables(engine, location, bounds, days, everything, dry_run)
                continue
            if found is None:
                assert feed
                rest = (range_, allow_empty, copies or feed is VARIANTS, dry_run)
                plans.append(plan_table(engine, feed, location, bounds, days, everything, *rest))
                continue
            for dataset, some in ({feed: found} if feed else _tables_of_sync(location, found)).items():
                # the same variants again are valid from another hour; of an export that comes again, models
                # read the latest
                again = copies or dataset is VARIANTS or bool(dataset.typed)
                plans.append(
                    plan_landing(engine.connection, dataset, location, some, range_, allow_empty, again)
                )
        if landing is not None and not plans:
            raise UserError(_no_feed(landing))
        for plan in plans:
            print_removals(plan)
        if dry_run:
            for plan in plans:
                print_dry_run(plan)
            return
        outcomes = [run(engine, plan, bounds, store) for plan in plans]
    if outcomes:
        print_outcomes(outcomes)
    if any(outcome.refused or outcome.copies for outcome in outcomes):
        raise typer.Exit(1)


def _open_snowflake(
    profile: dict[str, Any],
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    dry_run: bool,
    production_schema: str,
    stage: str | None,
    role: str | None,
) -> AbstractContextManager[Engine]:
    # imported here because the connector takes half a second, which DuckDB targets should not
    from scripts.land.snowflake.engine import open_snowflake

    return open_snowflake(profile, project_dir, profiles_dir, target, dry_run, production_schema, stage, role)


_FOLDERS: tuple[tuple[Dataset | None, str], ...] = (
    *((VARIANTS, "justai/variants"), (SENDS, "justai/sends"), (CALLS, "justai/calls")),
    *((EVENTS, "customerio/events"), (PIPELINE_CALLS, "pipelines/calls"), (None, "customerio/sync")),
)


def _feeds_of(landing: str, of_hours: bool) -> list[tuple[Dataset | None, Location]]:
    """Where the feeds below a folder lie; on S3, only a listing says which of them there are.

    `of_hours`: only those whose files have hours.
    """
    if not landing.startswith("s3://"):
        locate(landing)
    places = [
        (dataset, f"{landing.rstrip('/')}/{folder}")
        for dataset, folder in _FOLDERS
        if dataset or not of_hours
    ]
    return [
        (dataset, locate(place))
        for dataset, place in places
        if place.startswith("s3://") or Path(place.removeprefix("file://")).expanduser().exists()
    ]


def _no_feed(landing: str) -> str:
    folders = ", ".join(folder for _, folder in _FOLDERS)
    return (
        f"{landing}: no feed lies there, in none of {folders}; name other folders by --calls, --events, "
        "--pipeline-calls and --sync"
    )


def _tables_of_sync(location: Location, files: list[SourceFile]) -> dict[Dataset, list[SourceFile]]:
    tables, others = by_table(location, files)
    if not tables:
        raise UserError(
            f"{location.given}: no file of the warehouse sync to land, such as "
            "deliveries_v4_111528_2416.parquet"
            + (
                f"; it holds only {listed_names([file.uri.rpartition('/')[2] for file in others])}"
                if others
                else ""
            )
        )
    print_left_out(others)
    return tables
