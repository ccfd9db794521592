"""`copymart simulate`: call logs and events of a simulated world, and what the marts must show for them."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from scripts.console import WHAT, WHERE_TO, console, progress
from scripts.errors import UserError
from scripts.simulate import customers, files, junk, lines, marts, source_calls, source_lines, tables, truth
from scripts.simulate import plan as planning
from scripts.simulate import sync as exports
from scripts.simulate.plan import Plan

# Written first and last: only a complete run leaves its arguments here.
MARKER = "simulation.txt"
UNFINISHED = "unfinished: run copymart simulate again\n"
EXPERIMENTS = "Experiments"
OURS = (".work", "justai", "customerio", "pipelines", "truth")
STORIES_AT_ONCE = 250_000
EARLIEST, LATEST = datetime(2000, 6, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


EXAMPLES = """
copymart simulate logs
copymart simulate logs --calls 1000000 --days 30 --seed 3
copymart simulate logs --sync
copymart simulate logs --days 60 --drift 3 --person-effect 0.5
"""


def simulate(
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder to write: new, empty, or one that simulate wrote before.", rich_help_panel=WHERE_TO
        ),
    ],
    calls: Annotated[
        int,
        typer.Option(help="Number of distinct JustAI calls.", min=1, max=100_000_000, rich_help_panel=WHAT),
    ] = 20_000,
    days: Annotated[
        int,
        typer.Option(help="Days over which the calls are spread.", min=1, max=3_650, rich_help_panel=WHAT),
    ] = 14,
    seed: Annotated[
        int,
        typer.Option(
            help="The same seed and arguments give the same files, byte by byte.", rich_help_panel=WHAT
        ),
    ] = 1,
    start: Annotated[
        datetime,
        typer.Option(
            help="First day (UTC).", formats=["%Y-%m-%d"], show_default="2026-01-01", rich_help_panel=WHAT
        ),
    ] = datetime(2026, 1, 1),
    sync: Annotated[
        bool,
        typer.Option(
            "--sync",
            help="Also write the same messages and events as Customer.io's warehouse sync would.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    drift: Annotated[
        float,
        typer.Option(
            help="How many times the first day's rates of opens, clicks and conversions the last day's are.",
            min=0.1,
            max=10,
            rich_help_panel=EXPERIMENTS,
        ),
    ] = 1.0,
    person_effect: Annotated[
        float,
        typer.Option(
            help="How far persons' rates lie from the base rate: at 0.5 between 0.5 and 1.5 times it.",
            min=0,
            max=1,
            rich_help_panel=EXPERIMENTS,
        ),
    ] = 0.0,
    conversion_offset_days: Annotated[
        int,
        typer.Option(
            help="The var of this name that the marts are built with; changes the truth only.",
            min=0,
            max=90,
            rich_help_panel=EXPERIMENTS,
        ),
    ] = 0,
    conversion_lookback_days: Annotated[
        int | None,
        typer.Option(
            help="The var of this name that the marts are built with; changes the truth only.",
            min=0,
            max=90,
            rich_help_panel=EXPERIMENTS,
        ),
    ] = None,
) -> None:
    """Write sample call logs, Customer.io events and source calls, with the truth that every mart must show.

    `OUT` gets `justai/calls/YYYY/MM/DD/HH/`, `customerio/events/YYYY/MM/DD/HH/` and, of one person for every
    400 calls, `pipelines/calls/YYYY/MM/DD/HH/` (JSON lines, gzip), and `truth/` (Parquet). The logs have
    flaws on purpose: retries, repeated and late lines, malformed lines, unknown metrics. With `--sync`,
    `customerio/sync/` gets the exports of the warehouse sync (Parquet): the same messages and events, in
    tables. The result depends on the arguments alone. A former simulation in `OUT` is replaced.

    `--drift` and `--person-effect` make experiments harder to read: `truth/` says what each copy, day and
    person does to the base rate (`copy_effects`, `day_effects`, `person_effects`). A chance ends at 1.

    \f
    Raises:
        UserError: OUT holds something else or cannot be written, or another run writes there; landing would
            reject times of these days.
    """
    first = start.replace(tzinfo=UTC)
    if not EARLIEST <= first <= LATEST - timedelta(days):
        raise UserError(
            f"the days must lie between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}: landing rejects others"
        )
    conversions = (conversion_offset_days, conversion_lookback_days)
    plan = Plan(calls, days, seed, int(first.timestamp()), sync, drift, person_effect, *conversions)
    began = time.monotonic()
    marker = f"calls {calls}\ndays {days}\nseed {seed}\nstart {start:%Y-%m-%d}\n" + "sync\n" * sync
    for name in ("drift", "person_effect", "conversion_offset", "conversion_lookback"):
        if getattr(plan, name) != getattr(Plan, name):
            marker += f"{name} {getattr(plan, name)}\n"
    with cleared(out):
        written, rejects = run(plan, out)
        try:
            (out / MARKER).write_text(marker)
        except OSError as error:
            raise UserError(f"cannot write to {out}: {error.strerror or error}") from error
    seconds = time.monotonic() - began
    console.print(
        f"{calls:,} calls in {written['justai_calls']:,} lines and {written['customerio_events']:,} lines of "
        f"events ({rejects:,} of them malformed) under {out}, {seconds:.1f} s"
    )


@contextmanager
def cleared(out: Path) -> Iterator[None]:
    """Empty `out`, except for the marker of an unfinished run and folders for truth and work, and hold it.

    Raises:
        UserError: `out` is a file, holds anything that simulate did not write, or cannot be written; another
            run writes there.
    """
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: name a folder")
        if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise UserError(f"{out} holds files that simulate did not write: name an empty folder")
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / MARKER, os.O_WRONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}") from error
    try:
        _lock(handle, out)
        clear(out)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> None:
    """Lock the marker, which is written in its place; the kernel lets go of it when a run dies."""
    try:
        import fcntl
    except ImportError:  # Windows has none
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"another run of copymart simulate writes to {out}: wait for its end, or name another folder"
        ) from error


def clear(out: Path) -> None:
    """Remove what simulate wrote to `out`, and mark it as unfinished.

    Raises:
        UserError: it cannot be written.
    """
    try:
        (out / MARKER).write_text(UNFINISHED)
        for name in OURS:
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "truth").mkdir()
        (out / ".work").mkdir()
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}") from error


def run(plan: Plan, out: Path) -> tuple[dict[str, int], int]:
    """Plan, write truth and files; return lines per dataset and the number of malformed ones."""
    work = out / ".work"
    con = duckdb.connect(work / "plan.duckdb")
    try:
        con.execute(f"set temp_directory = '{str(work / 'spill').replace(chr(39), chr(39) * 2)}'")
        con.execute("set memory_limit = '3GB'; set TimeZone = 'UTC'; set arrow_large_buffer_size = true")
        planning.macros(con, plan)
        tables.load_world(con, plan)
        lines.prepare(con, plan)
        if plan.sync:
            exports.prepare(con)
        free, total = planning.count_stories(con, plan.calls)
        with progress("planning", total) as advance:
            plan_all(con, plan, out / "truth", free, total, advance)
        junk.add_junk(con, plan)
        with progress("writing", None) as advance:
            written, rejects = files.write(con, out, advance)
            if plan.sync:
                exports.write(con, out, advance)
        source_cases = write_source_calls(plan, out, total)
        marts.finish(con, out / "truth", rejects, written, source_cases)
    except (duckdb.IOException, OSError) as error:
        raise UserError(f"cannot write to {out}: {error}") from error
    finally:
        con.close()
    shutil.rmtree(work)
    return written, len(rejects)


def write_source_calls(plan: Plan, out: Path, stories: int) -> dict[str, int]:
    """Write source calls and what Customer.io must hold after them; return how many hard cases there are."""
    calls = source_calls.plan_calls(plan, stories)
    customers.write(calls, out / "truth")
    return customers.cases(calls) | source_lines.write(calls, plan.seed, out)


def plan_all(
    con: duckdb.DuckDBPyConnection,
    plan: Plan,
    folder: Path,
    free: int,
    total: int,
    advance: Callable[[int], None],
) -> None:
    """Plan all stories chunk by chunk, keep their lines and write the facts."""
    facts = truth.Facts(folder)
    try:
        for first in range(0, total, STORIES_AT_ONCE):
            last = min(first + STORIES_AT_ONCE, total)
            planning.plan_chunk(con, first, last, free, total)
            lines.keep(con)
            if plan.sync:
                exports.keep(con)
            truth.add_up(con)
            facts.add(con)
            advance(last - first)
    finally:
        facts.close()
