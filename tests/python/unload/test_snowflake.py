"""copymart unload and verify with a Snowflake target: an emulated Snowflake writes to moto over HTTP."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from snowflake.connector.cursor import SnowflakeCursor
from snowflake.connector.errors import ProgrammingError

from scripts import s3
from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.unload.datasets import DATASETS, Format, Layout
from scripts.unload.encode import Compression
from scripts.unload.engines.snowflake import Snowflake
from scripts.unload.engines.snowflake_files import Written, written_of
from scripts.unload.manifest import partition_of
from scripts.unload.places.base import LOCK
from scripts.warehouse import query_tag
from support.emulated_snowflake import connect
from support.fault_proxy import Kind, fault_proxy
from support.project import BIN
from support.s3_servers import ENVIRONMENT, UNSET, environment, moto
from support.s3_store import Store, expected, lock_of
from support.unload import HOUR, NOON, Warehouse, fill

TABLES = (
    *("marts.fct_calls", "marts.fct_deliveries", "marts.dim_copy_variants", "marts.copy_metrics_daily"),
    *("marts.copy_cohort_metrics_daily", "intermediate.int_copy_contents"),
    *("intermediate.int_partition_contents", "staging.consumed_batches"),
)
# What is a view, as dbt makes it, and the table below it.
STORED = {"marts.fct_calls": "staging.fct_calls"}
DATABASE = "COPYMART"
PROFILE = """
copymart:
  target: snowflake
  outputs:
    duckdb: {{type: duckdb, path: '{file}', schema: main}}
    snowflake: {{type: snowflake, account: emulated, user: someone, password: none, host: 127.0.0.1,
      port: {port}, protocol: http, database: {database}, schema: PROD, warehouse: W, role: R}}
