"""copymart unload against a small warehouse made by hand; no dbt build is needed."""

import errno
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.errors import UserError
from scripts.unload import encode
from scripts.unload.command import unload
from scripts.unload.datasets import DATASETS, Format, Layout
from scripts.unload.encode import Compression
from scripts.unload.engines import base as engines
from scripts.unload.manifest import part_name, partition_of
from scripts.unload.places.folder import Folder
from scripts.unload.verify import verify
from support.project import PROJECT
from support.unload import CALLS, HOUR, NOON, Warehouse, at, call, fill, snapshot

VENDOR_FIELDS = [
    ("event_timestamp", pa.int64()),
    ("user_id", pa.string()),
    ("campaign_id", pa.int64()),
    ("action_id", pa.int64()),
    ("journey_id", pa.string()),
    ("copy_id", pa.string()),
    ("template_id", pa.string()),
    ("vars", pa.string()),
    ("attrs", pa.string()),
]


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    """An empty warehouse."""
    return Warehouse(tmp_path)


@pytest.fixture
def filled(store: Warehouse) -> Warehouse:
    """A warehouse with calls in four hours of two days, and something in every other mart."""
    return fill(store)


def test_calls_lie_under_the_hour_of_their_timestamp(filled: Warehouse) -> None:
    filled.unload("calls")
    hours = {path: [row["journey_id"] for row in rows] for path, rows in filled.files("calls").items()}
    assert {path: sorted(map(str, journeys)) for path, journeys in hours.items()} == {
        "2026/01/01/12/calls.parquet": ["a", "b"],
        "2026/01/01/13/calls.parquet": ["c"],
        "2026/01/02/13/calls.parquet": ["d"],
        "2026/01/02/14/calls.parquet": ["None"],
    }


def test_hours_are_utc_whatever_the_session_says(filled: Warehouse) -> None:
    profile = filled.folder / "profiles.yml"
    profile.write_text(
        profile.read_text().replace("schema: main}", "schema: main, settings: {TimeZone: Asia/Kolkata}}")
    )
    filled.unload("calls", "deliveries")
    assert sorted(filled.files("calls"))[0] == "2026/01/01/12/calls.parquet"
    assert list(filled.files("deliveries")) == ["2026/01/01/12/deliveries.parquet"]


def test_calls_are_exactly_the_vendors_record(filled: Warehouse) -> None:
    filled.unload("calls")
    for path in filled.out.glob("calls/**/*.parquet"):
        schema = parquet.read_schema(path)
        assert [(field.name, field.type) for field in schema] == VENDOR_FIELDS
    assert filled.rows("calls") == sorted((row[:9] for row in CALLS), key=str)


def test_deliveries_begin_with_the_vendors_fields(filled: Warehouse) -> None:
    filled.unload("deliveries")
    (path,) = filled.out.glob("deliveries/**/*.parquet")
    fields = [(field.name, field.type) for field in parquet.read_schema(path)]
    assert fields[:9] == VENDOR_FIELDS
    assert [name for name, _ in fields[9:]] == [
        *("delivery_key", "content_hash", "delivery_date", "first_called_at", "last_called_at", "call_count"),
        "copy_conflict",
    ]
    (row,) = parquet.read_table(path).to_pylist()
    assert row["event_timestamp"] == NOON + 5
    assert row["vars"] == '{"subject":"two"}'
    assert (row["call_count"], row["last_called_at"]) == (2, at(NOON + 5))


def test_split_layout_leaves_the_text_to_copy_variants(filled: Warehouse) -> None:
    filled.unload(layout=Layout.SPLIT)
    (first, *_) = (filled.out / "calls").glob("**/*.parquet")
    assert parquet.read_schema(first).names == [name for name, _ in VENDOR_FIELDS if name != "vars"]
    (delivery,) = filled.out.glob("deliveries/**/*.parquet")
    assert "vars" not in parquet.read_schema(delivery).names
    variants = parquet.read_table(filled.out / "copy_variants/copy_variants.parquet")
    assert variants.schema.field("valid_from").type == variants.schema.field("valid_to").type == pa.int64()
    found = [(row["vars"], row["valid_from"], row["valid_to"]) for row in variants.to_pylist()]
    assert sorted(found, key=str) == [
        ('{"subject":"one"}', NOON, NOON + 9),
        ('{"subject":"two"}', NOON + 9, None),
    ]


def test_daily_marts_lie_under_their_day(filled: Warehouse) -> None:
    filled.unload("copy_metrics_daily", "copy_cohort_metrics_daily")
    for mart, day in (("copy_metrics_daily", "metric_date"), ("copy_cohort_metrics_daily", "delivery_date")):
        assert filled.files(mart) == {
            f"2026/01/01/{mart}.parquet": [{day: date(2026, 1, 1), "copy_id": "c", "served": 3}],
            f"2026/01/02/{mart}.parquet": [{day: date(2026, 1, 2), "copy_id": "c", "served": 2}],
        }


