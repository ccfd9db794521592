"""Requests without what they say about people, to be shown."""

import json
from typing import Any

# What a request does, which says nothing about a person.
_SHOWN = ("type", "action", "metric")


def outline(text: str) -> str:
    """A request with the names of its members, and of their values only what they are."""
    found = json.loads(text)
    return json.dumps(
        {name: value if name in _SHOWN else _outlined(value) for name, value in found.items()},
        ensure_ascii=False,
    )


def _outlined(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _outlined(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_outlined(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    return f"text of {len(value)}" if isinstance(value, str) else "number"
