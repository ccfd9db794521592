"""Lands, builds, unloads and shares on Snowflake, and compares with DuckDB, each verb as its own role.

`make verify-snowflake` runs this on a real account, the tests on an emulated one. Sample logs land in two
parts, the second with files replaced and removed, with a build after each; then every relation is compared.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from scripts.console import console, error_console
from scripts.errors import UserError
from scripts.snowflake.bootstrap_plan import roles_of_verbs
from scripts.snowflake.throwaway import Place, set_up, throwaway_setup
from scripts.warehouse import connect_snowflake

PROJECT = Path(__file__).parents[2]
SKIPPED = 3
"""Exit status when there are no credentials: neither passed (0) nor failed (1)."""

SPLIT = 3
"""One file in so many lands late."""

# Columns that differ between any two landings of the same files, and the relation that has only such.
_OF_THE_LANDING = {"loaded_at", "_loaded_at", "landed_at", "batch_id", "_batch_id", "invocation_id"}
_NOT_COMPARED = {"audit_arrival_lag"}
LANDING_TABLES = (
    *("justai_calls", "justai_calls_rejects", "justai_calls_removed"),
    *("justai_sends", "justai_sends_rejects", "justai_sends_removed"),
    *("justai_variants", "justai_variants_rejects", "justai_variants_removed"),
    *("customerio_events", "customerio_events_rejects", "customerio_events_removed"),
    *("landed_files", "landed_batches", "consumed_batches", "built_with"),
)
# Relations with a row per batch. Snowflake cuts files into other batches, so their distinct rows are
# compared, not how often each occurs.
_BY_BATCH = {
    *("landed_batches", "consumed_batches", "int_landed_batches"),
    *("justai_calls_removed", "customerio_events_removed"),
    *("justai_sends_removed", "justai_variants_removed"),
}
_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "UINTEGER"}
_PASSED = {"success", "pass", "warn", "no-op"}


@dataclass(frozen=True)
class Side:
    """One of the two warehouses: the environment and the dbt target of its commands."""

    name: str
    environment: dict[str, str]
    target_path: Path


@dataclass(frozen=True)
class Difference:
    """A relation that differs: rows that only one side has, as text."""

    relation: str
    only_duckdb: list[tuple[str | None, ...]]
    only_snowflake: list[tuple[str | None, ...]]


def verify(
    calls: Annotated[int, typer.Option(help="Simulated calls.", min=50)] = 2000,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Logs to land, with justai/calls and customerio/events, instead of simulated ones."
        ),
    ] = None,
    profiles_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a profiles.yml whose target snowflake takes its database from "
            "SNOWFLAKE_DATABASE.",
            show_default="profiles.yml.example",
        ),
    ] = None,
    unload_to: Annotated[
        str | None,
        typer.Option(
            help="s3://bucket/prefix, an empty place: the second build is that of `make daily`, which also "
            "unloads there through a stage; every row of the files is compared with both warehouses. The "
            "files stay."
        ),
    ] = None,
    storage_role_arn: Annotated[
        str | None,
        typer.Option(
            help="AWS role for --unload-to, whose trust names the account's Snowflake user and --external-id."
        ),
    ] = None,
    external_id: Annotated[str | None, typer.Option(help="External id that the AWS role requires.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="File to write what was seen, as docs/verified-on-snowflake.md has it."),
    ] = None,
) -> None:
    """Set up a throwaway part of an account, land and build there twice, unload, share, compare with DuckDB.

    Runs `copymart bootstrap` with names of its own, each verb as its own role, and drops all of it at the
    end, also after a failure. Needs SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER (with ACCOUNTADMIN), and a key or
    another way to log in.

    Exit status 0 when everything is equal, 1 when it is not, 3 when there are no credentials.
    """
    if not (os.environ.get("SNOWFLAKE_ACCOUNT") and os.environ.get("SNOWFLAKE_USER")):
        error_console.print(
            "SKIPPED: SNOWFLAKE_ACCOUNT and SNOWFLAKE_USER are not set, so nothing was verified on Snowflake"
        )
        raise typer.Exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="copymart-verify-") as folder:
        work = Path(folder).resolve()
        profile = profiles_dir / "profiles.yml" if profiles_dir else PROJECT / "profiles.yml.example"
        (work / "profiles").mkdir()
        shutil.copy(profile, work / "profiles/profiles.yml")
        place = Place(unload_to, storage_role_arn, external_id)
        with _throwaway(work, place) as name:
            duck, snow = _side(work, "duckdb", name), _side(work, "snowflake", name)
            export = place.uri if place.complete else None
            passed = _play(work, duck, snow, sample or _simulate(work, duck, calls), export)
            differences, compared = _compare(work, duck, name)
            seen = [_unload(duck, snow, place), _share(snow, name)]
    seen = [*_report(passed, differences, compared), *seen]
    if report:
        report.write_text(page(seen))
    if differences or any(good < total for good, total in passed):
        raise typer.Exit(1)


@contextmanager
def _throwaway(work: Path, place: Place) -> Iterator[str]:
    """Set up roles, warehouse and database of one name for all commands, and drop them at the end."""
    setup = throwaway_setup(place)
    os.environ |= {"SNOWFLAKE_DATABASE": setup.database, "SNOWFLAKE_SCHEMA": "PROD", "DO_NOT_TRACK": "1"}
    os.environ |= {"SNOWFLAKE_WAREHOUSE": setup.warehouse, **roles_of_verbs(setup)}
    session = _session(work, as_role=False)
    try:
        with set_up(session, setup, os.environ["SNOWFLAKE_USER"]):
            yield setup.database
    finally:
        session.close()


def _session(work: Path, as_role: bool = True) -> Any:
    return connect_snowflake(PROJECT, work / "profiles", "snowflake", verb="verify", as_role=as_role)


def _side(work: Path, target: str, database: str) -> Side:
    target_path = work / f"target-{target}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DBT_")},
        "SNOWFLAKE_DATABASE": database,
        "DBT_PROFILES_DIR": str(work / "profiles"),
        "DBT_TARGET": target,
        "DBT_TARGET_PATH": str(target_path),
        "DBT_LOG_PATH": str(work / f"logs-{target}"),
        "COPYMART_DUCKDB": str(work / "warehouse.duckdb"),
        "COPYMART_SEEDS": "scripts/simulate/sample_seeds",
    }
    return Side(target, environment, target_path)


def _simulate(work: Path, duck: Side, calls: int) -> Path:
    _run(duck, "copymart", "simulate", work / "sample", "--calls", calls, "--days", 5, "--seed", 11)
    return work / "sample"


def _play(work: Path, duck: Side, snow: Side, sample: Path, export: str | None) -> list[tuple[int, int]]:
    """Land and build twice on both sides; return (passed, all) nodes of each build on Snowflake.

    With an `export` the second time on Snowflake is `make daily`, which also unloads there.
    """
    landing = work / "landing"
    late = _copy_early(sample, landing)
    passed = []
    for number in (1, 2):
        removed = _change(landing, sample, late) if number == 2 else []
        # side by side: most of the time the one computes and the other waits for an account
        with ThreadPoolExecutor(1) as beside:
            done = beside.submit(_land_and_build, duck, landing, removed)
            if number == 2 and export:
                _backfill(snow, landing, removed)
                passed.append(_daily(snow, landing, export))
            else:
                _land(snow, landing, removed)
                passed.append(_build(snow, number))
            done.result()
    return passed


def _land_and_build(duck: Side, landing: Path, removed: list[Path]) -> None:
    _land(duck, landing, removed)
    _run(duck, "dbt", "build", "--resource-type", "seed", "--resource-type", "model")


def _copy_early(sample: Path, landing: Path) -> list[Path]:
    """Copy most of the sample's files; return the paths of the others, which land late."""
    late = []
    for number, file in enumerate(sorted(path for path in sample.glob("*/*/**/*") if path.is_file())):
        path = file.relative_to(sample)
        if path.parts[0] == "truth":
            continue
        if number % SPLIT == 0:
            late.append(path)
            continue
        (landing / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, landing / path)
    return late


