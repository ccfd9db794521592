"""Customer.io's warehouse sync: whose file it is, and what its columns become."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from scripts.land import records, transaction
from scripts.land.rules import Dataset
from scripts.land.sources import list_files, locate
from scripts.land.sync import by_table, table_of, versions
from support.land import land_path, landed, rejected, rows, state, warehouse
from support.quick import examples
from support.sync import OTHER_COLUMNS, TABLES, delivery, exports, metric, moment, write_export

DELIVERIES, METRICS, PEOPLE = (TABLES[table] for table in ("deliveries", "metrics", "people"))


@pytest.mark.parametrize(
    ("path", "table", "version", "sequence"),
    [
        ("attributes_v4_111528_241600000000311123.parquet", "attributes", 4, 241600000000311123),
        ("delivery_contents_v4_111528_1.parquet", "delivery_content", 4, 1),
        ("delivery_content_v4_111528_1.parquet", "delivery_content", 4, 1),
        ("Metrics_V12_111528_77.snappy.parquet", "metrics", 12, 77),
        ("metrics_v12_111528_77.snappy.parquet", "metrics", 12, 77),
        ("deliveries_v4_metrics_v2_people_5.parquet", "deliveries", 4, 5),
        ("deliveries_v4_acme.com_5.parquet", "deliveries", 4, 5),
        ("deliveries_v4_111528.parquet", "deliveries", 4, None),
        ("deliveries_v4_1_99999999999999999999.parquet", "deliveries", 4, None),
        ("deliveries.parquet", "deliveries", None, None),
        ("deliveries-2026-01-01.parquet", "deliveries", None, None),
        ("metrics/part-0.parquet", "metrics", None, None),
        ("metrics/2026/subjects_v4_1_2.parquet", "subjects", 4, 2),
        ("metrics/2026/part-0.parquet", "metrics", None, None),
        ("newsletters_v5_1_2.parquet", None, 5, 2),
        # the name says another table than the folder: it is not forced into the folder's
        ("metrics/newsletters_v5_1_2.parquet", None, 5, 2),
        ("my_deliveries.parquet", None, None, None),
        ("deliveries_of_metrics.parquet", None, None, None),
    ],
)
def test_the_prefix_says_the_table(
    path: str, table: str | None, version: int | None, sequence: int | None
) -> None:
    found = table_of(f"/sync/{path}", "/sync")
    assert (found and found.name) == (table and f"customerio_{table}")
    assert versions(f"/sync/{path}") == {"schema_version": version, "sequence": sequence}


def test_the_folder_that_was_named_may_be_a_table() -> None:
    found = table_of("/b/outputs/part-0.parquet", "/b/outputs")
    assert found and found.name == "customerio_outputs"


@settings(max_examples=examples(50), deadline=None, database=None)
@given(exports())
def test_a_row_is_the_same_whatever_its_writer(
    tmp_path_factory: pytest.TempPathFactory, export: tuple[Dataset, list[dict[str, Any]], dict[str, Any]]
) -> None:
    """Columns in any order, in types of any writer, some missing, some unknown."""
    dataset, given_rows, how = export
    folder = tmp_path_factory.mktemp("sync")
    how["others"] = {name: (values, OTHER_COLUMNS[name]) for name, values in how["others"].items()}
    arrays = {name: pa.array(values, kind) for name, (values, kind) in how["others"].items()}
    write_export(folder / "x_v6_1_9.parquet", dataset, given_rows, how["writers"], how["order"], arrays)
    outcome = land_path(CONNECTION, folder, dataset)
    assert not outcome.refused
    found = rows(
        CONNECTION, f"select * from staging.{dataset.name} where _file like '{folder}/%' order by _line"
    )
    assert (outcome.rows, outcome.rejected, len(found)) == (len(given_rows), Counter(), len(given_rows))
    fields = {column: field for column, _, field in dataset.typed}
    for number, (row, wanted) in enumerate(zip(found, given_rows, strict=True)):
        assert {column: row[column] for column in fields} == {
            column: wanted.get(field) for column, field in fields.items()
        }
        assert (row["schema_version"], row["sequence"]) == (6, 9)
        other = {
            name: str(values[number]) if name == "fault" else values[number]
            for name, (values, _) in how["others"].items()
            if values[number] is not None
        }
        assert (json.loads(row["other"]) if row["other"] else {}) == other
    plain = write_export(folder / "plain/x_v4_1_10.parquet", dataset, given_rows, order=how["order"])
    land_path(CONNECTION, plain, dataset)
    again = rows(
        CONNECTION,
        f"select content_hash, other from staging.{dataset.name} where _file = '{plain}' order by _line",
    )
    assert [row["content_hash"] for row in again] == [row["content_hash"] for row in found]
    assert all(row["other"] is None for row in again)


CONNECTION = warehouse()


def test_a_value_that_its_column_cannot_hold_is_kept_aside(tmp_path: Path) -> None:
    rows_of_file = [delivery(number) for number in range(6)]
    columns = {
        "campaign_id": pa.array([1.0, 2.5, 1e17, None, float("inf"), float("nan")]),
        "created_at": pa.array(["2026-01-01", "soon", "", None, "2026-02-30 10:00:00", " 1767268801 "]),
        "action_id": pa.array([True] * 6),
    }
    order = [field for field in rows_of_file[0] if field not in columns]
    write_export(
        tmp_path / "deliveries_v4_1_2.parquet", DELIVERIES, rows_of_file, order=order, others=columns
    )
    connection = warehouse()
    outcome = land_path(connection, tmp_path, DELIVERIES)
    found = landed(connection, DELIVERIES)
    assert [row["campaign_id"] for row in found] == [1, None, None, None, None, None]
    assert [row["created_at"] for row in found] == [
        *(moment(1_767_225_600), None, None, None, None, moment(1_767_268_801)),
    ]
    assert [json.loads(row["other"]) for row in found] == [
        {"action_id": True},
        {"campaign_id": 2.5, "created_at": "soon", "action_id": True},
        {"campaign_id": 1e17, "action_id": True},
        {"action_id": True},
        {"campaign_id": "inf", "created_at": "2026-02-30 10:00:00", "action_id": True},
        {"action_id": True},
    ]
    assert outcome.unknown == {
        str(tmp_path / "deliveries_v4_1_2.parquet"): {
            *("campaign_id (no whole number)", "created_at (no time)", "action_id (no whole number)")
        }
    }


@pytest.mark.parametrize("kind", [pa.decimal128(10, 2), pa.decimal128(38, 9), pa.decimal256(60, 2)], ids=str)
def test_an_id_of_a_decimal_column_has_no_zeros_behind_the_point(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = ["5.00", "-100", "0", "5.50", None]
    ids = pa.array([number and Decimal(number) for number in numbers]).cast(kind)
    keys = pa.array(["5.00", "-100.00", "0", "5.50", "6.0"])
    table = pa.table({"internal_customer_id": keys, "customer_id": ids})
    pq.write_table(table, tmp_path / "people_v4_1_2.parquet")
    connection = warehouse()
    land_path(connection, tmp_path, PEOPLE)
    found = landed(connection, PEOPLE)
    assert [row["customer_id"] for row in found] == ["5", "-100", "0", "5.5" + "0" * (kind.scale - 1), None]
    assert [row["internal_customer_id"] for row in found] == keys.to_pylist()


@pytest.mark.parametrize("kind", [pa.timestamp("ms"), pa.timestamp("us", "UTC"), pa.date32()], ids=str)
def test_a_time_that_no_timestamp_holds_is_kept_aside(tmp_path: Path, kind: pa.DataType) -> None:
    wide = pa.int32() if pa.types.is_date(kind) else pa.int64()
    most = 2 ** (wide.bit_width - 1) - 1
    # the vendor's "no value" is 1970; a date next to the last one is beyond all timestamps
    numbers = [20_000, most, -most, 0, None] + [most - 1] * pa.types.is_date(kind)
    keys = pa.array([str(number) for number in range(len(numbers))])
    times = pa.array(numbers, wide).cast(kind)
    table = pa.table({"internal_customer_id": keys, "created_at": times})
    pq.write_table(table, tmp_path / "people_v4_1_2.parquet")
    connection = warehouse()
    assert not land_path(connection, tmp_path, TABLES["people"]).refused
    found = rows(connection, "select created_at, other from staging.customerio_people order by _line")
    assert [row["created_at"] is not None for row in found] == [True] + [False] * (len(numbers) - 1)
    kept = [row["other"] and json.loads(row["other"])["created_at"] for row in found]
    assert kept[:5] == [None, "infinity", "-infinity", None, None]
    assert all(kept[5:])


def test_a_row_without_its_key_or_time_is_rejected(tmp_path: Path) -> None:
    given_rows = [
        metric(1),
        metric(2, event_id=None),
        metric(3, delivery_id=" "),
        metric(4, metric=None),
        metric(5, created_at=None),
        metric(6, created_at=moment(0)),
        metric(7, created_at=moment(1)),
        metric(8, created_at=moment(4_102_444_800)),
    ]
    path = write_export(tmp_path / "metrics_v4_1_2.parquet", METRICS, given_rows)
    write_export(
        tmp_path / "metrics_v4_1_3.parquet",
        METRICS,
        [metric(9)],
        order=["event_id", "delivery_id", "metric"],
        others={"created_at": pa.array(["no time"])},
    )
    connection = warehouse()
    land_path(connection, tmp_path, METRICS)
    assert [row["event_id"] for row in landed(connection, METRICS)] == ["e1"]
    rejects = rejected(connection, METRICS)
    assert [(line, reason) for line, _, reason in rejects] == [
        (2, "missing_event_id"),
        (3, "missing_delivery_id"),
        (4, "missing_metric"),
        (5, "missing_created_at"),
        (6, "missing_created_at"),
        (7, "created_at_out_of_bounds"),
        (8, "created_at_out_of_bounds"),
        (1, "bad_created_at"),
    ]
    assert json.loads(rejects[3][1]) == {
        "event_id": "e5",
        "workspace_id": 111528,
        "delivery_id": "d5",
        "metric": "opened",
        "seq_num": 5,
    }
    counts = "select row_count, reject_count from staging.landed_files where file = ?"
    assert connection.execute(counts, [str(path)]).fetchall() == [(1, 7)]


def test_bytes_that_are_no_text_reject_their_row(tmp_path: Path) -> None:
    broken = pa.array([b"ok", b"Gr\xc3"], pa.binary()).view(pa.string())
    write_export(
        tmp_path / "metrics_v4_1_2.parquet", METRICS, [metric(1), metric(2)], others={"agent": broken}
    )
    connection = warehouse()
    land_path(connection, tmp_path, METRICS)
    assert [(line, reason) for line, _, reason in rejected(connection, METRICS)] == [(2, "invalid_utf8")]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"event_id": ["e"], "metric": ["sent"]}, "lacks the columns delivery_id, created_at"),
        (
            {"event_id": ["e"], "EVENT_ID": ["e"], "delivery_id": ["d"], "metric": ["m"], "created_at": [1]},
            "EVENT_ID, event_id more than once",
        ),
    ],
)
def test_a_file_without_its_columns_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], reason: str
) -> None:
    write_export(
        tmp_path / "a.parquet", METRICS, [], order=[], others={k: pa.array(v) for k, v in columns.items()}
    )
    write_export(tmp_path / "b.parquet", METRICS, [metric(1)])
    outcome = land_path(warehouse(), tmp_path, METRICS)
    assert ([Path(uri).name for uri, _ in outcome.refused], outcome.rows) == (["a.parquet"], 1)
    assert reason in outcome.refused[0][1]


def test_other_formats_are_refused_and_other_tables_left_out(tmp_path: Path) -> None:
    (tmp_path / "people_v4_1_2.jsonl").write_text('{"internal_customer_id": "p"}\n')
    (tmp_path / "people_v4_1_2.csv").write_text("internal_customer_id\n")
    write_export(tmp_path / "newsletters_v4_1_2.parquet", METRICS, [metric(1)])
    location = locate(str(tmp_path))
    tables, others = by_table(location, list_files(location))
    assert {dataset.name: [Path(file.uri).name for file in files] for dataset, files in tables.items()} == {
        "customerio_people": ["people_v4_1_2.jsonl"]
    }
    assert [Path(file.uri).name for file in others] == ["newsletters_v4_1_2.parquet", "people_v4_1_2.csv"]
    outcome = land_path(warehouse(), tmp_path / "people_v4_1_2.jsonl", PEOPLE)
    assert "writes Parquet" in outcome.refused[0][1]


def test_a_file_that_changed_replaces_its_rows_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "deliveries_v4_1_2.parquet"
    connection = warehouse()
    write_export(path, DELIVERIES, [delivery(1), delivery(2)])
    land_path(connection, path, DELIVERIES)
    assert land_path(connection, path, DELIVERIES).unchanged == 1
    write_export(path, DELIVERIES, [delivery(2), delivery(3)])
    land_path(connection, path, DELIVERIES)
    assert [row["delivery_id"] for row in landed(connection, DELIVERIES)] == ["d2", "d3"]
    removed = rows(
        connection,
        "select * exclude (batch_id), batch_id = (select max(batch_id) from staging.landed_batches) as last "
        "from staging.customerio_deliveries_removed order by delivery_id",
    )
    assert removed == [
        {"delivery_id": f"d{n}", "subject_id": f"j{n}", "internal_customer_id": f"c{n}", "last": True}
        for n in (1, 2)
    ]


def test_a_large_file_that_breaks_off_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are inserted as they come, in one transaction."""
    monkeypatch.setattr(records, "PIECE_BYTES", 100_000)
    before, after = (tmp_path / f"metrics_v4_1_{number}.parquet" for number in (1, 2))
    write_export(before, METRICS, [metric(1)])
    write_export(after, METRICS, [metric(number) for number in range(40_000)])
    connection = warehouse()
    land_path(connection, before, METRICS)
    check = transaction.Batch._check
    parts: list[int] = []

    def break_off(batch: Any, *arguments: Any) -> None:
        parts.append(batch.part)
        if len(parts) == 3:
            raise KeyboardInterrupt
        check(batch, *arguments)

    monkeypatch.setattr(transaction.Batch, "_check", break_off)
    with pytest.raises(KeyboardInterrupt):
        land_path(connection, tmp_path, METRICS)
    assert len(landed(connection, METRICS)) == 1
    monkeypatch.setattr(transaction.Batch, "_check", check)
    assert land_path(connection, tmp_path, METRICS).rows == 40_000
    fresh = warehouse()
    land_path(fresh, tmp_path, METRICS)
    assert state(connection) == state(fresh)
