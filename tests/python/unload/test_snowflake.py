"""copymart unload and verify with a Snowflake target: an emulated Snowflake writes to moto over HTTP."""

import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.unload.datasets import DATASETS, Layout
from scripts.unload.encode import Compression
from scripts.unload.engines.snowflake_files import Written, written_of
from scripts.unload.manifest import partition_of
from scripts.unload.places.base import LOCK
from support.s3_store import expected
from support.twin import EDITS, Twin, copies, plain
from support.unload import NOON


def test_an_export_and_what_changes_of_it(twin: Twin, sent: list[str]) -> None:
    twin.unload()
    assert len(twin.data_keys()) == 4 + 1 + 1 + 2 + 2
    assert {key.partition("/")[0] for key in twin.all_keys()} == set(DATASETS)
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
    assert len(copies(sent)) == len(DATASETS)
    assert LOCK not in twin.all_keys()
    assert twin.verify(deep=True, target="snowflake") == 0
    # nothing changed: Snowflake writes nothing, and here the lock is all that is written
    before = twin.all_keys()
    sent.clear()
    twin.unload()
    assert copies(sent) == []
    assert twin.all_keys() == before
    assert {params["Key"] for name, params in twin.sent if name == "PutObject"} == {f"an/export/{LOCK}"}
    # an edited hour, a new one and one whose only row went
    twin.sync(*EDITS)
    assert twin.verify("calls", target="snowflake") == 1
    twin.unload()
    assert len(copies(sent)) == 1
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
    manifest = twin.manifest("calls")
    record = json.loads(twin.body(f"calls/_manifests/{manifest['run_id']}.json"))
    assert [each["partition"] for each in record["written"]] == ["2026/01/01/12", "2026/01/05/06"]
    assert record["removed"] == ["2026/01/01/13"]
    # what was replaced goes too: Snowflake's names are new ones each time
    assert [plain(key).rpartition("/")[0] for key in record["deleted"]] == ["2026/01/01/12", "2026/01/01/13"]
    assert set(record["deleted"]) < {key.removeprefix("calls/") for key in before}
    assert twin.verify("calls", "deliveries", deep=True, target="snowflake") == 0
    # of statements that differ in values one
    forms = {re.sub(r"'[^']*'|\d+", "", statement): statement for statement in sent}
    wrong = {statement: faults(statement) for statement in forms.values()}
    assert {statement: refused for statement, refused in wrong.items() if refused} == {}


# What Parquet of Snowflake has otherwise: times in milliseconds, which are whole seconds here.
SAME_TYPE = {pa.timestamp("us"): pa.timestamp("ms")}


@pytest.mark.parametrize(
    ("layout", "datasets"),
    [(Layout.FULL, tuple(DATASETS)), (Layout.SPLIT, ("calls", "deliveries"))],
    ids=list(Layout),
)
def test_files_hold_what_those_of_duckdb_do(twin: Twin, layout: Layout, datasets: tuple[str, ...]) -> None:
    twin.unload(*datasets, layout=layout)
    twin.warehouse.unload(*datasets, layout=layout, target="duckdb")
    for dataset in datasets:
        assert twin.rows(dataset) == twin.warehouse.rows(dataset) != []
        ours, theirs = twin.manifest(dataset), twin.warehouse.manifest(dataset)
        assert ours["engine"] == "snowflake" and theirs["engine"] == "duckdb"
        compared = ("partition", "rows", "min_event_timestamp", "max_event_timestamp")
        assert [[each[name] for name in compared] for each in ours["partitions"]] == [
            [each[name] for name in compared] for each in theirs["partitions"]
        ]
        for one, other in zip(ours["partitions"], theirs["partitions"], strict=True):
            schema = parquet.read_schema(io.BytesIO(twin.body(f"{dataset}/{one['files'][0]['key']}")))
            path = twin.warehouse.out / dataset / other["files"][0]["key"]
            wanted = [
                (field.name, SAME_TYPE.get(field.type, field.type)) for field in parquet.read_schema(path)
            ]
            assert [(field.name, field.type) for field in schema] == wanted
    # the hashes that dbt keeps of hours are alike on both engines, those of days are not compared
    assert twin.verify(target="duckdb") == 0


def test_an_engine_takes_over_from_the_other(twin: Twin, sent: list[str]) -> None:
    twin.unload("calls", "copy_variants", target="duckdb")
    of_duckdb = set(twin.data_keys())
    with pytest.raises(UserError, match="a --target on duckdb, or change all of it by leaving out --start"):
        twin.unload("calls", start="2026-01-02")
    assert copies(sent) == []
    twin.unload("calls", "copy_variants")
    assert len(twin.data_keys()) == len(of_duckdb)
    assert of_duckdb.isdisjoint(twin.data_keys())
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
    assert twin.verify(deep=True, target="snowflake") == 0
    twin.unload("calls", "copy_variants", target="duckdb")
    assert set(twin.data_keys()) == of_duckdb
    assert twin.verify(deep=True, target="duckdb") == 0


