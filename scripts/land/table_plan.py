"""What one run will do with a table: its hours compared with the ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.text import Text

from scripts.console import console, progress
from scripts.land.engine import Engine, new_stamp
from scripts.land.plan import Plan, ledger, plan_landing
from scripts.land.rules import Dataset
from scripts.land.source_tables import list_parts, may_change_anywhere, notes
from scripts.land.sources import Location


def plan_table(
    engine: Engine,
    dataset: Dataset,
    location: Location,
    bounds: tuple[int, int],
    days: int,
    everything: bool = False,
    span: tuple[datetime, datetime] | None = None,
    allow_empty: bool = False,
    copies: bool = False,
    dry_run: bool = False,
    allow_no_rows: bool = False,
) -> Plan:
    """Compare the hours of a table with the ledger, and say what was not looked at.

    `days`: how many days back every hour is hashed, with `everything` all are. `allow_no_rows`: a table
    without rows gives a plan without files.

    Raises:
        UserError: the table cannot be read or has no rows, or the backfill's range is not safe to make equal.
    """
    table = engine.open_table(location, dataset, bounds)
    since = datetime.now(UTC).replace(tzinfo=None) - timedelta(days)
    with progress(f"looking for changes in {table.root}", 1) as advance:
        all_hours = everything or may_change_anywhere(dataset)
        listing = list_parts(table, ledger(engine.connection, dataset), since, all_hours, span)
        advance(1)
    there = replace(location, root=table.root)
    if allow_no_rows and not listing.parts:
        return Plan(dataset, there, [], {}, table=table)
    plan = plan_landing(engine.connection, dataset, there, listing.parts, span, allow_empty, copies)
    plan.table = table
    for note in notes(table, listing, days, not dataset.typed):
        console.print(Text(note), soft_wrap=True)
    if listing.hashes and not dry_run:
        engine.note_hashes(dataset, new_stamp(), listing.hashes)
        plan = replace(plan, known=ledger(engine.connection, dataset))
        plan.files = [replace(file, etag=listing.hashes.get(file.uri, file.etag)) for file in plan.files]
    return plan
