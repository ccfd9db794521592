"""Every line of a landed file ends in exactly one place, with the right values or the right reason."""

# ruff: noqa: RUF001  full-width text is what is tested

import gzip
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.land.command import ddl, unknown_notes
from scripts.land.records import lines_table
from scripts.land.rules import CALLS, EVENTS, Dataset
from support.formats import avro, parquet
from support.land import COPY, call, event, land_path, landed, rejected, rows, text, warehouse, write

LANDED_CALL = {
    "event_timestamp": 1767268801,
    "user_id": "u-1001",
    "campaign_id": 7,
    "action_id": 41,
    "journey_id": "01JQ8Z6V3M4T7C9D2F5G8H1K0N",
    "copy_id": COPY,
    "template_id": "plan-nudge",
    "vars": '{"subject":"Your plan, in one page","preheader":"Two minutes, no call"}',
    "attrs": '{"persona":"planner"}',
}


def test_types_of_the_landing_tables() -> None:
    query = "select column_name, data_type from duckdb_columns() where table_name = 'justai_calls'"
    types = dict(warehouse().execute(query).fetchall())
    assert {types[name] for name in ("event_timestamp", "campaign_id", "action_id", "_line")} == {"BIGINT"}
    assert types["vars"] == types["attrs"] == "JSON"