def test_a_range_a_backfill_and_days(twin: Twin, sent: list[str]) -> None:
    chosen = ("calls", "copy_metrics_daily", "copy_variants")
    twin.unload("calls", start="2026-01-02")
    assert twin.written() == [f"calls/2026/01/02/{hour}/data_0.snappy.parquet" for hour in (13, 14)]
    twin.unload(*chosen)
    before = set(twin.data_keys())
    twin.unload("calls", backfill=True, start="2026-01-01", end="2026-01-01T13")
    assert [plain(key) for key in set(twin.data_keys()) - before] == [
        "calls/2026/01/01/12/data_0.snappy.parquet"
    ]
    assert len(twin.data_keys()) == len(before)
    # a null and an empty text are two, and one day's change is that day's
    for value in ("null", "''"):
        before = set(twin.data_keys())
        twin.sync(f"update marts.copy_metrics_daily set copy_id = {value} where metric_date = '2026-01-02'")
        twin.unload(*chosen)
        assert [plain(key) for key in set(twin.data_keys()) - before] == [
            "copy_metrics_daily/2026/01/02/data_0.snappy.parquet"
        ]
    twin.sync("update marts.dim_copy_variants set valid_to = null")
    sent.clear()
    twin.unload(*chosen)
    assert [re.findall(r"export/(\w+)/", statement) for statement in copies(sent)] == [["copy_variants"]]
    assert twin.rows("copy_variants") == twin.listed_rows("copy_variants")


def test_large_partitions_are_several_files(twin: Twin) -> None:
    twin.sync(
        "insert into marts.fct_calls select event_timestamp + i, md5(i::varchar), "
        "calls.* exclude (event_timestamp, user_id) from marts.fct_calls as calls, range(1, 60) as t(i) "
        f"where event_timestamp = {NOON}"
    )
    twin.unload("calls", max_file_size="4k", compression=Compression.NONE)
    parts = [key for key in twin.data_keys() if "/01/01/12/" in key]
    assert len(parts) > 1
    assert all(re.search(r"_\d\.parquet$", key) for key in twin.data_keys())
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
    assert twin.verify("calls", deep=True, target="snowflake") == 0


def test_verify_reads_rows_and_not_only_hashes(twin: Twin) -> None:
    twin.unload("deliveries")
    twin.sync("""update intermediate.int_copy_contents set vars = '{"subject":"other"}'""")
    assert twin.verify("deliveries", target="snowflake") == 0
    assert twin.verify("deliveries", target="snowflake", deep=True) == 1
    (key,) = twin.data_keys()
    twin.put(key, twin.body(key)[::-1])
    assert twin.verify("deliveries", target="snowflake") == 1


def test_dry_run_changes_nothing(twin: Twin, sent: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    twin.unload("calls")
    twin.sync(*EDITS)
    before, _ = twin.all_keys(), sent.clear()
    capsys.readouterr()
    twin.unload("calls", dry_run=True)
    assert copies(sent) == [] and twin.writes() == [] and twin.all_keys() == before
    printed = [plain(line) for line in capsys.readouterr().out.splitlines() if line.startswith("would")]
    assert printed == [
        f"would write {twin.to}/calls/2026/01/01/12/data_*.parquet (2 rows)",
        f"would write {twin.to}/calls/2026/01/05/06/data_*.parquet (1 rows)",
        f"would delete {twin.to}/calls/2026/01/01/12/data_0.snappy.parquet",
        f"would delete {twin.to}/calls/2026/01/01/13/data_0.snappy.parquet",
    ]


QUERY = "019c059d-0502-d90c-0000-438300ad6596"


@pytest.mark.parametrize(
    ("dataset", "key", "partition"),
    [
        ("calls", f"2026/01/01/12/data_{QUERY}_006_4_0.snappy.parquet", "2026/01/01/12"),
        ("calls", f"2026/01/01/12/data_{QUERY}_01_0_0.parquet", "2026/01/01/12"),
        ("copy_metrics_daily", f"2026/01/01/data_{QUERY}_006_4_0.snappy.parquet", "2026/01/01"),
        ("copy_variants", f"data_{QUERY}_0_0_0.snappy.parquet", ""),
        ("calls", f"__NULL__/data_{QUERY}_006_4_0.snappy.parquet", None),
        ("calls", f"2026/01/01/data_{QUERY}_006_4_0.snappy.parquet", None),
        ("calls", "2026/01/01/12/data_0_0_0.snappy.parquet", None),
        ("calls", f"2026/01/01/12/data_{QUERY}_006_4_0.csv.gz", None),
        ("calls", f"2026/01/01/12/mine_{QUERY}_006_4_0.parquet", None),
    ],
)
def test_names_that_snowflake_gives_are_known(dataset: str, key: str, partition: str | None) -> None:
    assert partition_of(DATASETS[dataset], key) == partition


@pytest.mark.parametrize("before", ["", "calls/", "an/export/calls/", "s3://bucket/an/export/calls/"])
def test_wherever_the_names_of_files_begin_they_are_known(before: str) -> None:
    """The documentation says "the path and name for each file", and not from where."""
    key = f"2026/01/01/12/data_{QUERY}_006_4_0.snappy.parquet"
    answer = {"file_name": before + key, "file_size": 7, "row_count": 3}
    assert written_of(DATASETS["calls"], [answer]) == [Written(key, 3)]
