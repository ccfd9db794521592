"""The source of an unload: what a warehouse on DuckDB and one on Snowflake must both do."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb

from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.dialects import Dialect
from scripts.unload.encode import Compression
from scripts.unload.manifest import Partition
from scripts.unload.places.base import Place, Run, StillOurs
from scripts.unload.publish import Plan, Publisher

# Names and types of columns.
Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Options:
    """How files are written. `staging`: the folder of files before their upload."""

    layout: Layout
    format: Format
    compression: Compression
    max_file_size: int
    concurrency: int
    staging: Path


@dataclass(frozen=True)
class Work:
    """What one run writes of one dataset: the partitions of the plan, each noted by the publisher when its
    objects lie at the place. `advance` moves the progress bar by so many partitions."""

    plan: Plan
    place: Place
    require: StillOurs
    run: Run
    options: Options
    publisher: Publisher
    advance: Callable[[int], None]


class Engine(Protocol):
    """A warehouse. Functions raise UserError when Snowflake refuses; DuckDB's errors pass unchanged."""

    @property
    def name(self) -> str:
        """The engine's name in manifests, because the types of the two engines' files differ slightly."""

    @property
    def dialect(self) -> Dialect:
        """How it writes SQL."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def describe(self, query: str) -> Columns:
        """Return names, in lower case, and types of a query's columns."""

    def object_name(self, dataset: Dataset, format: Format) -> str:
        """Return the name of a partition's object, with a star for what the engine chooses."""

    def begin(self, place: Place) -> None:
        """Stop what a killed run still does at a place whose lock this run holds."""

    def write(self, work: Work) -> None:
        """Write every partition of the plan to the place and add it to the publisher.

        Raises:
            UserError: files have other rows than the plan says, or the place refuses; what was whole until
                then is noted.
        """

    def rows(
        self, dataset: Dataset, layout: Layout, partition: str
    ) -> AbstractContextManager[tuple[duckdb.DuckDBPyConnection, str]]:
        """Yield a DuckDB connection and the query in it that returns the rows of a partition."""

    def close(self) -> None:
        """End the session."""


def arrive(on_their_way: Sequence[Future[Partition]], publisher: Publisher) -> None:
    """Wait for partitions and add them to the publisher; if one fails, those that arrived are still added."""
    done, waiting = wait(on_their_way, return_when=FIRST_EXCEPTION)
    for future in waiting:
        future.cancel()
    failed = None
    # uploads that were running when one failed end before the manifest is written
    for future in (*done, *(each for each in waiting if not each.cancelled())):
        error = future.exception()
        if error is None:
            publisher.add(future.result())
        failed = failed or error
    if failed:
        raise failed