def test_all_datasets_are_unloaded_by_default(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    filled.unload()
    assert sorted(path.name for path in filled.out.iterdir()) == sorted(DATASETS)
    printed = capsys.readouterr().out
    assert all(name in printed for name in DATASETS)


def test_a_full_run_equals_the_table_after_any_change(filled: Warehouse) -> None:
    filled.unload("calls")
    filled.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")
    filled.insert("marts.fct_calls", [call(NOON + 1, "late"), call(NOON + 90 * HOUR, "new")])
    filled.unload("calls")
    left = [row[:9] for row in CALLS if row[0] != NOON + HOUR]
    left += [call(NOON + 1, "late")[:9], call(NOON + 90 * HOUR, "new")[:9]]
    assert filled.rows("calls") == sorted(left, key=str)
    # the hour without rows is gone with its folder, its day is not
    assert not (filled.out / "calls/2026/01/01/13").exists()
    assert (filled.out / "calls/2026/01/01/12").exists()


def test_a_range_replaces_its_hours_and_nothing_else(filled: Warehouse) -> None:
    filled.unload("calls")
    before = snapshot(filled.out / "calls")
    # One row in the range goes, one comes; one outside goes too, which this run must not see.
    filled.execute(
        f"delete from marts.fct_calls where event_timestamp in ({NOON + HOUR}, {NOON + 25 * HOUR})"
    )
    filled.insert("marts.fct_calls", [call(NOON + 2 * HOUR, "new")])
    filled.unload("calls", start="2026-01-01T13", end="2026-01-01T15")
    after = snapshot(filled.out / "calls")
    assert set(before) - set(after) == {"2026/01/01/13/calls.parquet"}
    new = {path for path in set(after) - set(before) if not path.startswith("_manifests/")}
    assert new == {"2026/01/01/14/calls.parquet"}
    untouched = {path for path in set(before) & set(after) if path.endswith(".parquet")}
    assert len(untouched) == 3
    assert {path: after[path] for path in untouched} == {path: before[path] for path in untouched}


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-01-01T13", None, ["01/13", "02/13", "02/14"]),
        (None, "2026-01-01T13", ["01/12"]),
        ("2026-01-01T12:00", "2026-01-01 13:00", ["01/12"]),
        ("2026-01-02", "2026-01-02T14:00:00Z", ["02/13"]),
        ("2026-01-02T15:00+01:00", None, ["02/14"]),
    ],
)
def test_a_range_is_half_open_and_in_utc(
    filled: Warehouse, start: str | None, end: str | None, hours: list[str]
) -> None:
    filled.unload("calls", start=start, end=end)
    assert list(filled.files("calls")) == [f"2026/01/{hour}/calls.parquet" for hour in hours]


def test_a_range_of_hours_takes_the_whole_days_of_daily_marts(filled: Warehouse) -> None:
    filled.unload("copy_metrics_daily", start="2026-01-01T13", end="2026-01-01T15")
    assert list(filled.files("copy_metrics_daily")) == ["2026/01/01/copy_metrics_daily.parquet"]


def test_a_range_without_rows_is_no_error(filled: Warehouse) -> None:
    filled.unload("calls", start="2030-01-01")
    assert filled.files("calls") == {}


