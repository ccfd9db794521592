"""copymart unload through a proxy that breaks its requests, and two runs at once.

After each fault the same command runs without it, and then exactly the warehouse lies there.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.fault_proxy import Kind, Proxy, fault_proxy
from support.faults import (
    PREFIX,
    Place,
    World,
    arguments,
    calls,
    copy_objects,
    let_lease_run_out,
    make_world,
    require_right,
    require_whole_hours,
    verify_arguments,
)
from support.s3_servers import aws, environment
from support.warm import Done, Running, ended, start

SMALL = ("--max-file-size", "4k", "--concurrency", "1")
IN_PARTS = ("--max-file-size", "1G", "--part-size", "5243k", "--compression", "none")
AT_ONCE = 4
EVERY_TIME = 1 << 30


@pytest.fixture(scope="module")
def client(endpoint: str) -> Any:
    return aws("s3", endpoint)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four hours; the third is in parts."""
    hours = {0: calls(0, 2), 1: calls(1, 2), 2: calls(2, 60, bytes_each=200), 3: calls(3, 2)}
    return make_world(tmp_path_factory.mktemp("before") / "project", hours)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The first hour stays, the second gets parts, the third gets none, the fourth goes, a fifth comes."""
    hours = {0: calls(0, 2), 1: calls(1, 60, "edited", 200), 2: calls(2, 3, "edited"), 4: calls(4, 2)}
    return make_world(tmp_path_factory.mktemp("after") / "project", hours)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One hour of 6 MB, which goes up in two parts: the first of the least size that S3 allows."""
    return make_world(tmp_path_factory.mktemp("large") / "project", {0: calls(0, 600, bytes_each=10_000)})


