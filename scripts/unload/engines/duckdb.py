"""Unloading from DuckDB: it encodes one chunk of partitions while the previous chunk is uploaded."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import duckdb

from scripts.staging import staging_folder
from scripts.unload import encode
from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.dialects import DUCKDB, Dialect
from scripts.unload.encode import Encoded
from scripts.unload.engines.base import Columns, Work, arrive
from scripts.unload.manifest import DataFile, Partition, joined, object_name, part_name
from scripts.unload.places.base import Place
from scripts.unload.publish import Contents

# At most this much is repeated after a kill.
SETTLE_SECONDS = 30


class DuckDB:
    """A DuckDB file as an engine to unload from."""

    name = "duckdb"
    dialect: Dialect = DUCKDB

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(sql).fetchall()

    def describe(self, query: str) -> Columns:
        """Return names and SQL types of a query's columns."""
        return tuple((column[0], column[1]) for column in self.query(f"describe {query}"))

    def object_name(self, dataset: Dataset, format: Format) -> str:
        """Return the name of a partition's only object."""
        return object_name(dataset.name, format)

    def begin(self, place: Place) -> None:
        """Do nothing: a killed run leaves nothing running."""

    def write(self, work: Work) -> None:
        """Encode a chunk while the previous one is uploaded; at most two are on disk."""
        settled = time.monotonic()
        on_their_way: list[Future[Partition]] = []
        options, write = work.options, work.plan.write
        with staging_folder(options.staging) as folder, ThreadPoolExecutor(options.concurrency) as pool:
            try:
                most_rows = encode.chunk_rows(sum(held.rows for held in write.values()))
                for number, chunk in enumerate(encode.chunks(write, most_rows)):
                    place_of_chunk = folder / str(number)
                    place_of_chunk.mkdir()
                    files = encode.encode(
                        self.connection,
                        work.plan.dataset,
                        options.layout,
                        options.compression,
                        chunk,
                        place_of_chunk,
                    )
                    sent, on_their_way = on_their_way, []
                    arrive(sent, work.publisher)
                    if number:
                        shutil.rmtree(folder / str(number - 1))
                    if time.monotonic() - settled > SETTLE_SECONDS:
                        work.publisher.settle(last=False)
                        settled = time.monotonic()
                    for name, held in chunk.items():
                        future = pool.submit(_send, name, held, files[name], work)
                        future.add_done_callback(lambda _: work.advance(1))
                        on_their_way.append(future)
            finally:
                arrive(on_their_way, work.publisher)

    @contextmanager
    def rows(
        self, dataset: Dataset, layout: Layout, partition: str
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Yield the file itself and the query of a partition's rows."""
        yield self.connection, self.dialect.rows(dataset, layout, [partition])

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def _send(name: str, held: Contents, encoded: Encoded, work: Work) -> Partition:
    """Put a partition's file at the place, split into parts if it is too large."""
    dataset, options = work.plan.dataset.name, work.options
    pieces = [encoded]
    size = encoded.path.stat().st_size
    if size > options.max_file_size:
        pieces = encode.split(encoded, -(-size // options.max_file_size), options.compression)
    files = []
    for number, piece in enumerate(pieces, start=1):
        file_name = (
            object_name(dataset, options.format)
            if len(pieces) == 1
            else part_name(dataset, options.format, work.run.run_id, number)
        )
        path = piece.path
        if options.format is Format.AVRO:
            path = encode.to_avro(path, dataset, options.compression)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        key = joined(name, file_name)
        work.require()
        etag = work.place.put_file(joined(dataset, key), path, sha256)
        files.append(DataFile(key, piece.rows, size, sha256, etag, *piece.times))
        path.unlink(missing_ok=True)
    return Partition(name, held.rows, held.hash_sum, work.plan.shape, work.run.run_id, tuple(files))
