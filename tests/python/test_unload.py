"""copymart unload against a small warehouse made by hand; no dbt build is needed."""

import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.errors import UserError
from scripts.unload import DATASETS, Layout, unload

ROOT = Path(__file__).parents[2]
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
HOUR = 3600
NOON = 1_767_268_800  # 2026-01-01 12:00 UTC

TABLES = """
create schema marts;
create schema intermediate;
create table marts.fct_calls (
    event_timestamp bigint, user_id varchar, campaign_id bigint, action_id bigint, journey_id varchar,
    copy_id varchar, template_id varchar, vars varchar, attrs varchar, content_hash varchar);
create table marts.fct_deliveries (
    delivery_key varchar, journey_id varchar, action_id bigint, campaign_id bigint, template_id varchar,
    copy_id varchar, content_hash varchar, user_id varchar, delivery_date date, first_called_at timestamp,
    last_called_at timestamp, call_count bigint, copy_conflict boolean, attrs varchar);
create table marts.dim_copy_variants (
    version_key varchar, copy_id varchar, version_number bigint, template_id varchar, content_hash varchar,
    subject varchar, preheader varchar, body varchar, vars varchar, change_type varchar,
    valid_from timestamp, valid_to timestamp, is_current boolean);
create table intermediate.int_copy_contents (content_hash varchar, template_id varchar, vars varchar);
create table marts.copy_metrics_daily (metric_date date, copy_id varchar, served bigint);
create table marts.copy_cohort_metrics_daily (delivery_date date, copy_id varchar, served bigint);
insert into intermediate.int_copy_contents
values ('h1', 't', '{"subject":"one"}'), ('h2', 't', '{"subject":"two"}');
"""


def call(timestamp: int, journey: str = "j", content: int = 1) -> tuple[object, ...]:
    """Return a row of fct_calls."""
    text = '{"subject":"one"}' if content == 1 else '{"subject":"two"}'
    return (timestamp, "u", 7, 41, journey, "c", "t", text, "{}", f"h{content}")


CALLS = [
    call(NOON, "a"),
    call(NOON + HOUR - 1, "b", 2),
    call(NOON + HOUR, "c"),
    call(NOON + 25 * HOUR, "d"),
    (NOON + 26 * HOUR, None, None, None, None, "c", "t", '{"subject":"one"}', '{"plan":"gröẞe"}', "h1"),
]


class Warehouse:
    """A DuckDB file with the marts' tables, its dbt project and the folder to unload to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "test.duckdb"
        self.out = folder / "out"
        (folder / "dbt_project.yml").write_text("name: copymart\nprofile: copymart\n")
        (folder / "profiles.yml").write_text(
            "copymart:\n  target: duckdb\n  outputs:\n"
            f"    duckdb: {{type: duckdb, path: '{self.file}', schema: main}}\n"
            "    snowflake: {type: snowflake, account: a, user: u, password: p, database: d, schema: s}\n"
        )
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(TABLES)

    def insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        """Put rows into a table."""
        with duckdb.connect(str(self.file)) as connection:
            connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)

    def execute(self, sql: str) -> None:
        """Run a statement on the file."""
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(sql)

    def unload(self, *datasets: str, to: Path | str | None = None, **options: object) -> None:
        """Run copymart unload here."""
        unload(
            to=str(to or self.out),
            dataset=list(datasets) or None,
            project_dir=self.folder,
            profiles_dir=self.folder,
            **options,  # type: ignore[arg-type]
        )

    def files(self, dataset: str) -> dict[str, list[dict[str, object]]]:
        """Return the rows of each file of a dataset by its path below the dataset's folder."""
        folder = self.out / dataset
        return {
            path.relative_to(folder).as_posix(): parquet.read_table(path).to_pylist()
            for path in sorted(folder.glob("**/*.parquet"))
        }

    def rows(self, dataset: str) -> list[tuple[object, ...]]:
        """Return all rows of a dataset's files, sorted."""
        return sorted((tuple(row.values()) for rows in self.files(dataset).values() for row in rows), key=str)

    def manifest(self, dataset: str) -> dict[str, object]:
        """Return a dataset's manifest."""
        return dict(json.loads((self.out / dataset / "_manifest.json").read_text()))


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    """An empty warehouse."""
    return Warehouse(tmp_path)


@pytest.fixture
def filled(store: Warehouse) -> Warehouse:
    """A warehouse with calls in four hours of two days, and something in every other mart."""
    store.insert("marts.fct_calls", CALLS)
    store.insert(
        "marts.fct_deliveries",
        [("k1", "j", 41, 7, "t", "c", "h2", "u", date(2026, 1, 1), at(NOON), at(NOON + 5), 2, False, "{}")],
    )
    store.insert(
        "marts.dim_copy_variants",
        [
            (
                "v1",
                "c",
                1,
                "t",
                "h1",
                "one",
                None,
                None,
                '{"subject":"one"}',
                "created",
                at(NOON),
                at(NOON + 9),
                False,
            ),
            (
                "v2",
                "c",
                2,
                "t",
                "h2",
                "two",
                None,
                None,
                '{"subject":"two"}',
                "edited",
                at(NOON + 9),
                None,
                True,
            ),
        ],
    )
    for mart in ("copy_metrics_daily", "copy_cohort_metrics_daily"):
        store.insert(f"marts.{mart}", [(date(2026, 1, 1), "c", 3), (date(2026, 1, 2), "c", 2)])
    return store


