"""copymart unload and verify with a Snowflake target: an emulated Snowflake writes to moto over HTTP."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from emulated_snowflake import connect, server
from s3_servers import ENVIRONMENT, UNSET, environment, moto
from test_unload_s3 import Store, expected
from unload_helpers import Warehouse, fill

TABLES = (
    *("marts.fct_calls", "marts.fct_deliveries", "marts.dim_copy_variants", "marts.copy_metrics_daily"),
    *("marts.copy_cohort_metrics_daily", "intermediate.int_copy_contents"),
    "intermediate.int_partition_contents",
)
PROFILE = """
copymart:
  target: snowflake
  outputs:
    duckdb: {{type: duckdb, path: '{file}', schema: main}}
    snowflake: {{type: snowflake, account: emulated, user: someone, password: none, host: 127.0.0.1,
      port: {port}, protocol: http, database: {database}, schema: PROD, warehouse: W, role: R}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Addresses of S3 and of a Snowflake that writes there."""
    log = tmp_path_factory.mktemp("snowflake") / "server.log"
    with moto() as endpoint, server(log, environment(AWS_ENDPOINT_URL=endpoint)) as port:
        yield endpoint, port


class Twin(Store):
    """A warehouse on both engines with one bucket; `sync` brings Snowflake to what the DuckDB file holds."""

    def __init__(self, folder: Path, endpoint: str, port: int, name: str) -> None:
        super().__init__(fill(Warehouse(folder)), endpoint, f"test-{name}")
        self.database = f"D{name.upper()}"
        self.session = connect(port, self.database)
        (folder / "dbt_project.yml").write_text(
            "name: copymart\nprofile: copymart\nvars: {production_schema: PROD}\n"
        )
        (folder / "profiles.yml").write_text(
            PROFILE.format(file=self.warehouse.file, port=port, database=self.database)
        )
        for schema in ("marts", "intermediate", "staging"):
            self.run(f"create schema if not exists {schema}")
        self.run(f"create stage staging.unload_s3 url = 's3://{self.bucket}/an/'")
        self.sync()

    def run(self, statement: str) -> list[Any]:
        with self.session.cursor() as cursor:
            return list(cursor.execute(statement).fetchall())

    def sync(self, *statements: str) -> None:
        """Run statements on the DuckDB file, and make Snowflake's tables anew from it."""
        with duckdb.connect(str(self.warehouse.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            for table in TABLES:
                columns = connection.execute(f"describe {table}").fetchall()
                made = ", ".join(
                    f"{name} {'number(38, 0)' if kind in ('HUGEINT', 'UBIGINT') else kind}"
                    for name, kind, *_ in columns
                )
                self.run(f"create or replace table {table} ({made.replace('TIMESTAMP', 'timestamp_ntz')})")
                rows = connection.execute(f"select columns(*)::varchar from {table}").fetchall()
                if rows:
                    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
                    self.run(f"insert into {table} values {values}")

    def written(self) -> list[str]:
        """Keys of data that are named by the manifests, without what tells the query from others."""
        return sorted(plain(key) for key in self.data_keys())


def literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def plain(key: str) -> str:
    return re.sub(r"data_[-0-9a-f]{36}_\d+_\d+_(\d+)", r"data_\1", key)


@pytest.fixture
def twin(
    tmp_path: Path,
    servers: tuple[str, int],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Twin]:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Twin(tmp_path, *servers, hashlib.sha256(request.node.name.encode()).hexdigest()[:16])
    yield made
    made.session.close()


def test_an_export_and_what_changes_of_it(twin: Twin) -> None:
    twin.unload()
    assert len(twin.data_keys()) == 4 + 1 + 1 + 2 + 2
    assert twin.rows("calls") == twin.listed_rows("calls") == expected(twin)
