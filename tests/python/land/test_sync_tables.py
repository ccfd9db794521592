"""`--sync table:DATABASE.SCHEMA`: tables of the warehouse sync land as its Parquet files do."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from scripts.errors import UserError
from scripts.land.duckdb import DuckDB
from scripts.land.outcome import Outcome
from scripts.land.plan import ledger
from scripts.land.rules import Dataset
from scripts.land.sources import locate
from scripts.land.sync_tables import plan_sync_tables
from scripts.land.transaction import run
from support.land import BOUNDS, land_path, landed, rejected, rows, state, warehouse
from support.quick import examples
from support.sync import OTHER_COLUMNS, TABLES, delivery, exports, metric, moment, write_export

DELIVERIES, METRICS, PEOPLE = (TABLES[table] for table in ("deliveries", "metrics", "people"))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse that has attached another one, with a schema for tables of the sync."""
    made = warehouse()
    made.execute("attach ':memory:' as raw; create schema raw.cio")
    yield made
    made.close()


def make(
    connection: duckdb.DuckDBPyConnection, table: str, dataset: Dataset, given_rows: list[dict[str, Any]]
) -> None:
    """Make a table of the schema, of the columns that any row has."""
    types = {field: dataset.types()[column] for column, _, field in dataset.typed}
    fields = [field for field in types if any(field in row for row in given_rows)]
    columns = ", ".join(f'"{field}" {types[field]}' for field in fields)
    connection.execute(f"create or replace table raw.cio.{table} ({columns})")
    for row in given_rows:
        marks = ", ".join("?" * len(fields))
        connection.execute(
            f"insert into raw.cio.{table} values ({marks})", [row.get(field) for field in fields]
        )


def land_schema(
    connection: duckdb.DuckDBPyConnection, schema: str = "raw.cio", **options: Any
) -> dict[str, Outcome]:
    """Land a schema as the command does."""
    engine = DuckDB(connection)
    plans = plan_sync_tables(engine, locate(f"table:{schema}", of_schema=True), BOUNDS, 7, **options)
    return {plan.table.root.rpartition(".")[2]: run(engine, plan, BOUNDS) for plan in plans}


def batches(connection: duckdb.DuckDBPyConnection, dataset: Dataset, key: str) -> dict[str, int]:
    """The number of the batch that brought each row."""
    query = f"select {key}, dense_rank() over (order by _batch_id) from staging.{dataset.name}"
    return dict(connection.execute(query).fetchall())


