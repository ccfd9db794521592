"""Rows as JSON lists that a statement of Snowflake can hold."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LISTED_BYTES = 200_000
"""Of one list: a statement's text has at most 1 MB on Snowflake, and holds backslashes and quotes twice."""


def json_lists(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield JSON lists of some of the rows each; one row that is longer is a list of its own."""
    held: list[str] = []
    size = 0
    for row in rows:
        text = json.dumps(row)
        if held and size + len(text) > _LISTED_BYTES:
            yield f"[{','.join(held)}]"
            held, size = [], 0
        held.append(text)
        size += len(text)
    if held:
        yield f"[{','.join(held)}]"
