"""A key that stands twice within a map, however large and deep the map is."""

import json
from pathlib import Path

import pytest

from scripts.land.repeated_keys import key_twice
from support.land import call, land_path, landed, rejected, warehouse, write

DEEP = 20_000


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ('{"a":{"b":1,"b":2}}', True),
        ('{"a":[{"c":1},{"b":1,"b":{}}]}', True),
        ('{"a":{"b":1,"\\u0062":2}}', True),
        ('{"a":{"a":{"a":"a"},"b":["a","a"]}}', False),
        ('{"a":{"b":"\\"b\\":{","c":"\\\\"},"d":1e400}', False),
        (f'{{"a":{"9" * 5000}}}', False),
    ],
)
def test_a_key_that_stands_twice_is_found_at_any_depth(text: str, twice: bool) -> None:
    assert key_twice(text) == twice
    assert key_twice('{"a":' * DEEP + text + "}" * DEEP) == twice


def test_large_maps_land_in_little_memory(tmp_path: Path) -> None:
    """A person may have a hundred orders, and each call is another person's."""
    orders = [{"sku": "x" * 20, "price": 1, "name": "abcdefgh", "count": 1} for _ in range(100)]
    records = [call(user_id=f"u{n}", attrs={"id": n, "orders": orders}) for n in range(200)]
    wide = {str(number): {"x": 1} for number in range(20_000)}
    deep = json.dumps(call(vars="@")).replace('"@"', '{"a":' * DEEP + '{"b":1,"b":2}' + "}" * DEEP)
    write(tmp_path / "calls.jsonl", *records, call(user_id="wide", vars=wide), deep)
    connection = warehouse()
    connection.execute("set memory_limit = '400MB'")
    assert not land_path(connection, tmp_path).refused
    assert len(landed(connection)) == 201
    assert [reason for _, _, reason in rejected(connection)] == ["duplicate_key_in_vars"]
