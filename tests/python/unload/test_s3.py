"""copymart unload and verify on S3, against moto's server on 127.0.0.1; faults are in other files."""

import hashlib
import io
import json
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pytest

from scripts.errors import UserError
from scripts.unload import command as unload_module
from scripts.unload import encode as encode_module
from scripts.unload import publish
from scripts.unload.datasets import DATASETS, Format, Layout
from scripts.unload.engines import duckdb as duckdb_engine
from scripts.unload.places.base import LOCK
from scripts.unload.places.open import LEAST_PART_SIZE
from support.s3_store import WRITES, Store, expected, lock_of, refuse_if_match
from support.unload import CALLS, HOUR, NOON, call


def test_an_export_and_what_changes_of_it(store: Store) -> None:
    assert len(store.unload()) == 4 + 1 + 1 + 2 + 2
    assert store.rows("calls") == store.listed_rows("calls") == expected(store)
    assert set(store.data_keys()) < set(store.all_keys())
    assert LOCK not in store.all_keys()
    assert {key.partition("/")[0] for key in store.all_keys()} == set(DATASETS)
    # nothing changed: the lock is all that was written
    assert store.unload() == []
    assert {params["Key"] for name, params in store.sent if name == "PutObject"} == {f"an/export/{LOCK}"}
    # an edited hour, a new one and one whose only row went
    store.warehouse.execute(
        f"update marts.fct_calls set content_hash = 'h3' where event_timestamp = {NOON};"
        f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}"
    )
    store.warehouse.insert("marts.fct_calls", [call(NOON + 90 * HOUR, "new")])
    assert store.unload() == ["calls/2026/01/01/12/calls.parquet", "calls/2026/01/05/06/calls.parquet"]
    assert "calls/2026/01/01/13/calls.parquet" not in store.all_keys()
    assert store.rows("calls") == store.listed_rows("calls") == expected(store)
    manifest = store.manifest("calls")
    record = json.loads(store.body(f"calls/_manifests/{manifest['run_id']}.json"))
    assert [each["partition"] for each in record["written"]] == ["2026/01/01/12", "2026/01/05/06"]
    assert record["removed"] == ["2026/01/01/13"]
    assert record["deleted"] == ["2026/01/01/13/calls.parquet"]
    assert store.verify(deep=True) == 0


def test_a_range_and_a_backfill(store: Store) -> None:
    assert store.unload("calls", start="2026-01-02") == [
        f"calls/2026/01/02/{hour}/calls.parquet" for hour in (13, 14)
    ]
    assert len(store.unload("calls")) == 2
    assert store.unload("calls", backfill=True, start="2026-01-01", end="2026-01-01T13") == [
        "calls/2026/01/01/12/calls.parquet"
    ]
    store.warehouse.execute(f"delete from marts.fct_calls where event_timestamp >= {NOON + HOUR}")
    store.unload("calls", backfill=True, start="2026-01-02T14")
    assert len(store.data_keys()) == 3
    store.unload("calls")
    assert store.data_keys() == ["calls/2026/01/01/12/calls.parquet"]


def test_objects_come_first_then_the_manifest_then_deletions(store: Store) -> None:
    store.unload("calls")
    store.warehouse.execute(
        f"update marts.fct_calls set user_id = 'x' where event_timestamp = {NOON};"
        f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}"
    )
    store.unload("calls")
    steps = [
        (
            name,
            params.get("Key", "").removeprefix("an/export/"),
            params.get("IfMatch") or params.get("IfNoneMatch"),
        )
        for name, params in store.sent
        if name in WRITES and params.get("Key") != f"an/export/{LOCK}"
    ]
    names = [(name, key) for name, key, _ in steps]
    assert names[0] == ("PutObject", "calls/2026/01/01/12/calls.parquet")
    assert names[1][1].startswith("calls/_manifests/")
    assert names[2:4] == [("PutObject", "calls/_manifest.json"), ("DeleteObjects", "")]
    assert steps[1][2] == "*"
    assert steps[2][2] is not None and steps[2][2] != "*"


def test_parts_replace_one_object_and_back(store: Store) -> None:
    for number in range(40):
        store.warehouse.insert("marts.fct_calls", [call(NOON + number, f"{number * 7919:x}" * 20)])
    store.unload("calls")
    store.unload("calls", backfill=True, max_file_size="2k")
    parts = [key for key in store.data_keys() if "/01/12/" in key]
    assert len(parts) > 1
    assert "calls/2026/01/01/12/calls.parquet" not in parts
    assert store.rows("calls") == store.listed_rows("calls") == expected(store)
    assert store.verify(deep=True) == 0
    store.unload("calls", backfill=True)
    assert store.rows("calls") == store.listed_rows("calls") == expected(store)
    assert len(store.data_keys()) == 4


def test_large_files_go_up_in_parts(store: Store) -> None:
    place = store.bucket_place(part_size=LEAST_PART_SIZE)
    path = store.warehouse.folder / "large"
    path.write_bytes(bytes(range(256)) * 50_000)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    etag = place.put_file("large", path, sha256)
    # S3 writes the number of parts behind the etag
    assert etag.endswith("-3")
    assert place.list("large")[0].etag == etag
    assert store.body("large") == path.read_bytes()
    head = store.client.head_object(Bucket=store.bucket, Key="an/export/large")
    assert head["Metadata"]["sha256"] == sha256