def test_foreign_files_are_left_alone(filled: Warehouse) -> None:
    foreign = [
        filled.out / "calls/2026/01/01/13/notes.txt",
        filled.out / "calls/2026/13/45/99/calls.parquet",
        filled.out / "README",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    filled.unload("calls")
    filled.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")
    filled.unload("calls")
    assert [path.read_text() for path in foreign] == ["mine"] * 3
    assert not (filled.out / "calls/2026/01/01/13/calls.parquet").exists()


def test_the_manifest_describes_every_file(filled: Warehouse) -> None:
    filled.unload("calls")
    first = filled.manifest("calls")
    filled.insert("marts.fct_calls", [call(NOON + 2, "late")])
    filled.unload("calls", start="2026-01-01T12", end="2026-01-01T13")
    manifest = filled.manifest("calls")
    partitions = {entry["partition"]: entry for entry in manifest["partitions"]}
    assert {f"{name}/calls.parquet" for name in partitions} == filled.files("calls").keys()
    for name, entry in partitions.items():
        (file,) = entry["files"]
        path = filled.out / "calls" / file["key"]
        rows = filled.files("calls")[f"{name}/calls.parquet"]
        times = [row["event_timestamp"] for row in rows]
        said = {**file, "etag": ""}
        assert said == {
            "key": f"{name}/calls.parquet",
            "rows": len(rows),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "etag": "",
            "min_event_timestamp": min(times),
            "max_event_timestamp": max(times),
        }
        assert (entry["rows"], entry["layout"], entry["format"]) == (len(rows), "full", "parquet")
        assert (entry["min_event_timestamp"], entry["max_event_timestamp"]) == (min(times), max(times))
    assert manifest["rows"] == len(CALLS) + 1
    assert (manifest["dataset"], manifest["schema_version"], manifest["layout"]) == ("calls", 1, "full")
    assert manifest["columns"][0] == {"name": "event_timestamp", "type": "BIGINT"}
    # the hour that was written again names the run that did it, and its record tells the same
    changed = {name for name, entry in partitions.items() if entry["run_id"] != first["run_id"]}
    assert changed == {"2026/01/01/12"}
    record = json.loads((filled.out / f"calls/_manifests/{manifest['run_id']}.json").read_text())
    assert record["written"] == [partitions["2026/01/01/12"]]
    assert (record["removed"], record["deleted"]) == ([], [])


def test_a_run_that_finds_nothing_to_do_changes_nothing(filled: Warehouse) -> None:
    filled.unload()
    before = snapshot(filled.out)
    filled.unload()
    assert snapshot(filled.out) == before


def test_only_what_changed_is_written(filled: Warehouse) -> None:
    filled.unload()
    before = snapshot(filled.out)
    filled.execute(
        f"update marts.fct_calls set content_hash = 'h3' where event_timestamp = {NOON + HOUR};"
        "update marts.copy_metrics_daily set served = 4 where metric_date = date '2026-01-02';"
        "update marts.dim_copy_variants set preheader = '' where version_number = 1"
    )
    filled.unload()
    after = snapshot(filled.out)
    changed = {path for path in before if after.get(path) != before[path] and path.endswith(".parquet")}
    assert changed == {
        "calls/2026/01/01/13/calls.parquet",
        "copy_metrics_daily/2026/01/02/copy_metrics_daily.parquet",
        "copy_variants/copy_variants.parquet",
    }


def test_a_backfill_writes_its_range_whatever_the_state(filled: Warehouse) -> None:
    filled.unload("calls")
    before = snapshot(filled.out / "calls")
    filled.unload("calls", backfill=True, start="2026-01-02")
    after = snapshot(filled.out / "calls")
    changed = {path for path in before if after[path] != before[path] and path.endswith(".parquet")}
    assert changed == {"2026/01/02/13/calls.parquet", "2026/01/02/14/calls.parquet"}


def test_another_layout_or_column_or_format_writes_everything(filled: Warehouse) -> None:
    filled.unload("copy_metrics_daily")
    filled.execute("alter table marts.copy_metrics_daily add column sent bigint")
    filled.unload("copy_metrics_daily")
    assert all("sent" in row for rows in filled.files("copy_metrics_daily").values() for row in rows)
    filled.unload("copy_metrics_daily", format=Format.AVRO)
    assert not filled.files("copy_metrics_daily")
    assert len(list((filled.out / "copy_metrics_daily").glob("**/*.avro"))) == 2


def test_files_that_changed_since_are_written_again(filled: Warehouse) -> None:
    filled.unload("calls")
    before = filled.rows("calls")
    hours = [filled.out / f"calls/2026/01/{hour}/calls.parquet" for hour in ("01/12", "01/13", "02/13")]
    untouched = hours[2].stat().st_mtime_ns
    # As a run leaves a file that dies between publishing and its manifest: here of as many bytes as before.
    assert hours[1].stat().st_size == hours[2].stat().st_size
    shutil.copy(hours[2], hours[1])
    # And as a restored backup does: of an old time.
    shutil.copy(hours[2], hours[0])
    os.utime(hours[0], (0, 0))
    filled.unload("calls", start="2026-01-03")
    assert filled.rows("calls") != before
    filled.unload("calls")
    assert filled.rows("calls") == before
    assert hours[2].stat().st_mtime_ns == untouched


def test_a_range_over_an_older_manifest_is_refused(filled: Warehouse) -> None:
    """It would leave a manifest that names the range alone, while the rest lies there still."""
    filled.unload("calls")
    manifest = filled.out / "calls/_manifest.json"
    manifest.write_text('{"dataset": "calls", "partitions": []}')
    before = snapshot(filled.out)
    with pytest.raises(UserError, match="without --start and --end"):
        filled.unload("calls", start="2026-01-02")
    assert snapshot(filled.out) == before
    filled.unload("calls")
    assert filled.manifest("calls")["rows"] == len(CALLS)
    manifest.write_text(manifest.read_text().replace('"manifest_version": 2', '"manifest_version": 3'))
    with pytest.raises(UserError, match="newer copymart"):
        filled.unload("calls")


def edit_first(store: Warehouse, **fields: object) -> None:
    """Change the first partition of the manifest, and its first file where a field is named so."""
    path = store.out / "calls/_manifest.json"
    said = json.loads(path.read_text())
    partition = said["partitions"][0]
    for name, value in fields.items():
        (partition if name in partition else partition["files"][0])[name] = value
    path.write_text(json.dumps(said))


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "../../victim.txt", "rows": 3},
        {"key": "2026/01/01/13/calls.parquet"},
        {"key": "2026/01/01/12/../12/calls.parquet"},
        {"partition": "x"},
        {"partition": "../..", "key": "../../calls.parquet"},
        {"partition": 7},
        {"run_id": "zzz"},
        {"run_id": "20269999T000000Z-01234567"},
    ],
)
def test_a_manifest_that_copymart_did_not_write_is_not_believed(
    filled: Warehouse, fields: dict[str, object]
) -> None:
    """What it names would be deleted, and times would be read from its names."""
    filled.unload("calls")
    victims = [filled.folder / "victim.txt", filled.folder / "calls.parquet"]
    for victim in victims:
        victim.write_text("precious")
    edit_first(filled, **fields)
    # the age of what is not there is told by the run's id
    (filled.out / "calls/2026/01/01/12/calls.parquet").unlink()
    filled.unload("calls")
    assert [victim.read_text() for victim in victims] == ["precious", "precious"]
    assert filled.manifest("calls")["rows"] == len(CALLS)
    assert len(filled.files("calls")) == 4


