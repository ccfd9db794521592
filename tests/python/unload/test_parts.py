"""Partitions of several files, and runs of several chunks."""

import re
from typing import Any

import duckdb
import fastavro
import pyarrow.parquet as parquet
import pytest

from scripts.unload import encode
from scripts.unload.datasets import DATASETS, Format
from scripts.unload.encode import Compression
from scripts.unload.manifest import part_name, partition_of
from support.unload import CALLS, HOUR, NOON, Warehouse, call


def parts(warehouse: Warehouse, hour: str) -> list[str]:
    return sorted(path.name for path in (warehouse.out / "calls" / hour).iterdir())


def test_large_hours_are_parts_and_small_ones_are_not(filled: Warehouse) -> None:
    for number in range(40):
        filled.insert("marts.fct_calls", [call(NOON + number, f"{number * 7919:x}" * 20)])
    filled.unload("calls", max_file_size="2k")
    large = filled.out / "calls/2026/01/01/12"
    names = parts(filled, "2026/01/01/12")
    assert len(names) > 1
    assert all(re.fullmatch(r"calls-\d{8}T\d{6}Z-[0-9a-f]{8}-\d{5}\.parquet", name) for name in names)
    assert parts(filled, "2026/01/01/13") == ["calls.parquet"]
    with duckdb.connect(str(filled.file)) as connection:
        everything = connection.execute("select * exclude (content_hash) from marts.fct_calls").fetchall()
    assert filled.rows("calls") == sorted(everything, key=str)
    entry = filled.manifest("calls")["partitions"][0]
    assert entry["partition"] == "2026/01/01/12"
    assert sorted(file["key"].rpartition("/")[2] for file in entry["files"]) == names
    assert sum(file["rows"] for file in entry["files"]) == entry["rows"] == 42
    # other parts take their place, then one object, then parts again
    filled.insert("marts.fct_calls", [call(NOON + 3, "late")])
    filled.unload("calls", max_file_size="2k")
    assert not set(parts(filled, "2026/01/01/12")) & set(names)
    filled.unload("calls", backfill=True)
    assert parts(filled, "2026/01/01/12") == ["calls.parquet"]
    assert len(filled.rows("calls")) == len(everything) + 1
    filled.unload("calls", backfill=True, max_file_size="2k")
    assert "calls.parquet" not in parts(filled, "2026/01/01/12")
    filled.execute(f"delete from marts.fct_calls where event_timestamp < {NOON + HOUR}")
    filled.unload("calls")
    assert not large.exists()


@pytest.mark.parametrize(
    ("format", "compression"),
    [*((Format.PARQUET, each) for each in Compression), (Format.AVRO, "gzip"), (Format.AVRO, "none")],
)
def test_parts_have_every_compression(filled: Warehouse, format: Format, compression: str) -> None:
    for number in range(12):
        filled.insert("marts.fct_calls", [call(NOON + number, f"{number * 7919:x}" * 20)])
    filled.unload("calls", max_file_size="1k", format=format, compression=Compression(compression))
    (entry, *_) = filled.manifest("calls")["partitions"]
    assert len(entry["files"]) > 1
    paths = [filled.out / "calls" / file["key"] for file in entry["files"]]
    assert sum(file["rows"] for file in entry["files"]) == 14
    for path in paths:
        if format is Format.PARQUET:
            said = parquet.read_metadata(path).row_group(0).column(0).compression.lower()
            assert said == {"none": "uncompressed"}.get(compression, compression)
        else:
            with path.open("rb") as file:
                codec = fastavro.reader(file).metadata["avro.codec"]
            assert codec == {"none": "null", "gzip": "deflate"}[compression]


def test_the_hundred_thousandth_part_is_ours() -> None:
    for number in (1, 99_999, 100_000, 1_234_567):
        key = f"2026/01/01/12/{part_name('calls', Format.PARQUET, '20260101T000000Z-01234567', number)}"
        assert partition_of(DATASETS["calls"], key) == "2026/01/01/12"


def test_parts_of_a_killed_run_are_swept(filled: Warehouse) -> None:
    filled.unload("calls")
    hour = filled.out / "calls/2026/01/01/12"
    stray = hour / "calls-20260101T000000Z-0123456789abcdef-00001.parquet"
    killed = hour / "calls-20260101T000000Z-01234567-00001.parquet"
    for path in (stray, killed):
        path.write_text("half")
    filled.unload("calls")
    # the first is not named as ours are
    assert parts(filled, "2026/01/01/12") == sorted(["calls.parquet", stray.name])


def test_a_long_run_is_encoded_in_chunks(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = []
    encoded = encode.encode

    def spy(*arguments: Any) -> Any:
        chunks.append(list(arguments[4]))
        return encoded(*arguments)

    monkeypatch.setattr(encode, "encode", spy)
    monkeypatch.setattr(encode, "chunk_rows", lambda _: 3)
    # two settlements at least: the manifest is written between chunks too
    monkeypatch.setattr("scripts.unload.engines.duckdb.SETTLE_SECONDS", 0)
    filled.unload("calls")
    assert chunks == [["2026/01/01/12", "2026/01/01/13"], ["2026/01/02/13", "2026/01/02/14"]]
    assert filled.rows("calls") == sorted((row[:9] for row in CALLS), key=str)
    # a gap between the hours of a chunk
    filled.execute("update marts.fct_calls set user_id = 'new' where journey_id in ('c', 'd')")
    filled.unload("calls")
    assert chunks[2:] == [["2026/01/01/13", "2026/01/02/13"]]
    assert {row["user_id"] for row in filled.files("calls")["2026/01/02/13/calls.parquet"]} == {"new"}