@pytest.fixture(scope="module")
def published(endpoint: str, client: Any, before: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket that the first state was unloaded to."""
    client.create_bucket(Bucket="published")
    log = tmp_path_factory.mktemp("log") / "published"
    done = start(log, environment(), *arguments(before, "published", endpoint, *SMALL)).done()
    assert done.status == 0, done.output
    return "published"


class Case:
    """A bucket that holds the first state, and a proxy of its own to unload the second one through."""

    def __init__(self, client: Any, bucket: str, proxy: Proxy, folder: Path, worlds: tuple[World, World]):
        self.client, self.bucket, self.proxy, self.folder = client, bucket, proxy, folder
        self.before, self.after = worlds
        self.place = Place(client, bucket)
        self.runs = 0

    def start(
        self,
        *more: str,
        world: World | None = None,
        endpoint: str | None = None,
        largest_file: int | None = None,
    ) -> Running:
        """Begin an unload, through the proxy unless an endpoint is given."""
        self.runs += 1
        command = arguments(world or self.after, self.bucket, endpoint or self.proxy.address, *SMALL, *more)
        log = self.folder / f"log-{self.runs}"
        return start(log, environment(), *command, largest_file=largest_file)

    def unload(self, *more: str) -> Done:
        """Run an unload through the proxy."""
        return self.start(*more).done()

    def unload_when_free(self, direct: bool = False) -> Done:
        """Run an unload, through the proxy or past it, again until the lock of another run has run out."""
        while True:
            done = self.start(endpoint=self.proxy.server if direct else None).done()
            if "another unload is writing" not in done.output:
                return done

    def verify(self) -> Done:
        """Run verify, which compares every row."""
        self.runs += 1
        command = verify_arguments(self.after, self.bucket, self.proxy.address)
        return start(self.folder / f"log-{self.runs}", environment(), *command).done()

    def require_failed(self, done: Done, message: str) -> None:
        """Require exit status 1 with one line that says why, and whole hours for readers."""
        assert done.status == 1, done.output
        assert len(done.errors) == 1, done.output
        assert re.search(message, done.errors[0]), done.output
        assert "Traceback" not in done.output
        require_whole_hours(self.place, self.before, self.after)

    def require_cured(self, *more: str) -> None:
        """Require that the same command without the fault leaves exactly the warehouse."""
        self.proxy.heal()
        let_lease_run_out(self.client, self.bucket)
        done = self.unload(*more)
        assert done.status == 0, done.output
        require_right(self.place, self.after)

    def require_verified(self) -> None:
        """Require that exactly the warehouse lies there, as verify sees it too."""
        require_right(self.place, self.after)
        verified = self.verify()
        assert verified.status == 0, verified.output


@pytest.fixture
def new_case(
    endpoint: str, client: Any, published: str, before: World, after: World, tmp_path: Path
) -> Iterator[Callable[..., Case]]:
    """Return a function that makes a case; its proxies end with the test."""
    with ExitStack() as stack:

        def make(name: str = "case", empty: bool = False, world: World | None = None) -> Case:
            bucket = f"{name}-{time.monotonic_ns()}".lower().replace("_", "-")
            folder = tmp_path / bucket
            folder.mkdir()
            if empty:
                client.create_bucket(Bucket=bucket)
            else:
                copy_objects(client, published, bucket)
            proxy = stack.enter_context(fault_proxy(endpoint))
            return Case(client, bucket, proxy, folder, (before, world or after))

        yield make


@pytest.fixture
def case(new_case: Callable[..., Case]) -> Case:
    return new_case()


def each(cases: list[Any], check: Callable[..., None]) -> None:
    """Check cases at once: a run that waits to try again costs no CPU."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda case: check(*case), cases))


TRANSIENT = [
    (Kind.SLOW_DOWN, 3),
    (Kind.INTERNAL_ERROR, 1),
    (Kind.ERROR_AFTER, 1),
    (Kind.RESET_BEFORE, 1),
    (Kind.RESET_AFTER, 1),
    (Kind.CUT_RESPONSE, 1),
]


def test_faults_of_every_request_that_retries_cure(new_case: Callable[..., Case]) -> None:
    """Each request meets the fault before it gets through, as do its repetitions if they are distinct."""

    def check(kind: Kind, times: int) -> None:
        case = new_case(kind.name)
        case.proxy.add(kind, f"/{case.bucket}", times=times, of_each=True)
        done = case.unload()
        assert done.status == 0, done.output
        struck = [seen for seen in case.proxy.seen if seen.fault]
        assert len(struck) >= 10 * times
        case.proxy.heal()
        case.require_verified()

    each(TRANSIENT, check)


def test_a_body_cut_on_its_way_up_is_sent_again(new_case: Callable[..., Case]) -> None:
    case = new_case()
    case.proxy.add(Kind.CUT_REQUEST, f"PUT /{case.bucket}", of_each=True)
    done = case.unload()
    assert done.status == 0, done.output
    assert len([seen for seen in case.proxy.seen if seen.fault]) >= 6
    case.proxy.heal()
    case.require_verified()


# The pattern of the requests, the kind, the first that is struck, and what the message must say.
LASTING = [
    ("list", r"GET /{0}\?.*list-type", Kind.DENIED, 1, "s3:ListBucket is needed"),
    ("lock", r"PUT /{0}/out/_lock", Kind.DENIED, 1, "_lock: access denied: s3:PutObject is needed"),
    ("manifest-read", r"GET /{0}/out/calls/_manifest", Kind.DENIED, 1, "s3:GetObject is needed"),
    ("run-record", r"PUT /{0}/out/calls/_manifests/", Kind.DENIED, 1, "_manifests/.*s3:PutObject is needed"),
    ("manifest", r"PUT /{0}/out/calls/_manifest.json", Kind.DENIED, 1, "_manifest.json: access denied"),
    ("delete", r"POST /{0}\?delete", Kind.DENIED, 1, "s3:DeleteObject is needed"),
    ("slow", r"PUT /{0}/out/calls/2026/01/01/16/", Kind.SLOW_DOWN, 1, "16/calls.parquet: SlowDown"),
    ("down", r"/{0}", Kind.RESET_BEFORE, 9, "Connection"),
    ("expired", r"/{0}", Kind.EXPIRED, 9, "the credentials have expired"),
]


def test_faults_that_last_end_the_run_with_one_line(new_case: Callable[..., Case]) -> None:
    def check(name: str, pattern: str, kind: Kind, first: int, message: str) -> None:
        case = new_case(name)
        case.proxy.add(kind, pattern.format(case.bucket), first=first, times=EVERY_TIME)
        case.require_failed(case.unload(), message)
        case.require_cured()

    each(LASTING, check)


def test_what_was_uploaded_before_a_fault_is_published(new_case: Callable[..., Case]) -> None:
    """One key that is refused keeps its old hour; the hours that got through are new, and said to be."""
    case = new_case()
    case.proxy.add(Kind.DENIED, f"PUT /{case.bucket}/out/calls/2026/01/01/16/", times=EVERY_TIME)
    case.require_failed(case.unload(), "16/calls.parquet: access denied")
    found = case.place.by_manifest()
    new = [name for name in case.after.hours if found.get(name) == case.after.hours[name]]
    assert new == ["2026/01/01/12", "2026/01/01/13", "2026/01/01/14"]
    assert "2026/01/01/16" not in found
    assert f"{PREFIX}/_lock" not in case.place.listed()
    case.require_cured()


def test_a_bucket_that_hides_what_is_missing(new_case: Callable[..., Case]) -> None:
    """S3 says 403 instead of 404 to a role that may list only below a prefix."""
    case = new_case(empty=True)
    case.proxy.add(Kind.FORBID_MISSING, f"/{case.bucket}", times=EVERY_TIME)
    done = case.unload()
    assert done.status == 0, done.output
    case.require_verified()


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (Kind.CUT_REQUEST, "partNumber"),
        (Kind.SLOW_DOWN, r"\?(uploads|partNumber|uploadId)"),
        (Kind.RESET_AFTER, r"\?(uploads|partNumber|uploadId)"),
        (Kind.ERROR_AFTER, r"POST .*\?uploadId"),
        (Kind.ERROR_IN_200, r"POST .*\?uploadId"),
    ],
)
def test_faults_of_an_upload_in_parts_that_retries_cure(
    new_case: Callable[..., Case], large: World, kind: Kind, pattern: str
) -> None:
    case = new_case(empty=True, world=large)
    case.proxy.add(kind, pattern, of_each=True)
    done = case.unload(*IN_PARTS)
    assert done.status == 0, done.output
    assert len(case.proxy.requests("partNumber")) >= 2
    assert [seen for seen in case.proxy.seen if seen.fault]
    # an upload whose begin was not acknowledged is an orphan until the next run
    case.require_cured(*IN_PARTS)


