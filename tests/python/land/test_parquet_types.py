"""Columns of other writers: text that is none, types that DuckDB does not scan, lists of many kinds."""

import base64
import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.land import checks, straight, transaction
from scripts.land.rules import EVENTS
from support.land import COPY, call, land_path, landed, rejected, warehouse, write

GOOD, BAD = "Grün".encode(), b"Gr\xc3"
ENTRY = pa.struct([("key", pa.string()), ("value", pa.string())])


def of_bytes(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """Strings of any bytes, which Arrow and Parquet store without looking at them."""
    data = pa.array(values, pa.binary())
    return data.view(pa.string()) if pa.types.is_string(kind) else data.cast(kind)


def entries(value: pa.Array) -> dict[str, pa.Array]:
    """`vars` of {subject: value} in every shape that holds the value as it is, one per row."""
    offsets = pa.array(range(len(value) + 1), pa.int32())
    keys = pa.array(["subject"] * len(value)).cast(
        value.type if pa.types.is_string(value.type) else pa.string()
    )
    pairs = pa.StructArray.from_arrays([keys, value], ["key", "value"])
    binary_keys = keys.cast(pa.binary())
    return {
        "map": pa.MapArray.from_arrays(offsets, keys, value),
        "map of binary keys": pa.MapArray.from_arrays(offsets, binary_keys, value),
        "struct": pa.StructArray.from_arrays([value], ["subject"]),
        "list of entries": pa.ListArray.from_arrays(offsets, pairs),
        "large list": pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), pairs),
        "fixed-size list": pa.FixedSizeListArray.from_arrays(pairs, 1),
    }


def calls(path: Path, rows: int = 2, **columns: pa.Array) -> Path:
    """A Parquet file of calls with these columns beside those that must be there."""
    base = {
        "event_timestamp": pa.array([1767268801] * rows),
        "copy_id": pa.array([COPY] * rows),
        "template_id": pa.array(["t"] * rows),
    }
    store(pa.table({**base, **columns}), path)
    return path


