"""What an incremental build must refuse and survive; that it equals a full one is test_replay's."""

import json
import re
import shutil
import signal
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from jinja2 import Environment

from support.project import CORE, PROJECT, Built, attempt, copy_of, run
from support.replay.builds import BOOKKEEPING, FOUND
from support.warm import start

MARTS = (
    *("fct_calls", "fct_deliveries", "dim_copy_variants", "fct_engagement_events", "copy_metrics_daily"),
    "control_metrics_daily",
)


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Built:
    """A copy of what was built, to be changed by one test."""
    return copy_of(built, tmp_path)


def sums(warehouse: Path) -> dict[str, tuple[int, ...]]:
    """Rows of each mart and an order-free sum of their hashes."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return {
            mart: connection.execute(f"select count(*), sum(hash(mart)) from marts.{mart} as mart").fetchone()
            for mart in MARTS
        }


def failing_dbt(built: Built, *arguments: str) -> str:
    done = attempt(built.environment, "dbt", "--no-use-colors", *arguments)
    assert done.status != 0, done.output
    return done.output


def late_call(built: Built) -> None:
    """Land a file with one more call, so that the next build has something to do."""
    folder = built.warehouse.parent / "late"
    folder.mkdir()
    line = (
        '{"event_timestamp":1767268801,"copy_id":"3f0c9b52-6a1e-4d0b-9a43-5f0b8c2d7e11","template_id":"late",'
        '"journey_id":"late","action_id":1,"vars":{},"attrs":{}}'
    )
    (folder / "calls.jsonl").write_text(line + "\n")
    run(built.environment, "copymart", "land", "--calls", folder)


def test_another_var_stops_the_build_and_a_full_refresh_takes_it(copied: Built) -> None:
    before = sums(copied.warehouse)
    output = failing_dbt(copied, *CORE, "--vars", "{engagement_window_days: 1}")
    assert "was built with other settings" in output
    assert "dbt build --full-refresh" in output
    assert '"engagement_window_days": 90' in output
    assert '"engagement_window_days": 1' in output
    assert sums(copied.warehouse) == before
    run(copied.environment, "dbt", *CORE, "--full-refresh", "--vars", "{engagement_window_days: 1}")
    after = sums(copied.warehouse)
    assert after["fct_deliveries"] == before["fct_deliveries"]
    assert after["copy_metrics_daily"] != before["copy_metrics_daily"]


def test_another_metric_catalogue_stops_the_build(copied: Built) -> None:
    seeds = PROJECT / "data/test_seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    shutil.copytree(PROJECT / "scripts/simulate/sample_seeds", seeds)
    try:
        catalogue = seeds / "engagement_metrics.csv"
        catalogue.write_text(catalogue.read_text().rstrip("\n") + "\nemail,forwarded,replied\n")
        changed = Built(
            copied.landing,
            copied.warehouse,
            copied.target,
            copied.environment | {"COPYMART_SEEDS": "data/test_seeds"},
        )
        output = failing_dbt(changed, *CORE)
        models = ("int_message_ids", "int_message_matches", "int_unmatched_messages", "fct_engagement_events")
        run(changed.environment, "dbt", "run", "--full-refresh", "--select", *models)
        output_of_marts = failing_dbt(changed, *CORE)
    finally:
        shutil.rmtree(seeds)
    assert "int_message_ids was built with other settings" in output
    assert "forwarded=replied" in output
    assert "int_message_ids was built" not in output_of_marts
    assert "copy_cohort_metrics_daily was built with other settings" in output_of_marts


def test_a_parse_with_full_refresh_finds_the_same_dependencies(built: Built, tmp_path: Path) -> None:
    """dbt keeps what it parsed: a ref that only a plain run sees would be missing in the next one."""
    environment = built.environment | {"DBT_TARGET_PATH": str(tmp_path)}
    run(
        environment,
        "dbt",
        "--no-partial-parse",
        "compile",
        "--full-refresh",
        "--select",
        "engagement_metrics",
    )
    parents = [
        json.loads((target / "manifest.json").read_text())["parent_map"]
        for target in (tmp_path, built.target)
    ]
    assert parents[0] == parents[1]


@pytest.mark.parametrize(
    ("recorded", "mart"),
    [
        ("seed.copymart.engagement_metrics", "copy_metrics_daily"),
        ("model.copymart.int_destination_calls", "dim_people"),
        ("model.copymart.int_touched_templates", "int_segment_days"),
    ],
)
def test_all_downstream_of_what_settings_decide_record_it(built: Built, recorded: str, mart: str) -> None:
    """A model that does not name it among its dependencies would not notice other settings."""
    manifest = json.loads((built.target / "manifest.json").read_text())
    nodes, parents = manifest["nodes"], manifest["parent_map"]

    def upstream(unique_id: str) -> set[str]:
        return {unique_id}.union(*(upstream(parent) for parent in parents.get(unique_id, [])))

    downstream = {
        unique_id
        for unique_id, node in nodes.items()
        if node["config"].get("incremental_strategy") == "replace_touched" and recorded in upstream(unique_id)
    }
    assert f"model.copymart.{mart}" in downstream
    assert {unique_id for unique_id in downstream if recorded not in parents[unique_id]} == set()


def test_what_an_incremental_model_is_rebuilt_from_records_what_it_has_read(built: Built) -> None:
    """A rebuild reads what the tables upstream have read: one that does not record it may be older."""
    manifest = json.loads((built.target / "manifest.json").read_text())
    nodes, parents = manifest["nodes"], manifest["parent_map"]

    @cache
    def upstream(unique_id: str) -> set[str]:
        models = [parent for parent in parents[unique_id] if parent.startswith("model.")]
        return set(models).union(*map(upstream, models))

    def is_incremental(unique_id: str) -> bool:
        return bool(nodes[unique_id]["config"].get("incremental_strategy") == "replace_touched")

    read = set().union(*(upstream(unique_id) for unique_id in nodes if is_incremental(unique_id)))
    tables = {
        nodes[unique_id]["name"]
        for unique_id in read
        if nodes[unique_id]["config"]["materialized"] != "view"
        if not is_incremental(unique_id) and not nodes[unique_id]["config"]["meta"].get("records_batches")
    }
    # a rebuild does not read what says which rows were touched, and a change of settings is a batch itself
    assert tables - ({*BOOKKEEPING} - {"int_feed_day_changes"}) == set()
    assert "int_person_ids" in {nodes[unique_id]["name"] for unique_id in read}


def test_only_the_log_of_settings_reads_the_seeds_that_owners_edit(built: Built) -> None:
    """What a table reads must be what the log knows. The metric catalogue is recorded with each table."""
    manifest = json.loads((built.target / "manifest.json").read_text())
    nodes, parents = manifest["nodes"], manifest["parent_map"]

    def seeds_read(unique_id: str) -> set[str]:
        """The seeds that a query of this node reads, itself or through views."""
        return {
            seed
            for parent in parents.get(unique_id, [])
            for seed in (
                {parent.rsplit(".", 1)[-1]}
                if parent.startswith("seed.")
                else seeds_read(parent)
                if parent in nodes and nodes[parent]["config"]["materialized"] == "view"
                else set()
            )
        }

    readers = {
        node["name"]: seeds_read(unique_id) - {"engagement_metrics"}
        for unique_id, node in nodes.items()
        if node["resource_type"] == "model" and node["config"]["materialized"] != "view"
    }
    assert {name: seeds for name, seeds in readers.items() if seeds} == {
        "int_settings_changes": {"template_actions", "template_settings"},
        "int_trigger_changes": {"destination_actions"},
    }


def test_unit_tests_pass_in_a_full_refresh(copied: Built) -> None:
    """dbt runs them in every build, and a full refresh is another value of a flag that models read."""
    run(copied.environment, "dbt", "build", "--full-refresh", "--select", "int_landed_batches")


def test_a_killed_build_is_completed_by_the_next(copied: Built, tmp_path: Path) -> None:
    """Killed with new calls and old marts, it must not have lost what the marts need to know."""
    late_call(copied)
    before = sums(copied.warehouse)
    log = tmp_path / "log"
    running = start(log, copied.environment, "--no-use-colors", *CORE, program="dbt", folder=PROJECT)
    built_before = re.compile(r"OK created .* intermediate.int_unmatched_messages")
    while running.process.is_alive() and not (log.exists() and built_before.search(log.read_text())):
        time.sleep(0.02)
    running.kill()
    assert running.done().status == -signal.SIGKILL
    killed = sums(copied.warehouse)
    assert killed["fct_deliveries"][0] == before["fct_deliveries"][0] + 1
    assert killed["copy_metrics_daily"] == before["copy_metrics_daily"]
    run(copied.environment, "dbt", *CORE)
    completed = sums(copied.warehouse)
    assert completed["copy_metrics_daily"][0] == before["copy_metrics_daily"][0] + 1
    run(copied.environment, "dbt", *CORE, "--full-refresh")
    assert sums(copied.warehouse) == completed


def test_a_model_is_not_built_without_what_tells_it_what_to_read(copied: Built) -> None:
    """It would mark batches as read that it never saw."""
    late_call(copied)
    before = sums(copied.warehouse)
    for selection, missing in (
        ("fct_deliveries", r"fct_deliveries cannot be built without int_distinct_calls, int_landed_batches"),
        ("+fct_deliveries+", r"cannot be built without .*int_touched_(dates|hours|messages)"),
        ("config.materialized:incremental", r"cannot be built without int_"),
    ):
        assert re.search(missing, " ".join(failing_dbt(copied, "run", "--select", selection).split()))
    assert sums(copied.warehouse) == before
    run(copied.environment, "dbt", *CORE)
    assert sums(copied.warehouse)["fct_deliveries"][0] == before["fct_deliveries"][0] + 1


@pytest.mark.parametrize(
    ("change", "table", "difference", "rebuilt"),
    [
        # an earlier version lacked it
        (
            "alter table marts.fct_engagement_events drop column href",
            "fct_engagement_events",
            "lacks href",
            "fct_engagement_events",
        ),
        # a later version left it out, or a developer did not describe it
        (
            "alter table intermediate.int_person_days add column members varchar",
            "int_person_days",
            "has members as well",
            "int_person_days",
        ),
        # a queue compares it
        (
            "alter table intermediate.int_object_timeline add column members varchar",
            "int_object_timeline",
            "has members as well",
            "int_touched_request_objects",
        ),
    ],
)
def test_a_table_of_another_version_is_not_built_on(
    copied: Built, change: str, table: str, difference: str, rebuilt: str
) -> None:
    before = sums(copied.warehouse)
    with duckdb.connect(str(copied.warehouse)) as connection:
        connection.execute(change)
    changed = sums(copied.warehouse)
    said = " ".join(failing_dbt(copied, "build").split())
    assert f"other columns than their YAML files describe: {table} ({difference})." in said
    assert f"run `dbt build --full-refresh --select {rebuilt}+`" in said
    assert sums(copied.warehouse) == changed
    run(copied.environment, "dbt", *CORE, "--full-refresh", "--select", f"{rebuilt}+")
    assert sums(copied.warehouse) == before
    run(copied.environment, "dbt", *CORE)


def test_all_columns_of_incremental_tables_are_described(built: Built) -> None:
    """Else the next build would take the table for one of another version, also after a full refresh."""
    nodes = json.loads((built.target / "manifest.json").read_text())["nodes"].values()
    with built.connect() as warehouse:
        for node in nodes:
            if node["config"].get("incremental_strategy") == "replace_touched":
                columns = warehouse.execute(f"describe {node['schema']}.{node['alias']}").fetchall()
                assert sorted(node["columns"]) == sorted(name for name, *_ in columns), node["name"]


@pytest.mark.parametrize("table", FOUND.values())
def test_a_table_that_a_queue_compares_is_not_rebuilt_without_the_queue(copied: Built, table: str) -> None:
    before = sums(copied.warehouse)
    output = failing_dbt(copied, "run", "--full-refresh", "--select", f"{table}+")
    assert f"{table} cannot be rebuilt without int_touched_request_" in " ".join(output.split())
    assert sums(copied.warehouse) == before


def test_a_model_and_all_that_follows_is_built_with_all_above(copied: Built) -> None:
    late_call(copied)
    run(copied.environment, "dbt", *CORE, "--select", "@fct_deliveries")
    selected = sums(copied.warehouse)
    run(copied.environment, "dbt", *CORE)
    assert sums(copied.warehouse) == selected
    run(copied.environment, "dbt", *CORE, "--full-refresh")
    assert sums(copied.warehouse) == selected


def test_one_model_is_built_before_what_follows_it(copied: Built, tmp_path: Path) -> None:
    """Where calls went, events are still those of the last build: no test compares the two yet."""
    logged, calls = copied.landing / "justai/calls", tmp_path / "calls"
    shutil.copytree(logged, calls)
    run(copied.environment, "copymart", "land", "--moved", logged, calls)
    run(copied.environment, "dbt", *CORE)
    shutil.rmtree(calls / "2026/01/03")
    span = ("--backfill", "2026-01-03", "2026-01-04", "--allow-empty")
    run(copied.environment, "copymart", "land", "--calls", calls, *span)
    build = ("build", "--exclude-resource-type", "unit_test")
    run(copied.environment, "dbt", *build, "--select", "+fct_deliveries")
    selected = sums(copied.warehouse)
    run(copied.environment, "dbt", *CORE)
    assert sums(copied.warehouse)["fct_deliveries"] == selected["fct_deliveries"]
    assert sums(copied.warehouse)["fct_engagement_events"] != selected["fct_engagement_events"]


@pytest.mark.parametrize(("refresh", "empties"), [((), False), (("--full-refresh",), True)])
def test_a_build_after_an_empty_one_builds_everything(
    copied: Built, refresh: tuple[str, ...], empties: bool
) -> None:
    before = sums(copied.warehouse)
    run(copied.environment, "dbt", *CORE, "--empty", *refresh)
    assert ({rows for rows, _ in sums(copied.warehouse).values()} == {0}) == empties
    run(copied.environment, "dbt", *CORE)
    assert sums(copied.warehouse) == before
    # and it records with which settings it did so
    output = failing_dbt(copied, *CORE, "--vars", "{engagement_window_days: 1}")
    assert "was built with other settings" in output


def test_pieces_make_the_same_tables_of_people(copied: Built) -> None:
    models = ("int_person_days", "int_person_sums")

    def rows() -> list[tuple[int, ...] | None]:
        with duckdb.connect(str(copied.warehouse), read_only=True) as connection:
            query = "select count(*), sum(hash(model)) from intermediate.{0} as model"
            return [connection.execute(query.format(model)).fetchone() for model in models]

    before = rows()
    run(
        *(copied.environment, "dbt", "run", "--full-refresh", "--select", *models),
        *("--vars", "{rows_of_a_piece: 1}"),
    )
    assert rows() == before
    for model in models:
        statements = copied.target / f"run/copymart/models/intermediate/people/{model}.sql"
        # one piece makes the table
        assert statements.read_text().count("insert into") > 1


def test_nothing_new_writes_nothing(copied: Built) -> None:
    before = sums(copied.warehouse)
    run(copied.environment, "dbt", *CORE)
    with duckdb.connect(str(copied.warehouse)) as connection:
        touched = connection.execute(
            """
            select count(*) from intermediate.int_touched_dates
            union all select count(*) from intermediate.int_touched_calls
            union all select count(*) from intermediate.int_rewritten_messages
            """
        ).fetchall()
    assert touched == [(0,), (0,), (0,)]
    assert sums(copied.warehouse) == before


def test_seeds_at_an_absolute_path_are_refused_before_dbt_can_write_over_them(
    copied: Built, tmp_path: Path
) -> None:
    """dbt writes a seed's `run` file to target/run/<path of the seed>, which an absolute path leaves."""
    seeds = tmp_path / "seeds"
    shutil.copytree(PROJECT / "scripts/simulate/sample_seeds", seeds)
    before = {path.name: path.read_text() for path in seeds.iterdir()}
    absolute = Built(
        copied.landing, copied.warehouse, copied.target, copied.environment | {"COPYMART_SEEDS": str(seeds)}
    )
    assert "COPYMART_SEEDS must be a path within the project" in failing_dbt(absolute, *CORE)
    assert {path.name: path.read_text() for path in seeds.iterdir()} == before


