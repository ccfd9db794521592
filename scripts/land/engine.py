"""Where a run lands: what a warehouse on DuckDB and one on Snowflake must both do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Protocol

import duckdb

from scripts.land.chunks import Chunk, Skipped
from scripts.land.plan import Plan
from scripts.land.rules import Dataset
from scripts.land.source_tables import SourceTable
from scripts.land.sources import Location, SourceFile

Move = tuple[str, str, datetime | None]
"""A landed file that lies elsewhere now: old name, new name, and the hour in the new one's path."""


@dataclass(frozen=True)
class Stamp:
    """The landing transaction that a row belongs to."""

    batch_id: str
    landed_at: datetime


def new_stamp() -> Stamp:
    """A stamp of now (UTC), whose id no other transaction has."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return Stamp(f"{now:%Y%m%dT%H%M%S%f}-{token_hex(4)}", now)


class Engine(Protocol):
    """A warehouse to land in; the context manager that opened it turns its errors into UserError."""

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB in which records are checked, with landing tables and the ledger."""

    def list_files(self, location: Location, store: Any) -> list[SourceFile]:
        """Return the files of a location; `store`: the S3 client, None for a local one."""

    def open_table(self, location: Location, dataset: Dataset, bounds: tuple[int, int]) -> SourceTable:
        """Find a table of the warehouse and the columns of the dataset in it.

        Raises:
            UserError: there is no such table, it may not be read, or it lacks a column.
        """

    def list_tables(self, location: Location) -> list[str]:
        """The addresses of the tables and views of a schema.

        Raises:
            UserError: there is no such schema, it may not be read, or nothing is in it.
        """

    def note_hashes(self, dataset: Dataset, stamp: Stamp, hashes: dict[str, str]) -> None:
        """Change the hashes of landed parts in the ledger, in one transaction; their rows stay."""

    def chunks(self, plan: Plan, bounds: tuple[int, int], store: Any) -> Iterator[Chunk | Skipped]:
        """Yield the records of a plan's files that are to be checked in `connection`.

        `bounds`: the bounds [earliest, latest) of a record's time, in unix seconds.
        """

    def commit(self, dataset: Dataset, stamp: Stamp, before: dict[str, str | None]) -> int:
        """End the open transaction of `connection`: all of it is then in the warehouse, or nothing.

        `before`: the files of the transaction with their content by the ledger until now, None for a new
        file. Returns how many rows and rejects are of forgotten people.
        """

    def rename(self, dataset: Dataset, stamp: Stamp, moves: list[Move]) -> None:
        """Give landed files other names, in one transaction; their rows then belong to this batch."""
