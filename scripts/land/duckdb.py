"""Landing in a DuckDB file: this machine reads all files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from scripts.errors import UserError
from scripts.land.chunks import Chunk, Skipped, prefetched, read_chunks
from scripts.land.engine import Stamp
from scripts.land.plan import Plan
from scripts.land.rules import Dataset
from scripts.land.sources import Location, SourceFile, list_files
from scripts.land.tables import ddl
from scripts.warehouse import connect


@dataclass(frozen=True)
class DuckDB:
    """A DuckDB file as an engine to land in."""

    connection: duckdb.DuckDBPyConnection

    def list_files(self, location: Location, store: Any) -> list[SourceFile]:
        """List the files of a location."""
        return list_files(location, store)

    def chunks(self, plan: Plan, bounds: tuple[int, int], store: Any) -> Iterator[Chunk | Skipped]:
        """Read the files of a plan, the next ones while DuckDB checks the previous ones."""
        return prefetched(read_chunks(plan, store))

    def commit(self, dataset: Dataset, stamp: Stamp, before: dict[str, str | None]) -> None:
        """Commit: only one process writes a DuckDB file, so the ledger is still the one of the plan."""
        self.connection.commit()


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
        connection = duckdb.connect()
    else:
        connection = connect(project_dir, profiles_dir, target, read_only=dry_run)
    try:
        for statement in () if dry_run else ddl():
            connection.execute(statement)
        yield DuckDB(connection)
    except (duckdb.IOException, duckdb.TransactionException) as error:
        raise UserError(
            f"the warehouse cannot be written: {error}; files landed before this one are complete"
        ) from error
    finally:
        connection.close()