REJECTED_CALLS: list[tuple[dict[str, Any] | str, str]] = [
    ('{"event_timestamp": 1', "malformed_json"),
    ("not json", "malformed_json"),
    (text(call()).strip() + " x", "malformed_json"),
    (text(call())[:-2] + ",}", "malformed_json"),
    (text(call()).replace('"vars"', '"x": [1,], "vars"').strip(), "malformed_json"),
    ("[1]", "not_an_object"),
    ("null", "not_an_object"),
    ('"{}"', "not_an_object"),
    ("12", "not_an_object"),
    (text(call(user_id=...))[:-2] + ', "copy_id": "x"}', "duplicate_key"),
    (json.dumps(call(), separators=(",", ":"))[:-1] + ',"action_id":41}', "duplicate_key"),
    ("{}", "missing_event_timestamp"),
    (call(event_timestamp=None), "missing_event_timestamp"),
    (call(event_timestamp=""), "missing_event_timestamp"),
    (call(event_timestamp="2026-01-01T12:00:00Z"), "bad_event_timestamp"),
    (call(event_timestamp=True), "bad_event_timestamp"),
    (call(event_timestamp=[1767268801]), "bad_event_timestamp"),
    (call(event_timestamp=float("nan")), "bad_event_timestamp"),
    (call(event_timestamp="0x69567001"), "bad_event_timestamp"),
    (call(event_timestamp=0), "event_timestamp_out_of_bounds"),
    (call(event_timestamp=-1), "event_timestamp_out_of_bounds"),
    (call(event_timestamp=946684799), "event_timestamp_out_of_bounds"),
    (call(event_timestamp=4102444800), "event_timestamp_out_of_bounds"),
    (call(event_timestamp=10**30), "event_timestamp_out_of_bounds"),
    (
        text(call(event_timestamp=17)).replace(": 17,", ": 1e999,").strip(),
        "event_timestamp_out_of_bounds",
    ),
    (call(copy_id=...), "missing_copy_id"),
    (call(copy_id=""), "missing_copy_id"),
    (call(copy_id=COPY[:-1]), "bad_copy_id"),
    (call(copy_id=COPY.replace("-", "")), "bad_copy_id"),
    (call(copy_id="{" + COPY + "}"), "bad_copy_id"),
    (call(copy_id=COPY + "\n"), "bad_copy_id"),
    (call(copy_id=COPY[:-1] + "g"), "bad_copy_id"),
    (call(copy_id=12), "bad_copy_id"),
    (call(template_id=None), "missing_template_id"),
    (call(template_id={"id": "x"}), "bad_template_id"),
    (call(template_id=False), "bad_template_id"),
    (call(campaign_id="41.5"), "bad_campaign_id"),
    (call(campaign_id=41.5), "bad_campaign_id"),
    (call(campaign_id="seven"), "bad_campaign_id"),
    (call(campaign_id=2**63), "bad_campaign_id"),
    (call(action_id=[41]), "bad_action_id"),
    (call(action_id=True), "bad_action_id"),
    (call(action_id="1_000"), "bad_action_id"),
    (call(action_id=" 41"), "bad_action_id"),
    (call(journey_id={"id": 1}), "bad_journey_id"),
    (call(user_id=True), "bad_user_id"),
    (call(user_id=["u"]), "bad_user_id"),
    (call(user_id=float("-inf")), "bad_user_id"),
    (call(vars=[]), "bad_vars"),
    (call(vars="hello"), "bad_vars"),
    (call(vars=5), "bad_vars"),
    (call(vars='{"a": 1'), "bad_vars"),
    (call(vars='{"a": 1,}'), "bad_vars"),
    (call(vars='"{}"'), "bad_vars"),
    (call(vars={"a": float("nan")}), "bad_vars"),
    (call(attrs=True), "bad_attrs"),
    (call(attrs={"a": [float("-inf")]}), "bad_attrs"),
    (text(call(vars=1)).replace(": 1,", ': {"a": 1, "b": 2, "a": 1},').strip(), "duplicate_key_in_vars"),
    (call(vars='{"a": "x", "a": "y"}'), "duplicate_key_in_vars"),
    (text(call(attrs=1)).replace(": 1}", ': {"a": 1, "\\u0061": 1}}').strip(), "duplicate_key_in_attrs"),
]
READ_CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"copy_id": COPY.upper()}, {"copy_id": COPY}),
    ({"user_id": 17}, {"user_id": "17"}),
    ({"user_id": "007"}, {"user_id": "007"}),
    ({"user_id": 'ü"\\\n'}, {"user_id": 'ü"\\\n'}),
    ({"journey_id": 15}, {"journey_id": "15"}),
    ({"campaign_id": "41"}, {"campaign_id": 41}),
    ({"campaign_id": 41.0}, {"campaign_id": 41}),
    ({"campaign_id": "0041.00"}, {"campaign_id": 41}),
    ({"campaign_id": -(2**63)}, {"campaign_id": -(2**63)}),
    ({"campaign_id": 9007199254740993}, {"campaign_id": 9007199254740993}),
    ({"template_id": 12}, {"template_id": "12"}),
    (
        {"user_id": "", "campaign_id": "", "action_id": None, "journey_id": ...},
        {"user_id": None, "campaign_id": None, "action_id": None, "journey_id": None},
    ),
    ({"vars": None, "attrs": ...}, {"vars": "{}", "attrs": "{}"}),
    ({"vars": "", "attrs": "null"}, {"vars": "{}", "attrs": "{}"}),
    ({"vars": ' {"b": 1, "a": [1, 2]} '}, {"vars": '{"b":1,"a":[1,2]}'}),
    ({"vars": {"a": "", "n": None, "f": 1.5}}, {"vars": '{"a":"","n":null,"f":1.5}'}),
    ({"vars": {"a": "NaN, Infinity ,} ,]"}}, {"vars": '{"a":"NaN, Infinity ,} ,]"}'}),
    ({"vars": {"a": '\\",}'}}, {"vars": '{"a":"\\\\\\",}"}'}),
    ({"vars": {"body": "全角の本文：ＡＢＣ 🚀"}}, {"vars": '{"body":"全角の本文：ＡＢＣ 🚀"}'}),
    ({"vars": {"a": "\u0000\u2028"}}, {"vars": '{"a":"\\u0000\u2028"}'}),
    ({"vars": '{"a": 41.50, "b": [1E+2, -0]}'}, {"vars": '{"a":41.50,"b":[1E+2,-0]}'}),
    ({"vars": '{"a": -0, "b": 18446744073709551616}'}, {"vars": '{"a":-0,"b":18446744073709551616}'}),
    ({"event_timestamp": "1767268801"}, {}),
    ({"event_timestamp": 1767268801.999}, {}),
    ({"event_timestamp": "1767268801.25"}, {}),
    ({"event_timestamp": 1767268801999}, {}),
    ({"event_timestamp": "1767268801999"}, {}),
    ({"event_timestamp": 1767268801999999}, {}),
    ({"event_timestamp": 946684800}, {"event_timestamp": 946684800}),
    ({"event_timestamp": 946684800000}, {"event_timestamp": 946684800}),
    ({"event_timestamp": 946684800000000}, {"event_timestamp": 946684800}),
    ({"event_timestamp": 4102444799}, {"event_timestamp": 4102444799}),
    ({"event_timestamp": 4102444799999999}, {"event_timestamp": 4102444799}),
]
REJECTED_EVENTS: list[tuple[dict[str, Any] | str, str]] = [
    (event(event_id=None), "missing_event_id"),
    (event(event_id=True), "bad_event_id"),
    (event(timestamp=...), "missing_timestamp"),
    (event(timestamp="noon"), "bad_timestamp"),
    (event(timestamp=5), "timestamp_out_of_bounds"),
    (event(object_type=["email"]), "bad_object_type"),
    (event(object_type_type=True), "bad_object_type"),
    (event(metric={}), "bad_metric"),
    (event(event_type=False), "bad_event_type"),
    (event(data=[]), "bad_data"),
    (event(data="sent"), "bad_data"),
    (event(data={"x": float("inf")}), "bad_data"),
    (event(metric=...), "missing_metric"),
    (event(object_type=...), "missing_object_type"),
    (event(object_type="", metric="opened"), "missing_object_type"),
]
READ_EVENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (event(), {"object_type": "email", "metric": "sent", "event_type": None, "timestamp": 1767268806}),
    (event(object_type="in-app"), {"object_type": "in-app"}),
    (
        event(object_type=..., object_type_type="customer", metric="cio_subscription_preferences_changed"),
        {"object_type": "customer", "metric": "cio_subscription_preferences_changed"},
    ),
    (event(object_type=..., metric="email_opened"), {"object_type": None, "metric": "email_opened"}),
    (
        event(object_type=..., metric=..., event_type="email_opened"),
        {"object_type": None, "metric": None, "event_type": "email_opened"},
    ),
    (
        event(object_type=..., metric=..., data={"event_type": "email_clicked"}),
        {"event_type": "email_clicked", "data": '{"event_type":"email_clicked"}'},
    ),
    (event(data=...), {"data": "{}"}),
    (event(data='{"delivery_id": "x"}'), {"data": '{"delivery_id":"x"}'}),
    (event(timestamp=1767268806123), {"timestamp": 1767268806}),
]


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Every case above, landed together: one file per table of cases, one line per case."""
    folder = tmp_path_factory.mktemp("cases")
    connection = warehouse()
    write(folder / "calls/rejected.jsonl", *(record for record, _ in REJECTED_CALLS))
    write(folder / "calls/read.jsonl", *(call(**changes) for changes, _ in READ_CALLS))
    write(folder / "events/rejected.jsonl", *(record for record, _ in REJECTED_EVENTS))
    write(folder / "events/read.jsonl", *(record for record, _ in READ_EVENTS))
    land_path(connection, folder / "calls", CALLS)
    land_path(connection, folder / "events", EVENTS)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("table", "line", "raw", "reason"),
    [
        (dataset.name, line, record if isinstance(record, str) else text(record)[:-1], reason)
        for dataset, cases in ((CALLS, REJECTED_CALLS), (EVENTS, REJECTED_EVENTS))
        for line, (record, reason) in enumerate(cases, 1)
    ],
)
def test_why_a_record_is_rejected(
    all_cases: duckdb.DuckDBPyConnection, table: str, line: int, raw: str, reason: str
) -> None:
    query = (
        f"select reason, raw from staging.{table}_rejects where _line = ? and _file like '%rejected.jsonl'"
    )
    assert all_cases.execute(query, [line]).fetchall() == [(reason, raw)]


@pytest.mark.parametrize(
    ("line", "expected"), list(enumerate((LANDED_CALL | expected for _, expected in READ_CALLS), 1))
)
def test_how_calls_are_read(
    all_cases: duckdb.DuckDBPyConnection, line: int, expected: dict[str, Any]
) -> None:
    query = f"select * from staging.justai_calls where _line = {line} and _file like '%read.jsonl'"
    (row,) = rows(all_cases, query)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(("line", "expected"), list(enumerate((expected for _, expected in READ_EVENTS), 1)))
def test_how_events_are_read(
    all_cases: duckdb.DuckDBPyConnection, line: int, expected: dict[str, Any]
) -> None:
    query = f"select * from staging.customerio_events where _line = {line} and _file like '%read.jsonl'"
    (row,) = rows(all_cases, query)
    assert {name: row[name] for name in expected} == expected


def test_reading_and_rejecting_leave_nothing_else(all_cases: duckdb.DuckDBPyConnection) -> None:
    ledger = (
        "select dataset, sum(row_count)::int, sum(reject_count)::int from staging.landed_files group by 1"
    )
    expected = {
        (CALLS.name, len(READ_CALLS), len(REJECTED_CALLS)),
        (EVENTS.name, len(READ_EVENTS), len(REJECTED_EVENTS)),
    }
    assert set(all_cases.execute(ledger).fetchall()) == expected
    for table, good, bad in expected:
        counts = (
            f"select (select count(*) from staging.{table}), (select count(*) from staging.{table}_rejects)"
        )
        assert all_cases.execute(counts).fetchall() == [(good, bad)]


def test_line_numbers_are_physical(tmp_path: Path) -> None:
    lines = [b"\xef\xbb\xbf" + text(call()).encode(), b"\n", b" \t \r\n", b"broken\r\n", b"\xff\xfe{}\n"]
    lines += [
        text(call(user_id="crlf")).encode().replace(b"\n", b"\r\n"),
        b"\x0b\n",
        b"  " + text(call()).encode(),
    ]
    lines += [text(call(user_id="last")).strip().encode()]
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"".join(lines))
    connection = warehouse()
    outcome = land_path(connection, path)
    query = "select _line, user_id, _file from staging.justai_calls order by _line"
    assert connection.execute(query).fetchall() == [
        (1, "u-1001", str(path)),
        (6, "crlf", str(path)),
        (8, "u-1001", str(path)),
        (9, "last", str(path)),
    ]
    assert rejected(connection) == [(4, "broken", "malformed_json"), (5, "\\xff\\xfe{}", "invalid_utf8")]
    ledger = rows(connection, "select * from staging.landed_files")
    assert [(row["row_count"], row["reject_count"], row["size_bytes"]) for row in ledger] == [
        (4, 2, path.stat().st_size)
    ]
    assert outcome.rejected == {"malformed_json": 1, "invalid_utf8": 1}


def test_a_nul_in_one_line_does_not_make_a_file_binary(tmp_path: Path) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", "\0\0\0", call()))
    assert len(landed(connection)) == 1
    assert rejected(connection) == [(1, "\0\0\0", "malformed_json")]


def test_a_ten_megabyte_line(tmp_path: Path) -> None:
    body = "ｘ" * 3_500_000
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl.gz", call(), call(vars={"body": body}), call()))
    query = "select vars->>'$.body' from staging.justai_calls where _line = 2"
    assert connection.execute(query).fetchall() == [(body,)]
    assert len(landed(connection)) == 3


def test_a_deeply_nested_line_is_only_a_reject_or_a_row(tmp_path: Path) -> None:
    connection = warehouse()
    deep = "[" * 200_000
    land_path(connection, write(tmp_path / "calls.jsonl", call(), deep, call(attrs={"a": [[[]]]})))
    assert (len(landed(connection)), len(rejected(connection))) == (2, 1)


def test_a_file_larger_than_a_piece_is_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [call(user_id=f"u-{number}") for number in range(500)] + ["broken"]
    path = write(tmp_path / "calls.jsonl.gz", *records)
    whole = warehouse()
    land_path(whole, path)
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    pieces = warehouse()
    outcome = land_path(pieces, path)
    assert (outcome.files, outcome.rows, outcome.rejected.total()) == (1, 500, 1)
    assert landed(pieces) == landed(whole)
    assert rejected(pieces) == rejected(whole) == [(501, "broken", "malformed_json")]
    assert pieces.execute("select count(distinct _loaded_at) from staging.justai_calls").fetchall() == [(1,)]


def test_unknown_fields_are_known_by_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", call(copy="x"), call(copy="y", trace=1), call())
    write(tmp_path / "b.jsonl", call())
    (tmp_path / "c.jsonl").write_text(json.dumps(call(zz=None), separators=(",", ":")))
    (tmp_path / "d.parquet").write_bytes(parquet([call()]))
    pq.write_table(
        pa.table({"copy_id": [COPY], "event_timestamp": [1767268801], "template_id": ["t"], "x": [1]}),
        tmp_path / "e.parquet",
    )
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert outcome.unknown == {
        str(tmp_path / "a.jsonl"): {"copy", "trace"},
        str(tmp_path / "c.jsonl"): {"zz"},
        str(tmp_path / "e.parquet"): {"x"},
    }
    assert outcome.rows == 7
    query = "select unknown_fields from staging.landed_files order by file"
    assert connection.execute(query).fetchall() == [("copy,trace",), (None,), ("zz",), (None,), ("x",)]
    write(tmp_path / "a.jsonl", call(copy="x"))
    land_path(connection, tmp_path)
    assert connection.execute(query).fetchall()[0] == ("copy",)


def test_unknown_fields_of_a_file_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    records = [call(**{"last": 1} if number == 299 else {"first": 1}) for number in range(300)]
    connection = warehouse()
    land_path(connection, write(tmp_path / "a.jsonl", *records))
    assert connection.execute("select unknown_fields from staging.landed_files").fetchall() == [
        ("first,last",)
    ]


def test_unknown_fields_are_told_once_per_set() -> None:
    unknown = {f"/{number:03}.jsonl": {"tracking_id"} for number in range(268)}
    assert unknown_notes(unknown | {"/a.jsonl": {"b", "a"}, "/000.jsonl": {"a"}}) == [
        "ignored unknown field(s) tracking_id in 267 files, the first /001.jsonl; "
        "see staging.landed_files.unknown_fields",
        "ignored unknown field(s) a in /000.jsonl",
        "ignored unknown field(s) a, b in /a.jsonl",
    ]
    assert unknown_notes({}) == []


@pytest.mark.parametrize(("sets", "last"), [(10, "x9 in /9"), (12, "x09, x10, x11 in 3 more files")])
def test_unknown_fields_take_ten_lines_at_most(sets: int, last: str) -> None:
    width = len(str(sets - 1))
    notes = unknown_notes({f"/{number:0{width}}": {f"x{number:0{width}}"} for number in range(sets)})
    assert len(notes) == 10
    named = "; see staging.landed_files.unknown_fields" if sets > 10 else ""
    assert notes[-1] == f"ignored unknown field(s) {last}{named}"


def test_a_file_of_many_unknown_fields_is_told_in_short() -> None:
    (note,) = unknown_notes({"/a": {f"x{number:03}" for number in range(300)}})
    assert note.endswith("x008, x009 and 290 more in /a")


def batches(connection: duckdb.DuckDBPyConnection) -> list[str]:
    ordered = connection.execute("select batch_id from staging.landed_batches order by rowid").fetchall()
    return [batch for (batch,) in ordered]


def removed(connection: duckdb.DuckDBPyConnection, dataset: Dataset = CALLS) -> list[dict[str, Any]]:
    return rows(connection, f"select * from staging.{dataset.name}_removed order by all")


def test_every_transaction_is_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.command.MOST_FILES", 2)
    for number in range(5):
        write(tmp_path / f"calls/{number}.jsonl", call(), call(user_id="b"), "broken")
    write(tmp_path / "events/e.jsonl", event())
    connection = warehouse()
    land_path(connection, tmp_path / "calls")
    land_path(connection, tmp_path / "events", EVENTS)
    made = batches(connection)
    assert len(made) == 4
    assert made == sorted(set(made))
    assert all(re.fullmatch(r"\d{8}T\d{12}-[0-9a-f]{8}", batch) for batch in made)
    for dataset, files in ((CALLS, [2, 2, 1]), (EVENTS, [1])):
        query = f"""
            select b.batch_id, count(distinct f.file), bool_and(t._batch_id = f.batch_id),
                bool_and(t._loaded_at = b.landed_at and f.loaded_at = b.landed_at)
            from staging.landed_batches as b
            join staging.landed_files as f using (batch_id, dataset)
            join staging.{dataset.name} as t on t._file = f.file
            where dataset = '{dataset.name}' group by all order by all"""
        own = made[:3] if dataset is CALLS else made[3:]
        expected = [(batch, count, True, True) for batch, count in zip(own, files, strict=True)]
        assert connection.execute(query).fetchall() == expected
        assert removed(connection, dataset) == []


def test_what_lands_nothing_is_no_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", call())
    connection = warehouse()
    land_path(connection, path)
    land_path(connection, path)
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(b"x"))
    assert len(land_path(connection, tmp_path).refused) == 1
    assert len(batches(connection)) == 1


def test_a_file_refused_midway_is_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    path = write(tmp_path / "a.jsonl.gz", *(call(user_id=f"{number}") for number in range(300)))
    connection = warehouse()
    land_path(connection, path)
    write(path, *(call(user_id=f"new-{number}") for number in range(300)))
    path.write_bytes(path.read_bytes()[:-4])
    assert len(land_path(connection, path).refused) == 1
    assert (len(batches(connection)), removed(connection)) == (1, [])


def test_keys_of_replaced_rows_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        *(
            call(),
            call(user_id="the same key"),
            call(action_id=None),
            "broken",
            call(event_timestamp=1767268802),
        ),
    )
    write(tmp_path / "other.jsonl", call(journey_id="stays"))
    connection = warehouse()
    land_path(connection, tmp_path)
    write(path, call(journey_id="new"))
    land_path(connection, tmp_path)
    write(path, call(journey_id="newer"))
    land_path(connection, tmp_path)
    _, second, third = batches(connection)
    columns = ("event_timestamp", "copy_id", "template_id", "campaign_id", "journey_id", "action_id")
    key = {name: LANDED_CALL[name] for name in columns}
    assert removed(connection) == [
        {"batch_id": second, **key},
        {"batch_id": second, **key, "action_id": None},
        {"batch_id": second, **key, "event_timestamp": 1767268802},
        {"batch_id": third, **key, "journey_id": "new"},
    ]
    query = "select _file, _batch_id from staging.justai_calls order by 1"
    assert connection.execute(query).fetchall()[0] == (str(path), third)


def test_keys_of_removed_rows_are_kept(tmp_path: Path) -> None:
    hour = tmp_path / "2026/09/01/00"
    path = write(
        hour / "a.jsonl",
        event(data={"delivery_id": "d", "journey_id": "j"}),
        event(data={"delivery_id": "", "journey_id": 15}),
        event(event_id="e", data={"delivery_id": None}),
        event(event_id="e", data={"delivery_id": None}, metric="opened"),
    )
    connection = warehouse()
    land_path(connection, tmp_path, EVENTS)
    path.unlink()
    write(hour / "b.jsonl", event(event_id="new"))
    land_path(connection, tmp_path, EVENTS, span=(datetime(2026, 9, 1), datetime(2026, 9, 2)))
    _, landing, removal = batches(connection)
    common = {"batch_id": removal, "timestamp": 1767268806}
    assert removed(connection, EVENTS) == [
        {**common, "event_id": event()["event_id"], "delivery_id": "d", "journey_id": "j"},
        {**common, "event_id": event()["event_id"], "delivery_id": None, "journey_id": "15"},
        {**common, "event_id": "e", "delivery_id": None, "journey_id": None},
    ]
    query = "select event_id, _batch_id from staging.customerio_events"
    assert connection.execute(query).fetchall() == [("new", landing)]


def test_a_warehouse_without_batches_goes_on(tmp_path: Path) -> None:
    connection = warehouse()
    old, changed, new = (tmp_path / f"{name}.jsonl" for name in ("old", "changed", "new"))
    write(old, call())
    write(changed, call(journey_id="before"))
    land_path(connection, tmp_path)
    for statement in (
        "alter table staging.justai_calls drop column _batch_id",
        "alter table staging.customerio_events drop column _batch_id",
        "alter table staging.landed_files drop column batch_id",
        "alter table staging.landed_files drop column unknown_fields",
        "drop table staging.landed_batches",
        "drop table staging.justai_calls_removed",
        "drop table staging.customerio_events_removed",
        *ddl(),
    ):
        connection.execute(statement)
    write(changed, call(journey_id="after"))
    write(new, call())
    assert land_path(connection, tmp_path).unchanged == 1
    (batch,) = batches(connection)
    query = (
        "select _file, _batch_id from staging.justai_calls "
        "union all select file, batch_id from staging.landed_files"
    )
    assert set(connection.execute(query).fetchall()) == {
        (str(old), None),
        (str(changed), batch),
        (str(new), batch),
    }
    assert [row["journey_id"] for row in removed(connection)] == ["before"]


RECORDS = [
    call(),
    call(user_id=None, journey_id="", campaign_id=None, attrs={}),
    call(vars={"subject": "全角", "cta": ""}, copy_id=COPY.upper()),
    call(copy_id="nope"),
    call(event_timestamp=5),
]


STRUCT = pa.struct([("subject", pa.string()), ("preheader", pa.string()), ("cta", pa.string())])
AVRO_STRUCT = {
    "type": "record",
    "name": "content",
    "fields": [
        {"name": name, "type": ["null", "string"], "default": None}
        for name in ("subject", "preheader", "cta")
    ],
}
LINES = text(*RECORDS).encode()
FORMATS = {
    "calls.json": LINES,
    "calls.ndjson": LINES,
    "calls.JSONL.GZ": gzip.compress(LINES[:300]) + gzip.compress(LINES[300:]),
    "calls.jsonl.zst": zstandard.compress(LINES[:300]) + zstandard.compress(LINES[300:]),
    "map.parquet": parquet(RECORDS),
    "struct.parquet": parquet(RECORDS, vars=STRUCT),
    "text.parquet": parquet(
        RECORDS, vars=pa.string(), campaign_id=pa.float64(), action_id=pa.decimal128(9, 2)
    ),
    "map.avro": avro(RECORDS),
    "record.avro": avro(RECORDS, vars=AVRO_STRUCT, action_id="double"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    plain = warehouse()
    land_path(plain, write(tmp_path / "plain.jsonl", *RECORDS))
    (tmp_path / name).write_bytes(FORMATS[name])
    other = warehouse()
    outcome = land_path(other, tmp_path / name)
    assert not outcome.refused
    assert [row | {"vars": json.loads(row["vars"])} for row in landed(other)] == [
        row | {"vars": json.loads(row["vars"])} for row in landed(plain)
    ]
    assert [(line, reason) for line, _, reason in rejected(other)] == [
        (4, "bad_copy_id"),
        (5, "event_timestamp_out_of_bounds"),
    ]
    assert [json.loads(raw)["template_id"] for _, raw, _ in rejected(other)] == ["plan-nudge"] * 2


def test_the_shapes_of_vars_in_one_folder(tmp_path: Path) -> None:
    """STRUCT columns differ from file to file, and each file's rows carry their own keys only."""
    records = [call(vars={"subject": "s", "cta": "c"})]
    (tmp_path / "a.parquet").write_bytes(parquet(records, vars=STRUCT))
    other = pa.struct([("cta", pa.string()), ("subject", pa.string()), ("body", pa.string())])
    (tmp_path / "b.parquet").write_bytes(parquet(records, vars=other))
    (tmp_path / "c.parquet").write_bytes(parquet(records))
    (tmp_path / "d.parquet").write_bytes(parquet(records, vars=pa.string()))
    write(tmp_path / "e.jsonl", *records)
    connection = warehouse()
    assert land_path(connection, tmp_path).files == 5
    assert [json.loads(row["vars"]) for row in landed(connection)] == [{"subject": "s", "cta": "c"}] * 5