def test_an_upload_in_parts_that_fails_is_aborted(new_case: Callable[..., Case], large: World) -> None:
    case = new_case(empty=True, world=large)
    case.proxy.add(Kind.CUT_REQUEST, "partNumber", first=2, times=EVERY_TIME)
    done = case.unload(*IN_PARTS)
    assert done.status == 1 and len(done.errors) == 1, done.output
    assert case.place.by_listing() == {}
    assert "Uploads" not in case.client.list_multipart_uploads(Bucket=case.bucket)
    case.require_cured(*IN_PARTS)


def test_uploads_in_parts_of_killed_runs_are_aborted(new_case: Callable[..., Case], large: World) -> None:
    """Killed at the begin, at each part and at the end, before and after the server acted."""

    def check(name: str, kind: Kind, pattern: str, first: int, orphans: int) -> None:
        case = new_case(f"{name}-{first}-{kind.name}", empty=True, world=large)
        running: list[Running] = []
        case.proxy.add(kind, pattern, first=first, call=lambda: running[0].kill())
        running.append(case.start(*IN_PARTS))
        assert running[0].done().status == -9
        case.proxy.wait_until_quiet()
        assert case.place.manifest() is None
        assert len(case.client.list_multipart_uploads(Bucket=case.bucket).get("Uploads", ())) == orphans
        case.require_cured(*IN_PARTS)

    begin, end = r"POST .*\?uploads", r"POST .*\?uploadId"
    each(
        [
            ("begin", Kind.CALL_BEFORE, begin, 1, 0),
            ("begin", Kind.CALL_AFTER, begin, 1, 1),
            ("part", Kind.CALL_BEFORE, "partNumber", 1, 1),
            ("part", Kind.CALL_AFTER, "partNumber", 1, 1),
            ("part", Kind.CALL_AFTER, "partNumber", 2, 1),
            ("end", Kind.CALL_BEFORE, end, 1, 1),
            ("end", Kind.CALL_AFTER, end, 1, 0),
        ],
        check,
    )


