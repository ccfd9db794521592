"""Each predicate on what was touched has its constants, as the table in docs/decisions says."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment

from scripts.dev.check_grammar import faults
from support.project import PROJECT

SQL = {path.stem: path.read_text() for path in sorted(PROJECT.glob("models/**/*.sql"))}
MACROS = {
    name: body
    for folder in ("engagement", "incremental", "outbound")
    for path in sorted(PROJECT.glob(f"macros/{folder}/*.sql"))
    for name, body in re.findall(r"{% macro (\w+)(\(.*?){%-? endmacro", path.read_text(), re.DOTALL)
}
INCREMENTAL = [name for name, sql in SQL.items() if "incremental_strategy='replace_touched'" in sql]
HAVE_BOUNDS = ("_date", "_at", "_hour", "_timestamp", "_id", "_key", "identifier")
PAGE = (PROJECT / "docs/decisions/incremental-builds.md").read_text()

TOUCHED = r"int_(?:touched|rewritten)_\w+"
# CTEs that hold ids of a touched table, of pending rows, or of templates whose settings changed.
CTES = (
    "touched_calls|touched_ids|touched_people|rewritten_messages|journeys|call_journeys|journeys_of_removed|sync_people"
    "|changed_actions|changed_people|changed_copies|changed_control_templates|changed_and_control_templates"
)
# What was touched, as a model, a CTE of that name, or the rest of a query in a variable.
PREDICATES = (
    rf"in \(select (?P<column>\w+) (?:from \{{\{{ ref\('{TOUCHED}'\) \}}\}}|\{{\{{ hours_of_\w+ \}}\}})\)",
    rf"in \(select (?P<found>\w+) from (?:{CTES})\)",
    r"(?:>=|=) (?:touched|touched_hours|rewritten|rewritten_messages)\.(?P<later>\w+)",
    r"rewritten\.(?P<earlier>\w+) <= ",
    rf">= \(select min\((?P<least>\w+)\) from \{{\{{ ref\('{TOUCHED}'\)",
)
# How far below a predicate its constants may stand: behind the others of its join or filter.
BELOW = 7


def columns(cell: str) -> set[str]:
    """The columns that a cell of the table names before it says why there are no more."""
    return set(re.findall(r"`(\w+)`", cell.partition(";")[0].partition(":")[0]))


def table() -> dict[str, tuple[set[str], set[str]]]:
    """Model -> the columns that its reads and its deletes compare with constants."""
    rows: dict[str, tuple[set[str], set[str]]] = {}
    header = "| Model | Reads by | Constants of reads | Deletes by | Constants of deletes | Sorted by |"
    for line in PAGE.partition(header)[2].splitlines()[2:]:
        if not line.startswith("|"):
            break
        models, _, of_reads, _, of_deletes, _ = (cell.strip() for cell in line.strip("|").split(" | "))
        for model in re.findall(r"`(\w+)`", models):
            rows[model] = (columns(of_reads), columns(of_deletes))
    return rows


def whole(name: str) -> str:
    """The SQL of a model with the macros that it calls."""
    text = SQL[name]
    for macro in re.findall(r"{{ (\w+)\(", text):
        text += MACROS.get(macro, "")
    return text


def of_reads(name: str) -> set[str]:
    calls = re.findall(r"and_(?:between|pending_batch)\('(?:\w+\.)?(\w+)'", whole(name))
    return set(calls)


def of_deletes(name: str) -> set[str]:
    """The columns of `touched` in the model's config, of those whose touched values have bounds."""
    config = SQL[name].partition(") }}")[0]
    assert re.search(r"meta=\{\s*'touched'", config)
    pairs = [
        pair for found in re.findall(r"'(?:on|since)': \{([^}]*)\}", config) for pair in found.split(", ")
    ]
    named = [re.findall(r"'(\w+)'", pair) for pair in pairs]
    return {column for column, touched in named if touched.endswith(HAVE_BOUNDS)}


