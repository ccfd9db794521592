"""copymart status: what landed, what waits for a build or was not sent to its end, and what audits say."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.table import Table

from scripts import warehouse
from scripts.answers import Answer, NotBuilt, answers
from scripts.console import WHAT, console, error_console, listed
from scripts.customerio.outbound.options import DEFAULT_SPOOL, Spool
from scripts.customerio.outbound.spool import Unfinished, unfinished
from scripts.errors import UserError

EXAMPLES = """
copymart status
copymart status --max-age 26 --json
"""

# The last models of a build: a batch that one of them has not read is not in the marts.
_LAST_MODELS = ("copy_cohort_metrics_daily", "copy_metrics_daily", "fct_deliveries", "fct_engagement_events")
# The commands of dbt whose result says how the warehouse was built.
_BUILDS = ("build", "run", "test", "seed", "snapshot", "retry")
# The tables that landing makes itself: without them nothing has landed.
_LANDED = "select count(*) as batches from {staging}.landed_batches"
_NOTHING = "nothing has landed yet: run `copymart land` first"
_READ = f"""
    select batch_id
    from {{staging}}.consumed_batches
    where model in {_LAST_MODELS}
    group by batch_id
    having count(distinct model) = {len(_LAST_MODELS)}
"""
_READ_NONE = "select batch_id from {staging}.landed_batches where false"
_OF_FEEDS = """
    with read_batches as (
        [read_batches]
    ),
    batches as (
        select
            landed.dataset,
            max(landed.landed_at) as landed_at,
            -- views alone read what the App API returned
            count(
                case when read_batches.batch_id is null and landed.dataset <> 'customerio_api' then 1 end
            ) as pending
        from {staging}.landed_batches as landed
        left join read_batches on landed.batch_id = read_batches.batch_id
        group by landed.dataset
    ),
    files as (
        select
            dataset, count(*) as file_count, sum(row_count) as row_count, sum(reject_count) as reject_count,
            max(path_hour) as newest_hour
        from {staging}.landed_files
        group by dataset
    )
    select
        batches.dataset, batches.landed_at, files.newest_hour, files.file_count, files.row_count,
        files.reject_count, batches.pending
    from batches left join files on batches.dataset = files.dataset
    order by batches.dataset
"""
_FEEDS = _OF_FEEDS.replace("[read_batches]", _READ)
_FEEDS_BEFORE_A_BUILD = _OF_FEEDS.replace("[read_batches]", _READ_NONE)
_SYNC = {
    f"customerio_{table}"
    for table in (
        *("deliveries", "metrics", "subjects", "outputs", "people", "attributes"),
        *("delivery_content", "campaigns", "broadcasts"),
    )
}
_MATCHES = """
    select sum(event_count) as expected, sum(event_count * match_rate) as matched
    from {audit}.audit_match_rate
    where is_expected
"""
# dbt's words for a node that did what it should
_FINE = {"success", "pass", "no-op", "skipped", "reused"}


@dataclass(frozen=True)
class Feed:
    """What has landed of one kind of record. Times are UTC; `pending` counts batches that no build read."""

    name: str
    landed_at: datetime
    newest_hour: datetime | None
    files: int
    rows: int
    rejects: int
    pending: int


@dataclass(frozen=True)
class Build:
    """The last command of dbt that wrote run_results.json: how many nodes ended how, and which not well."""

    ended_at: datetime
    command: str
    nodes: dict[str, int]
    failed: dict[str, str]
    warned: dict[str, str]


@dataclass(frozen=True)
class Status:
    """All of it; `problems` are sentences, each a reason for exit status 1.

    `sending`: the runs of send and activate on this machine that have not ended.
    """

    feeds: list[Feed]
    build: Build | None
    sending: list[Unfinished]
    expected_events: int
    matched_events: int
    problems: list[str]


def status(
    max_age: Annotated[
        float | None,
        typer.Option(
            help="Hours since the last landing of a feed that are a problem.",
            min=0,
            max=1_000_000,
            show_default="none are",
            rich_help_panel=WHAT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for programs.", rich_help_panel=WHAT)
    ] = False,
    target_path: Annotated[
        Path | None,
        typer.Option(
            help="Folder of dbt's run_results.json.",
            envvar="DBT_TARGET_PATH",
            show_default="target in the project folder",
            rich_help_panel=WHAT,
        ),
    ] = None,
    spool: Spool = DEFAULT_SPOOL,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Show what has landed, what waits for a build, how the last build went and what audits say.

    Also the runs of `copymart send` and `activate` on this machine that have not ended. Changes nothing.
    Exit status 1 when something is wrong: the last build failed, the warehouse was never built, a feed
    is older than --max-age, or a run that sends was killed. What audits warn of is shown, and no reason for
    status 1.

    \f
    Raises:
        UserError: the warehouse or the spool cannot be read, or nothing has landed yet.
    """
    build = last_build((target_path or project_dir / "target") / "run_results.json")
    with answers(project_dir, profiles_dir, target, "status") as answer:
        found = read(answer, build, datetime.now(UTC).replace(tzinfo=None), max_age, unfinished(spool))
    if as_json:
        print(json.dumps(asdict(found), default=_as_text, indent=2))
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(1)


