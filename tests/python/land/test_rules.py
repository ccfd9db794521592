"""Which records land, with which values, and why others are rejected."""

# ruff: noqa: RUF001  full-width text is what is tested

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from scripts.errors import UserError
from scripts.land.given import rescan_days, time_bounds
from scripts.land.rules import CALLS, EVENTS
from support.land import (
    COPY,
    LANDED_CALL,
    call,
    event,
    land_path,
    rows,
    text,
    warehouse,
    write,
)


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
    (text(call(campaign_id=1)).replace(": 1,", ": 9007199254740993.0,").strip(), "bad_campaign_id"),
    (call(campaign_id="9007199254740992.0"), "bad_campaign_id"),
    (call(campaign_id="1e-1"), "bad_campaign_id"),
    (call(action_id=1e16), "bad_action_id"),
    (call(action_id=[41]), "bad_action_id"),
    (call(action_id=True), "bad_action_id"),
    (call(action_id="1_000"), "bad_action_id"),
    (call(action_id=" 41"), "bad_action_id"),
    (call(journey_id={"id": 1}), "bad_journey_id"),
    (call(user_id=True), "bad_user_id"),
    (call(user_id=["u"]), "bad_user_id"),
    (call(user_id=float("-inf")), "bad_user_id"),
    (call(user_id=9007199254740992.0), "bad_user_id"),
    (text(call(journey_id=1)).replace(": 1,", ": -9007199254740993.0,").strip(), "bad_journey_id"),
    (call(template_id=1e22), "bad_template_id"),
    (call(vars=[]), "bad_vars"),
    (call(event_timestamp=" "), "missing_event_timestamp"),
    (call(template_id="  "), "missing_template_id"),
    (call(copy_id=" "), "missing_copy_id"),
    (call(vars="hello"), "bad_vars"),
    (call(vars="\u00a0"), "bad_vars"),
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
    (
        text(call(attrs=1)).replace(": 1}", ': {"a": [{"b": {"c": 1, "c": 2}}]}}').strip(),
        "duplicate_key_in_attrs",
    ),
    (call(vars='{"a": {"b": "x", "b": "{"}}'), "duplicate_key_in_vars"),
]
READ_CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"copy_id": COPY.upper()}, {"copy_id": COPY}),
    ({"user_id": 17}, {"user_id": "17"}),
    ({"user_id": "007"}, {"user_id": "007"}),
    ({"user_id": 'ü"\\\n'}, {"user_id": 'ü"\\\n'}),
    ({"journey_id": 15}, {"journey_id": "15"}),
    ({"journey_id": 15.0, "user_id": 1e3}, {"journey_id": "15", "user_id": "1000"}),
    ({"journey_id": "15.0", "user_id": "1e16"}, {"journey_id": "15.0", "user_id": "1e16"}),
    ({"user_id": 15.5}, {"user_id": "15.5"}),
    ({"user_id": 9007199254740993}, {"user_id": "9007199254740993"}),
    ({"campaign_id": "41"}, {"campaign_id": 41}),
    ({"campaign_id": 41.0}, {"campaign_id": 41}),
    ({"campaign_id": "0041.00"}, {"campaign_id": 41}),
    ({"campaign_id": -(2**63)}, {"campaign_id": -(2**63)}),
    ({"campaign_id": 1e3, "action_id": "1e3"}, {"campaign_id": 1000, "action_id": 1000}),
    ({"campaign_id": 9007199254740991.0}, {"campaign_id": 9007199254740991}),
    ({"campaign_id": 1234567890123456789}, {"campaign_id": 1234567890123456789}),
    ({"campaign_id": 9007199254740993}, {"campaign_id": 9007199254740993}),
    ({"template_id": 12}, {"template_id": "12"}),
    (
        {"user_id": "", "campaign_id": "", "action_id": None, "journey_id": ...},
        {"user_id": None, "campaign_id": None, "action_id": None, "journey_id": None},
    ),
    (
        {"user_id": " ", "campaign_id": " ", "journey_id": "  "},
        {"user_id": None, "campaign_id": None, "journey_id": None},
    ),
    ({"user_id": " u ", "journey_id": "\u00a0"}, {"user_id": " u ", "journey_id": "\u00a0"}),
    ({"vars": None, "attrs": ...}, {"vars": "{}", "attrs": "{}"}),
    ({"vars": "", "attrs": "null"}, {"vars": "{}", "attrs": "{}"}),
    ({"vars": ' {"b": 1, "a": [1, 2]} '}, {"vars": '{"b":1,"a":[1,2]}'}),
    ({"vars": {"a": "", "n": None, "f": 1.5}}, {"vars": '{"a":"","n":null,"f":1.5}'}),
    ({"vars": {"a": "NaN, Infinity ,} ,]"}}, {"vars": '{"a":"NaN, Infinity ,} ,]"}'}),
    ({"vars": {"a": '\\",}'}}, {"vars": '{"a":"\\\\\\",}"}'}),
    ({"vars": {"body": "全角の本文：ＡＢＣ 🚀"}}, {"vars": '{"body":"全角の本文：ＡＢＣ 🚀"}'}),
    ({"vars": {"a": "\u0000\u2028"}}, {"vars": '{"a":"\\u0000\u2028"}'}),
    ({"vars": '{"a": 41.50, "b": [1E+2, -0]}'}, {"vars": '{"a":41.5,"b":[100.0,0]}'}),
    ({"vars": {"a": "41.50", "b": "1e2", "1.0": "-0"}}, {"vars": '{"a":"41.50","b":"1e2","1.0":"-0"}'}),
    (
        {"vars": {"a": 9007199254740993, "b": -(2**63), "c": 2**64 - 1}},
        {"vars": '{"a":9007199254740993,"b":-9223372036854775808,"c":18446744073709551615}'},
    ),
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
    (event(event_id=" "), "missing_event_id"),
    (event(event_id=True), "bad_event_id"),
    (event(event_id=1e16), "bad_event_id"),
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
    (event(data={"action_id": 9007199254740992.0}), "inexact_id"),
    (event(data={"parent_action_id": "1e16"}), "inexact_id"),
    (event(data='{"campaign_id": -9007199254740993.0}'), "inexact_id"),
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
    (event(data={"action_id": 1e3, "campaign_id": 2**62}), {"timestamp": 1767268806}),
    (event(data={"content_id": 1e17, "order_id": "1e99"}), {"timestamp": 1767268806}),
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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"latest_event_at": "2000-01-01"}, "no line would lie between them"),
        ({"earliest_event_at": "2101-01-01"}, "no line would lie between them"),
        ({"earliest_event_at": "2026-02-31"}, "earliest_event_at is '2026-02-31'; write a date"),
        ({"latest_event_at": None}, "latest_event_at is None; write a date"),
    ],
    ids=str,
)
def test_bounds_that_no_line_can_keep_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        time_bounds({"earliest_event_at": "2000-01-01", "latest_event_at": "2100-01-01", **given})


@pytest.mark.parametrize("days", [-1, 36526, 10**12, "7", 1.5, True, None], ids=str)
def test_days_of_a_rescan_are_a_number_of_days(days: Any) -> None:
    with pytest.raises(UserError, match=r"table_rescan_days is .*; write a number of days such as 7"):
        rescan_days({"table_rescan_days": days})
