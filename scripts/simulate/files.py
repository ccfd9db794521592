"""The files of a simulation: lines written and compressed, in folders by their hour of arrival."""

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from scripts.simulate.spelling import SPELL_CALLS, SPELL_EVENTS

FOLDERS = {"justai_calls": Path("justai/calls"), "customerio_events": Path("customerio/events")}
FILES = {"justai_calls": "calls.jsonl.gz", "customerio_events": "events.jsonl.gz"}
LINES_AT_ONCE = 700_000


@dataclass(frozen=True)
class Reject:
    """A line that landing must reject; `raw` is None if its bytes are not UTF-8."""

    dataset: str
    file: str
    line: int
    raw: str | None
    reason: str


def write(
    con: duckdb.DuckDBPyConnection, out: Path, advance: Callable[[int], None]
) -> tuple[dict[str, int], list[Reject]]:
    """Write and compress all lines; return lines per dataset and the lines that must be rejected."""
    lines: dict[str, int] = {}
    rejects: list[Reject] = []
    with ThreadPoolExecutor(2) as pool:
        for dataset, table, spell in (
            ("justai_calls", "call_line", SPELL_CALLS),
            ("customerio_events", "event_line", SPELL_EVENTS),
        ):
            lines[dataset] = 0
            for first, last in batches(con, table, dataset):
                advance(1)
                rows = con.sql(spell, params={"first": first, "last": last}).to_arrow_table()
                hours = rows.column("hour").to_numpy()
                if (np.diff(hours) < 0).any():
                    raise AssertionError("lines came out of order")
                lines[dataset] += len(hours)
                rejects += write_hours(rows, hours, out, dataset, pool)
    return lines, rejects


def batches(con: duckdb.DuckDBPyConnection, table: str, dataset: str) -> Iterator[tuple[int, int]]:
    """Ranges of hours, each of about LINES_AT_ONCE lines, that cover all lines of a dataset."""
    counts = con.execute(f"""
        select hour, count(*) from (
            select hour from {table} union all select hour from junk where dataset = '{dataset}'
        ) group by hour order by hour
    """).fetchall()
    first, held = None, 0
    for hour, count in counts:
        if first is not None and held + count > LINES_AT_ONCE:
            yield first, hour
            first, held = None, 0
        first, held = hour if first is None else first, held + count
    if first is not None:
        yield first, counts[-1][0] + 1


def write_hours(
    rows: pa.Table, hours: np.ndarray, out: Path, dataset: str, pool: ThreadPoolExecutor
) -> list[Reject]:
    """Write one file per hour from rows in order of hours; return the rejects among them."""
    column = pa.concat_arrays(rows.column("line").cast(pa.large_binary()).chunks)
    _, offset_buffer, data = column.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    text = memoryview(data)
    begins = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    ends = np.append(begins[1:], len(hours))
    files = {}
    jobs = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        folder = FOLDERS[dataset] / datetime.fromtimestamp(int(hours[begin]) * 3_600, UTC).strftime(
            "%Y/%m/%d/%H"
        )
        files[begin] = folder / FILES[dataset]
        jobs.append(pool.submit(compress, out / files[begin], text[offsets[begin] : offsets[end]]))
    for job in jobs:
        job.result()
    reasons = rows.column("reason")
    found = []
    for row in np.flatnonzero(reasons.is_valid().to_numpy()).tolist():
        begin = int(begins[np.searchsorted(begins, row, side="right") - 1])
        raw = bytes(text[offsets[row] : offsets[row + 1] - 1])
        found.append(
            Reject(dataset, files[begin].as_posix(), row - begin + 1, decoded(raw), reasons[row].as_py())
        )
    return found


def decoded(raw: bytes) -> str | None:
    """The text of a line; None if its bytes are not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def compress(path: Path, text: memoryview) -> None:
    """Write a gzip file without name and time in its header, so that equal text gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, compresslevel=1, mtime=0))
