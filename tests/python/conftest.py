"""What several tests stand on, made once: servers, and a warehouse built from a simulation."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

pytest.register_assert_rewrite("support")

# only what is imported later can be rewritten
from support.emulated_snowflake import server as emulated_snowflake  # noqa: E402
from support.project import Built, run, settings  # noqa: E402
from support.s3_servers import Swift, environment, moto  # noqa: E402
from support.s3_servers import swift as run_swift  # noqa: E402

# Swift's pyeclib has wheels for Linux only
collect_ignore = [] if sys.platform == "linux" else ["support/test_s3_servers.py", "unload/test_swift.py"]

# Fixtures that start a server or run dbt: `make check` leaves out the tests that use one, at whatever remove.
COSTLY = {"built", "endpoint", "example", "port", "swift"}


# What takes longest begins first, so that at the end no worker waits for another. The tests of a file run on
# one worker, which makes its fixtures once; those of ALONE may run on any.
WHOLE_WAY = "test_the_whole_way_is_the_same_on_both_engines"
LONGEST = (
    WHOLE_WAY,
    *("test_replay.py", "test_incremental.py", "test_ci_slim.py", "test_kills.py", "test_faults.py"),
    *("test_swift.py", "test_s3_servers.py", "test_readme.py", "test_truth.py"),
)
ALONE = (WHOLE_WAY, "test_incremental.py")
# Files that share what their session fixtures make.
TOGETHER = {"simulate/": "simulate", "test_s3_servers.py": "swift", "test_swift.py": "swift"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check` leaves out; order the tests and group them for the workers."""

    def place(item: pytest.Item) -> int:
        found = (number for number, name in enumerate(LONGEST) if name in item.nodeid)
        return next(found, len(LONGEST))

    def group(item: pytest.Item) -> str:
        if any(name in item.nodeid for name in ALONE):
            return item.nodeid.partition("[")[0]
        return next((group for name, group in TOGETHER.items() if name in item.nodeid), str(item.path))

    items.sort(key=place)
    for item in items:
        if COSTLY & set(getattr(item, "fixturenames", ())):
            item.add_marker("integration")
        item.add_marker(pytest.mark.xdist_group(group(item)))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of moto's server: S3, STS, IAM, KMS."""
    with moto() as address:
        yield address


@pytest.fixture(scope="session")
def port(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an emulated Snowflake, whose external stages lie on the S3 server."""
    log = tmp_path_factory.mktemp("snowflake") / "server.log"
    with emulated_snowflake(log, environment(AWS_ENDPOINT_URL=endpoint)) as number:
        yield number


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """OpenStack Swift with its S3 interface."""
    with run_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def for_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def built(for_all_workers: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A simulation that was landed and built once for all workers; the warehouse is a copy for this worker.

    COPYMART_TEST_CALLS sets its size (`make truth CALLS=1000000`).
    """
    folder = for_all_workers / "built"
    landing, warehouse = folder / "landing", folder / "warehouse.duckdb"
    with FileLock(for_all_workers / "built.lock"):
        environment = settings(folder)
        if not (folder / "complete").exists():
            calls = os.environ.get("COPYMART_TEST_CALLS", "6000")
            run(environment, "copymart", "simulate", landing, "--calls", calls, "--days", "20", "--seed", "7")
            logs = ("--calls", landing / "justai/calls", "--events", landing / "customerio/events")
            run(environment, "copymart", "land", *logs)
            run(environment, "dbt", "build", "--resource-type", "seed", "--resource-type", "model")
            (folder / "complete").touch()
    if "PYTEST_XDIST_WORKER" in os.environ:
        own = tmp_path_factory.mktemp("built") / warehouse.name
        shutil.copy(warehouse, own)
        warehouse = own
        environment["COPYMART_DUCKDB"] = str(own)
    return Built(landing, warehouse, folder / "target", environment)
