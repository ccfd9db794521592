"""What several tests stand on, made once: servers, and a warehouse built from a simulation."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.scheduler import LoadScopeScheduling

pytest.register_assert_rewrite("support")

# only what is imported later can be rewritten
from support.emulated_snowflake import server as emulated_snowflake  # noqa: E402
from support.project import PARSED, Built, run, settings  # noqa: E402
from support.s3_servers import Swift, environment, moto  # noqa: E402
from support.s3_servers import swift as run_swift  # noqa: E402

# Swift's pyeclib has wheels for Linux only
collect_ignore = [] if sys.platform == "linux" else ["support/test_s3_servers.py", "unload/test_swift.py"]

# Fixtures that start a server or a browser or run dbt: `make check` leaves out the tests that use one, at
# whatever remove.
COSTLY = {"browser", "built", "endpoint", "example", "manifest", "port", "seeded", "sends_by_hour", "swift"}


# What takes longest begins first, so that at the end no worker waits for another; beside it the tests of
# faults, which wait more than they work.
WHOLE_WAY = "test_the_whole_way_is_the_same_on_both_engines"
FIRST = (
    *(WHOLE_WAY, "test_faults.py", "test_replay.py", "unload/test_kills.py", "swift", "test_incremental.py"),
    *("test_ci_slim.py", "test_readme.py", "test_truth.py", "report"),
)
# Files that share what their session fixtures make, and what stands in a file and shares nothing with it.
TOGETHER = {
    WHOLE_WAY: WHOLE_WAY,
    "report/": "report",
    "simulate/": "simulate",
    "test_s3_servers.py": "swift",
    "test_swift.py": "swift",
}


def group_of(nodeid: str) -> str:
    """The tests that run on one worker, which makes their fixtures once: those of a file, mostly."""
    return next((group for part, group in TOGETHER.items() if part in nodeid), nodeid.partition("::")[0])


class Groups(LoadScopeScheduling):
    """Gives each worker one group after another: pytest 9.2 ignores the groups of xdist 3.8's loadgroup."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of what dbt parsed, which the workers of this run share."""
    if PARSED not in os.environ:
        os.environ[PARSED] = tempfile.mkdtemp(prefix="copymart-parsed-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(PARSED)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, because the tests of faults wait more than they work.

    Each takes up to a gigabyte, and beyond eight the longest group of tests decides how long all take.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Let xdist use the groups, in the order of their first tests."""
    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and mark what `make check` leaves out."""

    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return next((number for number, part in enumerate(FIRST) if part in group), len(FIRST))

    items.sort(key=place)
    for item in items:
        if COSTLY & set(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


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
            run(environment, "copymart", "land", "--landing", landing)
            run(environment, "dbt", "build", "--resource-type", "seed", "--resource-type", "model")
            (folder / "complete").touch()
    if "PYTEST_XDIST_WORKER" in os.environ:
        own = tmp_path_factory.mktemp("built") / warehouse.name
        shutil.copy(warehouse, own)
        warehouse = own
        environment["COPYMART_DUCKDB"] = str(own)
    return Built(landing, warehouse, folder / "target", environment)