@pytest.mark.parametrize("left", [10, 300])
def test_a_warehouse_that_lost_history_does_not_empty_an_export(filled: Warehouse, left: int) -> None:
    """A day's hours may go, and so may a tenth: more than both must be meant."""
    for first, count in ((100, 25), (200, left - 4)):
        filled.execute(
            f"insert into marts.fct_calls select {NOON} + ({first} + n) * {HOUR}, 'u', 7, 41, 'j', 'c', 't', "
            f"'{{}}', '{{}}', 'h1' from range({count}) as numbers(n)"
        )
    filled.unload("calls")
    filled.execute(f"delete from marts.fct_calls where event_timestamp < {NOON + 200 * HOUR}")
    filled.execute(f"update marts.fct_calls set user_id = 'x' where event_timestamp = {NOON + 200 * HOUR}")
    before = snapshot(filled.out)
    if left == 300:
        filled.unload("calls")
        assert len(filled.files("calls")) == 296
        return
    told = r"calls: 29 of 35 partitions there have no rows in the warehouse \(e\.g\. 2026/01/01/12\)"
    for options in ({}, {"dry_run": True}):
        with pytest.raises(UserError, match=told):
            filled.unload("calls", **options)
    with pytest.raises(UserError, match=r"25 of 25 partitions.*give --backfill"):
        filled.unload("calls", start="2026-01-04", end="2026-01-09")
    assert snapshot(filled.out) == before
    # 24 hours of a range may go
    filled.unload("calls", start="2026-01-05T17", end="2026-01-09")
    assert len(filled.files("calls")) == 35 - 24
    filled.unload("calls", backfill=True)
    assert len(filled.files("calls")) == 6


