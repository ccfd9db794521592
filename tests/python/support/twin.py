"""One small warehouse on DuckDB and on an emulated Snowflake, with a bucket that both unload to."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from support.s3_store import Store
from support.unload import HOUR, NOON, Warehouse, fill

TABLES = (
    *("marts.fct_calls", "marts.fct_deliveries", "marts.dim_copy_variants", "marts.copy_metrics_daily"),
    *("marts.copy_cohort_metrics_daily", "intermediate.int_copy_contents"),
    *("intermediate.int_partition_contents", "staging.consumed_batches"),
)
# What is a view, as dbt makes it, and the table below it.
STORED = {"marts.fct_calls": "staging.fct_calls"}
DATABASE = "COPYMART"
PROFILE = """
copymart:
  target: snowflake
  outputs:
    duckdb: {{type: duckdb, path: '{file}', schema: main}}
    snowflake: {{type: snowflake, account: emulated, user: someone, password: none, host: 127.0.0.1,
      port: {port}, protocol: http, database: {database}, schema: PROD, warehouse: W, role: R}}
"""


EDITS = (
    f"update marts.fct_calls set content_hash = 'h3' where event_timestamp = {NOON}",
    f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}",
    "insert into marts.fct_calls values "
    f"({NOON + 90 * HOUR}, 'u', 7, 41, 'new', 'c', 't', '{{}}', '{{}}', 'h1')",
)


@dataclass
class Servers:
    """S3, a Snowflake that writes there, and a session of it with the rows that its tables hold."""

    endpoint: str
    port: int
    session: Any
    held: dict[str, list[tuple[str | None, ...]]]

    def run(self, statement: str) -> list[Any]:
        with self.session.cursor() as cursor:
            return list(cursor.execute(statement).fetchall())


class Twin(Store):
    """A warehouse on both engines with one bucket; `sync` brings Snowflake to what the DuckDB file holds."""

    def __init__(self, folder: Path, servers: Servers, name: str) -> None:
        super().__init__(fill(Warehouse(folder)), servers.endpoint, f"test-{name}")
        self.servers, self.run = servers, servers.run
        # the types that marts have and the small warehouse has not
        self.warehouse.execute(
            """
            alter table marts.copy_cohort_metrics_daily add column human_open_rate double;
            alter table marts.copy_cohort_metrics_daily add column is_control boolean;
            update marts.copy_cohort_metrics_daily set human_open_rate = 1 / 3, is_control = true
            where delivery_date = '2026-01-01'
            """
        )
        (folder / "dbt_project.yml").write_text(
            "name: copymart\nprofile: copymart\nvars: {production_schema: PROD}\n"
        )
        (folder / "profiles.yml").write_text(
            PROFILE.format(file=self.warehouse.file, port=servers.port, database=DATABASE)
        )
        self.run(f"create or replace stage staging.unload_s3 url = 's3://{self.bucket}/an/'")
        self.sync()

    def sync(self, *statements: str) -> None:
        """Run statements on the DuckDB file, and recreate Snowflake's tables that differ from it."""
        held = self.servers.held
        with duckdb.connect(str(self.warehouse.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            for table in TABLES:
                rows = sorted(
                    connection.execute(f"select columns(*)::varchar from {table}").fetchall(), key=str
                )
                if held.get(table) == rows:
                    continue
                columns = connection.execute(f"describe {table}").fetchall()
                made = ", ".join(
                    f"{name} {'number(38, 0)' if kind in ('HUGEINT', 'UBIGINT') else kind}"
                    for name, kind, *_ in columns
                )
                made = made.replace("TIMESTAMP", "timestamp_ntz")
                values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
                stored = STORED.get(table, table)
                self.run(f"create or replace table {stored} ({made})")
                self.run(f"insert into {stored} values {values}")
                if stored != table:
                    self.run(f"create or replace view {table} as select * from {stored}")
                held[table] = rows

    def change(self, table: str, *statements: str) -> None:
        """Run statements on a table of Snowflake only; the next sync recreates it."""
        self.servers.held.pop(table)
        for statement in statements:
            self.run(statement)

    def written(self) -> list[str]:
        """Keys of data without what tells one query's from another's."""
        return sorted(plain(key) for key in self.data_keys())


def literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def plain(key: str) -> str:
    return re.sub(r"data_[-0-9a-f]{36}_\d+_\d+_(\d+)", r"data_\1", key)


def copies(sent: list[str]) -> list[str]:
    return [statement for statement in sent if statement.startswith("copy into")]