@pytest.mark.parametrize("name", INCREMENTAL)
def test_the_table_of_predicates_says_which_constants_a_model_has(name: str) -> None:
    assert table()[name] == (of_reads(name), of_deletes(name))
    # each statement has some, what it reads and what it deletes
    assert of_reads(name) and of_deletes(name)


def test_the_table_of_predicates_names_models_that_exist() -> None:
    rows = table()
    assert set(rows) <= set(SQL)
    assert set(INCREMENTAL) <= set(rows)
    for name in set(rows) - set(INCREMENTAL):
        assert rows[name] == (of_reads(name), set())


@pytest.mark.parametrize("name", [*SQL, *MACROS])
def test_each_predicate_with_bounds_has_its_constants(name: str) -> None:
    text = {**SQL, **MACROS}[name]
    for pattern in PREDICATES:
        for found in re.finditer(pattern, text):
            column = next(column for column in found.groups() if column)
            if column.endswith(HAVE_BOUNDS):
                below = text[found.end() :].splitlines()[:BELOW]
                assert any("and_between(" in line for line in below), f"{name}: {found[0]}"


@pytest.mark.parametrize(
    ("touched", "constants"),
    [
        (
            {"model": "t", "on": {"event_id": "event_id", "event_date": "event_date"}},
            ["kept.event_id", "kept.event_date"],
        ),
        (
            {"model": "t", "on": {"delivery_id": "delivery_id"}, "since": {"event_date": "first_event_date"}},
            ["kept.event_date since", "kept.delivery_id"],
        ),
        ({"model": "t", "on": {"metric_date": "metric_date"}, "only": "x is null"}, ["kept.metric_date"]),
        (
            {
                "model": "t",
                "on": {"is_anybody": "is_anybody"},
                "among": {"model": "u", "since": {"metric_date": "since_date"}},
            },
            ["kept.metric_date since"],
        ),
    ],
)
def test_a_delete_has_the_constants_of_its_columns(touched: dict[str, Any], constants: list[str]) -> None:
    environment = Environment(extensions=["jinja2.ext.do"])

    def and_between(column: str, model: str, touched_column: str, since: bool = False) -> str:
        """Stands for the bounds."""
        bounded = touched_column.endswith(HAVE_BOUNDS)
        return f" and {column} >= 20450 /* {column}{' since' if since else ''} */" if bounded else ""

    environment.globals |= {
        "and_between": and_between,
        "get_quoted_csv": ", ".join,
        "stop_on_other_settings": str,
        "stop_on_another_build": str,
        "config": SimpleNamespace(get=lambda _: {"touched": [touched]}),
        "ref": lambda name: f"d.intermediate.{name}",
        "adapter": SimpleNamespace(dispatch=lambda _: lambda statements: statements),
        "return": lambda value: value,
    }
    text = (PROJECT / "macros/incremental/replace_touched.sql").read_text()
    macros: Any = environment.from_string(text).module
    columns = [SimpleNamespace(name="id")]
    given = {"target_relation": "d.marts.m", "dest_columns": columns, "temp_relation": "d.marts.tmp"}
    sql = str(macros.get_incremental_replace_touched_sql(given))
    delete = sql.partition("insert into")[0]
    assert re.findall(r"/\* (.*?) \*/", delete) == constants
    assert faults(re.sub(r"/\*.*?\*/", "", delete)) == []


def test_bounds_are_those_of_the_table_that_the_predicate_reads() -> None:
    """A bound of another table would leave rows out."""
    pattern = (
        r"in \(select (\w+) from \{\{ ref\('(\w+)'\) \}\}\)\s+"
        r"\{\{- and_between\('(?:\w+\.)?\w+', '(\w+)', '(\w+)'"
    )
    found = [match for text in (*SQL.values(), *MACROS.values()) for match in re.findall(pattern, text)]
    assert len(found) > 15
    for column, read, model, touched_column in found:
        assert read == model
        # an id is bounded by itself, or by the time of its rows
        assert column == touched_column or column.endswith("_id")
