"""What the files of an unload hold and where they lie, from a small warehouse made by hand."""

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import fastavro
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.errors import UserError
from scripts.unload.datasets import Format, Layout
from scripts.unload.encode import Compression
from support.quick import examples
from support.unload import CALLS, HOUR, NOON, Warehouse, at, call, snapshot

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


def test_avro_holds_the_record_with_maps_and_types(filled: Warehouse) -> None:
    filled.execute(
        "insert into intermediate.int_copy_contents values "
        '(\'h4\', \'t\', \'{"a":"x, \\"y\\"","b":41.5,"c":{"d":[1,2]},"e":true,"é":"ß"}\');'
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
    assert row["vars"] == {"a": 'x, "y"', "b": "41.5", "c": '{"d":[1,2]}', "e": "true", "é": "ß"}
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


@settings(
    max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
