"""Small warehouses made by hand, on DuckDB and on Snowflake, with a bucket; no dbt build is needed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snowflake.connector.cursor import SnowflakeCursor

from support.emulated_snowflake import connect
from support.s3_servers import ENVIRONMENT, UNSET
from support.s3_store import Store
from support.twin import DATABASE, Servers, Twin
from support.unload import Warehouse, fill


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """An empty warehouse."""
    return Warehouse(tmp_path)


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """A warehouse with calls in four hours of two days, and something in every other mart."""
    return fill(warehouse)


@pytest.fixture
def store(
    tmp_path: Path, endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """A bucket of the test's own, and a filled warehouse to unload to it."""
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


@pytest.fixture(scope="session")
def servers(endpoint: str, port: int) -> Iterator[Servers]:
    """An S3 server, and an emulated Snowflake that writes there."""
    made = Servers(endpoint, port, connect(port, DATABASE), {})
    for schema in ("marts", "intermediate", "staging"):
        made.run(f"create schema if not exists {schema}")
    yield made
    made.session.close()


@pytest.fixture
def twin(
    tmp_path: Path,
    servers: Servers,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Twin:
    """A bucket of the test's own, and a filled warehouse on both engines."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Twin(tmp_path, servers, hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    made.spy(monkeypatch)
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that this process sends to Snowflake."""
    found: list[str] = []
    execute = SnowflakeCursor.execute

    def recorded(self: SnowflakeCursor, command: str, *arguments: Any, **options: Any) -> Any:
        found.append(command)
        return execute(self, command, *arguments, **options)

    monkeypatch.setattr(SnowflakeCursor, "execute", recorded)
    return found
