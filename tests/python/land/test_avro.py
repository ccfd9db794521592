"""Avro of other writers: codecs, logical types, and values that reject one row instead of the file."""

import io
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from support.formats import avro
from support.land import COPY, LANDED_CALL, call, land_path, landed, rejected, warehouse


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard", "bzip2", "xz", "lz4"])
def test_codecs(tmp_path: Path, codec: str) -> None:
    (tmp_path / "calls.avro").write_bytes(avro([call()], codec))
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert landed(connection) == [LANDED_CALL]


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    (tmp_path / "calls.avro").write_bytes(avro([call()], "snappy").replace(b"snappy", b"brotli"))
    (refused,) = land_path(warehouse(), tmp_path).refused
    assert "codec brotli" in refused[1]


def test_logical_types(tmp_path: Path) -> None:
    fixed = {"type": "fixed", "name": "id", "size": 16, "logicalType": "uuid"}
    precise = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}
    values = {"type": "map", "values": precise}
    record = call(
        copy_id=uuid.UUID(COPY).bytes,
        vars={"price": Decimal("12345678901234567.89"), "small": Decimal("0.50"), "whole": Decimal("7.00")},
    )
    (tmp_path / "calls.avro").write_bytes(avro([record], copy_id=fixed, vars=values))
    connection = warehouse()
    land_path(connection, tmp_path)
    (row,) = landed(connection)
    assert row["copy_id"] == COPY
    # a double would keep 12345678901234568
    assert json.loads(row["vars"]) == {"price": "12345678901234567.89", "small": 0.5, "whole": 7}


def test_one_bad_value_rejects_its_row(tmp_path: Path) -> None:
    users = ["good", "text", "when", "last"]
    kinds: dict[str, Any] = {"event_timestamp": {"type": "long", "logicalType": "timestamp-micros"}}
    raw = avro([call(user_id=user, event_timestamp=1767268801_000_000) for user in users])
    schema = fastavro.reader(io.BytesIO(raw)).writer_schema
    next(field for field in schema["fields"] if field["name"] == "event_timestamp")["type"] = [
        "null",
        kinds["event_timestamp"],
    ]
    times = {"when": 2**62}
    records = [call(user_id=user, event_timestamp=times.get(user, 1767268801_000_000)) for user in users]
    sink = io.BytesIO()
    fastavro.writer(sink, schema, records, codec="null")
    (tmp_path / "calls.avro").write_bytes(sink.getvalue().replace(b"text", b"te\xff\xc3"))
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert [row["user_id"] for row in landed(connection)] == ["good", "last"]
    rejects = rejected(connection)
    assert [(line, reason) for line, _, reason in rejects] == [
        (2, "invalid_utf8"),
        (3, "event_timestamp_out_of_bounds"),
    ]
    assert "te\\\\xff\\\\xc3" in rejects[0][1] or "te\\xff\\xc3" in rejects[0][1]


def test_a_time_is_in_the_unit_of_its_type(tmp_path: Path) -> None:
    """10**12 seconds are the year 33658; taken for milliseconds, they would be 2001."""
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    (tmp_path / "calls.avro").write_bytes(avro([call(event_timestamp=10**15)], event_timestamp=millis))
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [reason for _, _, reason in rejected(connection)] == ["event_timestamp_out_of_bounds"]