def read(
    answer: Answer,
    build: Build | None,
    now: datetime,
    max_age: float | None,
    sending: Sequence[Unfinished] = (),
) -> Status:
    """Read the state of the warehouse; `now` is UTC, `max_age` hours, `sending` runs that have not ended.

    Raises:
        UserError: nothing has landed yet.
    """
    try:
        answer(_LANDED)
    except NotBuilt as error:
        raise UserError(_NOTHING) from error
    # a build that has not made all tables yet hides nothing of what landed
    unbuilt: list[str] = []
    expected = matched = None
    try:
        feeds = _feeds(answer(_FEEDS))
    except NotBuilt as error:
        unbuilt.append(str(error))
        feeds = _feeds(answer(_FEEDS_BEFORE_A_BUILD))
    if not feeds:
        raise UserError(_NOTHING)
    try:
        ((expected, matched),) = (row.values() for row in answer(_MATCHES).to_pylist())
    except NotBuilt as error:
        unbuilt.append(str(error))
    problems = unbuilt[:1] + [
        f"{name}: the last landing was {(now - landed_at) / timedelta(hours=1):.1f} hours ago"
        for name, landed_at in _last_landings(feeds).items()
        if max_age is not None and now - landed_at > timedelta(hours=max_age)
    ]
    if build and build.failed:
        problems.append(f"dbt {build.command} failed: {listed(sorted(build.failed))}")
    problems += [
        f"{run.command} of {run.started_at:%Y-%m-%d %H:%M} UTC did not end: {_left(run)}. Run it again, "
        "which begins with them"
        for run in sending
        if not run.is_running
    ]
    return Status(feeds, build, list(sending), int(expected or 0), round(matched or 0), problems)


def _feeds(found: pa.Table) -> list[Feed]:
    return [
        Feed(name, landed_at, newest, *(number or 0 for number in numbers))
        for name, landed_at, newest, *numbers in (row.values() for row in found.to_pylist())
    ]


def _left(run: Unfinished) -> str:
    return (
        f"{run.in_flight:,} of {run.planned:,} requests were in flight, and {run.unwritten:,} answers are "
        "not in the ledger yet"
    )


def _last_landings(feeds: list[Feed]) -> dict[str, datetime]:
    """The last landing of each feed.

    The tables of the warehouse sync are one: the vendor exports a table only when its rows changed, and
    campaigns may not for weeks.
    """
    found: dict[str, datetime] = {}
    for feed in feeds:
        name = "customerio warehouse sync" if feed.name in _SYNC else feed.name
        found[name] = max(found.get(name, feed.landed_at), feed.landed_at)
    return found


def last_build(results: Path) -> Build | None:
    """What dbt wrote about its last command; None if it has written nothing.

    Raises:
        UserError: the file is no such file.
    """
    if not results.exists():
        return None
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
        nodes = [
            (node["unique_id"].split(".", 2)[-1], node["status"], node["message"])
            for node in found["results"]
        ]
        ended = datetime.fromisoformat(found["metadata"]["generated_at"]).replace(tzinfo=None)
        command = found["args"]["which"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{results} is no result of dbt ({error!r}): run dbt again, or name its folder with --target-path"
        ) from error
    return Build(
        ended,
        command,
        dict(Counter(state for _, state, _ in nodes)),
        {name: message or "" for name, state, message in nodes if state not in _FINE | {"warn"}},
        {name: message or "" for name, state, message in nodes if state == "warn"},
    )


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _show(found: Status) -> None:
    table = Table(title="Landed (UTC)", title_justify="left")
    for heading in ("feed", "last landing", "newest hour", "files", "rows", "rejects", "batches to build"):
        table.add_column(
            heading, justify="left" if heading in ("feed", "last landing", "newest hour") else "right"
        )
    for feed in found.feeds:
        newest = f"{feed.newest_hour:%Y-%m-%d %H}:00" if feed.newest_hour else "-"
        numbers = (feed.files, feed.rows, feed.rejects, feed.pending)
        table.add_row(
            feed.name, f"{feed.landed_at:%Y-%m-%d %H:%M}", newest, *(f"{number:,}" for number in numbers)
        )
    console.print(table)
    if found.build and found.build.command not in _BUILDS:
        console.print(
            f"Whether the last build failed is not known here: dbt {found.build.command} wrote over the "
            "result of the last build. dbt --no-write-json leaves it",
            soft_wrap=True,
        )
    elif found.build:
        nodes = ", ".join(f"{count:,} {state}" for state, count in sorted(found.build.nodes.items()))
        console.print(f"Last dbt {found.build.command}: {found.build.ended_at:%Y-%m-%d %H:%M} UTC, {nodes}")
        for name, message in sorted(found.build.warned.items()):
            console.print(f"warning: {name}: {message}", soft_wrap=True)
    else:
        console.print("No result of dbt in the target folder.")
    if found.expected_events:
        share = found.matched_events / found.expected_events
        console.print(f"Matched: {share:.1%} of {found.expected_events:,} events of campaigns with JustAI")
    for run in found.sending:
        if run.is_running:
            console.print(
                f"{run.command}: running since {run.started_at:%Y-%m-%d %H:%M} UTC, {run.planned:,} requests "
                f"planned, {run.in_flight:,} in flight"
            )
    for problem in found.problems:
        error_console.print(f"problem: {problem}", soft_wrap=True)