def at(timestamp: int) -> datetime:
    """Return unix seconds as a naive UTC time."""
    return datetime.fromtimestamp(timestamp, UTC).replace(tzinfo=None)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a folder with its time of change and bytes."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.glob("**/*")
        if path.is_file()
    }


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
    assert set(after) - set(before) == {"2026/01/01/14/calls.parquet"}
    untouched = set(before) & set(after) - {"_manifest.json"}
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
    filled.insert("marts.fct_calls", [call(NOON + 2, "late")])
    filled.unload("calls", start="2026-01-01T12", end="2026-01-01T13")
    manifest = filled.manifest("calls")
    partitions = manifest["partitions"]
    assert isinstance(partitions, list)
    files = {f"{entry['partition']}/calls.parquet": entry for entry in partitions}
    assert files.keys() == filled.files("calls").keys()
    for name, entry in files.items():
        path = filled.out / "calls" / name
        rows = filled.files("calls")[name]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        times = [row["event_timestamp"] for row in rows]
        assert entry == {
            "partition": name.removesuffix("/calls.parquet"),
            "file": name,
            "rows": len(rows),
            "bytes": path.stat().st_size,
            "sha256": sha256,
            "min_event_timestamp": min(times),  # type: ignore[type-var]
            "max_event_timestamp": max(times),  # type: ignore[type-var]
        }
    assert manifest["rows"] == len(CALLS) + 1
    assert (manifest["dataset"], manifest["schema_version"], manifest["layout"]) == ("calls", 1, "full")
    assert manifest["columns"][0] == {"name": "event_timestamp", "type": "BIGINT"}  # type: ignore[index]


def test_the_manifest_sees_files_that_changed_since(filled: Warehouse) -> None:
    filled.unload("calls")
    hours = [filled.out / f"calls/2026/01/{hour}/calls.parquet" for hour in ("01/12", "01/13", "02/13")]
    # As a run leaves a file that dies between publishing and its manifest: here of as many bytes as before.
    assert hours[1].stat().st_size == hours[2].stat().st_size
    shutil.copy(hours[2], hours[1])
    # And as a restored backup does: of an old time.
    shutil.copy(hours[2], hours[0])
    os.utime(hours[0], (0, 0))
    filled.unload("calls", start="2026-01-03")
    checksum = hashlib.sha256(hours[2].read_bytes()).hexdigest()
    entries = filled.manifest("calls")["partitions"]
    assert isinstance(entries, list)
    assert [(entry["rows"], entry["sha256"]) for entry in entries[:3]] == [(1, checksum)] * 3


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
        filled.unload("calls", start="2026-01-01", layout=Layout.SPLIT)
    filled.unload("copy_variants", layout=Layout.SPLIT)
    filled.unload("calls", layout=Layout.SPLIT)
    assert filled.manifest("calls")["layout"] == "split"
    assert all("vars" not in row for rows in filled.files("calls").values() for row in rows)


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
    assert f"would remove {filled.out}/calls/2026/01/01/13" in printed


def test_a_join_that_multiplies_rows_publishes_nothing(filled: Warehouse) -> None:
    filled.unload("deliveries")
    before = snapshot(filled.out)
    filled.insert("intermediate.int_copy_contents", [("h2", "t", '{"subject":"two, again"}')])
    with pytest.raises(UserError, match="other rows than the warehouse"):
        filled.unload("deliveries")
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
        ("not available yet", {"to": "s3://bucket/prefix"}),
        ("type snowflake", {"target": "snowflake"}),
    ]
    for message, options in wrong:
        name = str(options.pop("dataset", "calls"))
        with pytest.raises(UserError, match=message):
            filled.unload(name, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--to is empty"):
        unload(to="", project_dir=filled.folder, profiles_dir=filled.folder)
    assert not filled.out.exists()


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


def test_a_broken_file_outside_the_range_is_named(filled: Warehouse) -> None:
    filled.unload("calls")
    broken = filled.out / "calls/2026/01/01/12/calls.parquet"
    broken.write_text("junk")
    with pytest.raises(UserError, match=r"01/12/calls\.parquet is no readable Parquet file"):
        filled.unload("calls", start="2026-01-02")
    filled.unload("calls")
    assert len(filled.rows("calls")) == len(CALLS)


def start_unload(store: Warehouse, to: Path) -> subprocess.Popen[str]:
    """Start copymart unload and return once it has begun to write: importing takes most of a short run."""
    program = "from scripts.cli import main; main()"
    command = [sys.executable, "-c", program, "unload", "--dataset", "calls", "--to", str(to)]
    command += ["--project-dir", str(store.folder), "--profiles-dir", str(store.folder)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
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
