"""The warehouse sync as tables of a schema: which of them are of the sync, and what a run does with each."""

from dataclasses import replace

from rich.text import Text

from scripts.console import console
from scripts.console import listed as listed_names
from scripts.errors import UserError
from scripts.land.engine import Engine
from scripts.land.plan import Plan
from scripts.land.rules import Dataset
from scripts.land.sources import Location
from scripts.land.sync import SYNC, table_of
from scripts.land.table_plan import plan_table


def plan_sync_tables(
    engine: Engine,
    location: Location,
    bounds: tuple[int, int],
    days: int,
    everything: bool = False,
    dry_run: bool = False,
) -> list[Plan]:
    """Compare each table of the sync in a schema with the ledger; say which tables are left out.

    A table belongs to what its name begins with, as a file does. Exports of a row may lie in several tables,
    of several schema versions: models read the latest.

    Raises:
        UserError: no table is of the sync, one cannot be read or lacks a column, or all are empty.
    """
    found, others = _by_dataset(engine.list_tables(location))
    if not found:
        raise UserError(
            f"{location.given}: no table of the warehouse sync to land, such as deliveries or deliveries_v4"
            + (f"; it holds only {listed_names(others)}" if others else "")
        )
    if others:
        tables = ", ".join(dataset.name.removeprefix("customerio_") for dataset in SYNC)
        said = f"left out: {listed_names(others)}, by their names no tables of the sync that land reads"
        console.print(Text(f"{said}: {tables}"), soft_wrap=True)
    plans, empty = [], []
    for dataset, addresses in found.items():
        for address in addresses:
            there = replace(location, given=address, root=address)
            plan = plan_table(
                *(engine, dataset, there, bounds, days, everything),
                copies=True,
                dry_run=dry_run,
                allow_no_rows=True,
            )
            if plan.files:
                plans.append(plan)
            else:
                empty.append(address)
    if not plans:
        raise UserError(f"{location.given}: no rows to land in {listed_names(empty)}")
    return plans


def _by_dataset(addresses: list[str]) -> tuple[dict[Dataset, list[str]], list[str]]:
    """The tables of each table of the sync, and the names of others."""
    found: dict[Dataset, list[str]] = {}
    others = []
    for address in addresses:
        name = address.removesuffix('"').rpartition('"')[2]
        if dataset := table_of(f"table:{name}", ""):
            found.setdefault(dataset, []).append(address)
        else:
            others.append(name)
    return {dataset: found[dataset] for dataset in SYNC if dataset in found}, others