def test_a_lost_manifest_loses_no_objects_outside_the_range(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.unload("calls")
    before = filled.rows("calls")
    (filled.out / "calls/_manifest.json").unlink()
    filled.unload("calls", start="2026-01-02")
    assert filled.rows("calls") == before
    assert "2 objects outside the range are in no manifest" in capsys.readouterr().out
    filled.unload("calls")
    assert filled.manifest("calls")["rows"] == len(CALLS)


def parts(store: Warehouse, hour: str) -> list[str]:
    return sorted(path.name for path in (store.out / "calls" / hour).iterdir())


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


def test_contents_that_disagree_with_the_mart_ask_for_a_build(filled: Warehouse) -> None:
    filled.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    filled.unload("calls")
    before = snapshot(filled.out)
    filled.insert("marts.fct_calls", [call(NOON + 2, "late")])
    with pytest.raises(UserError, match=r"counts 5 rows of calls, .* has 6: run `dbt build`"):
        filled.unload("calls")
    assert snapshot(filled.out) == before


@pytest.mark.parametrize(
    ("dataset", "model"), [("calls", "int_distinct_calls"), ("deliveries", "fct_deliveries")]
)
def test_contents_of_an_older_build_ask_for_a_build(filled: Warehouse, dataset: str, model: str) -> None:
    """As after a build that was killed between the two and only edited rows: counts are equal."""
    filled.unload(dataset)
    before = snapshot(filled.out)
    filled.insert("staging.consumed_batches", [(model, "newer")])
    with pytest.raises(UserError, match=f"int_partition_contents has not read 1 batches that {model} has"):
        filled.unload(dataset, backfill=True)
    assert snapshot(filled.out) == before
    filled.insert("staging.consumed_batches", [("int_partition_contents", "newer")])
    filled.unload(dataset)


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Folder.put_file

    def refuse(folder: Folder, key: str, path: Path, sha256: str) -> str:
        if "02/13" in key:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return put(folder, key, path, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put_file", refuse)
        with pytest.raises(UserError, match=r"no space left on the disk .*--staging"):
            filled.unload("calls", concurrency=1)
    # what arrived is in the manifest
    arrived = {each["partition"] for each in filled.manifest("calls")["partitions"]}
    assert {"2026/01/01/12", "2026/01/01/13"} <= arrived
    assert "2026/01/02/13" not in arrived
    filled.unload("calls")
    assert filled.manifest("calls")["rows"] == len(CALLS)
    assert not list(filled.out.glob(".staging-*"))


def test_staging_may_lie_on_another_disk(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    move = os.replace

    def other_disk(source: Any, target: Any) -> None:
        if str(source).startswith(str(filled.folder / "elsewhere")):
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        move(source, target)

    monkeypatch.setattr(os, "replace", other_disk)
    filled.unload("calls", staging=filled.folder / "elsewhere")
    assert filled.rows("calls") == sorted((row[:9] for row in CALLS), key=str)
    assert not list(filled.out.glob(".staging-*"))
    assert not list((filled.folder / "elsewhere").iterdir())


def test_avro_holds_the_record_with_maps_and_types(filled: Warehouse) -> None:
    filled.execute(
        "insert into intermediate.int_copy_contents values "
        '(\'h4\', \'t\', \'{"a":"x, \\"y\\"","b":41.50,"c":{"d":[1,2]},"e":true,"é":"ß"}\');'
        "update marts.fct_deliveries set content_hash = 'h4', attrs = '{}'"
    )
    filled.unload("deliveries", "copy_metrics_daily", "copy_variants", format=Format.AVRO)
    (path,) = filled.out.glob("deliveries/**/*.avro")
    assert path.name == "deliveries.avro"
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        kinds = {field["name"]: field["type"][1] for field in reader.writer_schema["fields"]}  # type: ignore[index, call-overload]
        (row,) = list(reader)
    assert kinds["vars"] == kinds["attrs"] == {"type": "map", "values": "string"}
    assert (kinds["event_timestamp"], kinds["user_id"], kinds["copy_conflict"]) == (
        "long",
        "string",
        "boolean",
    )
    assert isinstance(row, dict)
    assert row["vars"] == {"a": 'x, "y"', "b": "41.50", "c": '{"d":[1,2]}', "e": "true", "é": "ß"}
    assert (row["attrs"], row["copy_conflict"], row["delivery_date"]) == ({}, False, date(2026, 1, 1))
    assert row["last_called_at"] == datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)
    with pytest.raises(UserError, match="Avro takes gzip, none"):
        filled.unload("calls", format=Format.AVRO, compression=Compression.ZSTD)


def test_a_reader_of_the_old_file_keeps_it_whole(filled: Warehouse) -> None:
    filled.unload("calls")
    path = filled.out / "calls/2026/01/01/12/calls.parquet"
    before = path.read_bytes()
    with path.open("rb") as reader:
        filled.insert("marts.fct_calls", [call(NOON + 2, "late")])
        filled.unload("calls")
        assert reader.read() == before
    assert path.read_bytes() != before


def test_a_range_cannot_mix_layouts(filled: Warehouse) -> None:
    filled.unload("calls", "copy_variants")
    with pytest.raises(UserError, match="--layout full"):
        filled.unload("calls", start="2026-01-02", layout=Layout.SPLIT)
    filled.unload("copy_variants", layout=Layout.SPLIT)
    filled.unload("calls", layout=Layout.SPLIT)
    assert filled.manifest("calls")["layout"] == "split"
    assert all("vars" not in row for rows in filled.files("calls").values() for row in rows)


def test_a_range_cannot_mix_columns(filled: Warehouse) -> None:
    filled.unload("copy_metrics_daily")
    before = snapshot(filled.out)
    filled.execute("alter table marts.copy_metrics_daily add column sent bigint")
    with pytest.raises(UserError, match=r"other columns .*\(e\.g\. in 2026/01/02\): unload all of it once"):
        filled.unload("copy_metrics_daily", start="2026-01-01", end="2026-01-02", backfill=True)
    assert snapshot(filled.out) == before
    filled.unload("copy_metrics_daily", start="2026-01-01", end="2026-01-03")
    assert all("sent" in row for rows in filled.files("copy_metrics_daily").values() for row in rows)


def test_another_layout_leaves_datasets_without_text_alone(filled: Warehouse) -> None:
    named = ("copy_variants", "copy_metrics_daily")
    filled.unload(*named)
    before = snapshot(filled.out)
    filled.unload(*named, layout=Layout.SPLIT)
    # nor does a manifest of a copymart that noted the layout there
    manifest = filled.out / "copy_metrics_daily/_manifest.json"
    manifest.write_text(manifest.read_text().replace('"full"', '"split"'))
    told = {"copy_metrics_daily/_manifest.json"}
    filled.unload(*named)
    after = snapshot(filled.out)
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] != before[path]} == told


