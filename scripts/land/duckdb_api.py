"""The tables of what an API returned, in a DuckDB file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from scripts.errors import UserError
from scripts.land.engine import Stamp
from scripts.land.tables import API, ddl, fill_columns
from scripts.warehouse import connect, full


class OnDuckDB:
    """The tables of API in a DuckDB file."""

    schema, work, timestamp = "staging", "temp", "timestamp"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run a statement and return its rows."""
        return self.connection.execute(statement.replace("%s", "?"), list(parameters)).fetchall()

    def load(self, table: str, rows: pa.Table) -> None:
        """Make a temporary table of these rows."""
        self.connection.register("api_rows", rows)
        self.connection.execute(f"create or replace temp table {table} as from api_rows")
        self.connection.unregister("api_rows")

    @contextmanager
    def transaction(self, stamp: Stamp, dataset: str = API) -> Iterator[None]:
        """One transaction; only one process writes a DuckDB file."""
        self.connection.begin()
        try:
            self.connection.execute(
                "insert into staging.landed_batches values (?, ?, ?)",
                [stamp.batch_id, dataset, stamp.landed_at],
            )
            yield
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise


@contextmanager
def open_duckdb(project_dir: Path, profiles_dir: Path | None, target: str | None) -> Iterator[OnDuckDB]:
    """Open the DuckDB file of the profile's target and bring its landing tables up to date.

    Raises:
        UserError: it cannot be opened or written.
    """
    connection = connect(project_dir, profiles_dir, target)
    try:
        for statement in ddl():
            connection.execute(statement)
        fill_columns(connection)
        yield OnDuckDB(connection)
    except (duckdb.IOException, duckdb.TransactionException, duckdb.OutOfMemoryException) as error:
        reason = full(error) or f"the warehouse cannot be written: {error}"
        raise UserError(f"{reason}. What was landed before stays: run the command again") from error
    finally:
        connection.close()
