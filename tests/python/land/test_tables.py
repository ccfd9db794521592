"""`table:DATABASE.SCHEMA.NAME`: a table of DuckDB lands by its hours, as files do."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.errors import UserError
from scripts.land import duckdb_tables, source_tables
from scripts.land.plan import ledger
from scripts.land.rules import CALLS, EVENTS
from scripts.land.sources import locate
from support.land import (
    BOUNDS,
    COPY,
    land_path,
    land_table,
    landed,
    rejected,
    rows,
    state,
    warehouse,
)
from support.quick import examples

HOUR = 1_788_220_800  # 2026-09-01T00Z
TABLE = "raw.justai.calls"
PART = f"table:{TABLE}/2026/09/01/00"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with a table of three hours of four calls, beside one row without a time."""
    made = warehouse()
    made.execute("attach ':memory:' as raw; create schema raw.justai")
    made.execute(
        f"create table {TABLE} as select {HOUR} + n * 900 as event_timestamp, 'u' || n as user_id, "
        f"7 as campaign_id, 41 as action_id, 'j' || n as journey_id, '{COPY}' as copy_id, "
        "'plan-nudge' as template_id, map {'subject': 'Hello'} as vars, map {'persona': 'planner'} as attrs "
        "from range(12) as counted(n)"
    )
    made.execute(f"insert into {TABLE} by name select '{COPY}' as copy_id, 'nobody' as user_id")
    yield made
    made.close()