def test_tables_are_those_whose_name_begins_so(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    make(connection, '"METRICS_V5_111528"', METRICS, [metric(1)])
    make(connection, "deliveries", DELIVERIES, [delivery(1)])
    make(connection, "deliveries_v4_111528_77", DELIVERIES, [delivery(2)])
    make(connection, "people", PEOPLE, [{"internal_customer_id": "c1"}])
    connection.execute("create table raw.cio.my_deliveries as select 1 as a")
    connection.execute("create view raw.cio.subjects as select 's' as subject_name where false")
    found = land_schema(connection)
    assert {table: outcome.rows for table, outcome in found.items()} == {
        "deliveries": 1,
        "deliveries_v4_111528_77": 1,
        "METRICS_V5_111528": 1,
        "people": 1,
    }
    said = " ".join(capsys.readouterr().out.split())
    assert "left out: my_deliveries, by their names no tables of the sync" in said
    numbers = "select delivery_id, schema_version, sequence from staging.customerio_deliveries order by 1"
    assert connection.execute(numbers).fetchall() == [("d1", None, None), ("d2", 4, 77)]
    assert [*ledger(connection, METRICS)] == ["table:raw.cio.METRICS_V5_111528/2026/01/01/12"]
    assert [*ledger(connection, PEOPLE)] == ["table:raw.cio.people/without_time"]
    before = state(connection)
    assert all(outcome.files == 0 for outcome in land_schema(connection, everything=True).values())
    assert state(connection) == before


def test_an_export_that_comes_again_touches_no_other_row(connection: duckdb.DuckDBPyConnection) -> None:
    """A loader appends what was exported again, or puts it in the place of the row before."""
    make(connection, "deliveries", DELIVERIES, [delivery(n) for n in range(4)])
    land_schema(connection)
    make(
        connection,
        "deliveries",
        DELIVERIES,
        [*(delivery(n) for n in range(3)), delivery(1, seq_num=9), delivery(3, campaign_id=8)],
    )
    assert land_schema(connection)["deliveries"].replaced == 1
    query = "select delivery_id, seq_num, campaign_id from staging.customerio_deliveries order by all"
    assert connection.execute(query).fetchall() == [
        *(("d0", 0, 7), ("d1", 1, 7), ("d1", 9, 7), ("d2", 2, 7), ("d3", 3, 8))
    ]
    query = "select delivery_id from staging.customerio_deliveries where _batch_id = (select max(_batch_id) "
    query += "from staging.customerio_deliveries) order by 1"
    assert connection.execute(query).fetchall() == [("d1",), ("d3",)]
    assert connection.execute("select delivery_id from staging.customerio_deliveries_removed").fetchall() == [
        ("d3",)
    ]
    contents = "select distinct content_hash from staging.customerio_deliveries where delivery_id = 'd1'"
    assert len(connection.execute(contents).fetchall()) == 1
    ((count,),) = connection.execute("select row_count from staging.landed_files").fetchall()
    assert count == 5


def test_rows_that_change_in_place_are_seen_however_old(connection: duckdb.DuckDBPyConnection) -> None:
    make(connection, "deliveries", DELIVERIES, [delivery(1)])
    make(connection, "metrics", METRICS, [metric(1, reason="none")])
    land_schema(connection)
    connection.execute("update raw.cio.deliveries set campaign_id = 8")
    connection.execute("update raw.cio.metrics set reason = 'edited'")
    found = land_schema(connection)
    # what happened does not change, so an old hour of metrics is counted only
    assert (found["deliveries"].files, found["metrics"].files) == (1, 0)
    assert land_schema(connection, everything=True)["metrics"].files == 1


def test_the_same_row_twice_is_two_rows(connection: duckdb.DuckDBPyConnection) -> None:
    make(
        connection, "metrics", METRICS, [metric(1), metric(1), metric(2, metric=None), metric(2, metric=None)]
    )
    assert (land_schema(connection)["metrics"].rows, len(rejected(connection, METRICS))) == (2, 2)
    connection.execute("insert into raw.cio.metrics from raw.cio.metrics limit 1")
    assert land_schema(connection)["metrics"].rows == 3
    lines = "select count(*), count(distinct _line) from staging.customerio_metrics"
    assert connection.execute(lines).fetchall() == [(3, 3)]
    assert sorted(batches(connection, METRICS, "_line").values()) == [1, 1, 2]


def test_a_forgotten_row_stays_forgotten(connection: duckdb.DuckDBPyConnection) -> None:
    """A row that is there again is not read again, whatever has become of it since."""
    make(connection, "people", PEOPLE, [{"internal_customer_id": "c1", "customer_id": "u1"}])
    land_schema(connection)
    connection.execute("update staging.customerio_people set customer_id = 'forgotten:x'")
    make(
        connection,
        "people",
        PEOPLE,
        [{"internal_customer_id": f"c{n}", "customer_id": f"u{n}"} for n in (1, 2)],
    )
    land_schema(connection)
    assert [row["customer_id"] for row in landed(connection, PEOPLE)].count("forgotten:x") == 1
    assert len(landed(connection, PEOPLE)) == 2


def test_hours_are_those_of_the_time_as_it_lands(connection: duckdb.DuckDBPyConnection) -> None:
    """Text as the vendor's files had it, epoch zero for none, with a zone or as a number."""
    hour = "2026/01/01/12"
    for number, (value, part) in enumerate(
        (
            ("'2026-01-01 12:00:01'", hour),
            ("'2026-01-01 17:30:01+05:30'", hour),
            ("timestamptz '2026-01-01 14:00:01+02'", hour),
            ("timestamp_ns '2026-01-01 12:00:01'", hour),
            ("'2026-01-01 14:00:01+02'::timestamptz_ns", hour),
            ("1767268801000::bigint", hour),
            ("1767268801.0::double", hour),
            ("'\"1767268801\"'::json", hour),
            ("date '2026-01-01'", "2026/01/01/00"),
            ("'1970-01-01 00:00:00'", "without_time"),
            ("timestamp 'infinity'", "without_time"),
            ("'soon'", "without_time"),
        )
    ):
        connection.execute(
            f"create or replace table raw.cio.deliveries as select 'd{number}' as delivery_id, "
            f"{value} as created_at"
        )
        connection.execute("delete from staging.customerio_deliveries; delete from staging.landed_files")
        assert land_schema(connection)["deliveries"].rows == 1
        assert [*ledger(connection, DELIVERIES)] == [f"table:raw.cio.deliveries/{part}"], value
        ((found,),) = connection.execute("select created_at from staging.customerio_deliveries").fetchall()
        assert (found is None) == (part == "without_time"), value
        if found and part == hour:
            assert found == moment(1_767_268_801)


@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ns", "timestamptz", "date"])
def test_a_time_without_end_is_kept_aside_as_of_a_file(
    connection: duckdb.DuckDBPyConnection, kind: str
) -> None:
    connection.execute(
        f"create table raw.cio.people as select number::text as internal_customer_id, "
        f"moment::{kind} as created_at, moment::{kind} as mine "
        "from (values (1, '2026-01-01'), (2, 'infinity'), (3, '-infinity')) as given(number, moment)"
    )
    assert land_schema(connection)["people"].rows == 3
    found = rows(
        connection,
        f"select created_at, other from staging.{PEOPLE.name} order by internal_customer_id",
    )
    assert [row["created_at"] is None for row in found] == [False, True, True]
    first, *kept = [json.loads(row["other"]) for row in found]
    assert first["mine"].startswith("2026-01-01")
    assert kept == [
        {"created_at": "infinity", "mine": "infinity"},
        {"created_at": "-infinity", "mine": "-infinity"},
    ]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("raw.nothing", r"no such schema.*memory, raw.*attach"),
        ("raw.cio.deliveries", r"DATABASE\.SCHEMA;"),
        ("raw", r"DATABASE\.SCHEMA;"),
        ("raw.others", "no table of the warehouse sync.*it holds only newsletters"),
        ("raw.empty", "no rows to land"),
        ("raw.broken", "lacks the column"),
    ],
)
def test_a_schema_that_cannot_land(connection: duckdb.DuckDBPyConnection, schema: str, message: str) -> None:
    connection.execute("create schema raw.others; create table raw.others.newsletters as select 1 as a")
    connection.execute("create schema raw.empty; create table raw.empty.people (internal_customer_id text)")
    connection.execute("create schema raw.broken; create table raw.broken.people as select 1 as a")
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        land_schema(connection, schema)


