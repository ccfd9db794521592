"""JSON in DuckDB's SQL keeps numbers as they are written, which DuckDB's own parser does not."""

import json
from collections.abc import Callable

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from land.test_land import NUMBERS, VALUES, exact, members

from support.project import PROJECT

MACROS = (
    Environment(extensions=["jinja2.ext.do"])
    .from_string((PROJECT / "macros/dialect/json.sql").read_text())
    .module
)


@pytest.fixture(scope="module")
def canonical() -> Callable[[str], str]:
    query = f"select {MACROS.duckdb__canonical_json('object')} from (select cast(? as json) as object)"
    connection = duckdb.connect()
    return lambda text: connection.execute(query, [text]).fetchall()[0][0]


def member(text: str, key: str) -> str | None:
    query = f"select {MACROS.duckdb__json_member('vars', key)} from (select cast(? as varchar) as vars)"
    return duckdb.execute(query, [text]).fetchall()[0][0]


@given(text=members(VALUES))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_canonical_json_loses_only_order_and_space(canonical: Callable[[str], str], text: str) -> None:
    written = canonical(text)
    expected = {key: value for key, value in exact(text).items() if value is not None}
    assert exact(written) == expected
    assert [key.encode() for key in exact(written)] == sorted(key.encode() for key in expected)
    assert canonical(written) == written


@given(pairs=st.lists(st.tuples(st.sampled_from("abcdef"), NUMBERS), unique_by=lambda pair: pair[0]))
@settings(deadline=None)
def test_canonical_json_of_numbers(canonical: Callable[[str], str], pairs: list[tuple[str, str]]) -> None:
    text = "{ " + " , ".join(f'"{key}" : {number}\n' for key, number in pairs) + "}"
    assert canonical(text) == "{" + ",".join(f'"{key}":{number}' for key, number in sorted(pairs)) + "}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("41.50", "41.50"),
        ("-0", "-0"),
        ("1e2", "1e2"),
        ("12345678901234567890123", "12345678901234567890123"),
        ('"41.50"', "41.50"),
        ('"\\"a\\": 41.50"', '"a": 41.50'),
        ('[1.0,{"x":-0}]', '[1.0,{"x":-0}]'),
        ("true", "true"),
        ("null", None),
        ('""', ""),
    ],
)
def test_a_member_keeps_its_text(value: str, expected: str | None) -> None:
    assert member(f'{{"other":1.50,"subject":{value}}}', "subject") == expected
    assert member(f'{{"subject":{value}}}', "subject") == expected
    assert member(json.dumps({"other": 1.5}), "subject") is None
