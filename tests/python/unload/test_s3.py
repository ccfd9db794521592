"""copymart unload and verify on S3, against moto's server on 127.0.0.1; faults are in other files."""

import hashlib
import io
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scripts import s3
from scripts.errors import UserError
from scripts.unload import command as unload_module
from scripts.unload import encode as encode_module
from scripts.unload import publish
from scripts.unload.command import new_run
from scripts.unload.datasets import DATASETS, Format, Layout
from scripts.unload.engines import duckdb as duckdb_engine
from scripts.unload.places import lease
from scripts.unload.places.base import LOCK, Changed
from scripts.unload.places.open import LEAST_PART_SIZE
from scripts.unload.places.s3 import Bucket
from support.s3_store import WRITES, Store, expected, lock_of
from support.unload import CALLS, HOUR, NOON, Warehouse, call, fill


@pytest.fixture
def store(
    tmp_path: Path, endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Store:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    name = f"test-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
    made = Store(fill(Warehouse(tmp_path)), endpoint, name)
    made.spy(monkeypatch)
    return made


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


def test_a_second_run_is_told_who_writes(store: Store) -> None:
    lock_of(store, 1000)
    with pytest.raises(
        UserError, match=r"another unload is writing to .*run another on there since 2026-01-01T05:30"
    ):
        store.unload("calls")
    assert store.all_keys() == [LOCK]
    assert json.loads(store.body(LOCK))["run_id"] == "another"


def test_an_expired_lock_is_taken_over_and_released(store: Store) -> None:
    lock_of(store, -10)
    store.unload("calls")
    assert LOCK not in store.all_keys()
    assert store.rows("calls") == expected(store)


def test_a_failed_run_releases_its_lock(store: Store) -> None:
    store.warehouse.insert("intermediate.int_copy_contents", [("h2", "t", '{"subject":"again"}')])
    with pytest.raises(UserError, match="other rows than the warehouse"):
        store.unload("deliveries")
    assert store.all_keys() == []


def test_a_run_that_lost_its_lock_changes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine slept, another run took over, and then it wakes up in the middle of its work."""
    store.unload("calls")
    store.warehouse.execute("update marts.fct_calls set user_id = 'x'")
    before = {key: store.body(key) for key in store.all_keys()}
    send = duckdb_engine._send

    def slept(*arguments: Any) -> Any:
        lock_of(store, 1000)
        for each in threading.enumerate():
            held = getattr(getattr(each, "_target", None), "__self__", None)
            if isinstance(held, lease._Lease):
                held.deadlines = (0.0, 0.0)
        return send(*arguments)

    monkeypatch.setattr(duckdb_engine, "_send", slept)
    with pytest.raises(UserError, match="lost its lock"):
        store.unload("calls")
    after = {key: store.body(key) for key in store.all_keys() if key != LOCK}
    assert after == before
    # and the other's lock is left to it
    assert json.loads(store.body(LOCK))["run_id"] == "another"


def test_a_delete_that_arrives_late_leaves_the_lock_of_another(store: Store) -> None:
    client = s3.client(endpoint_url=store.endpoint, region="us-east-1")
    arrived = []

    def taken_over(**_: Any) -> None:
        arrived.append(json.loads(store.body(LOCK))["host"])
        lock_of(store, 1000)

    client.meta.events.register("before-send.s3.DeleteObject", taken_over)
    client.meta.events.register("before-send.s3.DeleteObjects", taken_over)
    with Bucket(client, store.bucket, "an/export/", {}).lock(new_run(), 1000):
        pass
    assert arrived == [socket.gethostname()]
    assert json.loads(store.body(LOCK))["run_id"] == "another"


def test_a_lock_that_runs_out_soon_is_left_to_run_out(store: Store) -> None:
    held = lease._Lease(store.bucket_place(), new_run(), 900)
    held.take(None)
    fresh = held.deadlines
    held.deadlines = (fresh[0] - 610, fresh[1] - 610)
    held.release()
    assert store.all_keys() == [LOCK]
    held.deadlines = fresh
    held.release()
    assert store.all_keys() == []


def test_a_server_without_if_match_on_delete_loses_the_lock_too(store: Store) -> None:
    client = s3.client(endpoint_url=store.endpoint, region="us-east-1")
    client.meta.events.register("before-call.s3.DeleteObject", refuse_if_match)
    with Bucket(client, store.bucket, "an/export/", {}).lock(new_run(), 1000):
        assert store.all_keys() == [LOCK]
    assert store.all_keys() == []


def test_a_server_that_does_not_tell_the_time(store: Store) -> None:
    """Its locks are taken over too, later."""
    now = datetime.now(UTC)
    without: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": {}}}
    for age, left in ((0, 121 + 120), (300, -59)):
        response = without | {"LastModified": now - timedelta(seconds=age)}
        assert lease._seconds_left({"lease_seconds": 120}, response) == pytest.approx(left, abs=30)
        response["ResponseMetadata"]["HTTPHeaders"]["date"] = "yesterday"
        assert lease._seconds_left({"lease_seconds": 120}, response) == pytest.approx(left, abs=30)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    done = threading.Event()
    for _ in range(3000):
        if condition():
            return
        done.wait(0.01)
    pytest.fail("it never happened")


def test_a_lease_is_renewed_and_its_loss_is_noticed(store: Store) -> None:
    place = store.bucket_place()
    with place.lock(new_run(), 3) as require:
        first = store.body(LOCK)
        until(lambda: store.body(LOCK) != first)
        require()
        said = json.loads(store.body(LOCK))
        assert (said["host"], said["lease_seconds"]) == (socket.gethostname(), 3)
        lock_of(store, 1000)

        def is_lost() -> bool:
            try:
                require()
            except UserError:
                return True
            return False

        until(is_lost)
    assert json.loads(store.body(LOCK))["run_id"] == "another"


def test_a_renewal_whose_answer_was_lost_is_ours(store: Store) -> None:
    held = lease._Lease(store.bucket_place(), new_run(), 1000)
    held.take(None)
    stale = held.etag
    held.take(held.etag)
    held.etag = stale
    with pytest.raises(Changed):
        held.take(held.etag)
    assert held.adopt()
    held.take(held.etag)
    held.release()
    assert store.all_keys() == []


def test_a_conditional_write_whose_answer_was_lost_is_ours(store: Store) -> None:
    """botocore sends it again, and the server says 412, because our own write is there."""
    place = store.bucket_place()
    etag = place.put("object", b"first", None)
    assert place.put("object", b"first", None) == etag
    newer = place.put("object", b"second", etag)
    assert place.put("object", b"second", etag) == newer
    for replaces in (None, etag):
        with pytest.raises(Changed):
            place.put("object", b"third", replaces)
    with pytest.raises(Changed):
        place.put("nothing", b"third", etag)
    assert store.body("object") == b"second"


def test_another_writer_of_the_manifest_stops_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.unload("calls")
    store.warehouse.execute("update marts.fct_calls set user_id = 'x'")
    send = duckdb_engine._send

    def meddled(*arguments: Any) -> Any:
        store.put("calls/_manifest.json", b"{}")
        return send(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(duckdb_engine, "_send", meddled)
        with pytest.raises(UserError, match=r"_manifest\.json: another writer changed it during this run"):
            store.unload("calls")
    assert store.body("calls/_manifest.json") == b"{}"
    assert LOCK not in store.all_keys()
    store.unload("calls")
    assert store.rows("calls") == expected(store)


def not_implemented(**_: Any) -> Any:
    """Answer in place of a server that does not know a request."""

    class Answer:
        status_code, headers, content = 501, {}, b"<Error><Code>NotImplemented</Code></Error>"

    said = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
    return Answer(), said


def refuse_if_match(params: dict[str, Any], **_: Any) -> Any:
    """Answer as a server that does not know the header; None sends the request."""
    return not_implemented() if "If-Match" in params["headers"] else None


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
        insert into intermediate.int_copy_contents values ('h4', 't', '{"a":"b","n":41.50}');
        update marts.fct_deliveries set content_hash = 'h4'
        """
    )
    store.unload(format=Format.AVRO, layout=Layout.FULL)
    assert all(key.endswith(".avro") for key in store.data_keys())
    (row,) = fastavro.reader(io.BytesIO(store.body("deliveries/2026/01/01/12/deliveries.avro")))
    assert isinstance(row, dict)
    assert row["vars"] == {"a": "b", "n": "41.50"}
    assert row["first_called_at"] == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert store.verify(deep=True) == 0
    store.warehouse.execute(
        """
        delete from intermediate.int_copy_contents where content_hash = 'h4';
        insert into intermediate.int_copy_contents values ('h4', 't', '{"a":"b","n":41.51}')
        """
    )
    # counts and hash sums are equal still, for content_hash is: only the rows tell
    assert store.verify() == 0
    assert store.verify(deep=True) == 1
    # from Avro to Parquet: nothing of the old format stays
    store.unload()
    assert all(key.endswith(".parquet") for key in store.data_keys())