def test_parquet_types_of_other_writers(tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, 12, 0, 1, 999_000, UTC)
    columns = {
        "event_timestamp": pa.array([at], pa.timestamp("ns", "America/New_York")),
        "copy_id": pa.array([uuid.UUID(COPY).bytes], pa.uuid()),
        "template_id": pa.array([b"plan-nudge"], pa.binary()),
        "user_id": pa.array(["u"]).dictionary_encode(),
        "campaign_id": pa.array([Decimal(7)], pa.decimal128(18, 0)),
        "extra": pa.array([1]),
    }
    path = tmp_path / "calls.parquet"
    pq.write_table(pa.table(columns), path)
    connection = warehouse()
    outcome = land_path(connection, path)
    empty = dict.fromkeys(("action_id", "journey_id")) | {"vars": "{}", "attrs": "{}"}
    assert landed(connection) == [LANDED_CALL | {"user_id": "u"} | empty]
    assert outcome.unknown == {str(path): {"extra"}}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_without_zone_are_utc(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "calls.parquet"
    path.write_bytes(
        parquet([call(event_timestamp=datetime(2026, 1, 1, 12, 0, 1))], event_timestamp=pa.timestamp(unit))
    )
    connection = warehouse()
    connection.execute("set timezone = 'Asia/Tokyo'")
    land_path(connection, path)
    assert landed(connection) == [LANDED_CALL]


def test_avro_times(tmp_path: Path) -> None:
    path = tmp_path / "calls.avro"
    at = datetime(2026, 1, 1, 12, 0, 1, 999_000, UTC)
    records = [call(event_timestamp=at, copy_id=uuid.UUID(COPY))]
    kinds = {
        "event_timestamp": {"type": "long", "logicalType": "timestamp-micros"},
        "copy_id": {"type": "string", "logicalType": "uuid"},
    }
    path.write_bytes(avro(records, **kinds))
    connection = warehouse()
    land_path(connection, path)
    assert landed(connection) == [LANDED_CALL]


def test_a_map_with_a_key_twice_is_a_reject(tmp_path: Path) -> None:
    table = pa.table(
        {
            "event_timestamp": [1767268801] * 2,
            "copy_id": [COPY] * 2,
            "template_id": ["t"] * 2,
            "vars": pa.array([[("a", "1"), ("a", "2")], [("a", "1")]], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "calls.parquet")
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["vars"] for row in landed(connection)] == ['{"a":"1"}']
    assert [(line, reason) for line, _, reason in rejected(connection)] == [(1, "duplicate_key_in_vars")]


def test_events_in_parquet(tmp_path: Path) -> None:
    records = [
        event(),
        event(data={"subject": None, "delivery_id": "d"}, metric="email_opened", object_type=None),
    ]
    table = pa.Table.from_pylist([record | {"data": json.dumps(record["data"])} for record in records])
    pq.write_table(table, tmp_path / "text.parquet")
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "struct.parquet")
    connection = warehouse()
    assert land_path(connection, tmp_path, EVENTS).rows == 4
    data = [
        {k: v for k, v in json.loads(row["data"]).items() if v is not None}
        for row in landed(connection, EVENTS)
    ]
    assert data[:2] == data[2:]


@pytest.fixture(scope="module")
def shared() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse()
    yield connection
    connection.close()


GOOD = st.builds(
    lambda user, copy, moment, content: text(
        call(user_id=user, copy_id=str(copy), event_timestamp=moment, vars=content)
    ).rstrip("\n"),
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.uuids(),
    st.integers(946_684_800, 4_102_444_799),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=3),
)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
ANY_RECORD = st.builds(
    lambda changes: text(call(**changes)).rstrip("\n"),
    st.dictionaries(st.sampled_from(CALLS.columns.fields), ANY_VALUE, max_size=4),
)
CUT = st.builds(lambda line, at: line[: at % (len(line) + 1)], ANY_RECORD, st.integers(0))
RAW = (
    st.one_of(GOOD, ANY_RECORD, CUT, st.text(st.characters(codec="utf-8"))).map(str.encode)
    | st.binary()
    | st.just(b" ")
)