def test_strays_and_unfinished_uploads_of_killed_runs_go(store: Store) -> None:
    store.unload("calls")
    stray = "calls/2026/01/01/12/calls-20260101T000000Z-01234567-00001.parquet"
    emptied = "calls/2026/02/01/12/calls.parquet"
    foreign = "calls/2026/01/01/12/notes.parquet"
    for key in (stray, emptied, foreign):
        store.put(key, b"half")
    for key in (stray, foreign):
        store.client.create_multipart_upload(Bucket=store.bucket, Key=f"an/export/{key}")
    assert store.verify() == 1
    store.unload("calls")
    assert stray not in store.all_keys() and emptied not in store.all_keys()
    assert foreign in store.all_keys()
    uploads = store.client.list_multipart_uploads(Bucket=store.bucket)["Uploads"]
    assert [each["Key"] for each in uploads] == [f"an/export/{foreign}"]
    # readers of the listing would take it for data
    assert store.verify() == 1
    store.lose(foreign)
    assert store.verify() == 0


def test_what_the_place_let_expire_is_not_written_again(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket's lifecycle rule deletes what is old: unloading it again would undo the owner's retention."""
    monkeypatch.setattr(publish, "LEAST_RETENTION", timedelta(0))
    store.unload("calls")
    for hour in (12, 13):
        store.lose(f"calls/2026/01/01/{hour}/calls.parquet")
    assert store.verify("calls") == 1
    capsys.readouterr()
    assert store.unload("calls") == []
    assert "objects of 2 partitions are gone" in capsys.readouterr().out
    assert store.verify("calls") == 0
    manifest = store.manifest("calls")
    assert [each["partition"] for each in manifest["expired"]] == ["2026/01/01/12", "2026/01/01/13"]
    assert manifest["rows"] == 2
    assert store.unload("calls") == []
    # what changes there comes again, and a backfill brings all
    store.warehouse.execute(f"update marts.fct_calls set user_id = 'x' where event_timestamp = {NOON}")
    assert store.unload("calls") == ["calls/2026/01/01/12/calls.parquet"]
    assert len(store.unload("calls", backfill=True)) == 4
    assert store.manifest("calls")["expired"] == []
    assert store.rows("calls") == expected(store)


def test_other_columns_bring_nothing_back_that_the_place_let_expire(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash sums of days are of all columns, so that a new column gives new ones to equal rows."""
    monkeypatch.setattr(publish, "LEAST_RETENTION", timedelta(0))
    store.unload("copy_metrics_daily")
    store.lose("copy_metrics_daily/2026/01/01/copy_metrics_daily.parquet")
    for column in ("sent", "opened"):
        # the first is also when the loss is found
        store.warehouse.execute(f"alter table marts.copy_metrics_daily add column {column} bigint")
        assert store.unload("copy_metrics_daily") == [
            "copy_metrics_daily/2026/01/02/copy_metrics_daily.parquet"
        ]
        assert [each["partition"] for each in store.manifest("copy_metrics_daily")["expired"]] == [
            "2026/01/01"
        ]
        assert store.verify(deep=True) == 0
    store.warehouse.execute("insert into marts.copy_metrics_daily values ('2026-01-01', 'd', 1, 1, 1)")
    assert store.unload("copy_metrics_daily") == ["copy_metrics_daily/2026/01/01/copy_metrics_daily.parquet"]


def test_servers_without_if_match_are_told_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    spied = unload_module.s3.client

    def without(*arguments: Any, **options: Any) -> Any:
        client = spied(*arguments, **options)
        client.meta.events.register("before-call.s3.PutObject", refuse_if_match)
        client.meta.events.register("before-call.s3.DeleteObject", refuse_if_match)
        return client

    monkeypatch.setattr(unload_module.s3, "client", without)
    with pytest.raises(UserError, match=r"does not know If-Match on PUT.*--no-if-match"):
        store.unload("calls")
    assert store.all_keys() == []
    store.unload("calls", no_if_match=True)
    assert store.rows("calls") == expected(store)
    assert LOCK not in store.all_keys()
    lock_of(store, -10)
    with pytest.raises(UserError, match=r"cannot be taken over safely.*delete s3://"):
        store.unload("calls", no_if_match=True)


@pytest.mark.parametrize(
    ("code", "times", "message"),
    [
        ("SlowDown", 2, None),
        ("InternalError", 99, "an/export/b: InternalError: the server was busy"),
        ("AccessDenied", 99, "an/export/b cannot be deleted: AccessDenied.*s3:DeleteObject is needed"),
    ],
)
def test_keys_that_a_delete_leaves_are_deleted_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: str, times: int, message: str | None
) -> None:
    """S3 answers 200 and names the keys that it could not delete."""
    left, asked = [code] * times, []

    def answered(parsed: dict[str, Any], **_: Any) -> None:
        if left:
            parsed["Errors"] = [{"Key": "an/export/b", "Code": left.pop()}]

    def noted(params: dict[str, Any], **_: Any) -> None:
        asked.append([each["Key"] for each in params["Delete"]["Objects"]])

    store.client.meta.events.register("after-call.s3.DeleteObjects", answered)
    store.client.meta.events.register("before-parameter-build.s3.DeleteObjects", noted)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(UserError, match=message) if message else nullcontext():
        store.bucket_place().delete(["a", "b"])
    assert asked[:2] == [["an/export/a", "an/export/b"], ["an/export/b"]][: len(asked)]
    assert len(asked) == {"SlowDown": 3, "InternalError": 5, "AccessDenied": 1}[code]