def damage_bytes(store: Store) -> None:
    store.put("calls/2026/01/01/12/calls.parquet", store.body("calls/2026/01/01/12/calls.parquet")[::-1])


def damage_object(store: Store) -> None:
    store.put("calls/2026/01/01/12/calls.parquet", store.body("calls/2026/01/01/13/calls.parquet") + b" ")


def lose_object(store: Store) -> None:
    store.lose("calls/2026/01/01/12/calls.parquet")


def add_object(store: Store) -> None:
    store.put("calls/2026/03/01/12/calls.parquet", b"x")


def begin_upload(store: Store) -> None:
    store.client.create_multipart_upload(
        Bucket=store.bucket, Key="an/export/calls/2026/01/01/12/calls.parquet"
    )


def restore_manifest(store: Store) -> None:
    stale = store.body("calls/_manifest.json")
    store.warehouse.insert("marts.fct_calls", [call(NOON + 2, "late")])
    store.unload("calls")
    store.put("calls/_manifest.json", stale)


def break_manifest(store: Store) -> None:
    store.put("calls/_manifest.json", b"{")


def misstate_format(store: Store) -> None:
    text = store.body("calls/_manifest.json").decode()
    store.put("calls/_manifest.json", text.replace('"format": "parquet"', '"format": "../x"').encode())