def test_the_record_tells_each_partition_once(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settlement that failed is tried again when the run ends."""
    monkeypatch.setattr(encode, "chunk_rows", lambda _: 1)
    monkeypatch.setattr("scripts.unload.engines.duckdb.SETTLE_SECONDS", -1)
    put = Folder.put
    manifests = []

    def fails_once(folder: Folder, key: str, body: bytes, replaces: str | None) -> str:
        if key.endswith("_manifest.json"):
            manifests.append(key)
            if len(manifests) == 2:
                raise UserError("500")
        return put(folder, key, body, replaces)

    monkeypatch.setattr(Folder, "put", fails_once)
    with pytest.raises(UserError, match="500"):
        filled.unload("calls")
    (record,) = (filled.out / "calls/_manifests").iterdir()
    told = [each["partition"] for each in json.loads(record.read_text())["written"]]
    assert told == sorted(set(told))
    assert told == [each["partition"] for each in filled.manifest("calls")["partitions"]]


def test_dry_run_writes_nothing_and_says_what_it_would(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.unload("calls", dry_run=True)
    assert not filled.out.exists()
    filled.unload("calls")
    before = snapshot(filled.out)
    filled.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")
    capsys.readouterr()
    filled.unload("calls", dry_run=True)
    assert snapshot(filled.out) == before
    printed = capsys.readouterr().out
    assert f"would delete {filled.out}/calls/2026/01/01/13/calls.parquet" in printed


def test_a_join_that_multiplies_rows_publishes_nothing(filled: Warehouse) -> None:
    filled.unload("deliveries")
    before = snapshot(filled.out)
    filled.insert("intermediate.int_copy_contents", [("h2", "t", '{"subject":"two, again"}')])
    with pytest.raises(UserError, match="other rows than the warehouse"):
        filled.unload("deliveries", backfill=True)
    assert snapshot(filled.out) == before


def test_leftovers_of_killed_runs_are_swept(filled: Warehouse) -> None:
    leftover = filled.out / ".staging-dead/2026/01/01/12"
    leftover.mkdir(parents=True)
    (leftover / "data_0.parquet").write_text("half a file")
    filled.unload("calls")
    assert not list(filled.out.glob(".staging-*"))


def test_two_runs_cannot_write_one_folder(filled: Warehouse) -> None:
    filled.out.mkdir()
    handle = os.open(filled.out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another unload"):
        filled.unload("calls")
    os.close(handle)
    filled.unload("calls")


def test_a_folder_with_quotes_and_spaces(filled: Warehouse) -> None:
    filled.out = filled.folder / "it's an export, größer"
    filled.unload("calls", "copy_variants")
    assert len(filled.rows("calls")) == len(CALLS)
    assert len(filled.rows("copy_variants")) == 2


def test_usage_errors_are_told_and_nothing_is_written(filled: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "a_file"
    file.write_text("")
    wrong: list[tuple[str, dict[str, object]]] = [
        ("there are calls, deliveries", {"dataset": "cals"}),
        ("not before", {"start": "2026-01-02", "end": "2026-01-02"}),
        ("not before", {"start": "2026-01-03", "end": "2026-01-02"}),
        ("--start yesterday is no time", {"start": "yesterday"}),
        ("--end 2026-01-01T10:30 is not a whole UTC hour", {"end": "2026-01-01T10:30"}),
        ("--start 9999-12-31T23 lies outside", {"start": "9999-12-31T23"}),
        ("is a file", {"to": file}),
        ("is a file", {"to": file / "below"}),
        ("give a folder, or s3://", {"to": "gs://bucket/prefix"}),
        ("write s3://bucket/prefix", {"to": "s3:///prefix"}),
        (r"'\[b' is no name of a bucket", {"to": "s3://[b/x"}),
        (r"write s3://bucket/prefix, or \./s3:/bucket/x", {"to": "s3:/bucket/x"}),
        (r"'\.\.' is no name between slashes", {"to": "s3://bucket/a/../b"}),
        ("'' is no name between slashes", {"to": "s3://bucket/a//b"}),
        (r"'\\x07' may not stand in it", {"to": "s3://bucket/a\ab"}),
        ("'#' may not stand in it", {"to": "s3://bucket/a#b"}),
        (r"'\?' may not stand in it", {"to": "s3://bucket/a?b"}),
        ("--part-size: S3 takes parts of", {"to": "s3://bucket", "part_size": "6G"}),
        ("home directory", {"to": "~nouser-of-this-name/x"}),
        ("File name too long", {"to": file.parent / ("x" * 300)}),
        ("lies outside the years", {"start": "0001-01-01T00:00+14:00"}),
        ("lies outside the years", {"end": "9999-12-31T23:00-14:00"}),
        ("belongs to a role", {"to": "s3://bucket", "session_name": "me"}),
        ("belongs to --sse aws:kms", {"to": "s3://bucket", "kms_key_id": "k"}),
        ("--max-file-size 5T", {"max_file_size": "5T"}),
        ("Snowflake writes to S3", {"target": "snowflake"}),
        ("--stage names a stage of Snowflake", {"stage": "S"}),
    ]
    for message, options in wrong:
        name = str(options.pop("dataset", "calls"))
        with pytest.raises(UserError, match=message):
            filled.unload(name, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--to is empty"):
        unload(to="", project_dir=filled.folder, profiles_dir=filled.folder)
    assert not filled.out.exists()


@pytest.mark.parametrize("where", ["settings", "config_options"])
def test_a_setting_that_duckdb_does_not_take_is_told(filled: Warehouse, where: str) -> None:
    profile = filled.folder / "profiles.yml"
    profile.write_text(
        profile.read_text().replace("schema: main}", f"schema: main, {where}: {{memory_limit: lots}}}}")
    )
    with pytest.raises(UserError, match=r"COPYMART_MEMORY_LIMIT is one: .*Memory must have a number"):
        filled.unload("calls")


def test_brackets_and_colons_in_names_are_printed_as_they_are(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are markup and emoji to the library that prints."""
    out = filled.folder / "[/x] [red]out :smile:"
    filled.unload("calls", to=out, dry_run=True)
    printed = capsys.readouterr().out
    assert printed.startswith(f"Dry run: nothing is written to {out}\n")
    assert f"would write {out}/calls/2026/01/01/12/calls.parquet (2 rows)" in printed
    filled.execute("delete from marts.dim_copy_variants")
    filled.unload(to=out)
    assert f"; {out}/copy_variants stays as it is" in capsys.readouterr().out


def test_what_cannot_be_read_there_is_told(filled: Warehouse) -> None:
    filled.unload("calls")
    manifest = filled.out / "calls/_manifest.json"
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*_manifest\.json: Is a directory"):
        filled.unload("calls")
    with pytest.raises(UserError, match=r"cannot read .*_manifest\.json: Is a directory"):
        verify(str(filled.out), project_dir=filled.folder, profiles_dir=filled.folder)
    shutil.rmtree(filled.out)
    filled.out.mkdir()
    (filled.out / "calls").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*calls: Not a directory"):
        filled.unload("calls")


def test_a_folder_that_another_run_sweeps_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sweeps what nobody holds, and may come between the making of a folder and the holding of it."""
    make, hold = tempfile.mkdtemp, engines._held
    made: list[Path] = []
    handles: list[Any] = []

    def made_and_swept(**options: Any) -> str:
        made.append(Path(make(**options)))
        if len(made) == 1:
            made[0].rmdir()
        if len(made) == 2:
            # the other run holds it while it sweeps
            handles.append(hold(made[1]))
            handles[0].__enter__()
        return str(made[-1])

    @contextmanager
    def held_too_late(folder: Path) -> Iterator[None]:
        with hold(folder):
            if len(made) == 3:
                folder.rmdir()
            yield

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_swept)
    monkeypatch.setattr(engines, "_held", held_too_late)
    with engines.staging_folder(tmp_path) as folder:
        assert folder == made[3] and folder.is_dir()
        with pytest.raises(BlockingIOError), hold(folder):
            pass
    handles[0].__exit__(None, None, None)
    assert not folder.exists()


def test_a_manifest_is_on_disk_before_it_takes_its_name(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    named: list[tuple[str, bool]] = []
    move, sync = os.replace, os.fsync

    def noted(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    def moved(source: Any, target: Any) -> None:
        named.append((Path(target).suffix, os.stat(source).st_ino in synced))
        move(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", moved)
    filled.unload("calls")
    assert sorted(named) == [(".json", True)] * 2 + [(".parquet", False)] * 4


def test_a_warehouse_without_marts_asks_for_a_build(filled: Warehouse) -> None:
    filled.execute("drop table marts.fct_calls; drop table intermediate.int_copy_contents")
    with pytest.raises(UserError, match=r"int_copy_contents, marts\.fct_calls: run `dbt build`"):
        filled.unload()
    filled.file.unlink()
    with pytest.raises(UserError, match="dbt build"):
        filled.unload()


def test_an_empty_mart_does_not_empty_an_export(filled: Warehouse) -> None:
    filled.unload("calls", "copy_variants")
    before = snapshot(filled.out)
    filled.execute("delete from marts.fct_calls; delete from marts.dim_copy_variants")
    for dataset in ("calls", "copy_variants"):
        with pytest.raises(UserError, match="nothing to unload"):
            filled.unload(dataset)
    with pytest.raises(UserError, match=r"no rows in marts\.fct_calls\."):
        filled.unload("deliveries", "calls")
    assert snapshot(filled.out) == before


SPANS = [{}, {"start": "2026-01-01"}]


@pytest.mark.parametrize("span", SPANS)
def test_an_empty_mart_is_skipped_when_no_dataset_is_named(
    filled: Warehouse, capsys: pytest.CaptureFixture[str], span: dict[str, str]
) -> None:
    """As when only events were landed: marts without rows stop neither the others nor empty an export."""
    filled.unload("copy_variants", "copy_metrics_daily")
    before = snapshot(filled.out / "copy_variants")
    filled.execute("delete from marts.dim_copy_variants")
    filled.insert("marts.copy_metrics_daily", [(date(2026, 1, 3), "c", 1)])
    filled.unload(dry_run=True, **span)
    filled.unload(**span)
    assert capsys.readouterr().out.count("skipped copy_variants: marts.dim_copy_variants has no rows") == 2
    assert snapshot(filled.out / "copy_variants") == before
    assert len(filled.files("copy_metrics_daily")) == 3
    assert filled.files("calls")


@pytest.mark.parametrize("span", SPANS)
def test_calls_without_rows_are_skipped(
    filled: Warehouse, capsys: pytest.CaptureFixture[str], span: dict[str, str]
) -> None:
    filled.unload("calls")
    before = snapshot(filled.out / "calls")
    filled.execute("delete from marts.fct_calls")
    filled.unload(**span)
    assert "skipped calls: marts.fct_calls has no rows" in capsys.readouterr().out
    assert snapshot(filled.out / "calls") == before
    assert filled.files("deliveries")


@pytest.mark.parametrize("span", SPANS)
def test_a_warehouse_of_empty_marts_has_nothing_to_unload(store: Warehouse, span: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"nothing to unload: no rows in marts\.fct_calls, .*out stays"):
        store.unload(**span)
    assert not store.out.exists()


def test_an_unwritable_folder_is_told(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(filled.out))

    # root may write anywhere, so the refusal is made by hand
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match=r"cannot write .*out: Permission denied"):
        filled.unload("calls")


def test_a_broken_file_outside_the_range_is_left_to_a_run_over_all(filled: Warehouse) -> None:
    filled.unload("calls")
    broken = filled.out / "calls/2026/01/01/12/calls.parquet"
    broken.write_text("junk")
    filled.unload("calls", start="2026-01-02")
    assert broken.read_text() == "junk"
    filled.unload("calls")
    assert len(filled.rows("calls")) == len(CALLS)


def start_unload(store: Warehouse, to: Path) -> subprocess.Popen[str]:
    """Start copymart unload and return once it has begun to write: importing takes most of a short run."""
    program = "from scripts.cli import main; main()"
    command = [sys.executable, "-c", program, "unload", "--dataset", "calls", "--to", str(to)]
    command += ["--project-dir", str(store.folder), "--profiles-dir", str(store.folder)]
    run = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 60
    while run.poll() is None and not list(to.glob(".staging-*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return run


def test_a_killed_run_leaves_whole_files_and_the_next_completes_it(store: Warehouse) -> None:
    store.execute(
        "insert into marts.fct_calls select 1767225600 + (i * 7919) % (400 * 3600), 'u' || i, 7, 41, "
        "'old' || i, 'c', 't', '{}', '{}', 'h1' from range(40000) as numbers(i)"
    )
    store.unload("calls")
    store.execute("update marts.fct_calls set journey_id = replace(journey_id, 'old', 'new')")
    undisturbed = start_unload(store, store.folder / "elsewhere")
    began = time.monotonic()
    assert undisturbed.wait() == 0
    duration = time.monotonic() - began
    chance = random.Random(5)
    outcomes = []
    for _ in range(4):
        run = start_unload(store, store.out)
        time.sleep(chance.uniform(0, 0.9 * duration))
        run.kill()
        outcomes.append(run.wait())
        files = store.files("calls")
        assert len(files) == 400
        assert sum(map(len, files.values())) == 40000
        for rows in files.values():
            # an hour is of one run or the other, never both
            assert len({str(row["journey_id"])[:3] for row in rows}) == 1
    assert set(outcomes) <= {0, -9}
    assert -9 in outcomes
    store.unload("calls")
    assert not list(store.out.glob(".staging-*"))
    with duckdb.connect(str(store.file)) as connection:
        expected = connection.execute("select * exclude (content_hash) from marts.fct_calls").fetchall()
    assert store.rows("calls") == sorted(expected, key=str)
    assert store.manifest("calls")["rows"] == 40000


TEXT = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6)
BIGINT = st.none() | st.integers(-(2**63), 2**63 - 1)
CALL = st.tuples(
    st.integers(NOON - 40 * HOUR, NOON + 40 * HOUR), TEXT, BIGINT, BIGINT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT
)
EDGE = st.none() | st.integers(-41, 41).map(lambda hours: (at(NOON) + timedelta(hours=hours)).isoformat())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse that the examples of one property share."""
    yield Warehouse(tmp_path_factory.mktemp("property"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALL, min_size=1, max_size=20), st.lists(CALL, max_size=20), EDGE, EDGE)
def test_files_hold_the_table_and_a_range_its_part(
    scratch: Warehouse,
    first: list[tuple[object, ...]],
    second: list[tuple[object, ...]],
    start: str | None,
    end: str | None,
) -> None:
    shutil.rmtree(scratch.out, ignore_errors=True)
    scratch.execute("delete from marts.fct_calls")
    scratch.insert("marts.fct_calls", first)
    scratch.unload("calls")
    assert scratch.rows("calls") == sorted((row[:9] for row in first), key=str)
    for path, rows in scratch.files("calls").items():
        hours = {at(int(str(row["event_timestamp"]))).strftime("%Y/%m/%d/%H") for row in rows}
        assert {f"{hour}/calls.parquet" for hour in hours} == {path}

    if (start and end and start >= end) or not (second or start or end):
        return
    scratch.execute("delete from marts.fct_calls")
    if second:
        scratch.insert("marts.fct_calls", second)
    scratch.unload("calls", start=start, end=end)

    def inside(row: tuple[object, ...]) -> bool:
        moment = at(int(str(row[0]))).isoformat()
        return (start is None or start <= moment) and (end is None or moment < end)

    expected = [row[:9] for row in first if not inside(row)] + [row[:9] for row in second if inside(row)]
    assert scratch.rows("calls") == sorted(expected, key=str)
