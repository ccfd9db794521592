"""A warehouse built from a simulation, shared by the tests that compare it with the simulation's truth."""

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("support")

from support.project import Built, run, settings  # noqa: E402  only what is imported later can be rewritten

# Swift's pyeclib has wheels for Linux only
collect_ignore = [] if sys.platform == "linux" else ["support/test_s3_servers.py", "unload/test_swift.py"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Simulate, land and build; COPYMART_TEST_CALLS sets the size (`make truth CALLS=1000000`)."""
    folder = tmp_path_factory.mktemp("built")
    environment = settings(folder)
    landing = folder / "landing"
    calls = os.environ.get("COPYMART_TEST_CALLS", "6000")
    run(environment, "copymart", "simulate", landing, "--calls", calls, "--days", "20", "--seed", "7")
    run(
        environment,
        "copymart",
        "land",
        "--calls",
        landing / "justai/calls",
        "--events",
        landing / "customerio/events",
    )
    run(environment, "dbt", "build", "--resource-type", "seed", "--resource-type", "model")
    yield Built(landing, folder / "warehouse.duckdb", folder / "target", environment)
    shutil.rmtree(folder, ignore_errors=True)
