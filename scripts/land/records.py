"""What every reader of a file gives: Arrow tables of its records."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from scripts.land.sources import Refused

PIECE_BYTES = 32 * 2**20
"""Decompressed bytes of one piece of a file, which is what is held in memory at a time."""

TYPED_PIECES = 4
"""How many of them are one where columns keep their types, because each is an INSERT of its own. DuckDB
compresses whole groups of 122,880 rows as they come, and what is left of an INSERT again at the checkpoint:
for 5 M metrics, 2.5 s with INSERTs of 330,000 rows, and none with 1.3 M."""

LINES = pa.schema([("line", pa.int64()), ("raw", pa.string()), ("size", pa.int64()), ("fault", pa.string())])
"""One row per line that is not blank: its physical number from 1, its text (a line end may be included), its
size in bytes without line end, and why it is no text at all (`invalid_utf8`) or null."""

MOST_SECONDS = 10**11
"""Up to here a number is seconds. A typed time beyond it, after the year 5138, would become milliseconds."""

OTHER = "other:"
"""How the columns of a piece begin that the dataset does not know, where they are kept."""

BLANK = b" \t\r\n\v\f"
"""What a line may hold and still be blank."""


@dataclass(frozen=True)
class Columns:
    """What land needs to know of a dataset: the fields it reads, and groups of which one must be there.

    `of_name` is for files that are typed columns, in any case, of which unknown ones are kept: it gives the
    columns that the address of a file stands for. `iso_times` is for those whose times may be ISO 8601: a
    typed time reaches the rules as such a text, with its fraction, and else as whole seconds.
    """

    fields: tuple[str, ...]
    required: tuple[tuple[str, ...], ...]
    of_name: Callable[[str], dict[str, int | None]] | None = None
    iso_times: bool = False


@dataclass(frozen=True)
class Piece:
    """Some records of one file: a LINES table, or `line`, `fault` and the file's own columns."""

    table: pa.Table
    is_lines: bool
    unknown: tuple[str, ...] = ()


def check_columns(names: list[str], columns: Columns) -> list[str]:
    """The names of a file's columns that land reads.

    Raises:
        Refused: one that must be there is missing, or one stands there twice.
    """
    missing = [" or ".join(group) for group in columns.required if not set(group) & set(names)]
    if missing:
        there = ", ".join(name.removeprefix(OTHER) for name in names) or "none"
        raise Refused(
            f"it lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"(it has {there}): is it the right data set?"
        )
    double = sorted({name for name in columns.fields if names.count(name) > 1})
    if double:
        raise Refused(
            f"it has the column {', '.join(double)} more than once: write it again with each name once"
        )
    return [name for name in columns.fields if name in names]


def lines_of_texts(texts: list[str], first_line: int) -> pa.Table:
    """A LINES table of records that are lines only here. A byte that is no UTF-8 stands in a text as the
    surrogate that Python's `surrogateescape` makes of it; such a record is invalid.
    """
    raw: list[str] = []
    sizes: list[int] = []
    faults: list[str | None] = []
    for text in texts:
        try:
            data, fault = text.encode(), None
        except UnicodeEncodeError:
            data = text.encode(errors="surrogateescape").decode(errors="backslashreplace").encode()
            fault = "invalid_utf8"
        raw.append(data.decode())
        sizes.append(len(data))
        faults.append(fault)
    numbers = range(first_line, first_line + len(texts))
    return pa.table(
        [pa.array(column) for column in (numbers, raw, sizes)] + [pa.array(faults, pa.string())], LINES
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
