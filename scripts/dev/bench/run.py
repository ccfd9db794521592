"""Measures the project against hand-written SQL and a naive dbt project, on generated input."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated

import duckdb
import typer

from scripts.console import error_console, progress
from scripts.dev.bench.generate import INCREMENTS, Input, generated, land
from scripts.dev.bench.impressions import bench_impressions
from scripts.dev.bench.landing import bench_landing
from scripts.dev.bench.measure import Cost, measured, middle
from scripts.dev.bench.script import UNCOMPRESSED
from scripts.errors import UserError

TABLES = (
    *("fct_calls", "fct_deliveries", "dim_copy_variants", "fct_engagement_events"),
    *("copy_metrics_daily", "copy_cohort_metrics_daily", "control_metrics_daily"),
    "link_clicks_daily",
)
BIN = Path(sys.executable).parent
NAIVE = Path("scripts/dev/bench/naive")
# as `make daily` builds
DAILY_BUILD = ("--exclude-resource-type", "unit_test", "--vars", "test_scope: changed")
GIB = 1 << 30


class Shape(StrEnum):
    """What traffic is generated."""

    MIXED = "mixed"
    IMPRESSIONS = "impressions"


@dataclass
class Bench:
    """One size: its files, the environment of the commands, and what they cost."""

    calls: int
    made: Input
    database: Path
    environment: dict[str, str]
    landed_bytes: int = 0
    built_bytes: int = 0
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    steps: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def note(self, what: str, cost: Cost) -> None:
        """Keep one run's cost, and print it at once, because a whole benchmark takes long."""
        self.costs.setdefault(what, []).append(cost)
        # on the console of the progress bar, so that the lines appear above it
        error_console.print(
            f"{_short(self.calls)} {what}: {cost.work:.1f} s, wall {cost.wall:.1f}, "
            f"processor {cost.processor:.1f}, memory {cost.memory / GIB:.2f} GiB, "
            f"temporary disk {cost.temporary / GIB:.2f} GiB",
            soft_wrap=True,
        )


