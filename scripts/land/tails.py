"""Lines that end alike: a head of its own, and then parts that many lines of a chunk share.

A log of calls names few copies, each with the words it had, and says few different things of people. Each
distinct part is asked the rules once, in a line that is good but for it. Text for text, a line is its head
and its parts: if each is good in a good line, so is the line, and it holds what they hold. A part that ends
within a value, or holds a field of another part, is not good in a good line.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.land.arrow_tables import registered
from scripts.land.checks import HEAD, check_query, repeated_keys_query
from scripts.land.records import Columns, lines_of_texts
from scripts.land.rules import Dataset, name, only, quoted

MOST_DISTINCT = 1 / 8
"""Distinct parts per line. To check one takes 8 microseconds; a line without its own lands 3 faster."""

_FIRST_LINES = 8_192


def heads(dataset: Dataset) -> Dataset:
    """The rules of heads, to which the columns of the parts come as they are."""
    own, *parts = _fields(dataset)
    shared = {field for part in parts for field in part}
    return replace(
        dataset,
        columns=Columns(own, ()),
        table=tuple(
            (column, kind, f"{name(column)}::{kind}" if column in shared else value)
            for column, kind, value in dataset.table
        ),
        reasons=only(dataset.reasons, own),
        maps=(),
    )


def divided(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, table: pa.Table, bounds: tuple[int, int]
) -> pa.Table | None:
    """Lines with their heads, and with a dictionary of its distinct values for each column of a part.

    A line is `odd` that has no such part, or one that is not good. None if most lines are, or if too many
    parts differ.
    """
    if not dataset.tails or "raw" not in table.column_names or not len(table):
        return None
    batches = [batch.column(0) for batch in table.select(["raw"]).to_batches() if len(batch)]
    # where the first lines have hardly a part in common, the others are not looked at
    ends = np.cumsum([len(batch) for batch in batches])
    few = batches[: int(np.searchsorted(ends, _FIRST_LINES)) + 1]
    for some, most in ((few, MOST_DISTINCT * 4), (batches, MOST_DISTINCT)):
        starts, codes, parts = _parts(dataset, some)
        if sum(map(len, parts)) > most * sum(map(len, some)):
            return None
    good = np.ones(len(table), bool)
    held: dict[str, pa.Array] = {}
    for code, found in zip(codes, _judged(connection, dataset, parts, bounds), strict=True):
        good &= found.pop("good").to_numpy(zero_copy_only=False)[code]
        indices = pa.array(code)
        held |= {column: pa.DictionaryArray.from_arrays(indices, values) for column, values in found.items()}
    if good.sum() < len(table) / 2:
        return None
    table = table.append_column("odd", pa.array(~good)).append_column(HEAD, pa.chunked_array(starts))
    for column, values in held.items():
        table = table.append_column(column, values)
    return pa.Table.from_batches(table.to_batches(), table.schema)


def _parts(
    dataset: Dataset, lines: list[pa.Array]
) -> tuple[list[pa.Array], list[np.ndarray], list[pa.Array]]:
    """The heads of lines; for each part, which of its distinct texts each line has; and these texts."""
    first, *others = (f',"{field}":' for field, _ in dataset.tails)
    cut = [_cut(some, first) for some in lines]
    tails = pa.chunked_array([tail for _, tail in cut]).dictionary_encode()
    whole = np.concatenate([chunk.indices.to_numpy() for chunk in tails.chunks])
    # further parts are looked for in distinct tails only
    parts, rest = [], tails.chunk(0).dictionary
    for marker in others:
        part, rest = _cut(rest, marker)
        parts.append(part.dictionary_encode())
    parts.append(rest.dictionary_encode())
    codes = [part.indices.to_numpy()[whole] for part in parts]
    return [head for head, _ in cut], codes, [part.dictionary for part in parts]


def _fields(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """The fields of a head, and those of each part."""
    fields = dataset.columns.fields
    places = [0, *(fields.index(field) for field, _ in dataset.tails), len(fields)]
    return (fields[start:end] for start, end in pairwise(places))


def _cut(texts: pa.Array, marker: str) -> tuple[pa.Array, pa.Array]:
    """What stands before a marker in some texts, and the rest, which is empty without a marker."""
    found = pc.find_substring(texts, marker).to_numpy()
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    cuts = np.where(found < 0, np.diff(offsets), found)
    bounds = np.empty(2 * len(texts) + 1, np.int32)
    bounds[0::2] = offsets
    bounds[1::2] = offsets[:-1] + cuts
    both = pa.StringArray.from_buffers(2 * len(texts), pa.py_buffer(bounds), texts.buffers()[2])
    places = np.arange(0, 2 * len(texts), 2)
    return both.take(pa.array(places)), both.take(pa.array(places + 1))


def _judged(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, parts: list[pa.Array], bounds: tuple[int, int]
) -> list[dict[str, pa.Array]]:
    """What the texts of each part hold by column, and whether each is `good` in a good line."""
    own, *shared = _fields(dataset)
    # a number is good in each field of a head, and the first time that is allowed even in the time
    head = json.dumps(dict.fromkeys(own, bounds[0]), separators=(",", ":"))[:-1]
    usual = [text for _, text in dataset.tails] + ["}"]
    lines = []
    for number, part in enumerate(parts):
        before, after = head + "".join(usual[:number]), "".join(usual[number + 1 :])
        after = "" if number + 1 == len(parts) else after
        lines += [f"{before}{text.removesuffix(chr(10))}{after}" for text in part.to_pylist()]
    # one per part, also where a line break stands in it, as in an element of an array
    chunk = lines_of_texts(lines, 1)
    chunk = chunk.add_column(0, "file_no", pa.repeat(pa.scalar(0, pa.int32()), len(chunk)))
    checked = check_query(dataset, chunk.schema)
    times = dict(zip(("earliest", "latest"), bounds, strict=True)) if "$earliest" in checked else {}
    known = ", ".join(map(quoted, dataset.columns.fields))
    repeated = f"select value from ({repeated_keys_query(dataset, 1)})"
    once = " and ".join(f"coalesce({name(column)} not in ({repeated}), true)" for column in dataset.maps)
    columns = ", ".join(f"{name(column)}::varchar as {name(column)}" for part in shared for column in part)
    with registered(connection, chunk=chunk):
        result = connection.sql(
            f"with checked as materialized (select 1 as part, * from ({checked})) "
            f"select _reason is null and (keys is null or list_has_all([{known}], keys)) and {once} as good, "
            f"{columns} from checked order by line",
            params=times,
        ).to_arrow_table()
    found, start = [], 0
    for part, fields in zip(parts, shared, strict=True):
        rows = result.slice(start, len(part))
        found.append({column: rows[column].combine_chunks() for column in ("good", *fields)})
        start += len(part)
    return found
