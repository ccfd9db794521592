"""Generates the benchmark's input: landing tables of a DuckDB file, in plain SQL, equal for equal sizes.

Each day has CALLS_PER_DAY rows of calls and about three times as many events, so a larger size is a longer
history of the same traffic. Every value is a function of a row's number, by DuckDB's hash(), which the
locked version keeps stable.
"""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

from scripts.console import progress
from scripts.dev.bench.rows import BATCH, CALLS, CALLS_PER_DAY, DIMENSIONS, EVENTS, LEDGER, PLAN, TEMPLATES
from scripts.land.tables import ddl

INCREMENTS = 10
MEMORY_LIMIT = "4GB"
# dbt reads seeds only from a folder of the project.
SEEDS = Path("data/bench/seeds")
# Raise it when the generated rows change, so that cached files are regenerated.
VERSION = 3


@dataclass(frozen=True)
class Input:
    """The files of one size: the warehouse's landing tables, and the daily increments."""

    warehouse: Path
    days: Path
    seeds: Path


def generated(calls: int, folder: Path) -> Input:
    """Return the input of `calls` calls; generate it unless `folder` has it."""
    made = Input(
        folder / f"input_{calls}_v{VERSION}.duckdb",
        folder / f"days_{calls}_v{VERSION}.duckdb",
        SEEDS,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write_seeds(made.seeds)
    if made.warehouse.exists() and made.days.exists():
        return made
    drafts = [path.with_suffix(".part") for path in (made.warehouse, made.days)]
    for path in drafts:
        path.unlink(missing_ok=True)
    _generate(-(-calls // CALLS_PER_DAY), *drafts)
    drafts[1].rename(made.days)
    drafts[0].rename(made.warehouse)
    return made


def _generate(days: int, warehouse: Path, increments: Path) -> None:
    connection = duckdb.connect(str(warehouse))
    try:
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("set threads = 2")
        connection.execute(f"attach '{increments}' as days")
        for statement in ddl():
            connection.execute(statement)
        connection.execute(DIMENSIONS)
        with progress(f"generate {days} + {INCREMENTS} days", days + INCREMENTS) as advance:
            for day in range(days + INCREMENTS):
                connection.execute(PLAN, {"day": day})
                for dataset, rows in (("justai_calls", CALLS), ("customerio_events", EVENTS)):
                    query = rows.replace("$day", str(day)).replace("$folder", "'bench'")
                    if day >= days:
                        connection.execute(f"create table days.{dataset}_{day - days + 1} as {query}")
                        continue
                    connection.execute(f"create or replace temp table rows_of_day as {query}")
                    land(connection, dataset, "rows_of_day")
                connection.execute("delete from pending where land_day <= $day", {"day": day})
                advance(1)
        connection.execute("checkpoint")
    finally:
        connection.close()


def land(connection: duckdb.DuckDBPyConnection, dataset: str, rows: str) -> None:
    """Land the rows of a table as one batch, ledger included, in one transaction."""
    connection.execute("begin")
    connection.execute(f"insert into staging.{dataset} by name from {rows}")
    for statement in (LEDGER, BATCH):
        connection.execute(statement.replace("rows_of_day", rows), {"dataset": dataset})
    connection.execute("commit")


def _write_seeds(folder: Path) -> None:
    """The seeds that belong to the generated calls: the action map, control actions, one control copy."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = Path("scripts/simulate/sample_seeds")
    for name in ("_seeds.yml", "engagement_metrics.csv", "destination_actions.csv"):
        shutil.copyfile(sample / name, folder / name)
    templates = range(TEMPLATES)
    control = duckdb.execute(
        "select md5('copy4')[:8] || '-0000-4000-8000-' || md5('copy4')[9:20]"
    ).fetchall()[0][0]
    _write_csv(
        folder / "template_settings.csv",
        ["template_id", "name", "channel", "key_metric", "control_copy_id", "min_sends"],
        [
            [
                f"template-{number}",
                f"Template {number}",
                "email",
                "clicked",
                "" if number else control,
                "1000",
            ]
            for number in templates
        ],
    )
    roles = (("webhook", 0), ("message", 1), ("control", 2))
    _write_csv(
        folder / "template_actions.csv",
        ["template_id", "campaign_id", "role", "action_id"],
        [
            [f"template-{number}", str(100 + number // 2), role, str(1000 + number * 10 + digit)]
            for number in templates
            for role, digit in roles
            if role != "control" or number % 2 == 0
        ],
    )


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