def test_the_numbers_of_segments_follow_their_vars() -> None:
    """What is recomputed by template records the vars of segments, which nothing else incremental reads."""
    segments = "model.copymart.int_touched_templates"

    def recorded(*nodes: str) -> set[str]:
        class Returned(Exception):
            """`return` ends a dbt macro, and jinja has none."""

        def end(text: str) -> None:
            raise Returned(text)

        environment = Environment(extensions=["jinja2.ext.do"])
        environment.globals |= {
            "execute": True,
            "model": SimpleNamespace(depends_on=SimpleNamespace(nodes=list(nodes))),
            "var": lambda name: name,
            "tojson": lambda values, sort_keys: json.dumps(values),
            "return": end,
        }
        macros: Any = environment.from_string((PROJECT / "macros/incremental/batches.sql").read_text()).module
        with pytest.raises(Returned) as ended:
            macros.settings()
        return set(json.loads(str(ended.value)))

    wanted = {"max_segment_values", "min_segment_people", "prefer_human", "segment_keys"}
    assert recorded(segments) - recorded() == wanted
    for path in PROJECT.glob("models/**/*.sql"):
        text = path.read_text()
        if "incremental_strategy='replace_touched'" in text and re.search(r"var\('\w*segment", text):
            assert "ref('int_touched_templates')" in text, path.name
