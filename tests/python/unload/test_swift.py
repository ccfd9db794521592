"""copymart unload to OpenStack Swift, which checks signatures and checksums and survives a power cut."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fault_proxy import Kind, Proxy, fault_proxy
from support.faults import (
    DATASET,
    PREFIX,
    Place,
    World,
    arguments,
    calls,
    let_lease_run_out,
    make_world,
    require_right,
    require_whole_hours,
    verify_arguments,
)
from support.s3_servers import Swift, environment
from support.warm import Done, start

ALONE = "--no-if-match"
SMALL = ("--max-file-size", "4k", "--concurrency", "1")
IN_PARTS = ("--max-file-size", "1G", "--part-size", "5243k", "--compression", "none")


@pytest.fixture
def proxy(swift: Swift) -> Iterator[Proxy]:
    with fault_proxy(swift.address) as proxy:
        yield proxy


@pytest.fixture
def bucket(swift: Swift) -> str:
    name = f"bucket-{uuid.uuid4()}"
    swift.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def place(swift: Swift, bucket: str) -> Place:
    return Place(swift.client(), bucket)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> World:
    hours = {0: calls(0, 2), 1: calls(1, 60, bytes_each=200), 2: calls(2, 2)}
    return make_world(tmp_path_factory.mktemp("before") / "project", hours)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The first hour gets parts, the second loses them, the third goes, a fourth comes."""
    hours = {0: calls(0, 60, "edited", 200), 1: calls(1, 2, "edited"), 3: calls(3, 2)}
    return make_world(tmp_path_factory.mktemp("after") / "project", hours)


@pytest.fixture
def unload(swift: Swift, proxy: Proxy, bucket: str, tmp_path: Path) -> Any:
    """A function that runs copymart through the proxy: `unload(world, *options)`."""

    def run(world: World, *more: str, secret: str = swift.secret, verify: bool = False) -> Done:
        keys = environment(AWS_ACCESS_KEY_ID=swift.key, AWS_SECRET_ACCESS_KEY=secret)
        command = (
            verify_arguments(world, bucket, proxy.address)
            if verify
            else arguments(world, bucket, proxy.address, *more)
        )
        log = tmp_path / f"log-{len(list(tmp_path.iterdir()))}"
        return start(log, keys, *command).done()

    return run


def require_failed(done: Done, message: str) -> None:
    assert (done.status, len(done.errors)) == (1, 1), done.output
    assert message in done.errors[0]
    assert "Traceback" not in done.output


def test_one_state_after_another(unload: Any, place: Place, before: World, after: World) -> None:
    for world in (before, after, after):
        done = unload(world, ALONE, *SMALL)
        assert done.status == 0, done.output
        require_right(place, world)
    assert unload(after, verify=True).status == 0


def test_without_if_match_it_says_so_and_writes_nothing(unload: Any, place: Place, before: World) -> None:
    require_failed(unload(before, *SMALL), "does not know If-Match on PUT")
    assert place.listed() == []


def test_a_wrong_secret_is_refused(unload: Any, place: Place, before: World) -> None:
    require_failed(unload(before, ALONE, secret="wrong"), "the secret key does not fit the access key")
    assert place.listed() == []


def test_a_body_that_changed_on_its_way_is_refused(
    unload: Any, place: Place, proxy: Proxy, before: World, after: World
) -> None:
    """What moto would store, Swift does not: the signature and the checksum cover the body."""
    assert unload(before, ALONE, *SMALL).status == 0
    proxy.add(Kind.CORRUPT_REQUEST, f"PUT .*{DATASET}/2026/01/01/15/", times=1 << 30)
    require_failed(unload(after, ALONE, *SMALL), "15/calls.parquet")
    require_whole_hours(place, before, after)
    assert "2026/01/01/15" not in place.by_listing()
    proxy.heal()
    assert unload(after, ALONE, *SMALL).status == 0
    require_right(place, after)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (Kind.CALL_AFTER, "PUT .*/2026/01/01/12/"),
        (Kind.CALL_BEFORE, "PUT .*calls/_manifest.json"),
        (Kind.CALL_AFTER, "PUT .*calls/_manifest.json"),
    ],
)
def test_the_server_loses_its_power(
    swift: Swift,
    unload: Any,
    place: Place,
    proxy: Proxy,
    before: World,
    after: World,
    kind: Kind,
    pattern: str,
) -> None:
    assert unload(before, ALONE, *SMALL).status == 0
    proxy.add(kind, pattern, call=swift.kill)
    done = unload(after, ALONE, *SMALL)
    proxy.heal()
    swift.start()
    require_failed(done, "onnection")
    require_whole_hours(place, before, after)
    # the lock of a run that could not delete it must be deleted by hand here
    let_lease_run_out(place.client, place.bucket)
    require_failed(unload(after, ALONE, *SMALL), f"delete s3://{place.bucket}/{PREFIX}/_lock")
    place.client.delete_object(Bucket=place.bucket, Key=f"{PREFIX}/_lock")
    again = unload(after, ALONE, *SMALL)
    assert again.status == 0, again.output
    require_right(place, after)


def test_an_upload_in_parts(
    unload: Any, place: Place, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    large = make_world(tmp_path_factory.mktemp("large") / "project", {0: calls(0, 600, bytes_each=10_000)})
    proxy.add(Kind.CUT_REQUEST, "partNumber", of_each=True)
    proxy.add(Kind.CORRUPT_REQUEST, "partNumber", first=2, times=1 << 30)
    require_failed(unload(large, ALONE, *IN_PARTS), "12/calls.parquet")
    assert place.by_listing() == {}
    proxy.heal()
    proxy.add(Kind.CUT_REQUEST, "partNumber", of_each=True)
    done = unload(large, ALONE, *IN_PARTS)
    assert done.status == 0, done.output
    require_right(place, large)
    assert unload(large, verify=True).status == 0
