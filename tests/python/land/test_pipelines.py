"""Source calls: which land, with which values, and why others are rejected."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakesnow.instance import FakeSnow

from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import MACROS
from scripts.land.times import snowflake_millis
from support.land import land_path, land_table, landed, rejected, rows, warehouse, write

CALL = {
    "type": "track",
    "messageId": "m-1",
    "userId": "00042",
    "event": "Plan Viewed",
    "timestamp": "2026-03-01T10:00:00.000Z",
    "properties": {"plan": "team"},
}
T = 1772359200000
READINGS = {
    "timestamp": None,
    "originalTimestamp": "2026-03-01T10:00:00Z",
    "sentAt": "2026-03-01T10:00:05Z",
    "receivedAt": "2026-03-01T11:00:05Z",
}


def of(*calls: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    connection = warehouse()
    land_path(connection, write(path / "calls.jsonl", *calls), PIPELINE_CALLS)
    assert not rejected(connection, PIPELINE_CALLS)
    return landed(connection, PIPELINE_CALLS)


def test_a_call_lands_with_its_members_as_json_text(tmp_path: Path) -> None:
    (row,) = of(CALL | {"anonymousId": 7, "context": {"app": {"version": "4.2"}}}, path=tmp_path)
    assert row == {
        "type": "track",
        "message_id": "m-1",
        "user_id": "00042",
        "anonymous_id": "7",
        "previous_id": None,
        "group_id": None,
        "event": "Plan Viewed",
        "name": None,
        "timestamp": T,
        "original_timestamp": None,
        "sent_at": None,
        "received_at": None,
        "properties": '{"plan":"team"}',
        "traits": "{}",
        "integrations": "{}",
        "context": '{"app":{"version":"4.2"}}',
    }


TIMES = [
    ("2026-03-01", T - 36_000_000),
    ("2026-03-01T10:00:00", T),
    ("2026-03-01 10:00:00Z", T),
    ("2026-03-01T11:00:00+01:00", T),
    ("2026-03-01T02:00:00-0800", T),
    ("2026-03-01T10:00:00.5Z", T + 500),
    ("2026-03-01T10:00:00.123456789+00:00", T + 123),
    ("1969-12-31T23:59:59.5Z", -500),
    ("1772359200", T),
    ("1772359200.5", T + 500),
    ("1772359200123", T + 123),
    ("1772359200123456", T + 123),
    ("2026-03-01T10:00:00 PDT", None),
    ("2026-03-01T10:00", None),
    ("2026-03-01T10:00:00.1234567890Z", None),
    ("2026-03-01T25:00:00Z", None),
    ("2026-13-01", None),
    ("2026-02-30T10:00:00Z", None),
    ("01/03/2026", None),
    ("1 Mar 2026", None),
]


def test_times_are_milliseconds_on_both_engines() -> None:
    here, emulated = warehouse(), FakeSnow()
    here.execute(MACROS)
    with emulated.connect(database="D", schema="S").cursor() as there:
        for text, millis in TIMES:
            literal = f"'{text}'"
            assert here.execute(f"select land_millis({literal})").fetchall() == [(millis,)], text
            ((found,),) = there.execute(f"select {snowflake_millis(literal)}").fetchall()
            assert (None if found is None else int(found)) == millis, text
    emulated.duck_conn.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": None}, "missing_type"),
        ({"type": "tick"}, "bad_type"),
        ({"messageId": {"a": 1}}, "bad_message_id"),
        ({"userId": ["u"]}, "bad_user_id"),
        ({"event": True}, "bad_event"),
        ({"timestamp": "yesterday"}, "bad_timestamp"),
        ({"sentAt": "2026-03-01T10:00:00 PDT"}, "bad_sent_at"),
        ({"timestamp": None}, "missing_timestamp"),
        ({"timestamp": "1999-12-31T23:59:59.999Z"}, "timestamp_out_of_bounds"),
        ({"timestamp": "2100-01-01"}, "timestamp_out_of_bounds"),
        (READINGS | {"sentAt": "9999-12-31"}, "timestamp_out_of_bounds"),
        (READINGS | {"sentAt": "0001-01-01"}, "timestamp_out_of_bounds"),
        (READINGS | {"originalTimestamp": "1970-01-01T00:00:05Z"}, "timestamp_out_of_bounds"),
        ({"properties": [1]}, "bad_properties"),
        ({"traits": "x"}, "bad_traits"),
        ({"properties": '{"a": 1, "a": 2}'}, "duplicate_key_in_properties"),
    ],
)
def test_why_a_call_is_rejected(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", CALL | changes), PIPELINE_CALLS)
    assert [found for _, _, found in rejected(connection, PIPELINE_CALLS)] == [reason]
    assert not landed(connection, PIPELINE_CALLS)


def test_a_device_whose_clock_began_again_is_corrected(tmp_path: Path) -> None:
    readings = {"originalTimestamp": "1970-01-01T00:00:05Z", "sentAt": "1970-01-01T00:00:10Z"}
    (row,) = of(CALL | READINGS | readings, path=tmp_path)
    assert row["original_timestamp"] == 5000


def test_a_call_without_message_id_is_known_by_what_it_says(tmp_path: Path) -> None:
    bare = {key: value for key, value in CALL.items() if key != "messageId"}
    others = [bare | {key: "2026-03-02"} for key in ("timestamp", "sentAt")] + [
        bare | {key: "x"} for key in ("userId", "anonymousId", "event")
    ]
    again, *different = (
        row["message_id"] for row in of(bare, bare, bare | {"messageId": ""}, *others, path=tmp_path)
    )
    assert different[:2] == [again, again]
    assert len({again, *different[2:]}) == 1 + len(others)


def test_a_table_and_parquet_may_write_names_with_underscores(tmp_path: Path) -> None:
    connection = warehouse()
    connection.execute(
        "create table calls as select 'track' as type, 'm-1' as message_id, '00042' as user_id, "
        "'Plan Viewed' as event, timestamp '2026-03-01 10:00:00' as timestamp, "
        '\'{"plan":"team"}\' as properties'
    )
    land_table(connection, "memory.main.calls", PIPELINE_CALLS)
    record = CALL | {"message_id": CALL["messageId"], "properties": '{"plan":"team"}'}
    del record["messageId"]
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "calls.parquet")
    land_path(connection, tmp_path, PIPELINE_CALLS)
    one, other = landed(connection, PIPELINE_CALLS)
    assert one == other == of(CALL, path=tmp_path)[0]


def avro(path: Path, *records: dict[str, Any]) -> None:
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    kinds = {"type": "string"} | dict.fromkeys(records[0].keys() - {"type"}, millis)
    fields = [{"name": name, "type": ["null", kind]} for name, kind in kinds.items()]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "call", "fields": fields}, records)


def test_typed_times_keep_their_milliseconds(tmp_path: Path) -> None:
    connection = warehouse()
    times = {"timestamp": T + 123, "original_timestamp": -500, "sent_at": T + 999, "received_at": None}
    typed = {
        name: None if millis is None else datetime(1970, 1, 1) + timedelta(milliseconds=millis)
        for name, millis in times.items()
    }
    record = {"type": "track", **typed}
    for unit in ("ms", "us", "ns"):
        fields = [(name, pa.timestamp(unit, "Europe/Berlin")) for name in typed]
        schema = pa.schema([("type", pa.string()), *fields])
        pq.write_table(pa.Table.from_pylist([record], schema), tmp_path / f"{unit}.parquet")
    avro(tmp_path / "calls.avro", {"type": "track"} | times)
    land_path(connection, tmp_path, PIPELINE_CALLS)
    connection.execute(f"create table calls as from '{tmp_path}/us.parquet'")
    land_table(connection, "memory.main.calls", PIPELINE_CALLS)
    assert not rejected(connection, PIPELINE_CALLS)
    found = [{name: row[name] for name in times} for row in landed(connection, PIPELINE_CALLS)]
    assert found == [times] * 5


@pytest.mark.parametrize("nanos", [-1, -1_500, -999_999, 1_772_359_200_123_999_999])
def test_what_is_finer_than_a_millisecond_is_cut_down(tmp_path: Path, nanos: int) -> None:
    """As of a text, whose fraction is digits: before 1970 too, the earlier millisecond."""
    connection = warehouse()
    for zone in (None, "Asia/Tokyo"):
        for unit, per_unit in (("us", 1_000), ("ns", 1)):
            moments = pa.array([nanos // per_unit], pa.int64()).cast(pa.timestamp(unit, zone))
            table = pa.table({"type": ["track"], "timestamp": [T], "sent_at": moments})
            pq.write_table(table, tmp_path / f"{unit}{bool(zone)}.parquet")
    land_path(connection, tmp_path, PIPELINE_CALLS)
    text = f"make_timestamp_ns({nanos})::varchar"
    for number, kind in enumerate(("timestamp_ns", "timestamptz_ns", "varchar")):
        given = f"{text} || '+00'" if kind == "timestamptz_ns" else text
        connection.execute(
            f"create table calls_{number} as select 'track' as type, {T} as timestamp, "
            f"({given})::{kind} as sent_at"
        )
        land_table(connection, f"memory.main.calls_{number}", PIPELINE_CALLS, copies=True)
    assert not rejected(connection, PIPELINE_CALLS)
    assert [row["sent_at"] for row in landed(connection, PIPELINE_CALLS)] == [nanos // 1_000_000] * 7


def test_a_typed_time_beyond_all_years_is_no_time(tmp_path: Path) -> None:
    connection = warehouse()
    times = [10**15, 2**62, -(2**62)]
    moments = pa.array(times, pa.int64()).cast(pa.timestamp("ms"))
    pq.write_table(pa.table({"type": ["track"] * 3, "timestamp": moments}), tmp_path / "calls.parquet")
    avro(tmp_path / "calls.avro", *({"type": "track", "timestamp": time} for time in times))
    land_path(connection, tmp_path, PIPELINE_CALLS)
    assert [reason for _, _, reason in rejected(connection, PIPELINE_CALLS)] == ["bad_timestamp"] * 6


def test_a_replaced_file_names_the_calls_that_it_took_away(tmp_path: Path) -> None:
    connection = warehouse()
    for message in ("m-1", "m-2"):
        path = write(tmp_path / "calls.jsonl", CALL | {"messageId": message})
        land_path(connection, path, PIPELINE_CALLS)
    removed = rows(connection, "select message_id, timestamp from staging.pipeline_calls_removed")
    assert removed == [{"message_id": "m-1", "timestamp": T}]
