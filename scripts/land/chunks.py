"""Files as chunks of records: small files together, a large one piece by piece."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa

from scripts.land.opening import open_files
from scripts.land.plan import Plan, same_etag
from scripts.land.readers import read_pieces
from scripts.land.records import PIECE_BYTES, TYPED_PIECES, Piece
from scripts.land.sources import Opened, Refused, SourceFile

CHUNK_BYTES = 2 * PIECE_BYTES
TRANSACTION_BYTES = 16 * PIECE_BYTES
"""Bytes of lines that are one transaction, and of lines that one INSERT takes. DuckDB compresses whole
groups of 122,880 rows as they come; what is left of an INSERT is compressed later, or again."""

MOST_FILES = 2_000
BATCH_ROWS = 16_384
LEAST_ROWS = 512
"""Lines that the files of a chunk have on the average, or they are copied into larger batches."""


@dataclass
class Chunk:
    """Records of one or several files, of one shape; the key of a file is its `file_no` in the table.

    `closes`: the transaction ends with this chunk. `unknown`: a file's columns that land ignores. `copied`:
    how many more rows of a file Snowflake inserts by itself, and rejects by reason.
    """

    table: pa.Table
    files: dict[int, Opened]
    closes: bool
    unknown: dict[str, tuple[str, ...]]
    copied: dict[str, Counter[str | None]] = field(default_factory=dict)

    def uris(self) -> set[str]:
        """The addresses of its files."""
        return {opened.file.uri for opened in self.files.values()}


@dataclass(frozen=True)
class Skipped:
    """A file without rows to land.

    `other_name`: the name under which the ledger has its content. Without it and a `refusal`, its content is
    landed already.
    """

    file: SourceFile
    refusal: Refused | None = None
    breaks_off: bool = False
    other_name: str | None = None


Item = TypeVar("Item")


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """Prepare the next item while the current one is used, so that reading overlaps with DuckDB's work."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def read_chunks(plan: Plan, store: Any = None) -> Iterator[Chunk | Skipped]:
    """Read the files of a plan: small ones together, up to CHUNK_BYTES (of typed columns, TYPED_PIECES
    times as many), a large one piece by piece.
    """
    most_bytes = CHUNK_BYTES * (TYPED_PIECES if plan.dataset.typed else 1)
    # Arrow's usual allocator gives the memory of each chunk back to the system, and gets it back page by page
    pa.set_memory_pool(pa.system_memory_pool())
    fresh = []
    changed = {file.uri for file in plan.files if file.etag and not same_etag(plan, file)}
    for file in plan.files:
        if same_etag(plan, file):
            yield Skipped(file)
        elif file.etag and (other := plan.other_name(file, file.etag)) and other not in changed:
            yield Skipped(file, other_name=other)
        else:
            fresh.append(file)

    held: list[tuple[Opened, Piece]] = []
    size = whole = 0
    for opened in _in_turn(plan, fresh, store):
        if not isinstance(opened, Opened):
            yield Skipped(*opened)
            continue
        known = plan.known.get(opened.file.uri)
        if known and known.digest == opened.digest:
            opened.stream.close()
            yield Skipped(opened.file)
            continue
        if other := plan.other_name(opened.file, opened.digest):
            opened.stream.close()
            yield Skipped(opened.file, other_name=other)
            continue
        pieces = read_pieces(opened, plan.dataset.columns)
        try:
            first, second = next(pieces), next(pieces, None)
        except Refused as refusal:
            yield Skipped(opened.file, refusal)
            continue
        plan.take(opened.file, opened.digest, len(first.table) > 0)
        full = size + first.table.nbytes > most_bytes or len(held) >= MOST_FILES
        # metadata says what is known of a column's values
        alike = held and not second and first.table.schema.equals(held[-1][1].table.schema, True)
        if held and (full or not alike):
            whole += size
            # columns may make DuckDB fail, and then only the files of one chunk land again one by one
            closes = not alike or not first.is_lines or whole >= TRANSACTION_BYTES
            yield _chunk(held, closes)
            held, size, whole = [], 0, 0 if closes else whole
        if second:
            yield from _large_file(plan, opened, chain((first, second), pieces))
        else:
            held.append((opened, first))
            size += first.table.nbytes
    if held:
        yield _chunk(held)


def _in_turn(
    plan: Plan, files: list[SourceFile], store: Any
) -> Iterator[Opened | tuple[SourceFile, Refused]]:
    """Open files; one whose content another brought that is still to come, and may have changed, comes after
    that one: of logs with numbers, each has the content that the one before it had.
    """
    coming = {file.uri for file in files}
    while files:
        later = []
        for opened in open_files(files, store):
            if not isinstance(opened, Opened):
                coming.discard(opened[0].uri)
                yield opened
            elif plan.other_name(opened.file, opened.digest) in coming:
                opened.stream.close()
                later.append(opened.file)
            else:
                coming.discard(opened.file.uri)
                yield opened
        if len(later) == len(files):
            # they wait for each other, so what they hold has landed
            coming.clear()
        files = later


def _large_file(plan: Plan, opened: Opened, pieces: Iterator[Piece]) -> Iterator[Chunk | Skipped]:
    """One chunk per piece of a file; the last one closes the transaction, a refusal undoes it."""
    last = next(pieces)
    try:
        for piece in pieces:
            yield _chunk([(opened, last)], closes=False)
            last = piece
    except Refused as refusal:
        plan.keep(opened.file.uri)
        yield Skipped(opened.file, refusal, breaks_off=True)
        return
    yield _chunk([(opened, last)])


def _chunk(held: list[tuple[Opened, Piece]], closes: bool = True) -> Chunk:
    tables = []
    for number, (_, piece) in enumerate(held):
        numbers = pa.repeat(pa.scalar(number, pa.int32()), len(piece.table))
        tables.append(piece.table.add_column(0, "file_no", numbers))
    table = pa.concat_tables(tables)
    # DuckDB scans an Arrow table in parallel by its record batches: there should be some, not thousands.
    if not held[0][1].is_lines or len(table) < LEAST_ROWS * len(held):
        table = table.combine_chunks()
    table = pa.Table.from_batches(table.to_batches(BATCH_ROWS), table.schema)
    unknown = {opened.file.uri: piece.unknown for opened, piece in held if piece.unknown}
    return Chunk(table, {number: opened for number, (opened, _) in enumerate(held)}, closes, unknown)