def store(table: pa.Table, path: Path) -> None:
    """Write a file whose reader gets the types of the table: pyarrow itself writes no view below a list."""
    plain = pa.schema([field.with_type(without_views(field.type)) for field in table.schema])
    declared = base64.b64encode(table.schema.serialize().to_pybytes())
    with pq.ParquetWriter(path, plain, store_schema=False) as writer:
        writer.write_table(table.cast(plain))
        writer.add_key_value_metadata({"ARROW:schema": declared.decode()})


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type with `binary` for each `binary_view` in it."""
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_map(kind):
        return pa.map_(without_views(kind.key_type), without_views(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(without_views(field.type)) for field in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(without_views(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(without_views(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(without_views(kind.value_type))
    return kind


TEXT_TYPES = [
    pa.string(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int32(), pa.binary()),
]
SHAPES = list(entries(pa.array(["x"])))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_bytes_are_text_or_reject_their_row(tmp_path: Path, kind: pa.DataType, shape: str) -> None:
    values = of_bytes([GOOD, BAD], pa.binary())
    value = values.dictionary_encode() if pa.types.is_dictionary(kind) else of_bytes([GOOD, BAD], kind)
    calls(tmp_path / "calls.parquet", vars=entries(value)[shape])
    write(tmp_path / "z.jsonl", call(user_id="after"))
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert not outcome.refused
    assert [json.loads(row["vars"]).get("subject") for row in landed(connection)][:1] == ["Grün"]
    assert [row["user_id"] for row in landed(connection)] == [None, "after"]
    (reject,) = rejected(connection)
    assert (reject[0], reject[2]) == (2, "invalid_utf8")
    assert "Gr\\xc3" in json.loads(reject[1])["vars"].values()


def test_a_column_at_the_top_may_hold_what_is_no_text(tmp_path: Path) -> None:
    calls(tmp_path / "calls.parquet", 3, user_id=of_bytes([b"u", BAD, None], pa.string()))
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["user_id"] for row in landed(connection)] == ["u", None]
    assert [(line, reason) for line, _, reason in rejected(connection)] == [(2, "invalid_utf8")]


def test_numbers_that_duckdb_does_not_scan(tmp_path: Path) -> None:
    half = pa.array(np.array([1.5], dtype=np.float16))
    wide = pa.array([Decimal("1234567890123456789")], pa.decimal256(60, 0))
    content = pa.StructArray.from_arrays([half, wide], ["half", "wide"])
    calls(tmp_path / "calls.parquet", 1, campaign_id=wide, vars=content)
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    (row,) = landed(connection)
    assert row["campaign_id"] == 1234567890123456789
    assert json.loads(row["vars"]) == {"half": 1.5, "wide": 1234567890123456789}


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_a_time_that_no_timestamp_holds_rejects_its_row(tmp_path: Path, unit: str) -> None:
    per_second = {"ms": 10**3, "us": 10**6}[unit]
    times = [1767268801 * per_second, 2**63 - 1, -(2**63 - 1), None]
    column = pa.array(times, pa.int64()).cast(pa.timestamp(unit, "UTC"))
    calls(tmp_path / "calls.parquet", 4, event_timestamp=column)
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert [row["event_timestamp"] for row in landed(connection)] == [1767268801]
    assert [
        (line, json.loads(raw)["event_timestamp"], reason) for line, raw, reason in rejected(connection)
    ] == [
        (2, "infinity", "bad_event_timestamp"),
        (3, "-infinity", "bad_event_timestamp"),
        (4, None, "missing_event_timestamp"),
    ]


def test_ids_of_a_writer_without_nullable_whole_numbers(tmp_path: Path) -> None:
    ids = pa.array([1001.0, None, 15.5, 2.0**53])
    calls(tmp_path / "calls.parquet", 4, user_id=ids, journey_id=ids)
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["journey_id"] for row in landed(connection)] == ["1001", None, "15.5"]
    assert [(line, reason) for line, _, reason in rejected(connection)] == [(4, "bad_journey_id")]


def test_an_id_of_spaces_is_none(tmp_path: Path) -> None:
    ids = pa.array(["u", "  ", ""])
    calls(tmp_path / "calls.parquet", 3, user_id=ids, journey_id=ids)
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [(row["user_id"], row["journey_id"]) for row in landed(connection)] == [("u", "u")] + [
        (None, None)
    ] * 2


def test_ids_within_data_of_such_a_writer_are_those_of_calls(tmp_path: Path) -> None:
    ids = pa.array([15.0, None])
    calls(tmp_path / "calls.parquet", user_id=ids, journey_id=ids)
    data = {"journey_id": ids, "customer_id": ids, "action_id": ids, "metric": pa.array(["sent"] * 2)}
    events = pa.table(
        {
            "event_id": pa.array([1.0, 2.0]),
            "timestamp": pa.array([1767268801.0] * 2),
            "metric": ["sent"] * 2,
            "object_type": ["email"] * 2,
            "data": pa.StructArray.from_arrays(list(data.values()), list(data)),
        }
    )
    pq.write_table(events, tmp_path / "events.parquet")
    connection = warehouse()
    land_path(connection, tmp_path / "calls.parquet")
    land_path(connection, tmp_path / "events.parquet", EVENTS)
    joined = (
        "select event_id, customerio_events.action_id from staging.customerio_events "
        "inner join staging.justai_calls using (journey_id, user_id)"
    )
    assert connection.execute(joined).fetchall() == [("1", 15)]


def test_int96_holds_any_year(tmp_path: Path) -> None:
    """In 64 bits of nanoseconds, 2610 would be 2026."""
    times = pa.array([datetime(2026, 1, 1), datetime(2610, 9, 8), datetime(9999, 12, 31), datetime(1, 1, 1)])
    table = pa.table({"event_timestamp": times, "copy_id": [COPY] * 4, "template_id": ["t"] * 4})
    pq.write_table(table, tmp_path / "calls.parquet", use_deprecated_int96_timestamps=True)
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["event_timestamp"] for row in landed(connection)] == [1767225600]
    found = [json.loads(raw)["event_timestamp"] for _, raw, _ in rejected(connection)]
    assert found == [20218032000, 253402214400, -62135596800]


def test_a_typed_time_is_in_its_own_unit(tmp_path: Path) -> None:
    """A number of 10**12 is milliseconds; a timestamp of 10**12 seconds is the year 33658, and not 2001."""
    times = pa.array([10**15, 1767225600_000], pa.int64()).cast(pa.timestamp("ms"))
    calls(tmp_path / "calls.parquet", 2, event_timestamp=times)
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["event_timestamp"] for row in landed(connection)] == [1767225600]
    (reject,) = rejected(connection)
    assert json.loads(reject[1])["event_timestamp"] == 10**12
    assert reject[2] == "event_timestamp_out_of_bounds"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_time_within_a_map_is_a_text_in_utc(tmp_path: Path, shape: str) -> None:
    times = pa.array([datetime(2026, 1, 1)], pa.timestamp("us", "America/New_York"))
    calls(tmp_path / "calls.parquet", 1, vars=entries(times)[shape])
    connection = warehouse()
    connection.execute("set timezone = 'Asia/Tokyo'")
    land_path(connection, tmp_path)
    assert [json.loads(row["vars"]) for row in landed(connection)] == [{"subject": "2026-01-01 00:00:00+00"}]


VARIANT = pa.struct([pa.field("metadata", pa.binary(), nullable=False), pa.field("value", pa.binary())])
REFUSED: dict[str, tuple[pa.Array, str]] = {
    "wide": (pa.array([Decimal(10) ** 45], pa.decimal256(60, 0)), "vars of type decimal256(60, 0)"),
    "variant": (pa.array([{"metadata": b"\x01", "value": b"\x0c"}], VARIANT), "vars is of type VARIANT"),
    "bytes": (pa.array([b"1234"], pa.binary(4)), "vars of type fixed_size_binary[4]"),
    "below": (
        pa.array([{"a": [("k", "v")]}], pa.struct([("a", pa.map_(pa.string(), pa.string()))])),
        "vars.a is a map below the top",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_type_without_meaning_refuses_its_file_alone(tmp_path: Path, name: str) -> None:
    column, reason = REFUSED[name]
    calls(tmp_path / "a.parquet", 1, vars=column)
    write(tmp_path / "b.jsonl", call())
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [Path(uri).name for uri, _ in outcome.refused] == ["a.parquet"]
    assert reason in outcome.refused[0][1]
    assert len(landed(connection)) == 1


@pytest.mark.parametrize("count", [1, 4])
def test_what_duckdb_itself_refuses_is_the_fault_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Files of one chunk land each by itself when DuckDB fails on one of them, checked first or straight."""
    for name in ("a", "b", "c"):
        calls(tmp_path / f"{name}.parquet", count, user_id=pa.array([name] * count))
    query = checks.check_query

    def failing(*arguments: Any) -> str:
        fault = "case when user_id = 'b' then error('no such type') else true end"
        return f"select * from ({query(*arguments)}) where {fault}"

    for module in (transaction, straight):
        monkeypatch.setattr(module, "check_query", failing)
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [(Path(uri).name, "no such type" in reason) for uri, reason in outcome.refused] == [
        ("b.parquet", True)
    ]
    ledger = connection.execute("select file, row_count from staging.landed_files order by 1").fetchall()
    assert [(os.path.basename(file), count) for file, count in ledger] == [
        ("a.parquet", count),
        ("c.parquet", count),
    ]


def test_a_large_file_that_duckdb_refuses_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = pa.array([f"u{number}" for number in range(40_000)])
    calls(tmp_path / "a.parquet", len(users), user_id=users)
    write(tmp_path / "b.jsonl", call())
    query = checks.check_query

    def failing(*arguments: Any) -> str:
        fault = "case when user_id = 'u20000' then error('no such type') else true end"
        return f"select * from ({query(*arguments)}) where {fault}"

    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 100_000)
    for module in (transaction, straight):
        monkeypatch.setattr(module, "check_query", failing)
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [Path(uri).name for uri, _ in outcome.refused] == ["a.parquet"]
    assert [row["user_id"] for row in landed(connection)] == ["u-1001"]
