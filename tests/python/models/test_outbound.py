"""Requests to Customer.io: what only Python can say of the cases of the models and of their documentation."""

import hashlib
import json
import re
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from sqlglot import exp

from support.project import PROJECT, read_yaml
from support.quick import examples

FOLDER = PROJECT / "models/intermediate/outbound"
UNIT_TESTS = read_yaml(FOLDER / "_outbound.yml")["unit_tests"]
CASES = [
    (case["name"], row)
    for case in UNIT_TESTS
    if re.match(r"case_\d", case["name"])
    for row in case["expect"]["rows"]
    if "payload" in row
]
SEED = (PROJECT / "seeds/destination_actions.csv").read_text().splitlines()[1:]
ACTIONS = {line.partition(",")[0] for line in SEED}
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.mark.parametrize(("name", "row"), CASES, ids=lambda value: str(value)[:40])
def test_the_page_shows_the_request_of_each_case(name: str, row: dict[str, Any]) -> None:
    """Of a case about one attribute, the attributes; of one that is held back, why."""
    page = (PROJECT / "docs/outbound.md").read_text()
    shown = row["held_back_reason"] or row["payload"]
    if name == "case_3_times_of_attributes":
        shown = json.dumps(json.loads(shown)["attributes"], separators=(",", ":"))
    assert f"`{shown}`" in page


def test_every_action_has_a_case_that_is_sent() -> None:
    given_rows = {
        (case["name"], row["message_id"]): row["action"]
        for case in UNIT_TESTS
        for row in case["given"][0].get("rows", ())
        if isinstance(row, dict) and {"action", "message_id"} <= row.keys()
    }
    sent = {
        given_rows[name, row["message_id"]]
        for name, row in CASES
        if not row["held_back_reason"] and (name, row["message_id"]) in given_rows
    }
    assert sent == ACTIONS


@pytest.mark.parametrize(("name", "row"), CASES, ids=lambda value: str(value)[:40])
def test_a_payload_is_json_with_sorted_attributes(name: str, row: dict[str, Any]) -> None:
    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [key for key, _ in members]
        assert len(set(names)) == len(names)
        return dict(members)

    item = json.loads(row["payload"], object_pairs_hook=pairs)
    attributes = list(item.get("attributes", {}))
    assert attributes == sorted(attributes, key=str.encode)
    assert json.dumps(item, separators=(",", ":"), ensure_ascii=False) == row["payload"]


def ulid(millis: int, text: str) -> str:
    number = millis << 80 | int(hashlib.sha256(text.encode()).hexdigest()[:20], 16)
    return "".join(LETTERS[number >> shift & 31] for shift in range(125, -1, -5))


def rounded(expression: str) -> str:
    """Return it with quotients as Snowflake has those of whole numbers: rounded to six decimal places."""
    return (
        sqlglot.parse_one(expression, read="duckdb")
        .transform(
            lambda node: (
                exp.func("round", node, exp.Literal.number(6))
                if isinstance(node, exp.Div) and not isinstance(node.parent, exp.Round)
                else node
            )
        )
        .sql("duckdb")
    )


@pytest.fixture(scope="module")
def made() -> duckdb.DuckDBPyConnection:
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals["place_of"] = lambda part, text: f"strpos({text}, {part})"
    macros = (PROJECT / "macros/outbound/identifiers.sql").read_text()
    expression = environment.from_string(macros).module.ulid("millis", "digits")  # type: ignore[attr-defined]
    connection = duckdb.connect()
    connection.execute(f"create macro ulid_of(millis, digits) as {expression}")
    connection.execute(f"create macro rounded_ulid_of(millis, digits) as {rounded(expression)}")
    return connection


@given(millis=st.integers(946684800000, 4102444799999), text=st.text(max_size=40))
@settings(max_examples=examples(200), deadline=None)
def test_an_event_id_is_the_ulid_of_time_and_hash(
    made: duckdb.DuckDBPyConnection, millis: int, text: str
) -> None:
    digits = hashlib.sha256(text.encode()).hexdigest()
    found = made.execute("select ulid_of(?::bigint, ?)", [millis, digits]).fetchall()
    assert found == [(ulid(millis, text),)]
    assert re.fullmatch(f"[0-7][{LETTERS}]{{25}}", found[0][0])


@pytest.mark.parametrize("power", range(1, 10))
def test_a_quotient_that_is_rounded_changes_no_event_id(made: duckdb.DuckDBPyConnection, power: int) -> None:
    place = 32**power
    millis = 1772359200000 // place * place + place - 1
    digits = hashlib.sha256(b"x").hexdigest()
    found = made.execute("select rounded_ulid_of(?::bigint, ?)", [millis, digits]).fetchall()
    assert found == [(ulid(millis, "x"),)]