def test_of_runs_that_begin_at_once_one_wins(case: Case) -> None:
    asking = case.proxy.add(Kind.HOLD, f"PUT /{case.bucket}/out/_lock", times=3)
    # the winner does not end its work before the others have been refused
    working = case.proxy.add(Kind.HOLD, f"GET /{case.bucket}\\?.*list-type", times=EVERY_TIME)
    runs = [case.start() for _ in range(3)]
    case.proxy.wait_for(asking, 3)
    asking.gate.set()
    losers = [run.done() for run in ended(runs, 2)]
    working.gate.set()
    for loser in losers:
        assert loser.status == 1
        assert re.fullmatch(
            r"error: another unload is writing to s3://\S+: run \S+ on \S+ since \S+\. Its lock holds for "
            r"\d+ s more unless it is renewed; .* run the same command again after that",
            loser.errors[0],
        )
    (winner,) = [run.done() for run in runs if run.done().output not in [loser.output for loser in losers]]
    assert winner.status == 0, winner.output
    case.require_verified()


def test_the_lock_of_a_killed_run_keeps_others_out_until_it_runs_out(case: Case) -> None:
    running: list[Running] = []
    lock = f"PUT /{case.bucket}/out/_lock"
    case.proxy.add(Kind.CALL_AFTER, lock, first=2, call=lambda: running[0].kill())
    running.append(case.start("--lease-seconds", "600"))
    assert running[0].done().status == -9
    said = json.loads(case.place.get(f"{PREFIX}/_lock"))
    refused = case.unload()
    case.require_failed(refused, f"another unload is writing .*run {said['run_id']} on {said['host']} since")
    assert case.place.by_manifest() == case.before.hours
    # as if the killed run had asked for two seconds
    shorter = json.dumps(said | {"lease_seconds": 2}).encode()
    case.client.put_object(Bucket=case.bucket, Key=f"{PREFIX}/_lock", Body=shorter)
    done = case.unload_when_free()
    assert done.status == 0, done.output
    case.require_verified()


def test_a_run_that_lost_its_lock_changes_nothing_more(case: Case) -> None:
    """It hangs, cannot renew its lock, and another run takes over and does its own work meanwhile."""
    hung = case.proxy.add(Kind.HOLD, f"GET /{case.bucket}\\?.*list-type", times=EVERY_TIME)
    case.proxy.add(Kind.RESET_BEFORE, f"PUT /{case.bucket}/out/_lock", first=3, times=EVERY_TIME)
    lost = case.start("--lease-seconds", "2", world=case.before)
    case.proxy.wait_for(hung)
    other = case.unload_when_free(direct=True)
    assert other.status == 0, other.output
    hung.gate.set()
    done = lost.done()
    case.require_failed(done, "this run lost its lock")
    case.proxy.heal()
    case.require_verified()


