"""Tables of the warehouse sync in Snowflake land as those of DuckDB do, and no row leaves it."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from snowflake.connector.cursor import SnowflakeCursor

from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.land.duckdb import DuckDB
from scripts.land.outcome import Outcome
from scripts.land.rules import Dataset
from scripts.land.snowflake import source_tables as snowflake_tables
from scripts.land.snowflake.engine import Snowflake, scratch
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.tables import make_tables
from scripts.land.snowflake.typed_columns import check_typed_query
from scripts.land.snowflake.typed_rows import Column
from scripts.land.sources import locate
from scripts.land.sync_tables import plan_sync_tables
from scripts.land.transaction import run
from scripts.snowflake.names import literal
from support.emulated_snowflake import connect, everything
from support.land import BOUNDS, landed, rejected, warehouse
from support.snowflake import built
from support.strict_snowflake import refused_to, run_all
from support.sync import EPOCH, TABLES

DELIVERIES, METRICS = TABLES["deliveries"], TABLES["metrics"]

# per column of each engine: Snowflake's type, DuckDB's type, and the values as text
NUMBERS = ["7", "0", "-3", None, "2147483648", "7", "7", "7"]
KINDS: dict[str, tuple[str, str, Sequence[str | None]]] = {
    "number": ("number(38, 0)", "decimal(38, 0)", NUMBERS),
    "fraction": ("number(20, 2)", "decimal(20, 2)", ["7.00", "7.50", "-1.00", None, "0.01", "8", "9", "10"]),
    "float": ("float", "double", ["7", "7.5", "-1", None, "9007199254740994", "8", "9", "10"]),
    "text": ("varchar", "varchar", ["7", " 8 ", "", None, "7.5", "1e3", "x\u00a0", "é 'q' \\ \n"]),
    "variant": ("variant", "json", ["7", '"8"', '"  "', None, "7.5", '{"a":1}', "true", '"x"']),
    "time": (
        *("timestamp_ntz", "timestamp"),
        ["2026-01-01 12:00:01", "1970-01-01 00:00:00", "2026-01-01 12:00:01.25", None, "1999-12-31 23:59:59"]
        + ["2026-01-01 13:00:00"] * 3,
    ),
    "zoned": (
        *("timestamp_tz", "timestamptz"),
        ["2026-01-01 12:00:01+02:00", "1970-01-01 00:00:00+00:00", "2026-01-01 23:00:01-05:00", None]
        + ["2026-01-01 13:00:00+00:00"] * 4,
    ),
    "date": ("date", "date", ["2026-01-01", "1970-01-01", None, "2026-02-01"] * 2),
    "seconds": (
        *("number(38, 0)", "bigint"),
        ["1767268801", "1767268801123", "1767268801123456", None, "0", "-5", "1767268801", "946684799"],
    ),
    "time text": (
        *("varchar", "varchar"),
        [
            *("2026-01-01 12:00:01", "2026-01-01T12:00:01.5Z", "2026-01-01 17:30:01 +05:30"),
            *("1970-01-01 00:00:00", "soon", "", "2026-01-01 12:00 UTC", "1767268801.5"),
        ],
    ),
    "more time text": (
        *("varchar", "varchar"),
        [
            *("2026-01-01", "2026-02-30 10:00:00", "2026-01-01 12:00:01-0500", "2026-01-01T12:00:01+02"),
            *(None, " 1767268801 ", "2026-01-01 12:00:01.123456789", "99999999999999999999999"),
        ],
    ),
    "flag": ("boolean", "boolean", ["true", "false", None, "true"] * 2),
    "flag text": ("varchar", "varchar", ["true", "FALSE", " yes ", "0", "", "maybe", None, "1.0"]),
    "flag number": ("number(38, 0)", "integer", ["1", "0", "2", None] * 2),
    "object": ("object", "json", ['{"a":[1,"x"]}', None] * 4),
    "key": ("varchar", "varchar", [f"k{number}" for number in range(8)]),
    "key with gaps": ("varchar", "varchar", ["k0", None, "", "  ", "k4", "k5", "k6", "k7"]),
}
TABLES_OF: dict[str, tuple[Dataset, dict[str, str]]] = {
    "typed": (
        DELIVERIES,
        {
            "delivery_id": "key",
            "campaign_id": "number",
            "action_id": "fraction",
            "created_at": "time",
            "newsletter_id": "float",
            "subject_id": "text",
            "seq_num": "text",
            "Extra": "zoned",
            "event_id": "number",
            "object": "object",
            "delivery_type": "flag",
        },
    ),
    "texts": (
        DELIVERIES,
        {
            "delivery_id": "key",
            "campaign_id": "text",
            "created_at": "time text",
            "action_id": "flag",
            "subject_id": "variant",
            "content_id": "date",
            "internal_customer_id": "time",
            "event_id": "fraction",
            "line": "float",
        },
    ),
    "rejects": (
        METRICS,
        {
            "event_id": "key with gaps",
            "delivery_id": "key",
            "metric": "key",
            "created_at": "seconds",
            "proxied": "flag",
            "prefetched": "flag text",
            "machine": "flag number",
            "hour": "time text",
        },
    ),
    "zones": (
        METRICS,
        {"event_id": "key", "delivery_id": "key", "metric": "text", "created_at": "zoned", "Day": "date"},
    ),
    "more": (
        METRICS,
        {"event_id": "key", "delivery_id": "key", "metric": "key", "created_at": "more time text"},
    ),
}


@pytest.fixture
def session(port: int, request: pytest.FixtureRequest) -> Iterator[Session]:
    """An empty database of its own for a test, with a schema for its tables."""
    connection = connect(port, "T" + re.sub(r"\W", "_", request.node.name).upper()[:60])
    made = Session(connection, "STAGING")
    everything(made, "create schema cio")
    make_tables(made)
    yield made
    connection.close()


def land_there(session: Session, **options: Any) -> dict[str, Outcome]:
    """Land a schema as the command does on a Snowflake target."""
    location = locate(f"table:{session.connection.database}.cio", of_schema=True)
    with scratch(session) as connection:
        engine = Snowflake(connection, session, None)
        plans = plan_sync_tables(engine, location, BOUNDS, 7, **options)
        return {plan.table.root.rpartition(".")[2]: run(engine, plan, BOUNDS) for plan in plans}


def _value(value: str | None, kind: str) -> str:
    if value is None:
        return f"null::{KINDS[kind][0]}"
    if kind in ("variant", "object"):
        return f"parse_json({literal(value)})" + ("::object" if kind == "object" else "")
    return f"{literal(value)}::{KINDS[kind][0]}"


@pytest.mark.parametrize("form", TABLES_OF)
def test_rows_land_as_on_duckdb(session: Session, form: str) -> None:
    dataset, kinds = TABLES_OF[form]
    table = f"{dataset.name.removeprefix('customerio_')}_v6_1_9"
    number = len(KINDS["key"][2])
    everything(
        session,
        f"create table cio.{table} as "
        + " union all ".join(
            "select "
            + ", ".join(f'{_value(KINDS[kind][2][row], kind)} as "{field}"' for field, kind in kinds.items())
            for row in range(number)
        ),
    )
    with warehouse() as connection:
        connection.execute(
            f"create schema cio; create table cio.{table} "
            f"({', '.join(f'{field} {KINDS[kind][1]}' for field, kind in kinds.items())})"
        )
        for row in range(number):
            marks = ", ".join("?" * len(kinds))
            values = [KINDS[kind][2][row] for kind in kinds.values()]
            connection.execute(f"insert into cio.{table} values ({marks})", values)
        engine = DuckDB(connection)
        (plan,) = plan_sync_tables(engine, locate("table:memory.cio", of_schema=True), BOUNDS, 7)
        ours, (theirs,) = run(engine, plan, BOUNDS), land_there(session).values()
        assert (ours.rows, ours.rejected, ours.files) == (theirs.rows, theirs.rejected, theirs.files)
        wanted = sorted(_comparable(tuple(row.values())) for row in landed(connection, dataset))
        # the emulated server gives 1970 for a time that is null
        types = dataset.types().items()
        columns = ", ".join(
            f"date_part(epoch_microsecond, {column})" if kind == "timestamp" else column
            for column, kind in types
        )
        found = everything(session, f"select {columns} from staging.{dataset.name}")
        assert sorted(map(_comparable, found)) == wanted
        rejects = sorted((reason, repr(json.loads(raw))) for _, raw, reason in rejected(connection, dataset))
        there = everything(session, f"select reason, raw from staging.{dataset.name}_rejects")
        assert [reason for reason, _ in rejects] == sorted(reason for reason, _ in there)
        assert {frozenset(json.loads(raw)) for _, raw in there} == {
            frozenset(json.loads(raw)) for _, raw, _ in rejected(connection, dataset)
        }
        assert _labels(ours) == _labels(theirs)


def _comparable(row: tuple[Any, ...]) -> str:
    """A row without its hash; its JSON with members in order."""
    *values, other, version, sequence, _ = row
    values = [
        (value - EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
        for value in values
    ]
    members = sorted(json.loads(other).items()) if other else other
    return repr((*values, members, version, sequence))


def _labels(outcome: Outcome) -> set[str]:
    return {name for names in outcome.unknown.values() for name in names}


def test_rows_that_are_there_again_stay(session: Session) -> None:
    everything(session, "create table cio.deliveries (delivery_id varchar, campaign_id number, note varchar)")
    everything(session, "insert into cio.deliveries values ('d1', 7, ''), ('d2', 7, ''), ('d3', 7, '')")
    assert land_there(session)["DELIVERIES"].rows == 3
    assert land_there(session)["DELIVERIES"].unchanged == 1
    everything(session, "update cio.deliveries set campaign_id = 8 where delivery_id = 'd2'")
    everything(session, "insert into cio.deliveries values ('d1', 7, 'later'), ('d3', 7, '')")
    assert land_there(session)["DELIVERIES"].rows == 5
    query = (
        "select delivery_id, campaign_id, dense_rank() over (order by _batch_id) "
        "from staging.customerio_deliveries order by 1, 2, 3"
    )
    assert everything(session, query) == [
        *(("d1", 7, 1), ("d1", 7, 2), ("d2", 8, 2), ("d3", 7, 1), ("d3", 7, 2))
    ]
    removed = "select delivery_id from staging.customerio_deliveries_removed"
    assert everything(session, removed) == [("d2",)]
    lines = "select count(distinct _line) from staging.customerio_deliveries"
    assert everything(session, lines) == [(5,)]
    hashes = "select count(distinct content_hash) from staging.customerio_deliveries"
    assert everything(session, hashes) == [(3,)]


def test_no_row_leaves_snowflake(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(
        session,
        "create table cio.people as select 'secret' || value::varchar as internal_customer_id, "
        "'secret' as customer_id, 'secret' as note from table(flatten(input => parse_json('[1, 2, null]')))",
    )
    answers: list[str] = []
    fetch = SnowflakeCursor.fetchall

    def answered(self: SnowflakeCursor) -> Any:
        found = fetch(self)
        answers.append(repr(found))
        return found

    monkeypatch.setattr(SnowflakeCursor, "fetchall", answered)
    outcome = land_there(session)["PEOPLE"]
    assert outcome.rows + outcome.rejected.total() == 3
    assert answers and not [answer for answer in answers if "secret" in answer]


def test_a_schema_that_the_role_does_not_see(session: Session) -> None:
    with pytest.raises(UserError, match=r'grant select on all tables in schema "T.*"."CIO"'):
        land_there(session)


@pytest.mark.parametrize("form", TABLES_OF)
def test_the_rules_are_statements_of_snowflake(form: str) -> None:
    dataset, kinds = TABLES_OF[form]
    types = {"varchar": "TEXT", "decimal": "NUMBER", "bigint": "NUMBER", "integer": "NUMBER"}
    types |= {"double": "FLOAT", "json": "VARIANT", "timestamp": "TIMESTAMP_NTZ"}
    types |= {"timestamptz": "TIMESTAMP_LTZ", "date": "DATE", "boolean": "BOOLEAN"}
    columns = {
        field: Column(field.upper(), types[KINDS[kind][1].partition("(")[0]]) for field, kind in kinds.items()
    }
    known = {field: column for field, column in columns.items() if field in dataset.columns.fields}
    others = {field: column for field, column in columns.items() if field not in known}
    where = ("staging.landing_rows", BOUNDS, "table:A.B.C", "without_time")
    query = check_typed_query(dataset, known, others, *where)
    assert not re.search(r"land_|\$latest|epoch_us|try_cast\(\w+ as timestamp", query)
    assert faults(f"create or replace temporary table staging.checked as {query}") == []


def test_the_loader_needs_select_on_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of the role that lands until its transaction, by the grants of the sync's schema."""
    statements: list[str] = []

    def noted(session: Session, statement: str, parameters: tuple[str, ...] = ()) -> list[Any]:
        statements.append(statement % tuple(map(literal, parameters)) if parameters else statement)
        if "information_schema.tables" in statement:
            return [("DELIVERIES",)]
        if "information_schema.columns" in statement:
            return [("DELIVERY_ID", "TEXT"), ("CREATED_AT", "TIMESTAMP_NTZ"), ("EXTRA", "VARIANT")]
        if statement == "select current_version()":
            return [("10.0.0",)]
        return [(490_908, "4")] if statement.startswith("select hour, ") else []

    monkeypatch.setattr(snowflake_tables, "execute", noted)
    with warehouse() as connection:
        engine = Snowflake(connection, Session(None, '"COPYMART"."STAGING"'), None)
        location = locate("table:raw.cio", of_schema=True)
        (plan,) = plan_sync_tables(engine, location, BOUNDS, 7, dry_run=True)
        for _ in plan.table.chunks([plan.files]):
            pass
    account = built()
    run_all(
        account,
        (
            *("use role accountadmin", 'create database "RAW"', 'create schema "RAW"."CIO"'),
            'create table "RAW"."CIO"."DELIVERIES" (a int)',
        ),
    )

    refused = partial(refused_to, "COPYMART_LOADER", account, statements)
    reading = [statement for statement in statements if 'from "RAW"."CIO"."DELIVERIES"' in statement]
    assert len(reading) == 3 and set(refused()) >= {*reading, statements[0]}
    for grant in (
        *('usage on database "RAW"', 'usage on schema "RAW"."CIO"'),
        'select on all tables in schema "RAW"."CIO"',
    ):
        account.run(f'grant {grant} to role "COPYMART_LOADER"')
    assert refused() == []