def _change(landing: Path, sample: Path, late: list[Path]) -> list[Path]:
    """Add the late files, replace a landed file of each dataset and remove one of events."""
    landed = {kind: sorted((landing / kind).glob("**/*.jsonl*")) for kind in ("justai", "customerio")}
    for path in late:
        (landing / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample / path, landing / path)
    for files in landed.values():
        # another file's lines: some are repeats, and the rows of the old content must go
        shutil.copy(files[-1], files[len(files) // 2])
    gone = landed["customerio"][len(landed["customerio"]) // 3]
    gone.unlink()
    return [gone]


def _land(side: Side, landing: Path, removed: list[Path]) -> None:
    logs = ("--calls", landing / "justai/calls", "--events", landing / "customerio/events")
    done = _start(side, "copymart", "land", *logs, "--copies")
    # landing refuses some files of the sample as a whole, which is exit status 1
    if "error:" in done.stderr or done.returncode > 1:
        raise UserError(f"{side.name}: copymart land failed:\n{done.stdout}{done.stderr}")
    _backfill(side, landing, removed)


def _backfill(side: Side, landing: Path, removed: list[Path]) -> None:
    """Land the hours of files that are gone."""
    events = landing / "customerio/events"
    for path in removed:
        hour = datetime.strptime("/".join(path.parent.parts[-4:]), "%Y/%m/%d/%H")
        span = [f"{moment:%Y-%m-%dT%H}" for moment in (hour, hour + timedelta(hours=1))]
        _run(side, "copymart", "land", "--events", events, "--backfill", *span, "--allow-empty")


def _run(side: Side, program: str, *arguments: object) -> None:
    done = _start(side, program, *arguments)
    if done.returncode != 0:
        raise UserError(f"{side.name}: {program} {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def _start(side: Side, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    console.print(f"{side.name}: {program} {arguments[0]}")
    ours = Path(sys.executable).parent / program
    command = [str(ours) if ours.exists() else program, *map(str, arguments)]
    return subprocess.run(
        command, cwd=PROJECT, env=side.environment, text=True, capture_output=True, check=False
    )


def _build(snow: Side, number: int) -> tuple[int, int]:
    """Build on Snowflake with all tests; return how many nodes passed, and how many there are.

    Unit tests run once: they do not see what landed.
    """
    once = () if number == 1 else ("--exclude-resource-type", "unit_test")
    return _nodes(snow, _start(snow, "dbt", "build", *once), number)


def _daily(snow: Side, landing: Path, export: str) -> tuple[int, int]:
    """Do what a scheduler does on Snowflake, as one user whose verbs have a role each."""
    done = _start(snow, "make", "daily", f"LANDING={landing}", f"EXPORT={export}", "LAND_OPTIONS=--copies")
    # the files that landing refuses hold up nothing
    if done.returncode != 0 and "all else landed, was built and unloaded" not in done.stderr:
        raise UserError(f"snowflake: make daily failed:\n{done.stdout}{done.stderr}")
    return _nodes(snow, done, 2)


def _nodes(snow: Side, done: subprocess.CompletedProcess[str], number: int) -> tuple[int, int]:
    """Count the nodes of the build that has just ended."""
    results = snow.target_path / "run_results.json"
    if not results.exists():
        raise UserError(f"snowflake: dbt build did not begin:\n{done.stdout}{done.stderr}")
    nodes = json.loads(results.read_text())["results"]
    results.unlink()
    for node in nodes:
        if node["status"] not in _PASSED | {"skipped"}:
            error_console.print(f"{node['unique_id']}: {node['message']}", soft_wrap=True)
    counts = Counter(node["status"] in _PASSED for node in nodes)
    console.print(f"snowflake: build {number}: {counts[True]} of {len(nodes)} nodes passed")
    return counts[True], len(nodes)


def _unload(duck: Side, snow: Side, place: Place) -> str:
    """Compare the files that Snowflake unloaded with its own rows and with DuckDB's."""
    if not (place.complete and place.uri):
        return _say(
            "SKIPPED: unload through a stage, because --unload-to, --storage-role-arn and --external-id "
            "are not given"
        )
    with ThreadPoolExecutor(2) as beside:
        for done in [
            beside.submit(_run, side, "copymart", "verify", place.uri, "--deep") for side in (snow, duck)
        ]:
            done.result()
    return _say(f"unload: {place.uri} holds the rows of both warehouses")


def _share(snow: Side, name: str) -> str:
    """Create a share without accounts, check it, and drop it."""
    share = ("copymart", "share", "--share", name)
    try:
        _run(snow, *share, "--yes")
        _run(snow, *share, "--check")
    finally:
        _run(snow, *share, "--revoke", "--yes")
    return _say("share: made, checked and dropped")


def _say(text: str) -> str:
    console.print(text, soft_wrap=True)
    return text


def _compare(work: Path, duck: Side, database: str) -> tuple[list[Difference], int]:
    """Compare every relation as a set of rows of text; return the differences, and how many were compared."""
    manifest = json.loads((duck.target_path / "manifest.json").read_text())
    relations = sorted(
        f"{node['schema']}.{node['alias']}"
        for node in manifest["nodes"].values()
        if node["resource_type"] in ("model", "seed") and node["name"] not in _NOT_COMPARED
    )
    relations += [f"staging.{table}" for table in LANDING_TABLES]
    session = _session(work)
    differences = []
    with duckdb.connect(duck.environment["COPYMART_DUCKDB"], read_only=True) as connection:
        for relation in relations:
            columns = columns_of(connection, relation)
            ours = counted(relation, connection.execute(as_text("duckdb", relation, columns)).fetchall())
            cursor = session.cursor()
            theirs = counted(
                relation,
                cursor.execute(as_text("snowflake", f"{database}.{relation}", columns)).fetchall(),
            )
            if ours != theirs:
                differences.append(Difference(relation, [*(ours - theirs)], [*(theirs - ours)]))
    session.close()
    return differences, len(relations)


def counted(relation: str, rows: list[Any]) -> Counter[Any]:
    """How often each row occurs; once for a relation with a row per batch."""
    return Counter(set(rows) if relation.rpartition(".")[2] in _BY_BATCH else rows)


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Name and type of a DuckDB relation's columns, without those that differ between any two landings."""
    described = connection.execute(f"describe {relation}").fetchall()
    return {name: kind for name, kind, *_ in described if name not in _OF_THE_LANDING}


def as_text(engine: str, relation: str, columns: dict[str, str]) -> str:
    """A query whose values the engine writes as text, because clients read times and numbers differently."""
    # a relation without such columns is compared by its number of rows
    texts = [
        f"{_text(engine, f'compared.{name}', kind)} as c{number}"
        for number, (name, kind) in enumerate(columns.items())
    ]
    return f"select {', '.join(texts) or '1'} from {relation} as compared"


def _text(engine: str, column: str, kind: str) -> str:
    if kind.startswith("TIMESTAMP"):
        seconds = f"epoch({column})" if engine == "duckdb" else f"date_part(epoch_second, {column})"
        return f"cast(cast({seconds} as bigint) as varchar)"
    if kind in ("DOUBLE", "FLOAT"):
        return f"cast(cast(round({column} * 1000000000) as bigint) as varchar)"
    if kind.startswith("DECIMAL"):
        return f"cast(cast({column} as decimal(38, 4)) as varchar)"
    if kind in _WHOLE:
        return f"cast(cast({column} as bigint) as varchar)"
    return f"cast({column} as varchar)"


def page(seen: list[str]) -> str:
    """What was seen, in the form of docs/verified-on-snowflake.md."""
    account = os.environ.get("SNOWFLAKE_ACCOUNT", "")
    lines = "\n".join(f"- {line}" for line in seen)
    return f"{datetime.now():%Y-%m-%d}, account {account}, copymart {version('copymart')}:\n\n{lines}\n"


def _report(passed: list[tuple[int, int]], differences: list[Difference], compared: int) -> list[str]:
    for difference in differences:
        for side, rows in (("DuckDB", difference.only_duckdb), ("Snowflake", difference.only_snowflake)):
            error_console.print(
                f"{difference.relation}: {len(rows)} rows only on {side}, such as {rows[:2]}",
                soft_wrap=True,
            )
    nodes = ", then ".join(f"{good} of {total}" for good, total in passed)
    equal = f"{compared - len(differences)} of {compared} relations equal row for row"
    return [_say(f"{nodes} nodes pass on Snowflake; {equal}")]


def main() -> None:
    """Run the command; a UserError ends it with its message and exit status 1."""
    try:
        typer.run(verify)
    except UserError as error:
        error_console.print(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