def test_a_file_that_arrives_after_its_run_lost_the_lock(case: Case) -> None:
    """S3 has no way to refuse it: an hour is an older one, whole, until the next run makes it right."""
    key = f"{PREFIX}/calls/2026/01/01/14/calls.parquet"
    hung = case.proxy.add(Kind.HOLD, f"PUT /{case.bucket}/{key}", times=EVERY_TIME)
    renewed = case.proxy.add(Kind.HOLD, f"PUT /{case.bucket}/out/_lock", first=3, times=EVERY_TIME)
    # without a manifest it writes each hour; a file for each, as the other run does for this hour
    case.client.delete_object(Bucket=case.bucket, Key=f"{PREFIX}/calls/_manifest.json")
    lost = case.start("--lease-seconds", "20", "--max-file-size", "1M", world=case.before)
    case.proxy.wait_for(hung)
    let_lease_run_out(case.client, case.bucket)
    other = case.start(endpoint=case.proxy.server).done()
    assert other.status == 0, other.output
    require_right(case.place, case.after)
    case.proxy.wait_for(renewed, 3)
    renewed.gate.set()
    hung.gate.set()
    # whichever it sees first: that it cannot renew the lock, or that the manifest is not the one it read
    case.require_failed(lost.done(), "this run lost its lock|another writer changed it")
    assert case.place.by_manifest()["2026/01/01/14"] == case.before.hours["2026/01/01/14"]
    case.proxy.heal()
    verified = case.verify()
    assert verified.status == 1
    assert "14/calls.parquet" in verified.output
    case.require_cured()
    assert case.verify().status == 0


def test_a_file_that_a_late_request_deleted_comes_back(case: Case) -> None:
    """No retention is that short; the hour must not pass for one that the bucket let expire."""
    assert case.unload().status == 0
    case.client.delete_object(Bucket=case.bucket, Key=f"{PREFIX}/calls/2026/01/01/14/calls.parquet")
    assert case.verify().status == 1
    case.require_cured()
    assert case.verify().status == 0


ROLE = ("--role-arn", "arn:aws:iam::123456789012:role/unloader", "--external-id", "acme-7")


def expiring_in(seconds: int) -> Callable[[bytes], bytes]:
    """Return a function that makes the credentials in an answer of STS expire so soon."""

    def rewrite(said: bytes) -> bytes:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        text = f"<Expiration>{at:%Y-%m-%dT%H:%M:%SZ}</Expiration>".encode()
        changed, times = re.subn(rb"<Expiration>.*?</Expiration>", text, said)
        assert times == 1
        return changed

    return rewrite


def test_credentials_of_a_role_are_renewed_during_the_run(case: Case) -> None:
    case.proxy.add(Kind.REWRITE, "^POST /$", times=3, rewrite=expiring_in(60))
    done = case.unload(*ROLE)
    assert done.status == 0, done.output
    keys = [seen.access_key for seen in case.proxy.requests(f"/{case.bucket}")]
    assert "testing" not in keys
    # three that run out, then one for the rest
    assert len(set(keys)) == len(case.proxy.requests("^POST /$")) == 4
    assert keys == sorted(keys, key=list(dict.fromkeys(keys)).index)
    case.require_verified()


def test_credentials_that_cannot_be_renewed_end_the_run(case: Case) -> None:
    case.proxy.add(Kind.REWRITE, "^POST /$", rewrite=expiring_in(60))
    case.proxy.add(Kind.DENIED, "^POST /$", times=EVERY_TIME)
    case.require_failed(case.unload(*ROLE), "the role cannot be assumed")
    case.require_cured(*ROLE)


def test_a_full_disk_ends_the_run_with_one_line(new_case: Callable[..., Case], large: World) -> None:
    case = new_case(empty=True, world=large)
    done = case.start(*IN_PARTS, largest_file=1_000_000).done()
    assert done.status == 1 and len(done.errors) == 1, done.output
    assert case.place.listed() == []
    case.require_cured(*IN_PARTS)