def lose_manifest(store: Store) -> None:
    store.lose("calls/_manifest.json")


def misstate_rows(store: Store) -> None:
    text = store.body("calls/_manifest.json").decode()
    store.put(
        "calls/_manifest.json",
        text.replace('calls.parquet", "rows": 2', 'calls.parquet", "rows": 3').encode(),
    )


def land_more(store: Store) -> None:
    store.warehouse.insert("marts.fct_calls", [call(NOON + 200 * HOUR, "new")])


def land_less(store: Store) -> None:
    store.warehouse.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")


def edit_rows(store: Store) -> None:
    store.warehouse.execute("update marts.fct_calls set user_id = 'x' where journey_id = 'a'")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_bytes, "has SHA-256"),
        (damage_object, "bytes, the manifest says"),
        (lose_object, "is in the manifest and not there"),
        (add_object, "is in no manifest"),
        (begin_upload, "unfinished multipart upload"),
        (restore_manifest, "the manifest says"),
        (break_manifest, "cannot be read"),
        (misstate_format, "cannot be read; unload all of it again"),
        (lose_manifest, "is missing"),
        (misstate_rows, "has 2 rows, the manifest says 3"),
        (land_more, "is not there; the warehouse has 1 rows"),
        (land_less, "has 1 rows, the warehouse none"),
        (edit_rows, "of which the warehouse has others"),
    ],
)
def test_verify_finds_every_kind_of_damage(
    store: Store, capsys: pytest.CaptureFixture[str], damage: Callable[[Store], None], told: str
) -> None:
    store.unload("calls")
    assert store.verify() == 0
    damage(store)
    capsys.readouterr()
    assert store.verify() == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert told in printed
    if damage in (land_more, land_less, edit_rows):
        assert store.verify(with_warehouse=False) == 0


def test_verify_compares_every_row_when_asked(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that differ where rows and hash sum agree, as if what dbt keeps of the hour were wrong."""
    store.warehouse.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    store.unload("calls", "copy_variants")
    edit_rows(store)
    assert store.verify() == 0
    capsys.readouterr()
    assert store.verify(deep=True) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 rows only there, 1 only in the warehouse; e.g. event_timestamp" in printed
    assert f"{NOON}, copy_id 'c': another user_id" in printed
    with pytest.raises(UserError, match="leave out --no-warehouse"):
        store.verify(deep=True, with_warehouse=False)


@pytest.mark.parametrize("format", list(Format))
def test_verify_tells_no_persons_data(
    store: Store, capsys: pytest.CaptureFixture[str], format: Format
) -> None:
    store.warehouse.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    store.unload("calls", "deliveries", format=format)
    store.warehouse.execute(
        """
        update marts.fct_deliveries set user_id = 'secret', attrs = '{"secret":"1"}';
        update marts.fct_calls set user_id = 'secret', vars = '{"secret":"2"}' where journey_id = 'a';
        update marts.fct_calls set copy_id = 'other', attrs = '{"secret":"3"}' where journey_id = 'c'
        """
    )
    capsys.readouterr()
    assert store.verify(deep=True) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "e.g. delivery_key 'k1': another user_id, attrs" in printed
    assert f"e.g. event_timestamp {NOON}, copy_id 'c': another user_id, vars" in printed
    assert f"e.g. event_timestamp {NOON + HOUR}, copy_id 'c': only there" in printed
    assert "secret" not in printed and "gröẞe" not in printed and "subject" not in printed


def test_verify_goes_on_where_unfinished_uploads_are_not_told(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spied = s3.client

    def refusing(*arguments: Any, **options: Any) -> Any:
        client = spied(*arguments, **options)
        client.meta.events.register("before-call.s3.ListMultipartUploads", not_implemented)
        return client

    monkeypatch.setattr(s3, "client", refusing)
    store.unload("calls")
    assert store.verify() == 0
    assert capsys.readouterr().out.count("unfinished uploads cannot be looked for") == 2


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
