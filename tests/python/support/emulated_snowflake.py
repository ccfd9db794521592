"""An emulated Snowflake on a free port, and a landing in it without the command line."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import snowflake.connector

from scripts.land.outcome import Outcome
from scripts.land.plan import plan_landing
from scripts.land.rules import CALLS, Dataset
from scripts.land.snowflake.engine import Snowflake, scratch
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.stage import find_stage
from scripts.land.snowflake.tables import landing_tables, make_tables
from scripts.land.sources import locate
from scripts.land.transaction import run
from scripts.snowflake.compare import LANDING_TABLES, as_text, columns_of, counted
from support.land import BOUNDS
from support.project import TESTS

PROFILE = """
copymart:
  target: "{{ env_var('DBT_TARGET', 'snowflake') }}"
  outputs:
    duckdb:
      type: duckdb
      path: "{{ env_var('COPYMART_DUCKDB') }}"
      schema: main
      threads: 2
      settings: {TimeZone: UTC}
    snowflake:
      type: snowflake
      account: emulated
      user: someone
      password: none
      host: 127.0.0.1
      port: %d
      protocol: http
      database: "{{ env_var('SNOWFLAKE_DATABASE', 'COPYMART') }}"
      schema: "{{ env_var('SNOWFLAKE_SCHEMA', 'PROD') }}"
      warehouse: COPYMART_WH
      role: "{{ env_var('SNOWFLAKE_ROLE', 'COPYMART_TRANSFORMER') }}"
      threads: 4
"""


@contextmanager
def server(log: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Start an emulated Snowflake of its own and yield its port; `environment` names the S3 of its stages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "support.fakesnow_patches", "-s", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=TESTS, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        _wait(process, port, log)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the emulated Snowflake did not start:\n{log.read_text()}")


def connect(port: int, database: str, role: str | None = None) -> Any:
    """Open a session of the emulated Snowflake; it makes the database."""
    return snowflake.connector.connect(
        account="emulated",
        user="someone",
        password="none",
        host="127.0.0.1",
        port=port,
        protocol="http",
        database=database,
        schema="PROD",
        role=role,
        autocommit=True,
    )


def land_there(
    session: Session,
    path: Path | str,
    dataset: Dataset = CALLS,
    span: tuple[datetime, datetime] | None = None,
    allow_empty: bool = False,
    store: Any = None,
    stage: str | None = None,
    copies: bool = True,
) -> Outcome:
    """Land a folder, file or prefix as the command does on a Snowflake target."""
    make_tables(session)
    location = locate(str(path))
    with scratch(session) as connection:
        engine = Snowflake(connection, session, find_stage(session, stage))
        files = engine.list_files(location, store)
        plan = plan_landing(connection, dataset, location, files, span, allow_empty, copies)
        return run(engine, plan, BOUNDS, store)


def differences(connection: duckdb.DuckDBPyConnection, session: Session) -> dict[str, Any]:
    """Landing tables that differ from those of a DuckDB, with what only either of them has."""
    found = {}
    for table in set(LANDING_TABLES) & landing_tables().keys():
        columns = columns_of(connection, f"staging.{table}")
        ours = counted(table, connection.execute(as_text("duckdb", f"staging.{table}", columns)).fetchall())
        theirs = counted(table, everything(session, as_text("snowflake", f"STAGING.{table}", columns)))
        if ours != theirs:
            found[table] = (ours - theirs, theirs - ours)
    return found


def everything(session: Session, query: str) -> list[Any]:
    with session.connection.cursor() as cursor:
        return list(cursor.execute(query).fetchall())
