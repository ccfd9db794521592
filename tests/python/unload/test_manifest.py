"""What a run writes, keeps and removes, by the manifest at the place."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from scripts.errors import UserError
from scripts.unload import encode
from scripts.unload.datasets import Format, Layout
from scripts.unload.places.folder import Folder
from support.unload import CALLS, HOUR, NOON, Warehouse, call, snapshot


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


def edit_first(warehouse: Warehouse, **fields: object) -> None:
    """Change the first partition of the manifest, and its first file where a field is named so."""
    path = warehouse.out / "calls/_manifest.json"
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
        {"rows": float("inf")},
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
    # the run's id gives the age of what is not there
    (filled.out / "calls/2026/01/01/12/calls.parquet").unlink()
    filled.unload("calls")
    assert [victim.read_text() for victim in victims] == ["precious", "precious"]
    assert filled.manifest("calls")["rows"] == len(CALLS)
    assert len(filled.files("calls")) == 4


def edit_manifest(
    warehouse: Warehouse, edit: Callable[[dict[str, Any]], object], dataset: str = "calls"
) -> None:
    path = warehouse.out / dataset / "_manifest.json"
    said = json.loads(path.read_text())
    edit(said)
    path.write_text(json.dumps(said))


@pytest.mark.parametrize("size", ["1k", "512M"])
def test_a_partition_whose_entry_lost_a_file_is_written_again(filled: Warehouse, size: str) -> None:
    """The file, which nothing names then, is deleted: its rows must come back."""
    filled.unload("calls", max_file_size=size)
    edit_manifest(filled, lambda said: said["partitions"][0]["files"].pop())
    filled.unload("calls", max_file_size=size)
    assert len(filled.rows("calls")) == len(CALLS)
    entry = filled.manifest("calls")["partitions"][0]
    assert sum(file["rows"] for file in entry["files"]) == entry["rows"] == 2


def test_columns_that_the_hash_belies_are_not_believed(filled: Warehouse) -> None:
    filled.unload("calls")
    before = filled.manifest("calls")["columns"]
    edit_manifest(filled, lambda said: said["columns"].pop())
    filled.unload("calls")
    assert filled.manifest("calls")["columns"] == before


def test_times_that_are_no_numbers_are_not_believed(filled: Warehouse) -> None:
    filled.unload("calls", max_file_size="1k")
    path = filled.out / "calls/_manifest.json"
    said = json.loads(path.read_text())
    first, second = said["partitions"][0]["files"]
    first["max_event_timestamp"] = "soon"
    path.write_text(json.dumps(said))
    filled.insert("marts.fct_calls", [call(NOON + 200 * HOUR, "new")])
    filled.unload("calls", max_file_size="1k")
    assert filled.manifest("calls")["rows"] == len(CALLS) + 1
    assert filled.manifest("calls")["partitions"][0]["max_event_timestamp"] == second["max_event_timestamp"]


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
    message = r"calls: 29 of 35 partitions there have no rows in the warehouse \(e\.g\. 2026/01/01/12\)"
    for options in ({}, {"dry_run": True}):
        with pytest.raises(UserError, match=message):
            filled.unload("calls", **options)
    with pytest.raises(UserError, match=r"25 of 25 partitions.*give --backfill"):
        filled.unload("calls", start="2026-01-04", end="2026-01-09")
    assert snapshot(filled.out) == before
    # 24 hours of a range may go
    filled.unload("calls", start="2026-01-05T17", end="2026-01-09")
    assert len(filled.files("calls")) == 35 - 24
    filled.unload("calls", backfill=True)
    assert len(filled.files("calls")) == 6


@pytest.mark.parametrize("text", [None, "{", '{"manifest_version": 1}'])
def test_nor_does_one_whose_manifest_is_lost_or_older(filled: Warehouse, text: str | None) -> None:
    filled.execute(
        f"insert into marts.fct_calls select {NOON} + (100 + n) * {HOUR}, 'u', 7, 41, 'j', 'c', 't', "
        "'{}', '{}', 'h1' from range(25) as numbers(n)"
    )
    filled.unload("calls")
    filled.execute(f"delete from marts.fct_calls where event_timestamp >= {NOON + 100 * HOUR}")
    manifest = filled.out / "calls/_manifest.json"
    manifest.write_text(text) if text else manifest.unlink()
    before = snapshot(filled.out)
    with pytest.raises(UserError, match=r"calls: 25 of 29 partitions there have no rows.*give --backfill"):
        filled.unload("calls")
    assert snapshot(filled.out) == before
    filled.unload("calls", backfill=True)
    assert len(filled.files("calls")) == 4


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
    expected = {"copy_metrics_daily/_manifest.json"}
    filled.unload(*named)
    after = snapshot(filled.out)
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] != before[path]} == expected


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
    expected = [each["partition"] for each in json.loads(record.read_text())["written"]]
    assert expected == sorted(set(expected))
    assert expected == [each["partition"] for each in filled.manifest("calls")["partitions"]]


def test_a_broken_file_outside_the_range_is_left_to_a_run_over_all(filled: Warehouse) -> None:
    filled.unload("calls")
    broken = filled.out / "calls/2026/01/01/12/calls.parquet"
    broken.write_text("junk")
    filled.unload("calls", start="2026-01-02")
    assert broken.read_text() == "junk"
    filled.unload("calls")
    assert len(filled.rows("calls")) == len(CALLS)