@given(
    lines=st.lists(st.tuples(RAW, st.sampled_from([b"\n", b"\r\n"])), max_size=12),
    good=GOOD,
    piece=st.sampled_from([200, 1 << 20]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_line_ends_in_one_place(
    tmp_path_factory: pytest.TempPathFactory,
    shared: duckdb.DuckDBPyConnection,
    lines: list[tuple[bytes, bytes]],
    good: str,
    piece: int,
) -> None:
    # the first line is good, so that the file is never taken for binary data
    content = good.encode() + b"\n" + b"".join(line.replace(b"\n", b"") + end for line, end in lines)
    path = tmp_path_factory.mktemp("any") / "calls.jsonl"
    path.write_bytes(content)
    physical = enumerate(content.split(b"\n"), 1)
    expected = {number: line for number, line in physical if line.strip(b" \t\r\v\f")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.land.records.PIECE_BYTES", piece)
        outcome = land_path(shared, path)
    assert not outcome.refused
    places = shared.execute(
        """select _line, null from staging.justai_calls where _file = $file
        union all select _line, raw from staging.justai_calls_rejects where _file = $file""",
        {"file": str(path)},
    ).fetchall()
    assert sorted(line for line, _ in places) == sorted(expected)
    assert (1, None) in places
    for number, raw in places:
        if raw is not None:
            assert raw == expected[number].rstrip(b"\r").decode(errors="backslashreplace")


class Number(str):
    """The text of a JSON number, unequal to a string of the same text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and str(self) == str(other)

    __hash__ = str.__hash__


def exact(text: str) -> Any:
    """JSON with numbers as they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number)


TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["-0", ",-0}", ": 1.50", "1e2", '"', "\\", "\1"]
)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)
SPACE = st.sampled_from(["", " ", "\t", "  "])


