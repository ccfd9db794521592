"""Tables of Snowflake land as those of DuckDB do, and no row leaves it."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snowflake.connector.cursor import SnowflakeCursor

from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.land import source_tables
from scripts.land.outcome import Outcome
from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import CALLS, EVENTS, LOGS, SENDS, VARIANTS, Dataset
from scripts.land.snowflake import source_tables as snowflake_tables
from scripts.land.snowflake.engine import Snowflake, scratch
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.source_tables import SnowflakeTable
from scripts.land.snowflake.tables import make_tables
from scripts.land.snowflake.typed_rows import Column, check_query
from scripts.land.sources import locate
from scripts.land.table_plan import plan_table
from scripts.land.transaction import run
from scripts.snowflake.names import literal
from support.emulated_snowflake import connect, everything
from support.land import BOUNDS, COPY, land_table, landed, rejected, warehouse
from support.quick import examples
from support.snowflake import built
from support.strict_snowflake import refused_to, run_all

HOUR = 1_788_220_800  # 2026-09-01T00Z


@pytest.fixture
def session(port: int, request: pytest.FixtureRequest) -> Iterator[Session]:
    """An empty database of its own for a test, with a schema for its tables."""
    connection = connect(port, "T" + re.sub(r"\W", "_", request.node.name).upper())
    made = Session(connection, "STAGING")
    everything(made, "create schema justai")
    yield made
    connection.close()


def name_in(session: Session, table: str) -> str:
    return f"{session.connection.database}.JUSTAI.{table}"


def land_there(session: Session, table: str, dataset: Dataset = CALLS, **options: Any) -> Outcome:
    """Land a table as the command does on a Snowflake target."""
    make_tables(session)
    with scratch(session) as connection:
        engine = Snowflake(connection, session, None)
        location = locate(f"table:{name_in(session, table)}")
        plan = plan_table(engine, dataset, location, BOUNDS, 7, **options)
        return run(engine, plan, BOUNDS)


def landed_there(session: Session, dataset: Dataset = CALLS) -> list[tuple[Any, ...]]:
    columns = ", ".join(dataset.types())
    return sorted(everything(session, f"select {columns} from staging.{dataset.name}"), key=repr)


def rejected_there(session: Session, dataset: Dataset = CALLS) -> list[tuple[Any, str]]:
    found = everything(session, f"select raw, reason from staging.{dataset.name}_rejects")
    return sorted(((json.loads(raw), reason) for raw, reason in found), key=repr)


def make_calls(session: Session, table: str = "calls") -> None:
    """A table of three hours of four calls, and a row without a time."""
    everything(
        session,
        f"create or replace table {name_in(session, table)} (Event_Timestamp number, user_id varchar, "
        "campaign_id number, copy_id varchar, template_id varchar, vars variant, attrs object, extra float)",
    )
    for n in range(12):
        everything(
            session,
            f"""insert into {name_in(session, table)} select {HOUR + n * 900}, 'u{n}', 7, '{COPY}', 't',
            parse_json('{{"subject": "Hello"}}'), object_construct('persona', 'planner'), 1""",
        )
    everything(session, f"insert into {name_in(session, table)} (user_id, copy_id) select 'nobody', '{COPY}'")


def test_a_table_lands_by_its_hours(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    make_calls(session)
    outcome = land_there(session, "calls")
    assert (outcome.files, outcome.rows, outcome.rejected) == (4, 12, {"missing_event_timestamp": 1})
    assert set(map(tuple, outcome.unknown.values())) == {("EXTRA",)}
    root = f"table:{name_in(session, 'CALLS')}"
    ledger = (
        "select file, path_hour::varchar, row_count, reject_count from staging.landed_files order by file"
    )
    assert everything(session, ledger) == [
        *((f"{root}/2026/09/01/0{hour}", f"2026-09-01 0{hour}:00:00", 4, 0) for hour in range(3)),
        (f"{root}/without_time", None, 0, 1),
    ]
    assert landed_there(session)[0] == (
        *(HOUR, "u0", 7, None, None, COPY, "t", '{"subject":"Hello"}', '{"persona":"planner"}'),
    )
    ((raw, reason),) = rejected_there(session)
    assert (raw["user_id"], raw["event_timestamp"], reason) == ("nobody", None, "missing_event_timestamp")
    lines = "select count(*), count(distinct _line) from staging.justai_calls"
    assert everything(session, lines) == [(12, 12)]

    calls = name_in(session, "calls")
    assert land_there(session, "calls", everything=True).unchanged == 4
    everything(session, f"update {calls} set user_id = 'new' where user_id = 'u0'")
    everything(session, f"delete from {calls} where user_id in ('u4', 'nobody')")
    capsys.readouterr()
    outcome = land_there(session, "calls")
    assert (outcome.files, outcome.replaced, outcome.rows) == (2, 2, 3)
    assert "2 of 4 part(s) were counted and not hashed" in " ".join(capsys.readouterr().out.split())
    assert land_there(session, "calls", everything=True).files == 1
    assert {row[1] for row in landed_there(session)} == {"new", *(f"u{n}" for n in range(1, 12))} - {"u4"}
    assert rejected_there(session) == []
    assert everything(session, "select count(*) from staging.justai_calls_removed") == [(8,)]

    everything(session, f"delete from {calls} where event_timestamp < {HOUR + 3600}")
    span = (datetime(2026, 9, 1), datetime(2026, 9, 2))
    with pytest.raises(UserError, match="--allow-empty"):
        land_there(session, "calls", span=span)
    assert land_there(session, "calls", span=span, allow_empty=True).removed == 1


def test_another_version_alone_lands_nothing_again(session: Session) -> None:
    make_calls(session)
    land_there(session, "calls")
    everything(session, "update staging.landed_files set content_hash = 'snowflake 1.0:1'")
    rows = landed_there(session)
    everything(session, "update staging.landed_files set content_hash = null where file like '%/00'")
    assert land_there(session, "calls").replaced == 1
    assert landed_there(session) == rows
    everything(session, "update staging.landed_files set content_hash = 'snowflake 1.0:1'")
    assert land_there(session, "calls", everything=True).files == 0
    assert landed_there(session) == rows
    assert land_there(session, "calls", everything=True).unchanged == 4
    hashes = everything(session, "select distinct split_part(content_hash, ':', 1) from staging.landed_files")
    ((version,),) = everything(session, "select current_version()")
    assert hashes == [(f"snowflake {version}",)]


def test_no_row_leaves_snowflake_and_statements_do_not_grow(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(hours: int) -> None:
        everything(
            session,
            f"create or replace table {name_in(session, 'many')} as select {HOUR} + 3600 * value::int as "
            f"event_timestamp, case when value::int % 2 = 0 then '{COPY}' end as copy_id, "
            "'secret' as template_id "
            f"from table(flatten(input => parse_json('{list(range(hours))}')))",
        )
        for table in ("landed_files", "justai_calls", "justai_calls_rejects"):
            everything(session, f"delete from staging.{table}")

    make_tables(session)
    statements: list[str] = []
    answers: list[str] = []
    execute, fetch = SnowflakeCursor.execute, SnowflakeCursor.fetchall

    def noted(self: SnowflakeCursor, command: str, *given: Any, **named: Any) -> Any:
        statements.append(command)
        return execute(self, command, *given, **named)

    def answered(self: SnowflakeCursor) -> Any:
        found = fetch(self)
        answers.append(repr(found))
        return found

    counts = []
    for hours in (3, 3, 60):
        many(hours)
        with monkeypatch.context() as patched:
            patched.setattr(SnowflakeCursor, "execute", noted)
            patched.setattr(SnowflakeCursor, "fetchall", answered)
            statements.clear()
            assert land_there(session, "many").files == hours
            land_there(session, "many", everything=True)
            counts.append(len(statements))
    # the first landing of all waits for no other
    assert counts[1] == counts[2]
    assert not [answer for answer in answers if "secret" in answer or COPY in answer]


@pytest.mark.parametrize("kind", ["timestamp_ntz", "timestamp_tz", "timestamp_ltz"])
def test_a_time_of_any_kind_lands(session: Session, kind: str) -> None:
    moment = f"to_timestamp_{kind[-3:].strip('_')}('2026-09-01 05:59:59')"
    everything(
        session,
        f"create table {name_in(session, 'times')} as "
        f"select {moment}::{kind} as event_timestamp, '{COPY}' as copy_id, 't' as template_id",
    )
    land_there(session, "times")
    assert [row[0] for row in landed_there(session)] == [HOUR + 6 * 3600 - 1]


def test_two_landings_of_a_table_at_once(session: Session) -> None:
    make_calls(session)
    make_tables(session)
    location = locate(f"table:{name_in(session, 'calls')}")
    with scratch(session) as connection:
        engine = Snowflake(connection, session, None)
        plan = plan_table(engine, CALLS, location, BOUNDS, 7)
        assert land_there(session, "calls").rows == 12
        with pytest.raises(UserError, match="landed by another process"):
            run(engine, plan, BOUNDS)
    assert len(landed_there(session)) == 12
    assert land_there(session, "calls").unchanged == 4


def test_a_transaction_holds_whole_hours(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tables, "MOST_ROWS", 8)
    make_calls(session)
    land_there(session, "calls")
    batches = everything(
        session, "select count(*) from staging.landed_files group by batch_id order by min(file)"
    )
    assert batches == [(2,), (2,)]


def test_sends_and_variants_of_tables(session: Session) -> None:
    make_calls(session)
    assert land_there(session, "calls", SENDS).rows == 12
    everything(
        session,
        f"create table {name_in(session, 'variants')} as select '{COPY}' as copy_id, template_id, vars "
        f"from {name_in(session, 'calls')} where user_id in ('u0', 'nobody')",
    )
    outcome = land_there(session, "variants", VARIANTS)
    assert (outcome.files, outcome.rows, outcome.rejected) == (1, 1, {"missing_template_id": 1})
    assert landed_there(session, VARIANTS) == [(COPY, "t", '{"subject":"Hello"}')]
    part = "select file from staging.landed_files where dataset = 'justai_variants'"
    assert everything(session, part) == [(f"table:{name_in(session, 'VARIANTS')}/all",)]
    everything(session, f"update {name_in(session, 'variants')} set template_id = 'u'")
    assert land_there(session, "variants", VARIANTS).replaced == 1


def test_a_table_that_the_role_does_not_see(session: Session) -> None:
    with pytest.raises(UserError, match=r'grant select on table "T.*"."JUSTAI"."NOTHING"'):
        land_there(session, "nothing")
    everything(session, f"create table {name_in(session, 'other')} (a int)")
    with pytest.raises(UserError, match="lacks the columns"):
        land_there(session, "other")


def loader_statements(monkeypatch: pytest.MonkeyPatch, schema: str) -> list[str]:
    """What the role that lands runs for a table, until the transaction of the landing."""
    statements: list[str] = []

    def noted(session: Session, statement: str, parameters: tuple[str, ...] = ()) -> list[Any]:
        statements.append(statement % tuple(map(literal, parameters)) if parameters else statement)
        if "information_schema" in statement:
            return [(field.upper(), kind) for field, kind in ALL.items()]
        if statement == "select current_version()":
            return [("10.0.0",)]
        return [(HOUR // 3600, "4")] if statement.startswith("select hour, ") else []

    monkeypatch.setattr(snowflake_tables, "execute", noted)
    table = SnowflakeTable(Session(None, schema), locate("table:raw.justai.calls"), CALLS, BOUNDS)
    listing = source_tables.list_parts(table, {}, datetime(2026, 1, 1))
    for _ in table.chunks([listing.parts]):
        pass
    return statements


def test_the_loader_needs_select_on_the_source_table(monkeypatch: pytest.MonkeyPatch) -> None:
    statements = loader_statements(monkeypatch, '"COPYMART"."STAGING"')
    account = built()
    made = (
        *("use role accountadmin", 'create database "RAW"', 'create schema "RAW"."JUSTAI"'),
        'create table "RAW"."JUSTAI"."CALLS" (a int)',
    )
    run_all(account, made)

    refused = partial(refused_to, "COPYMART_LOADER", account, statements)
    assert statements[0] in refused()
    for grant in ('usage on database "RAW"', 'usage on schema "RAW"."JUSTAI"'):
        account.run(f'grant {grant} to role "COPYMART_LOADER"')
    reading = [statement for statement in statements if 'from "RAW"."JUSTAI"."CALLS"' in statement]
    assert len(reading) == 3
    assert set(refused()) >= set(reading)
    account.run('grant select on table "RAW"."JUSTAI"."CALLS" to role "COPYMART_LOADER"')
    assert refused() == []


ALL = {
    "event_timestamp": "NUMBER",
    **dict.fromkeys(("user_id", "copy_id", "journey_id", "template_id"), "TEXT"),
    **dict.fromkeys(("event_id", "object_type", "metric", "event_type"), "VARIANT"),
    "timestamp": "TIMESTAMP_TZ",
    "vars": "OBJECT",
    "attrs": "TEXT",
    "data": "VARIANT",
}


@pytest.mark.parametrize("dataset", (*LOGS, PIPELINE_CALLS), ids=lambda dataset: dataset.name)
def test_the_rules_are_statements_of_snowflake(dataset: Dataset) -> None:
    columns = {
        field: Column(field.upper(), kind) for field, kind in ALL.items() if field in dataset.columns.fields
    }
    query = check_query(dataset, columns, "staging.landing_rows", BOUNDS, "table:A.B.C", "without_time")
    assert not re.search(r"land_|\$latest|regexp_full_match|->", query)
    # functions-regexp lists the backslashes of a pattern, and these are none of them
    assert not [found for found in re.findall(r"\$\$(.*?)\$\$", query) if re.search(r"\\[trnf]", found)]
    assert faults(f"create or replace temporary table staging.checked as {query}") == []


JSON = st.sampled_from(
    [
        *(
            '{"a": 1.5}',
            '{"a":1,}',
            "[1]",
            '"x"',
            "null",
            "7",
            "7.5",
            "true",
            '""',
            "{}",
            '"{\\"b\\": null}"',
        ),
        *('{"a":[1,{"b":2,"b":3}]}', '"41"', "1e3"),
    ]
)
PARSED = JSON.filter(lambda text: text != '{"a":1,}' and '"b":3' not in text)
TEXTS = st.sampled_from(["", "  ", "x", "7", "7.0", "7.5", "1e3", "9" * 20, "-0", "true", "é 'q' \\ \n", "{"])
TIMES = st.sampled_from([0, 1, HOUR, HOUR + 3600, HOUR * 1000 + 999, HOUR * 10**6 + 1, -5, 10**18])
# Snowflake's type, DuckDB's type, values, and how each engine makes a value of a literal
KINDS: dict[str, tuple[str, str, Any, str]] = {
    "text": ("varchar", "varchar", TEXTS, "{}"),
    "json text": ("varchar", "varchar", JSON, "{}"),
    "variant": ("variant", "json", PARSED, "parse_json({})"),
    "whole": ("number", "bigint", TIMES, "{}::number"),
    "double": (
        "float",
        "double",
        st.sampled_from([7.0, 7.5, -1e3, 2.0**53, 2.0**53 - 1, 1e22, float("nan"), float("inf")]),
        "{}::float",
    ),
    "time text": (
        "varchar",
        "varchar",
        st.sampled_from([str(HOUR), f"{HOUR}.5", "soon", f"{HOUR}999"]),
        "{}",
    ),
    "time": (
        "timestamp_ntz",
        "timestamp",
        st.sampled_from(["2026-09-01 00:00:00", "1999-12-31 23:59:59", "2026-09-01 05:59:59.75"]),
        "{}::timestamp_ntz",
    ),
    "flag": ("boolean", "boolean", st.sampled_from(["true", "false"]), "{}::boolean"),
}
FIELDS = {
    CALLS.name: {
        "event_timestamp": ("whole", "time text", "time", "variant"),
        "user_id": ("text", "whole", "variant", "flag", "double"),
        "campaign_id": ("text", "whole", "variant", "double"),
        "action_id": ("whole",),
        "copy_id": ("text",),
        "template_id": ("text", "variant"),
        "vars": ("json text", "variant"),
        "attrs": ("json text", "variant"),
    },
    EVENTS.name: {
        "event_id": ("text", "variant"),
        "object_type": ("text",),
        "metric": ("text", "variant"),
        "event_type": ("text",),
        "timestamp": ("whole", "time"),
        "data": ("json text", "variant"),
    },
}
DATA = st.sampled_from(
    [
        '{"delivery_id": "d", "action_id": 41.0, "journey_id": 15, "prefetched": "yes", "machine": false}',
        '{"email_id": "e", "campaign_id": "7", "identifiers": {"id": "p"}, "href": "https://x"}',
        '{"event_type": "email_opened", "variables": {"campaign": {"id": 9}, "delivery_id": "v"}}',
        '{"action_id": 9007199254740993.0}',
        '{"delivery_id": 7.0, "journey_id": 15.0, "identifiers": {"id": 1001.0}, "href": 1.0}',
        '{"email_id": 7.0, "journey_id": "15.0", "customer_id": 1001.0}',
        '{"parent_action_id": 7.5, "customer_id": "", "synthetic": 1}',
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Dataset, dict[str, str], list[dict[str, Any]]]:
    """A dataset, the kinds of its columns, and rows of which most break a rule by at most one value."""
    dataset = draw(st.sampled_from([CALLS, EVENTS]))
    kinds = {field: draw(st.sampled_from(kinds)) for field, kinds in FIELDS[dataset.name].items()}
    good = {
        "copy_id": [COPY, COPY.upper()],
        "event_timestamp": [HOUR],
        "template_id": ["t"],
        "timestamp": [HOUR],
    }
    rows = []
    for _ in range(draw(st.integers(1, 25))):
        row = {}
        for field, kind in kinds.items():
            value = KINDS[kind][2]
            if field == "data":
                value = DATA | value
            if field in good and kind in ("text", "whole"):
                value = st.sampled_from(good[field]) | value
            row[field] = draw(st.none() | value if field != "copy_id" else value)
        rows.append(row)
    return dataset, kinds, rows


@pytest.mark.parametrize("kind", ["timestamp_ntz", "timestamp_tz"])
def test_times_of_source_calls_keep_their_milliseconds(session: Session, kind: str) -> None:
    table = name_in(session, "source_calls")
    everything(
        session,
        f"create or replace table {table} as select 'track' as type, 'm' as message_id, "
        f"'2026-03-01 10:00:00.123'::{kind} as timestamp, '1969-12-31 23:59:59.5'::{kind} as sent_at",
    )
    assert land_there(session, "source_calls", PIPELINE_CALLS).rows == 1
    query = "select timestamp, sent_at from staging.pipeline_calls"
    assert everything(session, query) == [(1772359200123, -500)]
    everything(session, f"update {table} set timestamp = '2026-03-01 10:00:00.124'::{kind}")
    assert land_there(session, "source_calls", PIPELINE_CALLS, everything=True).replaced == 1
    assert everything(session, query) == [(1772359200124, -500)]


@given(tables())
@settings(
    max_examples=examples(8),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_rows_land_as_on_duckdb(
    session: Session, drawn: tuple[Dataset, dict[str, str], list[dict[str, Any]]]
) -> None:
    dataset, kinds, rows = drawn
    there, here = name_in(session, "rows"), "memory.main.rows"
    make_tables(session)
    with warehouse() as connection:
        connection.execute(f"create table {here} ({_columns(kinds, 1)})")
        everything(session, f"create or replace table {there} ({_columns(kinds, 0)})")
        for row in rows:
            connection.execute(f"insert into {here} values ({', '.join('?' * len(row))})", list(row.values()))
        everything(session, f"insert into {there} {' union all '.join(_select(kinds, row) for row in rows)}")
        for table in ("landed_files", dataset.name, f"{dataset.name}_rejects"):
            everything(session, f"delete from staging.{table}")
        ours, theirs = (
            land_table(connection, here, dataset),
            land_there(session, "rows", dataset, copies=True),
        )
        assert (ours.rows, ours.rejected, ours.files) == (theirs.rows, theirs.rejected, theirs.files)
        found = sorted((tuple(row.values()) for row in landed(connection, dataset)), key=repr)
        assert landed_there(session, dataset) == found
        rejects = [(json.loads(raw), reason) for _, raw, reason in rejected(connection, dataset)]
        assert rejected_there(session, dataset) == sorted(rejects, key=repr)


def _columns(kinds: dict[str, str], engine: int) -> str:
    return ", ".join(f'"{field.upper()}" {KINDS[kind][engine]}' for field, kind in kinds.items())


def _select(kinds: dict[str, str], row: dict[str, Any]) -> str:
    values = (
        "null" if value is None else KINDS[kinds[field]][3].format(literal(str(value)))
        for field, value in row.items()
    )
    return f"select {', '.join(values)}"
