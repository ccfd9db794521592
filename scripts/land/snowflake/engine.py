"""Landing on Snowflake: it copies JSON lines and inserts the plain ones, this machine checks all others.

Other lines, Parquet and Avro are read and checked on this machine, in a temporary DuckDB, by the code and the
rules of every landing, so a line gives the same row or the same reject on both engines. The result goes
through an internal stage, and a batch is one transaction of Snowflake.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from scripts.land.chunks import Chunk, Skipped
from scripts.land.duckdb import moves_table, rename_in_ledger, update_hashes
from scripts.land.engine import Move, Stamp
from scripts.land.plan import Plan
from scripts.land.rules import Dataset
from scripts.land.snowflake.lines import staged_chunks
from scripts.land.snowflake.session import Session, execute, open_session
from scripts.land.snowflake.source_tables import SnowflakeTable, list_tables
from scripts.land.snowflake.stage import Stage, find_stage, list_through
from scripts.land.snowflake.tables import existing_tables, make_tables
from scripts.land.snowflake.transaction import change_hashes, publish, rename_files
from scripts.land.source_tables import SourceTable, table_chunks
from scripts.land.sources import Location, SourceFile
from scripts.land.tables import ddl
from scripts.staging import staging_folder
from scripts.warehouse import connect_snowflake

# A landing that waits for another one gives up after half an hour; Snowflake's own limit is twelve.
_PARAMETERS = {"LOCK_TIMEOUT": 1_800}


@dataclass(frozen=True)
class Snowflake:
    """A session on Snowflake as an engine to land in.

    `connection`: a temporary DuckDB with a copy of Snowflake's ledger. `stage`: the external stage through
    which to read S3, None if there is none.
    """

    connection: duckdb.DuckDBPyConnection
    session: Session
    stage: Stage | None

    def list_files(self, location: Location, store: Any) -> list[SourceFile]:
        """List a location on S3 through the stage that covers it, any other by this machine's rights."""
        return list_through(self.session, self.stage, location, store)

    def chunks(self, plan: Plan, bounds: tuple[int, int], store: Any) -> Iterator[Chunk | Skipped]:
        """Yield the lines that Snowflake returns, and then the files that it cannot copy as lines."""
        if plan.table:
            return table_chunks(plan.table, plan)
        return staged_chunks(self.session, self.stage, plan, bounds, store)

    def open_table(self, location: Location, dataset: Dataset, bounds: tuple[int, int]) -> SourceTable:
        """Find a table or view of the account."""
        return SnowflakeTable(self.session, location, dataset, bounds)

    def list_tables(self, location: Location) -> list[str]:
        """List the tables and views of a schema of the account that the role sees."""
        return list_tables(self.session, location)

    def note_hashes(self, dataset: Dataset, stamp: Stamp, hashes: dict[str, str]) -> None:
        """Change the hashes of landed parts in Snowflake's ledger, then in its copy."""
        change_hashes(self.session, dataset, stamp, hashes)
        update_hashes(self.connection, dataset, hashes)

    def commit(self, dataset: Dataset, stamp: Stamp, before: dict[str, str | None]) -> int:
        """Load the transaction in one of Snowflake's; DuckDB keeps nothing of it."""
        forgotten = publish(self.session, self.connection, dataset, stamp, before)
        self.connection.rollback()
        return forgotten

    def rename(self, dataset: Dataset, stamp: Stamp, moves: list[Move]) -> None:
        """Rename landed files in one transaction of Snowflake, then in the copy of its ledger."""
        rename_files(self.session, dataset, stamp, moves)
        self.connection.register("moves", moves_table(moves))
        rename_in_ledger(self.connection, dataset, stamp)
        self.connection.unregister("moves")


@contextmanager
def open_snowflake(
    profile: dict[str, Any],
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    dry_run: bool,
    production_schema: str,
    stage: str | None,
    role: str | None,
) -> Iterator[Snowflake]:
    """Open a session of the Snowflake target, and create missing landing tables.

    A dry run creates nothing. `stage`: the external stage that the user names; `role`: the role that lands,
    if it is not the profile's.

    Raises:
        UserError: the session or the stage cannot be used, or Snowflake refuses a statement.
    """
    connection = connect_snowflake(
        project_dir, profiles_dir, target, "land", parameters=_PARAMETERS, role=role
    )
    with open_session(connection, profile, production_schema) as session:
        if not dry_run:
            make_tables(session)
        external = find_stage(session, stage)
        with scratch(session) as checking:
            yield Snowflake(checking, session, external)


@contextmanager
def scratch(session: Session) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB whose landing tables are empty except for Snowflake's ledger."""
    with staging_folder() as folder:
        connection = duckdb.connect(f"{folder}/landing.duckdb", config={"temp_directory": f"{folder}/spill"})
        try:
            for statement in ddl():
                connection.execute(statement)
            if "LANDED_FILES" in existing_tables(session):
                _copy_ledger(session, connection)
            yield connection
        finally:
            connection.close()


def _copy_ledger(session: Session, connection: duckdb.DuckDBPyConnection) -> None:
    query = (
        "select dataset, file, date_part(epoch_second, path_hour), size_bytes, "
        "coalesce(content_hash, ''), row_count, "
        "reject_count "
        f"from {session.schema}.landed_files"
    )
    ledger = pa.table(
        dict(
            zip(
                ("dataset", "file", "path_hour", "size_bytes", "content_hash", "row_count", "reject_count"),
                map(list, zip(*execute(session, query), strict=True)),
                strict=False,
            )
        )
        or {"file": pa.array([], pa.string())}
    )
    if ledger.num_columns > 1:
        connection.execute(
            "insert into staging.landed_files by name "
            "select * replace (make_timestamp(path_hour::bigint * 1000000) as path_hour) from ledger"
        )