def people(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return sorted(row["user_id"] for row in landed(connection))


def test_a_table_lands_by_the_hours_of_its_time(connection: duckdb.DuckDBPyConnection) -> None:
    outcome = land_table(connection, "RAW.justai.Calls")
    assert (outcome.files, outcome.rows, outcome.rejected) == (4, 12, {"missing_event_timestamp": 1})
    found = rows(
        connection,
        "select file, path_hour, row_count, reject_count from staging.landed_files order by file",
    )
    assert [row["file"] for row in found] == [
        PART,
        f"table:{TABLE}/2026/09/01/01",
        f"table:{TABLE}/2026/09/01/02",
        f"table:{TABLE}/without_time",
    ]
    assert [row["path_hour"] for row in found] == [*(datetime(2026, 9, 1, hour) for hour in range(3)), None]
    assert [(row["row_count"], row["reject_count"]) for row in found] == [(4, 0)] * 3 + [(0, 1)]
    assert landed(connection)[0] == {
        "event_timestamp": HOUR,
        "user_id": "u0",
        "campaign_id": 7,
        "action_id": 41,
        "journey_id": "j0",
        "copy_id": COPY,
        "template_id": "plan-nudge",
        "vars": '{"subject":"Hello"}',
        "attrs": '{"persona":"planner"}',
    }
    ((line, raw, reason),) = rejected(connection)
    assert (reason, '"user_id":"nobody"' in raw, '"event_timestamp":null' in raw) == (
        "missing_event_timestamp",
        True,
        True,
    )
    numbers = connection.execute("select _line from staging.justai_calls").fetchall()
    assert len({line, *(number for (number,) in numbers)}) == 13

    before = state(connection)
    again = land_table(connection, TABLE, everything=True)
    assert (again.files, again.unchanged, state(connection)) == (0, 4, before)


def test_hours_that_changed_replace_what_they_brought(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    connection.execute(f"update {TABLE} set user_id = 'new' where user_id = 'u0'")
    connection.execute(
        f"insert into {TABLE} by name select * replace ('more' as user_id) from {TABLE} where user_id = 'u5'"
    )
    outcome = land_table(connection, TABLE, everything=True)
    assert (outcome.files, outcome.replaced, outcome.unchanged) == (2, 2, 2)
    assert people(connection) == sorted(["new", "more", *(f"u{n}" for n in range(1, 12))])
    removed = connection.execute("select count(*) from staging.justai_calls_removed").fetchall()
    assert removed == [(8,)]
    assert connection.execute("select count(distinct batch_id) from staging.landed_batches").fetchall() == [
        (2,)
    ]


def test_an_edit_without_a_change_of_count_is_seen_in_recent_hours_or_with_all(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    now = int(datetime.now(UTC).timestamp())
    connection.execute(f"update {TABLE} set event_timestamp = {now - 3 * 86_400} where user_id = 'u11'")
    land_table(connection, TABLE)
    connection.execute(f"update {TABLE} set user_id = 'recent' where user_id = 'u11'")
    connection.execute(f"update {TABLE} set user_id = 'old' where user_id = 'u0'")
    capsys.readouterr()
    assert land_table(connection, TABLE, days=2).files == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "5 of 5 part(s) were counted and not hashed" in said and "--all" in said
    assert land_table(connection, TABLE).files == 1
    assert "4 of 5 part(s)" in " ".join(capsys.readouterr().out.split())
    assert {"recent", "u0"} <= set(people(connection))
    assert land_table(connection, TABLE, everything=True).files == 1
    assert "not hashed" not in capsys.readouterr().out
    assert "old" in people(connection)


def test_hours_that_are_gone_stay_unless_a_backfill_removes_them(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    land_table(connection, TABLE)
    before = state(connection)
    connection.execute(f"delete from {TABLE} where event_timestamp < {HOUR + 3600}")
    assert land_table(connection, TABLE, everything=True).removed == 0
    assert "1 hour(s) that landed have no rows now" in " ".join(capsys.readouterr().out.split())
    span = (datetime(2026, 9, 1), datetime(2026, 9, 1, 2))
    with pytest.raises(UserError, match=r"2026-09-01T00.*--allow-empty"):
        land_table(connection, TABLE, span=span)
    assert state(connection) == before
    outcome = land_table(connection, TABLE, span=span, allow_empty=True)
    assert (outcome.removed, outcome.unchanged, outcome.files) == (1, 1, 0)
    assert people(connection) == sorted(f"u{n}" for n in range(4, 12))


def test_a_backfill_hashes_its_range_and_nothing_else(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    connection.execute(f"update {TABLE} set user_id = 'new' where user_id in ('u0', 'u4')")
    span = (datetime(2026, 9, 1), datetime(2026, 9, 1, 1))
    assert land_table(connection, TABLE, span=span).files == 1
    assert people(connection).count("new") == 1


def test_rows_whose_time_is_repaired_are_rejects_no_longer(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    connection.execute(
        f"update {TABLE} set event_timestamp = {HOUR}, template_id = 't' where user_id = 'nobody'"
    )
    outcome = land_table(connection, TABLE)
    assert (outcome.files, outcome.rows, rejected(connection)) == (2, 5, [])
    assert land_table(connection, TABLE, everything=True).files == 0


def test_a_dry_run_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    known = ledger(connection, CALLS)
    connection.execute(
        "update staging.landed_files set content_hash = replace(content_hash, 'duckdb ', 'duckdb 0.')"
    )
    before = state(connection)
    engine = duckdb_tables.DuckDBTable(connection, locate(f"table:{TABLE}"), CALLS, BOUNDS)
    listing = source_tables.list_parts(engine, ledger(connection, CALLS), datetime(2000, 1, 1))
    assert (len(listing.hashes), state(connection)) == (3, before)
    assert set(listing.hashes.values()) == {known[name].digest for name in listing.hashes}


def test_another_version_of_the_engine_alone_lands_nothing_again(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    land_table(connection, TABLE)
    batches = connection.execute("select count(*) from staging.landed_batches").fetchall()
    connection.execute("update staging.landed_files set content_hash = 'duckdb 0.9:' || length(file)")
    assert land_table(connection, TABLE, everything=True).files == 0
    assert "another version of the engine hashed 4 part(s)" in " ".join(capsys.readouterr().out.split())
    assert connection.execute("select count(*) from staging.landed_batches").fetchall() == batches
    assert all(entry.digest.startswith("duckdb 2") for entry in ledger(connection, CALLS).values())
    connection.execute(f"update {TABLE} set user_id = 'new' where user_id = 'u0'")
    assert land_table(connection, TABLE, everything=True).files == 1


def test_a_part_whose_hash_was_taken_away_lands_again(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    before = state(connection)
    connection.execute(f"delete from staging.justai_calls where _file = '{PART}'")
    connection.execute(f"update staging.landed_files set content_hash = null where file = '{PART}'")
    assert land_table(connection, TABLE).replaced == 1
    assert [row[:-4] for row in state(connection)["justai_calls"]] == [
        row[:-4] for row in before["justai_calls"]
    ]


def test_a_version_that_hashes_alike_hides_no_edit(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    connection.execute(
        "update staging.landed_files set content_hash = 'duckdb 0.9:' || split_part(content_hash, ':', 2)"
    )
    connection.execute(f"update {TABLE} set user_id = 'new' where user_id = 'u0'")
    assert land_table(connection, TABLE, everything=True).files == 1
    assert "new" in people(connection)


def test_the_statements_of_a_run_do_not_grow_with_the_hours(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    def statements(hours: int) -> int:
        """Statements of a first landing and of one where nothing changed."""
        connection.execute(
            f"create or replace table raw.justai.many as select {HOUR} + n * 3600 as event_timestamp, "
            f"'u{hours}-' || n as user_id, '{COPY}' as copy_id, 't' as template_id "
            f"from range({hours}) as counted(n)"
        )
        counted = Counting(connection)
        land_table(counted, "raw.justai.many")  # type: ignore[arg-type]
        land_table(counted, "raw.justai.many", everything=True)  # type: ignore[arg-type]
        connection.execute("delete from staging.landed_files")
        return counted.statements

    assert statements(3) == statements(300)


class Counting:
    """A connection that counts its statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.statements = connection, 0

    def __getattr__(self, name: str) -> Any:
        if name in ("execute", "sql"):
            self.statements += 1
        return getattr(self.connection, name)


def test_a_transaction_holds_whole_hours_up_to_a_number_of_rows(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_tables, "MOST_ROWS", 8)
    monkeypatch.setattr(duckdb_tables, "_FIRST_ROWS", 3)
    connection.execute(
        f"insert into {TABLE} by name select called.* replace ('x' || n as user_id) "
        f"from {TABLE} as called, range(20) as counted(n) where user_id = 'u8'"
    )
    land_table(connection, TABLE)
    batches = connection.execute(
        "select list(substr(file, -5) order by file) from staging.landed_files group by batch_id order by 1"
    ).fetchall()
    # the last hour has 24 rows
    assert batches == [(["01/00", "01/01"],), (["01/02"],), (["_time"],)]
    assert len(landed(connection)) == 32


def test_columns_have_names_of_any_case(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        'create table raw.justai.upper as select event_timestamp as "EVENT_TIMESTAMP", copy_id as "Copy_Id", '
        f'template_id as "TEMPLATE_ID", user_id as "USER_ID", 1 as "Extra" from {TABLE} '
        "where user_id = 'u0'"
    )
    outcome = land_table(connection, "raw.justai.upper")
    assert (outcome.rows, list(outcome.unknown.values())) == (1, [{"Extra"}])


@pytest.mark.parametrize(
    ("value", "second"),
    [
        ("1788220800::integer", HOUR),
        ("1788220800123::bigint", HOUR),
        ("1788220800123456::hugeint", HOUR),
        ("1788220800.75::double", HOUR),
        ("'1788220800'", HOUR),
        ("'1788220800'::json", HOUR),
        ("'\"1788220800\"'::json", HOUR),
        ("1788220800::variant", HOUR),
        ("timestamp '2026-09-01 00:00:00.9'", HOUR),
        ("timestamptz '2026-09-01 02:00:00+02'", HOUR),
        ("timestamp_ns '2026-09-01 00:00:00.999999999'", HOUR),
        ("timestamp '1969-12-31 23:00:00'", None),
        ("'2026-09-01 00:00:00'", None),
        ("'infinity'::timestamp", None),
        ("99", None),
        ("null::bigint", None),
        ("date '2026-09-01'", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_times_are_numbers_or_timestamps(value: str, second: int | None, zone: str) -> None:
    with warehouse() as connection:
        connection.execute(f"set TimeZone = '{zone}'")
        connection.execute(
            f"create table main.calls as select {value} as event_timestamp, '{COPY}' as copy_id, "
            "'t' as template_id"
        )
        land_table(connection, "memory.main.calls", days=100_000)
        found = [(row["event_timestamp"]) for row in landed(connection)]
        assert found == ([second] if second else [])
        parts = [name.rpartition("calls/")[2] for name in ledger(connection, CALLS)]
        assert parts == ["2026/09/01/00" if second else "without_time"]
        assert land_table(connection, "memory.main.calls", everything=True).files == 0


@pytest.mark.parametrize("kind", ["_s", "_ms", "", "_ns", "tz", "tz_ns"])
def test_a_time_without_end_is_a_bad_one_as_in_parquet(kind: str) -> None:
    with warehouse() as connection:
        connection.execute(
            f"create table main.calls as select moment::timestamp{kind} as event_timestamp, "
            f"'{COPY}' as copy_id, 't' as template_id "
            "from (values ('2026-09-01'), ('infinity'), ('-infinity'), (null)) as given(moment)"
        )
        outcome = land_table(connection, "memory.main.calls", days=100_000)
        assert (outcome.rows, outcome.rejected) == (
            1,
            {"bad_event_timestamp": 2, "missing_event_timestamp": 1},
        )
        raw = {json.loads(text)["event_timestamp"] for _, text, _ in rejected(connection)}
        assert raw == {"infinity", "-infinity", None}


@pytest.mark.parametrize(
    "value",
    [
        "map {'a': 'x', 'b': null}",
        "{'a': 'x', 'b': null}",
        """'{"a": "x"}'""",
        """'{"a": "x"}'::json""",
        """'"{\\"a\\": \\"x\\"}"'::json""",
        """'{"a": "x"}'::json::variant""",
        """{'a': 'x'}::variant""",
        """map {'a': '\"x\"'::json}""",
    ],
)
def test_maps_are_maps_structs_variants_or_text(value: str) -> None:
    with warehouse() as connection:
        connection.execute(
            f"create table main.calls as select {HOUR} as event_timestamp, '{COPY}' as copy_id, "
            f"'t' as template_id, {value} as vars"
        )
        land_table(connection, "memory.main.calls")
        ((found,),) = connection.execute("select vars->>'a' from staging.justai_calls").fetchall()
        assert found == "x"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("user_id", "true::json", "bad_user_id"),
        ("user_id", "{'a': 1}", "bad_user_id"),
        ("user_id", "'{\"a\": 1}'::json::variant", "bad_user_id"),
        ("campaign_id", "'7.5'::json", "bad_campaign_id"),
        ("campaign_id", "41.50::decimal(10, 2)", "bad_campaign_id"),
        ("vars", "'{\"a\": 1,}'", "bad_vars"),
        ("vars", '\'{"a": 1, "a": 2}\'::json', "duplicate_key_in_vars"),
        ("vars", "'[1]'::json", "bad_vars"),
    ],
)
def test_rows_break_the_rules_of_lines(column: str, value: str, reason: str) -> None:
    with warehouse() as connection:
        connection.execute(
            f"create table main.calls as select {HOUR} as event_timestamp, '{COPY}' as copy_id, "
            f"'t' as template_id, {value} as {column}"
        )
        land_table(connection, "memory.main.calls")
        assert [found for _, _, found in rejected(connection)] == [reason]


def test_events_of_a_table(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "create table raw.justai.events as select 'e' || n as EVENT_ID, 'email' as object_type, "
        f"'sent' as metric, to_timestamp({HOUR} + n * 1800) as timestamp, "
        "{'delivery_id': 'd' || n, 'action_id': 42, 'journey_id': null} as data from range(4) as counted(n)"
    )
    outcome = land_table(connection, "raw.justai.events", EVENTS)
    assert (outcome.files, outcome.rows) == (2, 4)
    found = landed(connection, EVENTS)
    assert [(row["delivery_id"], row["action_id"]) for row in found] == [(f"d{n}", 42) for n in range(4)]


def test_the_same_table_under_another_name_is_a_copy(connection: duckdb.DuckDBPyConnection) -> None:
    land_table(connection, TABLE)
    connection.execute(f"create table raw.justai.moved as from {TABLE}")
    outcome = land_table(connection, "raw.justai.moved")
    assert (len(outcome.copies), outcome.files) == (4, 0)
    assert land_table(connection, "raw.justai.moved", copies=True).files == 4


def test_rows_that_go_while_a_table_is_read(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = duckdb_tables.DuckDBTable._group

    def late(self: duckdb_tables.DuckDBTable, group: Any) -> Any:
        connection.execute(f"delete from {TABLE} where event_timestamp < {HOUR + 3600}")
        connection.execute(f"update {TABLE} set user_id = 'new' where user_id = 'u4'")
        return whole(self, group)

    monkeypatch.setattr(duckdb_tables.DuckDBTable, "_group", late)
    outcome = land_table(connection, TABLE)
    assert [uri for uri, _ in outcome.refused] == [PART]
    assert "new" in people(connection)
    monkeypatch.setattr(duckdb_tables.DuckDBTable, "_group", whole)
    # the hash in the ledger is that of the rows that landed
    assert land_table(connection, TABLE, everything=True).files == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raw.justai.nothing", r"no such table or view.*memory, raw.*attach"),
        ("justai.calls", r"DATABASE\.SCHEMA\.NAME"),
        ("raw.justai.calls; drop table x", r"DATABASE\.SCHEMA\.NAME"),
        ("raw.justai.empty", "no rows"),
        ("raw.justai.other", "lacks the columns event_timestamp, copy_id, template_id"),
        ("raw.justai.broken", "cannot read it"),
    ],
)
def test_a_table_that_cannot_land(connection: duckdb.DuckDBPyConnection, name: str, message: str) -> None:
    connection.execute(f"create table raw.justai.empty as from {TABLE} limit 0")
    connection.execute("create table raw.justai.other as select 1 as a")
    connection.execute(
        "create table raw.justai.gone as select 1 as a; create view raw.justai.broken as from raw.justai.gone"
    )
    connection.execute("drop table raw.justai.gone")
    before = state(connection)
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        land_table(connection, name)
    assert state(connection) == before


TEXT_MAP = pa.map_(pa.string(), pa.string())
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
OBJECTS = st.dictionaries(TEXTS, TEXTS | st.none(), max_size=2)
JSON_TEXTS = st.sampled_from(
    [
        '{"a": 1.50}',
        '{"a":1,}',
        "[1]",
        "",
        "null",
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":2}}',
        '{"a":NaN}',
        " {} ",
        "x",
    ]
)
COLUMNS: dict[str, list[tuple[pa.DataType, st.SearchStrategy[Any]]]] = {
    "event_timestamp": [
        (pa.int64(), st.integers(HOUR, HOUR + 9000) | st.integers().filter(lambda n: abs(n) < 2**62)),
        (pa.int64(), st.integers(HOUR * 1000, (HOUR + 9000) * 1000)),
        (pa.float64(), st.floats(allow_nan=False) | st.floats(HOUR, HOUR + 9000)),
        (pa.string(), st.sampled_from([str(HOUR), f"{HOUR}999", f"{HOUR}.5", "", "soon", "1e9", f"0{HOUR}"])),
        (pa.timestamp("us"), st.datetimes(datetime(1960, 1, 1), datetime(2110, 1, 1))),
        (
            pa.timestamp("ms", "UTC"),
            st.datetimes(datetime(2026, 9, 1), datetime(2026, 9, 2)).map(lambda t: t.replace(microsecond=0)),
        ),
    ],
    "user_id": [
        (pa.string(), TEXTS),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.float64(), st.floats()),
        (pa.bool_(), st.booleans()),
    ],
    "campaign_id": [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.string(), st.sampled_from(["7", "7.0", "7.5", "", "x", "1e3", "9" * 20, "-0"])),
        (pa.float64(), st.floats()),
        (pa.decimal128(20, 2), st.decimals(0, 10, places=2)),
    ],
    "copy_id": [(pa.string(), st.sampled_from([COPY, COPY.upper(), "x", ""]))],
    "template_id": [(pa.string(), TEXTS)],
    "vars": [
        (TEXT_MAP, OBJECTS),
        (
            pa.struct([("a", pa.string()), ("b", pa.int64())]),
            st.fixed_dictionaries({"a": TEXTS | st.none(), "b": st.none() | st.integers(0, 9)}),
        ),
        (pa.string(), JSON_TEXTS),
    ],
    "attrs": [(TEXT_MAP, OBJECTS), (pa.string(), JSON_TEXTS)],
}


@st.composite
def call_tables(draw: st.DrawFn) -> pa.Table:
    """Some calls with columns of types that writers use, and values that rules reject among them."""
    count = draw(st.integers(1, 5))
    arrays = {}
    for column, kinds in COLUMNS.items():
        kind, values = draw(st.sampled_from(kinds))
        drawn = draw(st.lists(st.none() | values, min_size=count, max_size=count))
        if pa.types.is_map(kind):
            drawn = [value if value is None else list(value.items()) for value in drawn]
        arrays[column] = pa.array(drawn, kind)
    return pa.table(arrays)


@given(call_tables())
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_lands_as_the_same_row_of_parquet(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "calls.parquet"
    pq.write_table(table, path)
    with warehouse() as of_file, warehouse() as of_table:
        land_path(of_file, path)
        of_table.register("given", table)
        of_table.execute("create table main.calls as from given")
        land_table(of_table, "memory.main.calls")
        for read in (landed, rejects_of):
            assert sorted(map(repr, read(of_table))) == sorted(map(repr, read(of_file)))
        assert sum(entry.lines for entry in ledger(of_table, CALLS).values()) == len(table)
        assert land_table(of_table, "memory.main.calls", everything=True).files == 0


def rejects_of(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return [(raw, reason) for _, raw, reason in rejected(connection)]
