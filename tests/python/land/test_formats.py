"""JSON lines, Parquet and Avro give the same rows."""

import gzip
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from scripts.land.rules import EVENTS
from support.formats import avro, parquet
from support.land import (
    COPY,
    LANDED_CALL,
    call,
    event,
    land_path,
    landed,
    rejected,
    text,
    warehouse,
    write,
)

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
