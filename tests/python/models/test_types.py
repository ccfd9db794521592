"""Types mean the same in every account of Snowflake, and hold every text that lands."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from jinja2 import Environment
from snowflake.connector.errors import ProgrammingError

from scripts.dev.check_grammar import (
    columns_in_lambdas,
    subqueries_beside_or,
    subqueries_in_values,
    times_from_text,
)
from scripts.land.snowflake.tables import LONG
from support.emulated_snowflake import connect
from support.project import PROJECT, read_yaml

COLUMNS = [
    (path.name, model["name"], column)
    for path in sorted(PROJECT.glob("models/**/_*.yml")) + sorted(PROJECT.glob("seeds/_*.yml"))
    for kind in ("models", "seeds")
    for model in read_yaml(path).get(kind, ())
    for column in model.get("columns", ())
    if "data_type" in column
]
FILES = [
    path for folder in ("macros", "models", "tests") for path in sorted((PROJECT / folder).glob("**/*.sql"))
]


def test_a_time_of_a_contract_has_no_zone_whatever_the_account_says() -> None:
    """TIMESTAMP_TYPE_MAPPING decides what TIMESTAMP is there, DATETIME is always TIMESTAMP_NTZ."""
    times = {
        column["data_type"]
        for *_, column in COLUMNS
        # days, of which a verdict has a first and a last one
        if column["name"].endswith(("_at", "_from", "_to")) and column["name"] != "verdict_from"
    }
    assert times == {"datetime"}
    assert not [column for *_, column in COLUMNS if column["data_type"].startswith("timestamp")]


def test_a_contract_does_not_cut_vars_and_attrs() -> None:
    kinds = {column["data_type"] for *_, column in COLUMNS if column["name"] in ("vars", "attrs")}
    assert kinds == {LONG}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_model_reads_a_time_from_text(path: Path) -> None:
    """DATE_INPUT_FORMAT and TIMESTAMP_INPUT_FORMAT decide what a text means as one."""
    # also of a text that Jinja puts between the quotes; `make grammar` looks at what dbt compiles
    assert not re.findall(r"(?<!')cast\('[^\n]*' as (?:date|time)|\b(?:date|timestamp) '", path.read_text())


@pytest.mark.parametrize(
    "text",
    ["cast('2000-01-01' as date)", "CAST('2000-01-01' AS timestamp_ntz)", "date '2000-01-01'", "'x'::date"],
)
def test_a_time_from_text_is_no_sql_that_make_grammar_takes(text: str) -> None:
    assert times_from_text(f"select {text} as day from t") == [text]
    assert times_from_text("select cast(a as date), to_date(b), 'date' from t where c = 'x' || 'y'") == []


@pytest.mark.parametrize(
    "value", ["a in (select b from u)", "coalesce(a in (select b from u), false)", "exists (select 1 from u)"]
)
def test_a_subquery_that_is_no_condition_is_no_sql_that_make_grammar_takes(value: str) -> None:
    assert len(subqueries_in_values(f"with c as (select {value} as found from t) select * from c")) == 1
    taken = f"select max((select 1)) as found, a in (1, 2) as known from t where c or {value} group by a"
    assert subqueries_in_values(taken) == []


@pytest.mark.parametrize(
    "condition",
    ["a in (select b from u)", "not (a, b) in (select b, c from u)", "a not in (select b from u)"],
)
def test_a_subquery_beside_or_is_no_sql_that_make_grammar_takes(condition: str) -> None:
    assert len(subqueries_beside_or(f"select 1 from t where d and (c or {condition})")) == 1
    alone = f"select 1 from t where (c or d or a in (1, 2) or e = (select max(b) from u)) and {condition}"
    assert subqueries_beside_or(alone) == []
    inside = f"select 1 from t where c or a = (select max(b) from u where {condition})"
    assert subqueries_beside_or(inside) == []


def test_a_lambda_that_reads_a_column_is_no_sql_that_make_grammar_takes() -> None:
    lambdas = "transform(a, x int -> x + {}), filter(b, y -> y:k::varchar != '')"
    assert columns_in_lambdas(f"select {lambdas.format('t.c')} from t") == ["t.c"]
    assert columns_in_lambdas(f"select {lambdas.format('1')} from t") == []


def test_the_emulated_snowflake_refuses_a_lambda_that_reads_a_column(port: int) -> None:
    query = "select array_to_string(transform([1, 2], x -> x::int + {}), ',') from (values (3)) as t (c)"
    with closing(connect(port, "LAMBDAS")) as connection, connection.cursor() as cursor:
        assert cursor.execute(query.format("1")).fetchall() == [("2,3",)]
        with pytest.raises(ProgrammingError, match="invalid identifier 'c'"):
            cursor.execute(query.format("c"))


def test_the_emulated_snowflake_refuses_a_time_from_text(port: int) -> None:
    by_dbt = '/* {"app": "dbt", "node_id": "model.copymart.dim_dates"} */'
    with closing(connect(port, "TYPES")) as connection, connection.cursor() as cursor:
        cursor.execute(f"select cast(to_timestamp_ntz(946684800) as date) {by_dbt}")
        for kind in ("date", "timestamp_ntz"):
            with pytest.raises(ProgrammingError, match="INPUT_FORMAT"):
                cursor.execute(f"select cast('2000-01-01' as {kind}) {by_dbt}")


def test_the_emulated_snowflake_trims_what_it_is_asked_to(port: int) -> None:
    """functions/trim: spaces, or the characters that are named; no other white space."""
    query = "select trim(' \u00a0a '), trim(' \u00a0a ', ' '), ltrim(' \u00a0a '), rtrim('a. ', '. ')"
    with closing(connect(port, "TRIMMED")) as connection, connection.cursor() as cursor:
        assert cursor.execute(query).fetchall() == [("\u00a0a", "\u00a0a", "\u00a0a ", "a")]


def test_unix_seconds_cut_a_fraction_off_on_both_engines(port: int) -> None:
    """functions/date_part; a cast of DuckDB's epoch() would round to the next second."""
    macros: Any = Environment().from_string((PROJECT / "macros/dialect/time.sql").read_text()).module
    moment = "cast('2026-01-01 00:00:00.591' as {})"
    duck, snow = macros.duckdb__timestamp_to_unix, macros.snowflake__timestamp_to_unix
    assert duckdb.execute(f"select {duck(moment.format('timestamp'))}").fetchall() == [(1767225600,)]
    with closing(connect(port, "SECONDS")) as connection, connection.cursor() as cursor:
        found = cursor.execute(f"select {snow(moment.format('timestamp_ntz'))}").fetchall()
    assert found == [(1767225600,)]