def in_json(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda text, escaped: json.dumps(text, ensure_ascii=escaped), texts, st.booleans())


def members(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(TEXTS, st.tuples(values, SPACE, SPACE), max_size=4)
    return pairs.map(
        lambda found: (
            "{" + ",".join(f"{s}{json.dumps(k)}{s}:{t}{v}{t}" for k, (v, s, t) in found.items()) + "}"
        )
    )


VALUES = st.recursive(
    NUMBERS | in_json(TEXTS) | st.sampled_from(["true", "null"]),
    lambda inner: members(inner) | st.lists(inner, max_size=3).map(lambda items: f"[{' ,'.join(items)}]"),
    max_leaves=5,
)


@given(maps=st.lists(st.tuples(members(VALUES), members(VALUES)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_numbers_in_maps_keep_their_text(
    tmp_path_factory: pytest.TempPathFactory,
    shared: duckdb.DuckDBPyConnection,
    maps: list[tuple[str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    frame = json.dumps(call(vars=0, attrs=1))
    as_objects = [frame.replace('"vars": 0, "attrs": 1', f'"vars":{v} , "attrs":{a}') for v, a in maps]
    write(folder / "objects.jsonl", *as_objects)
    write(folder / "texts.jsonl", *(call(vars=v, attrs=f"\n{a}") for v, a in maps))
    (folder / "texts.parquet").write_bytes(
        parquet([call(vars=v, attrs=a) for v, a in maps], vars=pa.string(), attrs=pa.string())
    )
    land_path(shared, folder)
    query = "select vars, attrs from staging.justai_calls where starts_with(_file, ?) order by _file, _line"
    read = shared.execute(query, [f"{folder}/"]).fetchall()
    assert [(exact(v), exact(a)) for v, a in read] == [(exact(v), exact(a)) for v, a in maps] * 3


@pytest.mark.parametrize("escaped", [r"\u002d0", r"-0\n", r"-\u0030", r"-0\u007d"])
def test_a_minus_zero_in_escaped_text(tmp_path: Path, escaped: str) -> None:
    line = (
        text(call(vars=0))
        .replace('"vars": 0', f'"vars": "{{\\"a\\":{escaped}}}"')
        .replace(r"\u007d}", r"\u007d")
    )
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", line.strip()))
    assert [row["vars"] for row in landed(connection)] == ['{"a":-0}']


@given(st.binary(max_size=200))
def test_lines_are_split_as_bytes_are(content: bytes) -> None:
    table, count = lines_table(content, 1)
    physical = content.removesuffix(b"\n").split(b"\n") if content else []
    assert count == len(physical)
    expected = [(n, line) for n, line in enumerate(physical, 1) if line.strip(b" \t\r\v\f")]
    assert table["line"].to_pylist() == [number for number, _ in expected]
    assert table["size"].to_pylist() == [len(line.removesuffix(b"\r")) for _, line in expected]
