"""Unloads by Snowflake that are stopped, killed or refused publish nothing that is not whole."""

import io
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from snowflake.connector.cursor import SnowflakeCursor
from snowflake.connector.errors import ProgrammingError

from scripts import s3
from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.unload.datasets import Format
from scripts.unload.encode import Compression
from scripts.unload.engines import snowflake as snowflake_engine
from scripts.unload.engines.snowflake import Snowflake
from scripts.unload.engines.snowflake_files import checked
from scripts.unload.places.base import LOCK
from scripts.warehouse import query_tag
from support.fault_proxy import Kind, fault_proxy
from support.project import BIN
from support.s3_servers import environment, moto
from support.s3_store import expected, lock_of
from support.twin import DATABASE, EDITS, Twin, copies, literal


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


def test_a_file_that_goes_before_it_is_read_back_is_told(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: Any) -> Any:
        there = checked(*arguments)
        (key,) = [key for key in there if "/01/13/data_" in key]
        twin.lose(f"calls/{key}")
        return there

    with monkeypatch.context() as patch:
        patch.setattr(snowflake_engine, "checked", lost)
        with pytest.raises(
            UserError, match=r"01/13/data_\S+, which Snowflake wrote, was deleted or replaced"
        ):
            twin.unload("calls")
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
    message = re.search(r"cancelled ([-0-9a-f]{36}) on Snowflake", capsys.readouterr().out)
    assert message and f"select system$cancel_query('{message[1]}')" in sent
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
    assert f"cancelled of-{twin.bucket}, which a killed run left" in capsys.readouterr().out
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
    for message, options in wrong:
        with pytest.raises(UserError, match=message):
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
    for message, options in IMPOSSIBLE:
        with pytest.raises(UserError, match=re.escape(message)):
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
    for message, option in WRONG_COPIES.items():
        with pytest.raises(ProgrammingError, match=message):
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