def test_dry_run_lists_every_object_and_writes_nothing(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.unload("calls", dry_run=True)
    assert store.writes() == [] and store.all_keys() == []
    assert capsys.readouterr().out.count("would write") == 4
    store.unload("calls")
    store.put("calls/2026/01/01/12/calls-20260101T000000Z-01234567-00001.parquet", b"half")
    store.warehouse.execute(
        f"update marts.fct_calls set user_id = 'x' where event_timestamp = {NOON};"
        f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}"
    )
    before = store.all_keys()
    capsys.readouterr()
    store.unload("calls", dry_run=True)
    assert store.writes() == [] and store.all_keys() == before
    printed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("would")]
    assert printed == [
        f"would write {store.to}/calls/2026/01/01/12/calls.parquet (2 rows)",
        f"would delete {store.to}/calls/2026/01/01/12/calls-20260101T000000Z-01234567-00001.parquet",
        f"would delete {store.to}/calls/2026/01/01/13/calls.parquet",
    ]


def test_encryption_and_acl_reach_every_object(store: Store) -> None:
    store.unload("calls", sse="aws:kms", kms_key_id="a-key", acl="bucket-owner-full-control")
    puts = [params for name, params in store.sent if name == "PutObject"]
    wanted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a-key", "ACL": "bucket-owner-full-control"}
    assert len(puts) == 4 + 2 + 2
    assert all(wanted.items() <= params.items() for params in puts)
    head = store.client.head_object(Bucket=store.bucket, Key="an/export/calls/2026/01/01/12/calls.parquet")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "a-key")


def test_a_role_is_assumed_with_its_session_name(store: Store) -> None:
    arn = "arn:aws:iam::123456789012:role/exporter"
    store.unload("calls", role_arn=arn, external_id="secret-1", session_name="nightly")
    assert store.rows("calls") == expected(store)


def test_a_place_that_is_not_there_is_told(store: Store) -> None:
    store.to = "s3://no-such-bucket-here/x"
    with pytest.raises(UserError, match="bucket does not exist"):
        store.unload("calls")
    with pytest.raises(UserError, match="bucket does not exist"):
        store.verify()
    store.to = f"s3://{store.bucket}/nothing"
    with pytest.raises(UserError, match="holds no dataset"):
        store.verify()


def test_avro_equals_the_warehouse(store: Store) -> None:
    store.warehouse.execute(
        """
        insert into intermediate.int_copy_contents values ('h4', 't', '{"a":"b","n":41.5}');
        update marts.fct_deliveries set content_hash = 'h4'
        """
    )
    store.unload(format=Format.AVRO, layout=Layout.FULL)
    assert all(key.endswith(".avro") for key in store.data_keys())
    (row,) = fastavro.reader(io.BytesIO(store.body("deliveries/2026/01/01/12/deliveries.avro")))
    assert isinstance(row, dict)
    assert row["vars"] == {"a": "b", "n": "41.5"}
    assert row["first_called_at"] == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert store.verify(deep=True) == 0
    store.warehouse.execute(
        """
        delete from intermediate.int_copy_contents where content_hash = 'h4';
        insert into intermediate.int_copy_contents values ('h4', 't', '{"a":"b","n":41.6}')
        """
    )
    # counts and hash sums are equal still, for content_hash is: only the rows tell
    assert store.verify() == 0
    assert store.verify(deep=True) == 1
    # from Avro to Parquet: nothing of the old format stays
    store.unload()
    assert all(key.endswith(".parquet") for key in store.data_keys())


def test_encoding_and_uploading_overlap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second chunk is encoded while a file of the first is still on its way."""
    monkeypatch.setattr(encode_module, "chunk_rows", lambda _: 2)
    encoding, sending = threading.Event(), threading.Event()
    encoded, send = encode_module.encode, duckdb_engine._send
    chunks: list[Any] = []

    def encode(*arguments: Any) -> Any:
        chunks.append(arguments[4])
        if len(chunks) == 2:
            # the first chunk's file is held back until the second chunk is begun
            assert sending.wait(60)
            encoding.set()
        return encoded(*arguments)

    def held_back(*arguments: Any) -> Any:
        sending.set()
        assert encoding.wait(60)
        return send(*arguments)

    monkeypatch.setattr(encode_module, "encode", encode)
    monkeypatch.setattr(duckdb_engine, "_send", held_back)
    store.unload("calls")
    assert len(chunks) == 3
    assert store.rows("calls") == expected(store)
    assert len(CALLS) == 5
