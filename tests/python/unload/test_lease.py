"""The lock of a place on S3, which keeps two runs apart."""

import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import s3
from scripts.errors import UserError
from scripts.unload import publish
from scripts.unload.command import new_run
from scripts.unload.engines import duckdb as duckdb_engine
from scripts.unload.places import lease
from scripts.unload.places.base import LOCK, Changed
from scripts.unload.places.s3 import Bucket
from support.s3_store import Store, expected, lock_of, refuse_if_match
from support.unload import HOUR, NOON


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


def lose_lease() -> None:
    """Let the lease of the run in this process end now, by its own clocks."""
    for each in threading.enumerate():
        held = getattr(getattr(each, "_target", None), "__self__", None)
        if isinstance(held, lease._Lease):
            held.deadlines = (0.0, 0.0)


def test_a_run_that_lost_its_lock_changes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine slept, another run took over, and then it wakes up in the middle of its work."""
    store.unload("calls")
    store.warehouse.execute("update marts.fct_calls set user_id = 'x'")
    before = {key: store.body(key) for key in store.all_keys()}
    send = duckdb_engine._send

    def slept(*arguments: Any) -> Any:
        lock_of(store, 1000)
        lose_lease()
        return send(*arguments)

    monkeypatch.setattr(duckdb_engine, "_send", slept)
    with pytest.raises(UserError, match="lost its lock"):
        store.unload("calls")
    after = {key: store.body(key) for key in store.all_keys() if key != LOCK}
    assert after == before
    # and the other's lock is left to it
    assert json.loads(store.body(LOCK))["run_id"] == "another"


def test_a_run_that_lost_its_lock_deletes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run may have written the same hours again."""
    store.unload("calls")
    store.warehouse.execute(f"delete from marts.fct_calls where event_timestamp < {NOON + 2 * HOUR}")
    delete, deleted = Bucket.delete, []

    def slept(place: Bucket, keys: list[str]) -> None:
        delete(place, keys)
        deleted.append(keys)
        lose_lease()

    monkeypatch.setattr(publish, "DELETES_PER_REQUEST", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "delete", slept)
        with pytest.raises(UserError, match="lost its lock"):
            store.unload("calls")
    assert deleted == [["calls/2026/01/01/12/calls.parquet"]]
    lock_of(store, -10)
    store.unload("calls")
    assert store.listed_rows("calls") == expected(store)


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


class Waits:
    """An event of an end that comes after so many waits, which it notes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) > self.most


@pytest.mark.parametrize(("seconds", "waits"), [(120, [40, 3, 3, 40, 40]), (3, [1, 1, 1, 1, 1])])
def test_a_renewal_that_failed_is_tried_again_soon(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: int, waits: list[float]
) -> None:
    place = store.bucket_place()
    held = lease._Lease(place, new_run(), seconds)
    held.take(None)
    first, really = held.deadlines, Bucket.put
    refusals = [UserError("no answer"), UserError("no answer")]

    def refused_twice(*arguments: Any) -> str:
        if refusals:
            raise refusals.pop()
        return really(*arguments)

    monkeypatch.setattr(Bucket, "put", refused_twice)
    noted = Waits(4)
    monkeypatch.setattr(held, "ended", noted)
    held.renew_until_ended()
    assert noted.seconds == waits
    assert held.deadlines > first
    held.release()


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


def ignore_conditions(params: dict[str, Any], **_: Any) -> None:
    """Send a write as it arrives at a server that does not read its conditions."""
    for name in ("If-Match", "If-None-Match"):
        params["headers"].pop(name, None)


def test_a_server_that_ignores_conditions_is_refused(store: Store) -> None:
    """Two runs would both hold the lock."""
    client = s3.client(endpoint_url=store.endpoint, region="us-east-1")
    client.meta.events.register("before-call.s3.PutObject", ignore_conditions)
    with (
        pytest.raises(UserError, match=r"ignores If-Match on PUT.*--no-if-match"),
        Bucket(client, store.bucket, "an/export/", {}).lock(new_run(), 1000),
    ):
        pytest.fail("it was locked")
    assert store.all_keys() == []
    alone = Bucket(client, store.bucket, "an/export/", {}, if_match=False)
    with alone.lock(new_run(), 1000):
        with pytest.raises(UserError, match="another unload is writing"), alone.lock(new_run(), 1000):
            pytest.fail("it was locked twice")
        assert store.all_keys() == [LOCK]
    assert store.all_keys() == []


def test_a_server_that_is_always_busy_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client = s3.client(endpoint_url=store.endpoint, region="us-east-1")
    said = {
        "Error": {"Code": "ConditionalRequestConflict"},
        "ResponseMetadata": {"HTTPStatusCode": 409},
    }
    answer = SimpleNamespace(status_code=409, headers={}, content=b"")
    client.meta.events.register("before-call.s3.PutObject", lambda **_: (answer, said))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(UserError, match=r"object: ConditionalRequestConflict: the server was busy"):
        Bucket(client, store.bucket, "an/export/", {}).put("object", b"text", None)


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
