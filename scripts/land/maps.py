"""Maps of texts as JSON, each distinct one written once: a log has few of them, and writing JSON is slow."""

from functools import cache

import duckdb
import numpy as np
import pyarrow as pa

OBJECT_OF_ENTRIES = """case when {0} is not null then ('{{' || array_to_string(list_transform({0}, lambda m:
            to_json(m.key::varchar) || ':' || coalesce(to_json(m.value), 'null')), ',') || '}}')::json end"""
"""SQL of the JSON object of a list of {key, value}, in which a key may occur twice."""


KEYS_ONCE = {"keys": "once"}
"""Metadata of a column of JSON objects of texts, in none of which a key occurs twice."""


def json_of_maps(entries: pa.ListArray) -> tuple[pa.DictionaryArray, bool] | None:
    """Lists of {key, value}, both texts, as JSON objects: the distinct ones, and which one each row has. Then
    whether each key occurs once in its object.

    None where most are distinct, or not of texts.
    """
    if not len(entries) or not all(pa.types.is_string(field.type) for field in entries.type.value_type):
        return None
    firsts, codes, once = _distinct(entries)
    if len(firsts) > len(entries) / 2:
        return None
    distinct = pa.table({"entries": entries.take(pa.array(firsts))})
    with _engine().cursor() as connection:
        connection.register("found", distinct)
        query = f"select {OBJECT_OF_ENTRIES.format('entries')}::varchar as json from found"
        texts = connection.sql(query).to_arrow_table()["json"].combine_chunks()
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=_nulls(entries)), texts), once


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def keys_once(field: pa.Field) -> bool:
    """Whether a column is marked by KEYS_ONCE."""
    return bool(field.metadata and field.metadata.get(b"keys") == b"once")


def _distinct(entries: pa.ListArray) -> tuple[np.ndarray, np.ndarray, bool]:
    """A row of each distinct list, for every row the number of its list among these, and whether no list has
    a key twice.
    """
    offsets = entries.offsets.to_numpy()
    keys, values = (
        part.dictionary_encode(null_encoding="encode").indices.to_numpy() for part in entries.values.flatten()
    )
    pairs = np.column_stack((keys, values)).astype(np.int32)
    lengths = np.where(_nulls(entries), -1, np.diff(offsets))
    codes = np.zeros(len(lengths), np.int32)
    firsts = [np.zeros(0, np.int64)]
    known = 0
    once = True
    for length in np.unique(lengths[lengths >= 0]):
        rows = np.flatnonzero(lengths == length)
        first, code = rows[:1], np.zeros(len(rows), np.int32)
        if length:
            lists = np.ascontiguousarray(pairs[offsets[rows][:, None] + np.arange(length)])
            kind = pa.binary(int(length) * pairs.itemsize * 2)
            whole = pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(lists)])
            code = whole.dictionary_encode().indices.to_numpy()
            places = np.unique(code, return_index=True)[1]
            first = rows[places]
            ordered = np.sort(lists[places, :, 0], axis=1)
            once = once and not (ordered[:, 1:] == ordered[:, :-1]).any()
        codes[rows] = code + known
        firsts.append(first)
        known += len(first)
    return np.concatenate(firsts), codes, once


def _nulls(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)