def bench(
    sizes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers of calls: 1M, 10M, 40M or any other multiple of 100k.", show_default="1M"
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each full refresh; the median counts.")] = 3,
    days: Annotated[int, typer.Option(min=0, max=INCREMENTS, help="Daily increments.")] = INCREMENTS,
    baseline: Annotated[bool, typer.Option(help="Also run the hand-tuned script, and compare.")] = True,
    naive: Annotated[bool, typer.Option(help="Also run the naive dbt project.")] = True,
    chain: Annotated[
        bool, typer.Option(help="Also run the short chain: parse-free, which does less work.")
    ] = True,
    landing: Annotated[
        int, typer.Option(min=0, help="Calls of the simulated logs that are landed; 0 leaves landing out.")
    ] = 200_000,
    shape: Annotated[
        Shape,
        typer.Option(
            help="mixed: calls with retries, repeats and three events each. impressions: one call per "
            "journey, 22,666 copies, few clicks; only landing and a first build are measured."
        ),
    ] = Shape.MIXED,
    folder: Annotated[
        Path, typer.Option(help="Where input, warehouses and results lie; 40M need 60 GB.")
    ] = Path("data/bench"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the warehouses that were measured.")] = False,
) -> None:
    """Measure landing beside DuckDB's own readers, and full refresh, daily increments and unload of the dbt
    project beside hand-tuned SQL.

    The hand-tuned DuckDB script builds the same tables; they are compared in the same run, and a difference
    ends it. The naive dbt project rebuilds plain tables and takes a snapshot. The input is generated once per
    size and kept. All commands run in turn on one DuckDB file with the settings of the profile, each in a
    process of its own.

    Prints Markdown and writes it to FOLDER/results.md, and each single run to FOLDER/results.json.
    COPYMART_MEMORY_LIMIT sets DuckDB's memory (3500MB unless set). Exit status 1 when tables differ.
    """
    if not Path("dbt_project.yml").exists():
        raise UserError("run this in the checkout, where dbt_project.yml lies")
    counts = [_calls(size) for size in sizes or ["1M"]]
    folder = folder.absolute()
    profiles = folder / "profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    shutil.copyfile("profiles.yml.example", profiles / "profiles.yml")
    if shape is Shape.IMPRESSIONS:
        table = "\n".join(bench_impressions(count, folder, _environment(folder)) for count in counts)
        (folder / "results.md").write_text(table, encoding="utf-8")
        print(table)
        return
    landed = bench_landing(folder, landing, runs, _environment(folder)) if landing else ""
    results = [_bench_size(count, folder, runs, days, baseline, naive, chain, keep) for count in counts]
    table = "\n".join(filter(None, (landed, markdown(results))))
    (folder / "results.md").write_text(table, encoding="utf-8")
    raw = {
        _short(one.calls): {
            "costs": {what: [vars(cost) for cost in costs] for what, costs in one.costs.items()},
            "steps": one.steps,
        }
        for one in results
    }
    (folder / "results.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    print(table)


def _calls(size: str) -> int:
    match = re.fullmatch(r"(\d+)([kM]?)", size)
    calls = int(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]] if match else 0
    if not calls or calls % 100_000:
        raise UserError(f"{size}: give a number of calls such as 1M or 300k, a multiple of 100k (one day's)")
    return calls


def _short(calls: int) -> str:
    return f"{calls // 1_000_000} M" if calls % 1_000_000 == 0 else f"{calls // 1_000} k"


def _bench_size(
    calls: int, folder: Path, runs: int, days: int, baseline: bool, naive: bool, chain: bool, keep: bool
) -> Bench:
    made = generated(calls, folder)
    database = folder / f"work_{calls}.duckdb"
    _remove(database)
    shutil.copyfile(made.warehouse, database)
    own = {
        "COPYMART_DUCKDB": str(database),
        # dbt overwrites seeds at an absolute path
        "COPYMART_SEEDS": os.path.relpath(made.seeds),
    }
    one = Bench(calls, made, database, _environment(folder) | own, database.stat().st_size)
    others: list[Callable[[], None]] = [lambda: _script(one, "baseline")] if baseline else []
    others += [lambda: _script(one, "chain")] if chain else []
    others += [lambda: _naive(one)] if naive else []
    total = runs * (1 + len(others)) + 2 * days + 2 * runs + 2 * runs + 4
    try:
        with progress(f"bench {_short(calls)}", total) as advance:
            _dbt(one, "seed", "seed", "--full-refresh")
            for run in range(runs):
                _dbt(one, "full refresh", "run", "--full-refresh")
                # before the baseline's tables come, which lie in the same file
                one.built_bytes = one.built_bytes or database.stat().st_size
                advance(1)
                for other in others:
                    other()
                    advance(1)
                if run == 0 and baseline:
                    compare(database)
            for day in range(1, days + 1):
                _land(one, day)
                _dbt(one, "daily increment", "run")
                advance(2)
            for _ in range(runs):
                _dbt(one, "dbt run, nothing new", "run")
                advance(1)
                _dbt(one, "daily build, nothing new", "build", *DAILY_BUILD)
                advance(1)
            if days and baseline:
                _script(one, "baseline", "baseline after the increments")
                compare(database)
            for _ in range(runs):
                _unload(one, folder)
                advance(2)
    finally:
        if not keep:
            _remove(database)
    return one


def _environment(folder: Path) -> dict[str, str]:
    """The environment of all commands; of the user's own settings only the memory limit applies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DBT_", "COPYMART_")) or name == "COPYMART_MEMORY_LIMIT"
    }
    return kept | {
        "DO_NOT_TRACK": "1",
        # one node at a time: two at once would share the cores, and both count the time
        "COPYMART_THREADS": "1",
        "DBT_PROFILES_DIR": str(folder / "profiles"),
        "DBT_TARGET": "duckdb",
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
    }


def _dbt(one: Bench, what: str, *arguments: str) -> None:
    command = [str(BIN / "dbt"), "--log-level", "warn", *arguments]
    cost, _ = measured(command, one.environment, one.database)
    one.note(what, _with_nodes(cost, Path(one.environment["DBT_TARGET_PATH"])))


def _with_nodes(cost: Cost, target: Path) -> Cost:
    """The cost with the summed execution time of the nodes that dbt ran as its work."""
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    return Cost(
        sum(result["execution_time"] for result in results),
        *(cost.wall, cost.processor, cost.memory, cost.temporary),
    )


def _naive(one: Bench) -> None:
    target = Path(one.environment["DBT_TARGET_PATH"]).with_name("naive-target")
    environment = one.environment | {"DBT_TARGET_PATH": str(target)}
    # build: its models and its snapshot; it has no tests
    command = [str(BIN / "dbt"), "--log-level", "warn", "build", "--project-dir", str(NAIVE)]
    cost, _ = measured(command, environment, one.database)
    one.note("naive dbt", _with_nodes(cost, target))


def _script(one: Bench, name: str, what: str = "") -> None:
    """Run a SQL script beside this file; its work is the sum of its steps, including the checkpoint."""
    command = [
        sys.executable,
        "-m",
        "scripts.dev.bench.script",
        f"{name}.sql",
        one.environment["COPYMART_SEEDS"],
    ]
    cost, output = measured([*command, id_storage(one.database)], one.environment, one.database)
    steps = json.loads(output.splitlines()[-1])
    one.steps.setdefault(what or name, []).append(steps)
    one.note(what or name, Cost(sum(steps.values()), cost.wall, cost.processor, cost.memory, cost.temporary))


def id_storage(database: Path) -> str:
    """How the project's event fact stores its ids, so that the script's file layout is the same."""
    with duckdb.connect(str(database), read_only=True) as connection:
        kinds = connection.execute(
            "select distinct compression from pragma_storage_info('marts.fct_engagement_events') "
            "where column_name = 'event_id' and segment_type = 'VARCHAR'"
        ).fetchall()
    return UNCOMPRESSED if kinds == [("Uncompressed",)] else ""


def _land(one: Bench, day: int) -> None:
    with duckdb.connect(str(one.database)) as connection:
        connection.execute(f"attach '{one.made.days}' as days (read_only)")
        for dataset in ("justai_calls", "customerio_events"):
            land(connection, dataset, f"days.{dataset}_{day}")


def _unload(one: Bench, folder: Path) -> None:
    target = folder / "export"
    for what, command in (
        (
            "plain COPY",
            [sys.executable, "-m", "scripts.dev.bench.script", "copy", str(target / "plain.parquet")],
        ),
        ("unload", [str(BIN / "copymart"), "unload", "--dataset", "deliveries", "--to", str(target)]),
    ):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        cost, _ = measured(command, one.environment, one.database)
        one.note(what, cost)
    shutil.rmtree(target)


def _remove(database: Path) -> None:
    for suffix in ("", ".wal"):
        Path(str(database) + suffix).unlink(missing_ok=True)
    shutil.rmtree(str(database) + ".tmp", ignore_errors=True)


def compare(database: Path) -> None:
    """Compare each mart with the baseline's table: columns, types, and every row through a sum of hashes.

    Raises:
        UserError: they differ; the text shows rows of either side.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in TABLES:
            _compare_table(connection, table)


def _compare_table(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    ours, theirs = (
        dict(
            connection.execute(f"select column_name, column_type from (describe {schema}.{table})").fetchall()
        )
        for schema in ("marts", "baseline")
    )
    wrong = {name: kind for name, kind in ours.items() if theirs.get(name) != kind}
    if wrong:
        raise UserError(f"baseline.{table} lacks columns of marts.{table} or has other types: {wrong}")
    for name in theirs.keys() - ours.keys():
        error_console.print(
            f"warning: marts.{table} has no column {name}, which the baseline makes", soft_wrap=True
        )
    columns = ", ".join(ours)
    # a sum of hashes needs no order and little memory, unlike EXCEPT ALL of 100 M rows
    sums = [
        connection.execute(f"select count(*), sum(hash({columns})) from {schema}.{table}").fetchone()
        for schema in ("marts", "baseline")
    ]
    if sums[0] == sums[1]:
        return
    examples = []
    for schema, other in (("marts", "baseline"), ("baseline", "marts")):
        query = f"select {columns} from {schema}.{table} except all select {columns} from {other}.{table}"
        rows = connection.execute(f"from ({query}) order by all limit 3").fetchall()
        examples += [f"only in {schema}: {row}" for row in rows]
    raise UserError(f"marts.{table} and baseline.{table} differ:\n" + "\n".join(examples))


def markdown(results: list[Bench]) -> str:
    """The results: a line per size and command with its ratio, then the steps of the scripts."""
    lines = [
        "| calls | what | s | ratio | wall s | processor s | peak memory GiB | temporary disk GiB |",
        "| ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    by_size = {one.calls: {what: middle(costs) for what, costs in one.costs.items()} for one in results}
    for calls, costs in by_size.items():
        for what, cost in costs.items():
            if what == "seed":
                continue
            lines.append(
                f"| {_short(calls)} | {what} | {cost.work:.1f} | {_ratio(what, cost, costs, by_size)} "
                f"| {cost.wall:.1f} | {cost.processor:.1f} | {cost.memory / GIB:.2f} "
                f"| {cost.temporary / GIB:.2f} |"
            )
    lines += [
        "",
        "| calls | landed, MB | built, MB | built, bytes per call |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {_short(one.calls)} | {one.landed_bytes / 1e6:.0f} | {one.built_bytes / 1e6:.0f} "
        f"| {one.built_bytes / one.calls:.0f} |"
        for one in results
    ]
    lines += ["", "| calls | script | step | s |", "| ---: | --- | --- | ---: |"]
    for one in results:
        for script, runs in one.steps.items():
            lines += [
                f"| {_short(one.calls)} | {script} | {step} | {median(run[step] for run in runs):.1f} |"
                for step in runs[0]
            ]
    return "\n".join(lines) + "\n"


def _ratio(what: str, cost: Cost, costs: dict[str, Cost], by_size: dict[int, dict[str, Cost]]) -> str:
    if what in ("full refresh", "naive dbt", "chain") and "baseline" in costs:
        return f"{cost.work / costs['baseline'].work:.2f} of the baseline"
    if what == "daily increment":
        ratios = [f"{cost.work / costs['full refresh'].work:.3f} of the full refresh"]
        smaller = [calls for calls, other in by_size.items() if other is not costs and what in other]
        ratios += [
            f"{cost.work / by_size[calls][what].work:.2f} of that at {_short(calls)}"
            for calls in smaller
            if by_size[calls]["full refresh"].work < costs["full refresh"].work
        ]
        return ", ".join(ratios)
    if what == "unload":
        return f"{cost.processor / costs['plain COPY'].processor:.2f} of a plain COPY (processor)"
    return ""