"""


@dataclass
class Servers:
    """S3, a Snowflake that writes there, and a session of it with the rows that its tables hold."""

    endpoint: str
    port: int
    session: Any
    held: dict[str, list[tuple[str | None, ...]]]

    def run(self, statement: str) -> list[Any]:
        with self.session.cursor() as cursor:
            return list(cursor.execute(statement).fetchall())


@pytest.fixture(scope="module")
def servers(endpoint: str, port: int) -> Iterator[Servers]:
    made = Servers(endpoint, port, connect(port, DATABASE), {})
    for schema in ("marts", "intermediate", "staging"):
        made.run(f"create schema if not exists {schema}")
    yield made
    made.session.close()


class Twin(Store):
    """A warehouse on both engines with one bucket; `sync` brings Snowflake to what the DuckDB file holds."""

    def __init__(self, folder: Path, servers: Servers, name: str) -> None:
        super().__init__(fill(Warehouse(folder)), servers.endpoint, f"test-{name}")
        self.servers, self.run = servers, servers.run
        # the types that marts have and the small warehouse has not
        self.warehouse.execute(
            """
            alter table marts.copy_cohort_metrics_daily add column human_open_rate double;
            alter table marts.copy_cohort_metrics_daily add column is_control boolean;
            update marts.copy_cohort_metrics_daily set human_open_rate = 1 / 3, is_control = true
            where delivery_date = '2026-01-01'
            """
        )
        (folder / "dbt_project.yml").write_text(
            "name: copymart\nprofile: copymart\nvars: {production_schema: PROD}\n"
        )
        (folder / "profiles.yml").write_text(
            PROFILE.format(file=self.warehouse.file, port=servers.port, database=DATABASE)
        )
        self.run(f"create or replace stage staging.unload_s3 url = 's3://{self.bucket}/an/'")
        self.sync()

    def sync(self, *statements: str) -> None:
        """Run statements on the DuckDB file, and make Snowflake's tables anew that differ from it."""
        held = self.servers.held
        with duckdb.connect(str(self.warehouse.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            for table in TABLES:
                rows = sorted(
                    connection.execute(f"select columns(*)::varchar from {table}").fetchall(), key=str
                )
                if held.get(table) == rows:
                    continue
                columns = connection.execute(f"describe {table}").fetchall()
                made = ", ".join(
                    f"{name} {'number(38, 0)' if kind in ('HUGEINT', 'UBIGINT') else kind}"
                    for name, kind, *_ in columns
                )
                made = made.replace("TIMESTAMP", "timestamp_ntz")
                values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
                stored = STORED.get(table, table)
                self.run(f"create or replace table {stored} ({made})")
                self.run(f"insert into {stored} values {values}")
                if stored != table:
                    self.run(f"create or replace view {table} as select * from {stored}")
                held[table] = rows

    def change(self, table: str, *statements: str) -> None:
        """Run statements on a table of Snowflake alone; the next sync makes it anew."""
        self.servers.held.pop(table)
        for statement in statements:
            self.run(statement)

    def written(self) -> list[str]:
        """Keys of data without what tells one query's from another's."""
        return sorted(plain(key) for key in self.data_keys())


def literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def plain(key: str) -> str:
    return re.sub(r"data_[-0-9a-f]{36}_\d+_\d+_(\d+)", r"data_\1", key)


@pytest.fixture
def twin(
    tmp_path: Path,
    servers: Servers,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Twin:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Twin(tmp_path, servers, hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    made.spy(monkeypatch)
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that this process sends to Snowflake."""
    found: list[str] = []
    execute = SnowflakeCursor.execute

    def recorded(self: SnowflakeCursor, command: str, *arguments: Any, **options: Any) -> Any:
        found.append(command)
        return execute(self, command, *arguments, **options)

    monkeypatch.setattr(SnowflakeCursor, "execute", recorded)
    return found


def copies(sent: list[str]) -> list[str]:
    return [statement for statement in sent if statement.startswith("copy into")]


EDITS = (
    f"update marts.fct_calls set content_hash = 'h3' where event_timestamp = {NOON}",
    f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}",
    "insert into marts.fct_calls values "
    f"({NOON + 90 * HOUR}, 'u', 7, 41, 'new', 'c', 't', '{{}}', '{{}}', 'h1')",
)


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


def test_a_second_run_is_refused_by_the_lock(twin: Twin, sent: list[str]) -> None:
    lock_of(twin, 1000)
    with pytest.raises(UserError, match="another unload is writing to"):
        twin.unload("calls")
    assert copies(sent) == []
    assert twin.all_keys() == [LOCK]


def test_a_run_that_is_killed_is_finished_by_the_same_command(twin: Twin, tmp_path: Path) -> None:
    """Between the COPY and the manifest; the order of all else is that of test_unload_kills.py."""
    twin.unload("calls")
    old = twin.rows("calls")
    twin.sync(*EDITS)
    with fault_proxy(twin.endpoint) as proxy, (tmp_path / "log").open("w") as log:
        running: list[subprocess.Popen[bytes]] = []
        proxy.add(Kind.CALL_AFTER, f"GET /{twin.bucket}/.*/data_", call=lambda: running[0].kill())
        arguments = ("--dataset", "calls", "--to", twin.to, "--endpoint-url", proxy.address)
        folders = ("--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path))
        command = [str(BIN / "copymart"), "unload", *arguments, *folders]
        running.append(subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
        assert running[0].wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        proxy.wait_until_quiet()
    assert twin.rows("calls") == old
    assert len(twin.data_keys()) == 4 + 2
    lock_of(twin, -10)
    twin.unload("calls")
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
    assert LOCK not in twin.all_keys()
    assert twin.verify("calls", target="snowflake", deep=True) == 0


def test_a_file_that_cannot_be_read_back_is_not_published(twin: Twin) -> None:
    with fault_proxy(twin.endpoint) as proxy:
        proxy.add(Kind.DENIED, rf"(GET|HEAD) /{twin.bucket}/.*/01/13/data_", times=9)
        with pytest.raises(UserError, match=r"01/13/data_.*access denied"):
            twin.warehouse.unload("calls", to=twin.to, endpoint_url=proxy.address, concurrency=1)
    assert twin.rows("calls") == twin.listed_rows("calls") != expected(twin)
    assert LOCK not in twin.all_keys()
    twin.unload("calls")
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)


def test_other_rows_than_planned_are_not_published(twin: Twin) -> None:
    """dbt's hours and the mart agree in all, and not hour by hour: a build came between."""
    twin.unload("calls")
    before = {key: twin.body(key) for key in twin.all_keys()}
    twin.sync(*EDITS)
    twin.change(
        "intermediate.int_partition_contents",
        *(
            f"update intermediate.int_partition_contents set row_count = row_count + {more} "
            f"where dataset = 'calls' and partition_hour = '2026-01-{hour}:00:00'"
            for hour, more in (("01 12", 1), ("02 13", -1))
        ),
    )
    with pytest.raises(UserError, match=r"have other rows than the warehouse had .*2026/01/01/12"):
        twin.unload("calls")
    assert {key: twin.body(key) for key in twin.all_keys()} == before


def test_a_file_without_names_is_not_published(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "header = true")
    with pytest.raises(UserError, match=r"columns col1, col2.*should have \d+ of event_timestamp, user_id"):
        twin.unload("calls")
    assert twin.all_keys() == []


def test_an_answer_of_another_form_is_told(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        without(patch, "detailed_output = true")
        with pytest.raises(UserError, match="answered without file_name"):
            twin.unload("calls")
    # nobody knew which files it wrote: strays
    assert len(twin.data_keys()) == 4
    twin.unload("calls")
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)


def without(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    real = Snowflake.copy_statement
    monkeypatch.setattr(Snowflake, "copy_statement", lambda *arguments: real(*arguments).replace(option, ""))


def test_a_run_that_is_stopped_cancels_its_copy(
    twin: Twin, sent: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By ctrl-C or by SIGTERM, of which the command makes an exception alike."""

    def stopped(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(SnowflakeCursor, "get_results_from_sfqid", stopped)
        with pytest.raises(SystemExit):
            twin.unload("calls")
    told = re.search(r"cancelled ([-0-9a-f]{36}) on Snowflake", capsys.readouterr().out)
    assert told and f"select system$cancel_query('{told[1]}')" in sent
    # the emulated Snowflake had written all: strays now, and the lock is free
    assert len(twin.all_keys()) == len(twin.data_keys()) == 4
    twin.unload("calls")
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)


def test_what_a_killed_run_left_running_is_cancelled_first(
    twin: Twin, sent: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    tag = query_tag("unload", {"to": twin.to})
    twin.run(f"select 'left running', 'of-{twin.bucket}', {literal(tag)}")
    twin.run(f"select 'left running', 'elsewhere-{twin.bucket}', {literal(tag.replace('an/', 'no/'))}")
    twin.unload("calls")
    cancelled = [statement for statement in sent if "cancel_query" in statement]
    assert cancelled == [f"select system$cancel_query('of-{twin.bucket}')"]
    assert sent.index(cancelled[0]) < sent.index(copies(sent)[0])
    assert f"cancelled of-{twin.bucket}, which a run that was killed left" in capsys.readouterr().out
    assert faults(cancelled[0]) == []


def test_the_stage_must_lead_to_the_place(twin: Twin, sent: list[str]) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("does not lie below the URL of the stage .*UNLOAD_S3, s3://.*/an/", {"to": f"s3://{twin.bucket}/a"}),
        ("does not lie below the URL", {"to": f"s3://{twin.bucket}/another"}),
        ("there is no stage .*STAGING.OTHER", {"stage": "other"}),
        ("there is no stage ELSEWHERE.S.OTHER|Snowflake refused", {"stage": "elsewhere.s.other"}),
        ("is not a plain Snowflake name", {"stage": 'a"b c"'}),
        ("write NAME, SCHEMA.NAME or", {"stage": "a.b.c.d"}),
    ]
    for told, options in wrong:
        with pytest.raises(UserError, match=told):
            twin.warehouse.unload("calls", **{"to": twin.to, "endpoint_url": twin.endpoint} | options)
    assert copies(sent) == [] and twin.all_keys() == []
    twin.run(f"create stage marts.mine url = 's3://{twin.bucket}/an/export'")
    twin.unload("calls", stage="marts.mine")
    assert twin.rows("calls") == expected(twin)
    twin.run(f"create or replace stage marts.mine url = 's3://{twin.bucket}/an/export/else'")
    with pytest.raises(UserError, match="does not lie below"):
        twin.unload("calls", stage="marts.mine")


def test_files_that_go_to_another_server_are_missed(twin: Twin) -> None:
    with moto() as elsewhere:
        s3.client(endpoint_url=elsewhere).create_bucket(Bucket=twin.bucket)
        with pytest.raises(UserError, match=r"it is not at s3://.*another server than --endpoint-url"):
            twin.warehouse.unload("calls", to=twin.to, endpoint_url=elsewhere)


IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("--format avro: Snowflake unloads", {"format": Format.AVRO}),
    ("--compression zstd: Snowflake's Parquet takes snappy, none", {"compression": Compression.ZSTD}),
    ("--compression gzip", {"compression": Compression.GZIP}),
    ("--max-file-size: Snowflake writes files of at most", {"max_file_size": "6G"}),
    ("--sse is for files that this machine uploads", {"sse": "AES256"}),
    ("--kms-key-id is for", {"kms_key_id": "k"}),
    ("--acl is for", {"acl": "bucket-owner-full-control"}),
    ("--part-size is for", {"part_size": "64M"}),
    ("Snowflake writes to S3, by its external stage", {"to": "a/folder"}),
]


def test_options_that_snowflake_cannot_keep_are_refused(twin: Twin, sent: list[str]) -> None:
    for told, options in IMPOSSIBLE:
        with pytest.raises(UserError, match=re.escape(told)):
            twin.warehouse.unload("calls", **{"to": twin.to, "endpoint_url": twin.endpoint} | options)
    assert sent == []


def test_types_that_no_file_can_hold_are_refused(twin: Twin) -> None:
    mart = "marts.copy_metrics_daily"
    twin.change(
        mart,
        f"create or replace table {mart} (metric_date date, made_at timestamp_ltz)",
        f"insert into {mart} values ('2026-01-01', '2026-01-01 00:00:00')",
    )
    with pytest.raises(UserError, match=r"column made_at is of type TIMESTAMP_\w+, which cannot be unloaded"):
        twin.unload("copy_metrics_daily")


WRONG_COPIES = {
    "OVERWRITE = True": "overwrite = true",
    "SINGLE = True": "single = true",
    "INCLUDE_QUERY_ID = False": "include_query_id = false",
    "Maximum: 5368709120": "max_file_size = 5368709121",
}


def test_the_emulated_snowflake_refuses_what_the_documentation_does(twin: Twin) -> None:
    stage = f'"{DATABASE}"."STAGING"."UNLOAD_S3"'
    start = f"copy into '@{stage}/x/' from (select 1 as \"a\") "
    parquet_format = "file_format = (type = parquet)"
    for told, option in WRONG_COPIES.items():
        with pytest.raises(ProgrammingError, match=told):
            twin.run(f'{start} partition by (to_varchar("a")) {parquet_format} {option}')
    for wrong in (
        f"{start} file_format = (type = parquet compression = zstd)",
        f"{start} partition by (b) {parquet_format}",
        f"copy into '@{stage.replace('UNLOAD', 'NO')}/x/' from (select 1 as \"a\") {parquet_format}",
    ):
        with pytest.raises(ProgrammingError):
            twin.run(wrong)
    assert twin.all_keys() == []
    twin.run(f"{start} partition by (nullif('1', '1')) {parquet_format}")
    (key,) = [each["Key"] for each in twin.client.list_objects_v2(Bucket=twin.bucket)["Contents"]]
    assert re.fullmatch(r"an/x/__NULL__/data_[-0-9a-f]{36}_006_0_0\.snappy\.parquet", key)
    body = twin.client.get_object(Bucket=twin.bucket, Key=key)["Body"].read()
    schema = parquet.read_schema(io.BytesIO(body))
    assert [(field.name, field.type) for field in schema] == [("col1", pa.decimal128(38, 0))]


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
