"""Whether a key occurs twice in an object within JSON, at any depth.

DuckDB's json_tree copies the whole text for each of its values: for 300 people with a hundred orders each, it
takes gigabytes.
"""

import json
import re
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType

_TOKEN = re.compile(r'"((?:[^"\\]+|\\.)*)"(\s*:)?|[{}]')


class _Twice(Exception):
    """A key stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _Twice


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len, strict=False)


def key_twice(text: str) -> bool:
    """Whether an object in a JSON text has a key twice."""
    try:
        _DECODER.decode(text)
    except _Twice:
        return True
    except RecursionError:
        return _twice_by_token(text)
    return False


def _twice_by_token(text: str) -> bool:
    """The same for objects within more objects than Python's parser follows."""
    keys: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[2]:
            key = json.loads(f'"{token[1]}"')
            if key in keys[-1]:
                return True
            keys[-1].add(key)
        elif token[0] == "{":
            keys.append(set())
        elif token[0] == "}":
            keys.pop()
    return False


def add_to(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection ask `land_key_twice` of texts."""
    connection.create_function("land_key_twice", _key_twice, ["VARCHAR"], "BOOLEAN", type=PythonUDFType.ARROW)


def _key_twice(texts: pa.Array) -> pa.Array:
    return pa.array(map(key_twice, texts.to_pylist()), pa.bool_())
