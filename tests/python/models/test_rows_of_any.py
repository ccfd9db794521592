"""Rows that fulfil one of several conditions: both engines find the same, Snowflake without IN beside OR."""

from typing import Any

import duckdb
import pytest
from jinja2 import Environment

from scripts.dev.check_grammar import faults, subqueries_beside_or
from support.project import PROJECT

TABLES = """
    create table events as
    select * from (values (1, 'a', 10), (2, 'b', 10), (3, null, 20), (4, 'c', 30), (4, 'c', 30), (5, 'd', 10))
        as given (id, person, day);
    create table people as
    select * from (values ('a', 10), ('a', 10), ('b', 20), (null, 20), ('d', null)) as given (name, on_day);
    create table days as select * from (values (30), (30), (null)) as given (day);
"""
OF_PEOPLE = {"on": {"lower(person)": "name", "day": "on_day"}, "of": "people"}
OF_DAYS = {"on": {"day": "day"}, "of": "days"}


@pytest.mark.parametrize(
    ("conditions", "also", "found"),
    [
        ([OF_PEOPLE, OF_DAYS], "true", [1, 4, 4]),
        ([OF_PEOPLE, {**OF_DAYS, "and": " and id < 4"}], "true", [1]),
        (["person is null", OF_PEOPLE], "true", [1, 3]),
        (["id = (select max(id) from events)", OF_DAYS], "day in (select day from days)", [4, 4]),
        ([{"on": {"id": "id"}, "of": "(select id from events where day = 10) as earlier"}], "id > 1", [2, 5]),
    ],
)
def test_both_engines_find_the_rows_of_any_set(conditions: list[Any], also: str, found: list[int]) -> None:
    """A row stands once for each time it was there, however often it is in a set; null is in none."""
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals["return"] = lambda value: value
    text = (PROJECT / "macros/incremental/touched.sql").read_text()
    macros: Any = environment.from_string(text).module
    connection = duckdb.connect()
    connection.execute(TABLES)
    for engine in ("duckdb", "snowflake"):
        rows = getattr(macros, f"{engine}__rows_of_any")("events", "named", conditions, also)
        query = f"select named.* from {rows} order by id"
        assert [row[0] for row in connection.execute(query).fetchall()] == found, engine
    assert faults(query) == []
    assert subqueries_beside_or(query) == []