@given(exports())
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_lands_as_the_same_row_of_parquet(
    tmp_path_factory: pytest.TempPathFactory, export: tuple[Dataset, list[dict[str, Any]], dict[str, Any]]
) -> None:
    dataset, given_rows, how = export
    name = f"{dataset.name.removeprefix('customerio_')}_v6_1_9"
    path = tmp_path_factory.mktemp("sync") / f"{name}.parquet"
    others = {label: pa.array(values, OTHER_COLUMNS[label]) for label, values in how["others"].items()}
    # rows that a rule rejects, too
    required = dataset.columns.required[0][0]
    given_rows = [*given_rows, *({**row, required: None} for row in given_rows[:1])]
    others = {label: pa.concat_arrays([values, values[:1]]) for label, values in others.items()}
    write_export(path, dataset, given_rows, how["writers"], how["order"], others)
    with warehouse() as of_file, warehouse() as of_table:
        land_path(of_file, path, dataset)
        of_table.execute("create schema cio")
        of_table.register("given", pq.read_table(path))
        of_table.execute(f'create table cio."{name.upper()}" as from given')
        if not given_rows:
            return
        land_schema(of_table, "memory.cio")
        for read in (_landed, _rejects):
            assert read(of_table, dataset) == read(of_file, dataset)
        assert sum(entry.lines for entry in ledger(of_table, dataset).values()) == len(given_rows)
        again = land_schema(of_table, "memory.cio", everything=True)
        assert [outcome.files for outcome in again.values()] == [0]


def _landed(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    return sorted(map(repr, landed(connection, dataset)))


def _rejects(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    return sorted(f"{raw} {reason}" for _, raw, reason in rejected(connection, dataset))


def test_old_times_are_bounded_as_in_files(connection: duckdb.DuckDBPyConnection) -> None:
    old = moment(1) - timedelta(days=9_000)
    make(connection, "deliveries", DELIVERIES, [delivery(1, created_at=old)])
    make(connection, "metrics", METRICS, [metric(1, created_at=old)])
    land_schema(connection)
    assert rows(connection, "select created_at from staging.customerio_deliveries") == [{"created_at": old}]
    assert [reason for _, _, reason in rejected(connection, METRICS)] == ["created_at_out_of_bounds"]
