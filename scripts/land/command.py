"""`copymart land`: raw files to the landing tables; every line ends in exactly one place."""

from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts import s3
from scripts.console import SNOWFLAKE, WHAT
from scripts.errors import UserError
from scripts.land.duckdb import open_duckdb
from scripts.land.engine import Engine
from scripts.land.moved import move, plan_moves
from scripts.land.plan import plan_landing
from scripts.land.report import print_dry_run, print_moves, print_outcomes, print_removals
from scripts.land.rules import CALLS, EVENTS, SENDS, VARIANTS
from scripts.land.sources import list_files, locate
from scripts.land.table_plan import plan_table
from scripts.land.transaction import run
from scripts.warehouse import ProfilesDir, ProjectDir, Target, credentials, project_vars

EXAMPLES = """
copymart land --calls logs/justai/calls --events logs/customerio/events
copymart land --calls s3://acme/justai/calls \\
    --role-arn arn:aws:iam::123456789012:role/loader
copymart land --calls s3://acme/justai/calls \\
    --backfill 2026-01-01 2026-01-08 --dry-run
copymart land --calls s3://acme/sends --variants s3://acme/variants
copymart land --calls table:RAW.JUSTAI.CALLS
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
            "`--calls` or `--events`, land after that.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Of a table, look for changes in every hour. Without it, hours that are older than "
            "`table_rescan_days` (dbt_project.yml) are only counted.",
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
    tables with the reason.

    A table lands by the UTC hours of its time column: hours that changed replace what they brought. It is one
    of Snowflake's, or one of the DuckDB file or of what the profile's target attaches.

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
        ("--calls", calls),
        ("--variants", variants),
        ("--events", events),
    ):
        # Path("") is the current folder, which is never meant
        if uri is not None and not uri.strip():
            raise UserError(
                f"{option} is empty: give a folder, glob, file or s3:// prefix (is a shell variable unset?), "
                "or leave it out"
            )
    of_calls = CALLS if variants is None else SENDS
    given = ((VARIANTS, variants), (of_calls, calls), (EVENTS, events))
    named = [(dataset, uri) for dataset, uri in given if uri is not None]
    if not named and not moved:
        raise UserError("nothing to land: give --calls URI, --events URI, --variants URI or several of them")
    span = _span(*backfill) if backfill else None
    if span and not named:
        raise UserError("--backfill belongs to --calls or --events; --moved alone lands nothing")
    if allow_empty and not span:
        raise UserError("--allow-empty belongs to --backfill")
    locations = [(dataset, locate(uri)) for dataset, uri in named]
    remote = any(location.is_s3 for _, location in locations)
    store = s3.client(role_arn, external_id, endpoint_url, region) if remote else None
    settings = project_vars(project_dir)
    bounds, days = _bounds(settings), _rescan_days(settings)
    if everything and not any(location.is_table for _, location in locations):
        raise UserError(
            "--all belongs to a table: give --calls, --variants or --events table:DATABASE.SCHEMA.NAME"
        )
    profile = credentials(project_dir, profiles_dir, target)
    elsewhere = profile["type"] == "snowflake"
    if stage is not None and not elsewhere:
        raise UserError(f"--stage belongs to a Snowflake target; the profile's is of type {profile['type']}")
    # listed before a warehouse is created; only an open session knows which places on S3 a stage covers
    listed = [
        (
            dataset,
            location,
            None if location.is_table or (elsewhere and location.is_s3) else list_files(location, store),
        )
        for dataset, location in locations
    ]
    where = (profile, project_dir, profiles_dir, target, dry_run)
    with (
        _open_snowflake(*where, settings["production_schema"], stage, role)
        if elsewhere
        else open_duckdb(*where) as engine
    ):
        if moved:
            moves = plan_moves(engine, *moved)
            print_moves(moves, dry_run)
            if not dry_run:
                move(engine, moves)
        plans = []
        for dataset, location, files in listed:
            there = files
            if there is None and not location.is_table:
                there = engine.list_files(location, store)
            # variants without an hour hold for all time, whatever range is made equal
            whole = dataset is VARIANTS and not all(file.path_hour for file in there or [])
            range_ = None if whole or (dataset is VARIANTS and there is None) else span
            # the same variants again, an hour later, are valid from that hour
            rest = (range_, allow_empty, copies or dataset is VARIANTS)
            if there is None:
                plan = plan_table(engine, dataset, location, bounds, days, everything, *rest, dry_run)
            else:
                plan = plan_landing(engine.connection, dataset, location, there, *rest)
            plans.append(plan)
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


def _rescan_days(settings: dict[str, Any]) -> int:
    """The days whose hours of a table are always hashed."""
    value = settings.get("table_rescan_days", 7)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(
            f"dbt_project.yml: the var table_rescan_days is {value!r}; write a number of days such as 7"
        )
    return value


def _bounds(settings: dict[str, Any]) -> tuple[int, int]:
    """The bounds [earliest, latest) of a record's time, in unix seconds."""
    seconds = []
    for key in ("earliest_event_at", "latest_event_at"):
        value = settings.get(key)
        try:
            moment = (
                datetime.combine(value, time()) if type(value) is date else datetime.fromisoformat(str(value))
            )
        except ValueError:
            raise UserError(
                f"dbt_project.yml: the var {key} is {value!r}; write a date such as '2000-01-01'"
            ) from None
        seconds.append(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    return seconds[0], seconds[1]
