"""Landing in a DuckDB file: this machine reads all files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from scripts.errors import UserError
from scripts.land import forgetting
from scripts.land.chunks import Chunk, Skipped, prefetched, read_chunks
from scripts.land.duckdb_tables import DuckDBTable, list_tables
from scripts.land.engine import Move, Stamp
from scripts.land.plan import Plan
from scripts.land.rules import Dataset
from scripts.land.source_tables import SourceTable, table_chunks
from scripts.land.sources import Location, SourceFile, list_files
from scripts.land.tables import ddl, fill_columns, removed_keys
from scripts.warehouse import connect, connect_nowhere, full


@dataclass(frozen=True)
class DuckDB:
    """A DuckDB file as an engine to land in."""

    connection: duckdb.DuckDBPyConnection

    def list_files(self, location: Location, store: Any) -> list[SourceFile]:
        """List the files of a location."""
        return list_files(location, store)

    def chunks(self, plan: Plan, bounds: tuple[int, int], store: Any) -> Iterator[Chunk | Skipped]:
        """Read the files of a plan, the next ones while DuckDB checks the previous ones."""
        # a table is read by the connection that the transaction uses
        return table_chunks(plan.table, plan) if plan.table else prefetched(read_chunks(plan, store))

    def open_table(self, location: Location, dataset: Dataset, bounds: tuple[int, int]) -> SourceTable:
        """Find a table or view of this DuckDB file, or of what the profile attaches."""
        return DuckDBTable(self.connection, location, dataset, bounds)

    def list_tables(self, location: Location) -> list[str]:
        """List the tables and views of a schema of this DuckDB file, or of what the profile attaches."""
        return list_tables(self.connection, location)

    def note_hashes(self, dataset: Dataset, stamp: Stamp, hashes: dict[str, str]) -> None:
        """Change the hashes of landed parts in the ledger; no model reads them."""
        update_hashes(self.connection, dataset, hashes)

    def commit(self, dataset: Dataset, stamp: Stamp, before: dict[str, str | None]) -> int:
        """Commit: only one process writes a DuckDB file, so the ledger is still the one of the plan."""
        forgotten = forgetting.apply(on_duckdb(self.connection), dataset.name, stamp)
        self.connection.commit()
        return forgotten

    def rename(self, dataset: Dataset, stamp: Stamp, moves: list[Move]) -> None:
        """Rename landed files; models recompute what their rows belong to, as if they had been replaced."""
        execute = self.connection.execute
        self.connection.register("moves", moves_table(moves))
        table = f"staging.{dataset.name}"
        batch = {"batch_id": stamp.batch_id, "landed_at": stamp.landed_at}
        self.connection.begin()
        execute(
            "insert into staging.landed_batches values ($batch_id, $dataset, $landed_at)",
            {**batch, "dataset": dataset.name},
        )
        execute(
            f"insert into {table}_removed by name select distinct $batch_id as batch_id, "
            f"{removed_keys(dataset, 'staging')} where landed._file in (select old_name from moves)",
            {"batch_id": stamp.batch_id},
        )
        execute(
            f"update {table} set _file = new_name, _batch_id = $batch_id, _loaded_at = $landed_at "
            "from moves where _file = old_name",
            batch,
        )
        execute(f"update {table}_rejects set _file = new_name from moves where _file = old_name")
        rename_in_ledger(self.connection, dataset, stamp)
        self.connection.commit()
        self.connection.unregister("moves")


def on_duckdb(connection: duckdb.DuckDBPyConnection) -> forgetting.Place:
    """The landing tables of a DuckDB file, for pseudonyms."""

    def run(statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        return connection.execute(statement.replace("%s", "?"), list(parameters)).fetchall()

    return forgetting.Place(run, "staging", is_snowflake=False)


def moves_table(moves: list[Move]) -> pa.Table:
    """Moves as a table of old_name, new_name, path_hour."""
    old, new, hours = zip(*moves, strict=True)
    return pa.table({"old_name": old, "new_name": new, "path_hour": pa.array(hours, pa.timestamp("us"))})


def update_hashes(connection: duckdb.DuckDBPyConnection, dataset: Dataset, hashes: dict[str, str]) -> None:
    """Change the hashes of parts in a ledger in DuckDB."""
    connection.register("hashes", pa.table({"part": list(hashes), "hash": list(hashes.values())}))
    connection.execute(
        "update staging.landed_files set content_hash = hash from hashes where file = part and dataset = ?",
        [dataset.name],
    )
    connection.unregister("hashes")


def rename_in_ledger(connection: duckdb.DuckDBPyConnection, dataset: Dataset, stamp: Stamp) -> None:
    """Rename files in a ledger in DuckDB, by the table `moves`."""
    connection.execute(
        "update staging.landed_files set file = new_name, path_hour = moves.path_hour, batch_id = $batch_id "
        "from moves where file = old_name and dataset = $dataset",
        {"batch_id": stamp.batch_id, "dataset": dataset.name},
    )


@contextmanager
def open_duckdb(
    profile: dict[str, Any],
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    dry_run: bool,
) -> Iterator[DuckDB]:
    """Open the DuckDB file of the profile's target and bring its landing tables up to date.

    A dry run changes nothing, and uses an empty warehouse if there is no file yet.

    Raises:
        UserError: the file cannot be opened or written.
    """
    if dry_run and profile["type"] == "duckdb" and not Path(profile["path"]).exists():
        connection = connect_nowhere(project_dir, profiles_dir, target)
    else:
        connection = connect(project_dir, profiles_dir, target, read_only=dry_run)
    try:
        if not dry_run:
            for statement in ddl():
                connection.execute(statement)
            fill_columns(connection)
        yield DuckDB(connection)
    except (duckdb.IOException, duckdb.TransactionException, duckdb.OutOfMemoryException) as error:
        if reason := full(error):
            raise UserError(f"{reason}. Files landed before this one are complete") from error
        raise UserError(
            f"the warehouse cannot be written: {error}; files landed before this one are complete"
        ) from error
    finally:
        connection.close()
