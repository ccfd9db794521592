"""JSON in SQL: strings and whole numbers are exact, and 41.50 and 41.5 are one content."""

import json
from collections.abc import Callable

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from jinja2 import Environment

from support.emulated_snowflake import connect
from support.json_texts import VALUES, exact, members
from support.project import PROJECT
from support.quick import examples

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
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_canonical_json_loses_only_order_and_space(canonical: Callable[[str], str], text: str) -> None:
    written = canonical(text)
    expected = {key: value for key, value in exact(text).items() if value is not None}
    assert exact(written) == expected
    assert [key.encode() for key in exact(written)] == sorted(key.encode() for key in expected)
    assert canonical(written) == written


@given(text=members(VALUES))
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_numbers_landed_as_logged_and_as_the_parser_writes_them_are_one_content(
    canonical: Callable[[str], str], text: str
) -> None:
    """Earlier versions landed the former, `copymart land` lands the latter."""
    ((parsed,),) = duckdb.execute("select cast(json(?) as varchar)", [text]).fetchall()
    assert canonical(text) == canonical(parsed)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("41.50", "41.5", True),
        ("1e2", "100.0", True),
        ("-0", "0", True),
        ('[1.0,{"x":-0,"y":0.10}]', '[1.00,{"x":0,"y":0.1}]', True),
        ("9007199254740993", "9007199254740992", False),
        ("9223372036854775807", "9223372036854775806", False),
        ("18446744073709551615", "18446744073709551614", False),
        ("41.5", '"41.5"', False),
        ('"41.50"', '"41.5"', False),
        ('"1e2"', '"100.0"', False),
    ],
)
def test_which_values_are_one_content(
    canonical: Callable[[str], str], one: str, other: str, same: bool
) -> None:
    assert (canonical(f'{{"a":{one}}}') == canonical(f'{{ "a" : {other} }}')) is same
    # a key is never a number
    assert canonical(f'{{"1.0":{one},"1":"b"}}').startswith('{"1":"b","1.0":')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("41.50", "41.5"),
        ("9007199254740993", "9007199254740993"),
        ('"41.50"', "41.50"),
        ('"\\"a\\": 41.50"', '"a": 41.50'),
        ('[1.5,{"x":"y"}]', '[1.5,{"x":"y"}]'),
        ("true", "true"),
        ("null", None),
        ('""', ""),
    ],
)
def test_a_member_is_its_text(value: str, expected: str | None) -> None:
    assert member(f'{{"other":1.50,"subject":{value}}}', "subject") == expected
    assert member(f'{{"subject":{value}}}', "subject") == expected
    assert member(json.dumps({"other": 1.5}), "subject") is None


# Arrays of objects, and what their member "p" says.
ARRAYS = {
    '[{"p":"ios"},{"p":"android"},{"q":1},{"p":"ios"}]': "android, ios",
    '[{"p":null},{"p":""},{"p":"web"}]': "web",
    '[{"p":7}]': "7",
    '[{"q":"ios"}]': None,
    "[]": None,
}


def of_arrays(macro: str) -> str:
    expression = f"nullif({getattr(MACROS, macro)('devices', 'p')}, '')"
    rows = ", ".join(f"('{text}')" for text in ARRAYS)
    return f"select devices, {expression} as found from (values {rows}) as pushes (devices)"


def test_each_member_of_an_array_is_named_once() -> None:
    assert dict(duckdb.sql(of_arrays("duckdb__json_each_member")).fetchall()) == ARRAYS


def test_each_member_of_an_array_is_named_once_on_snowflake(port: int) -> None:
    with connect(port, "MEMBERS").cursor() as cursor:
        cursor.execute("create schema if not exists prod")
        found = cursor.execute(of_arrays("snowflake__json_each_member")).fetchall()
    assert dict(found) == ARRAYS
