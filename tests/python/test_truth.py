"""Every cell of every mart equals what the simulator planned, and breaking a single rule in the SQL is noticed."""

import json

import duckdb
import pytest
from conftest import Built, models_in_order

MARTS = (
    "fct_calls",
    "fct_deliveries",
    "dim_copy_variants",
    "dim_copy_variants_current",
    "fct_engagement_events",
    "copy_metrics_daily",
    "copy_cohort_metrics_daily",
    "control_metrics_daily",
)

# name: (model, text of its compiled SQL, what replaces every occurrence); each breaks one rule of R2 to R8.
MUTATIONS: dict[str, tuple[str, str, str]] = {}


def differences(warehouse: duckdb.DuckDBPyConnection, truth: str, mart: str) -> tuple[list, list]:
    """Rows of the mart that the truth lacks, and rows of the truth that the mart lacks (at most five of each)."""
    columns = ", ".join(
        f'"{name}"' for name, *_ in warehouse.execute(f"describe select * from '{truth}/{mart}.parquet'").fetchall()
    )
    got, planned = f"select {columns} from marts.{mart}", f"select {columns} from '{truth}/{mart}.parquet'"
    return (
        warehouse.execute(f"({got} except all {planned}) order by all limit 5").fetchall(),
        warehouse.execute(f"({planned} except all {got}) order by all limit 5").fetchall(),
    )


@pytest.mark.parametrize("mart", MARTS)
def test_every_cell_is_what_was_planned(built: Built, mart: str) -> None:
    with built.connect() as warehouse:
        in_mart = {name for name, *_ in warehouse.execute(f"describe marts.{mart}").fetchall()}
        in_truth = {
            name for name, *_ in warehouse.execute(f"describe select * from '{built.truth}/{mart}.parquet'").fetchall()
        }
        assert in_mart == in_truth
        assert warehouse.execute(f"select count(*) > 0 from marts.{mart}").fetchone() == (True,)
        assert differences(warehouse, str(built.truth), mart) == ([], [])


def test_rejects_are_the_lines_that_were_broken(built: Built) -> None:
    with built.connect() as warehouse:
        landed = f"""
            select dataset, file, line from (
                select 'justai_calls' as dataset, _file as file, _line as line from staging.justai_calls_rejects
                union all
                select 'customerio_events', _file, _line from staging.customerio_events_rejects
            )
        """
        planned = f"select dataset, '{built.landing.resolve()}/' || file as file, line from '{built.truth}/rejects.parquet'"
        assert warehouse.execute(f"({landed}) except all ({planned})").fetchall() == []
        assert warehouse.execute(f"({planned}) except all ({landed})").fetchall() == []
        assert warehouse.execute(f"select count(*) > 0 from ({planned})").fetchone() == (True,)


def rebuild(warehouse: duckdb.DuckDBPyConnection, models: dict, changed: str, compiled: str) -> None:
    """Build `changed` from other SQL and every model that reads it, in the order of dbt's graph."""
    stale = {changed}
    for name, (relation, materialized, own) in models.items():
        sql = compiled if name == changed else own
        if name != changed and not any(f'"{models[parent][0].replace(".", chr(34) + "." + chr(34))}"' in own for parent in stale):
            continue
        stale.add(name)
        if not relation.startswith("audit."):
            warehouse.execute(f"create or replace {materialized} {relation} as {sql}")


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_breaking_a_rule_is_noticed(built: Built, mutation: str) -> None:
    model, rule, broken = MUTATIONS[mutation]
    models = models_in_order(built.target)
    compiled = models[model][2]
    assert rule in compiled, f"{model} no longer holds {rule!r}"
    with built.connect() as warehouse:
        warehouse.execute("begin")
        rebuild(warehouse, models, model, compiled.replace(rule, broken))
        noticed = [mart for mart in MARTS if differences(warehouse, str(built.truth), mart) != ([], [])]
        warehouse.execute("rollback")
    assert noticed, f"{mutation}: {json.dumps({'rule': rule, 'broken': broken})} changed no mart"
