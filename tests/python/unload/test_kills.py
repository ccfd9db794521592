"""copymart unload killed with -9 at each of its requests, before and after the server acted.

What a killed run leaves does not change any more, so the states that a reader may meet during a run are
looked at one by one. The proxy does the killing, which makes it exact.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.fault_proxy import Kind, Proxy, fault_proxy
from support.faults import (
    Place,
    World,
    arguments,
    calls,
    copy_objects,
    let_lease_run_out,
    make_world,
    require_right,
    require_whole_hours,
    require_whole_hours_or_gone,
)
from support.s3_servers import aws, environment
from support.warm import Done, Running, start

AT_ONCE = 3
SMALL = ("--max-file-size", "4k", "--concurrency", "1")


@pytest.fixture(scope="module")
def proxy(endpoint: str) -> Iterator[Proxy]:
    with fault_proxy(endpoint) as proxy:
        yield proxy


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
def published(client: Any, proxy: Proxy, before: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket that the first state was unloaded to."""
    client.create_bucket(Bucket="kills-published")
    log = tmp_path_factory.mktemp("log") / "published"
    done = run(log, before, "kills-published", proxy).done()
    assert done.status == 0, done.output
    require_right(Place(client, "kills-published"), before)
    return "kills-published"


def run(log: Path, world: World, bucket: str, proxy: Proxy) -> Running:
    return start(log, environment(), *arguments(world, bucket, proxy.address, *SMALL))


def requests_of(proxy: Proxy, bucket: str) -> list[str]:
    return [each.line for each in proxy.requests(f"/{bucket}([/?]|$)")]


def killed_at(number: int, kind: Kind, bucket: str, log: Path, world: World, proxy: Proxy) -> Done:
    """Run until a request of this number and kill it there."""
    running: list[Running] = []
    proxy.add(kind, f"/{bucket}([/?]|$)", first=number, call=lambda: running[0].kill())
    running.append(run(log, world, bucket, proxy))
    done = running[0].done()
    proxy.wait_until_quiet()
    return done


def test_a_run_killed_at_any_request_is_finished_by_the_next(
    client: Any, proxy: Proxy, before: World, after: World, published: str, tmp_path: Path
) -> None:
    earlier = Place(client, published).manifest()
    assert earlier
    copy_objects(client, published, "kills-whole")
    whole = run(tmp_path / "kills-whole", after, "kills-whole", proxy).done()
    assert whole.status == 0, whole.output
    require_right(Place(client, "kills-whole"), after)
    requests = requests_of(proxy, "kills-whole")
    assert 15 <= len(requests) <= 40

    def case(number: int, kind: Kind) -> bool:
        """Kill, look, run again, look; return whether the killed run had changed what readers see."""
        bucket = f"{kind.name.lower().replace('_', '-')}-{number}"
        place = Place(client, bucket)
        copy_objects(client, published, bucket)
        done = killed_at(number, kind, bucket, tmp_path / bucket, after, proxy)
        assert done.status == -9, done.output
        assert len(requests_of(proxy, bucket)) == number
        left = place.as_it_is()
        require_whole_hours(left, before, after)
        require_whole_hours_or_gone(left, earlier, before, after)
        let_lease_run_out(client, bucket)
        again = run(tmp_path / f"{bucket}-again", after, bucket, proxy).done()
        assert again.status == 0, again.output
        require_right(place, after)
        return left.manifest() != earlier

    # before a request that changes nothing all is as after the one before it
    cases = [
        (number, kind)
        for number, line in enumerate(requests, start=1)
        for kind in (Kind.CALL_BEFORE, Kind.CALL_AFTER)
        if kind is Kind.CALL_AFTER or not line.startswith(("GET", "HEAD"))
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        changed = list(pool.map(lambda each: case(*each), cases))
    # from the manifest's PUT on readers see the new state, and never the old one again
    assert changed == sorted(changed)
    assert {*changed} == {True, False}


@pytest.mark.parametrize("pattern", ["_lock", "calls/2026/01/01/13/", "calls/_manifest.json"])
def test_a_first_run_that_is_killed_leaves_whole_hours(
    client: Any, proxy: Proxy, after: World, tmp_path: Path, pattern: str
) -> None:
    """The conditions of its writes are other ones: it is to be the first."""
    bucket = f"first-{pattern}".replace("/", "-").replace("_", "").lower()
    client.create_bucket(Bucket=bucket)
    running: list[Running] = []
    proxy.add(Kind.CALL_AFTER, f"PUT /{bucket}/.*{pattern}", call=lambda: running[0].kill())
    running.append(run(tmp_path / "killed", after, bucket, proxy))
    assert running[0].done().status == -9
    proxy.wait_until_quiet()
    require_whole_hours(Place(client, bucket), None, after)
    let_lease_run_out(client, bucket)
    again = run(tmp_path / "again", after, bucket, proxy).done()
    assert again.status == 0, again.output
    require_right(Place(client, bucket), after)
