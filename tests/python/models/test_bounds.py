"""On Snowflake, predicates on what was touched stand beside constants, by which it skips data."""

from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment

from scripts.dev.check_grammar import faults
from support.project import PROJECT

# what dbt's nodes have in common
GRAPH: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def another_run() -> None:
    GRAPH.clear()


def rendered(
    macro: str, rows: list[Any], *arguments: Any, which: str = "build", this: Any = "a model", **options: Any
) -> tuple[str, list[str]]:
    """The condition for rows that the warehouse gives, and what it was asked."""
    asked: list[str] = []

    def ask(query: str) -> Any:
        asked.append(query)
        return SimpleNamespace(rows=rows)

    def escaped(text: str) -> str:
        """As dbt-snowflake writes it."""
        return text.replace("'", "\\'")

    class Returned(Exception):
        """`return` ends a dbt macro, and jinja has none."""

    def end(value: str) -> None:
        raise Returned(value)

    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "run_query": ask,
        "relation_of": lambda name: f"d.intermediate.{name}",
        "execute": True,
        "graph": GRAPH,
        "flags": SimpleNamespace(WHICH=which),
        "dbt": SimpleNamespace(string_literal="'{}'".format, escape_single_quotes=escaped),
        "text_literal": lambda text: str(literals.snowflake__text_literal(text)),
        "state_table": "d.staging.{}".format,
        "this": this,
        "return": end,
    }
    literals: Any = environment.from_string((PROJECT / "macros/dialect/text.sql").read_text()).module
    macros: Any = environment.from_string((PROJECT / "macros/incremental/bounds.sql").read_text()).module
    with pytest.raises(Returned) as ended:
        getattr(macros, f"snowflake__{macro}")(*arguments, **options)
    return str(ended.value), asked


def between(
    found: list[str | None], *arguments: Any, which: str = "build", **options: Any
) -> tuple[str, list[str]]:
    given = {"since": False, "seconds": 0} | options
    return rendered("and_between", [found], *arguments, which=which, **given)


@pytest.mark.parametrize(
    ("found", "column", "condition"),
    [
        (
            ["d2026-01-01", "d2026-02-03"],
            "metric_date",
            "date_from_parts(2026, 1, 1) and date_from_parts(2026, 2, 3)",
        ),
        (
            ["s1767225600", "s1767229200"],
            "call_hour",
            "to_timestamp_ntz(1767225600) and to_timestamp_ntz(1767229200)",
        ),
        (["s1767225600", "s1767229200"], "event_timestamp", "1767225600 and 1767229200"),
    ],
)
def test_the_least_and_the_greatest_touched_value_are_constants(
    found: list[str | None], column: str, condition: str
) -> None:
    said, (query,) = between(found, f"kept.{column}", "int_touched", column)
    assert said == f" and kept.{column} between {condition}"
    assert faults(f"select * from kept where true and kept.{column} between {condition}") == []
    assert faults(query) == []
    assert query.endswith("from d.intermediate.int_touched")


def test_a_column_may_lie_so_many_seconds_behind_what_was_touched() -> None:
    said, _ = between(["s0", "s3600"], "last_called_at", "t", "partition_hour", seconds=3600)
    assert said == " and last_called_at between to_timestamp_ntz(0) and to_timestamp_ntz(7200)"


def test_the_last_touched_time_may_have_a_fraction() -> None:
    """They are read in whole seconds: up to 7.0, what happened at 7.591 would be left out for ever."""
    said, _ = between(["s5", "s7"], "happened_at", "t", "happened_at")
    assert said == " and happened_at between to_timestamp_ntz(5) and to_timestamp_ntz(8)"


def test_bounds_are_read_once() -> None:
    GRAPH.clear()
    for asked in (1, 0, 0):
        assert len(between(["s0", "s1"], "kept.event_timestamp", "t", "event_timestamp")[1]) == asked
    assert len(between(["s0", "s1"], "kept.event_timestamp", "other", "event_timestamp")[1]) == 1


def test_a_lower_bound_alone() -> None:
    said, _ = between(["d2026-01-01", "d2026-02-03"], "kept.event_date", "t", "first_event_date", since=True)
    assert said == " and kept.event_date >= date_from_parts(2026, 1, 1)"


def test_where_nothing_was_touched_nothing_is_read() -> None:
    assert between([None, None], "kept.metric_date", "t", "metric_date", seconds=3600)[0] == " and false"
    assert between([None, None], "kept.metric_date", "t", "metric_date", since=True)[0] == " and false"


def test_ids_are_texts_of_snowflake() -> None:
    """A ULID begins with its time, so these are bounds of time."""
    said, (query,) = between(["t01JH'A\\", "t01JZ"], "kept.journey_id", "t", "journey_id")
    assert said == r" and kept.journey_id between '01JH\'A\\' and '01JZ'"
    assert faults(f"select * from kept where true{said}") == []
    assert faults(query) == []


def test_an_id_that_is_too_long_for_a_constant_has_none() -> None:
    assert between(["ta", "t" + "b" * 201], "kept.journey_id", "long", "journey_id")[0] == ""
    said, _ = between(["ta", "t" + "b" * 200], "kept.journey_id", "shorter", "journey_id")
    assert said == f" and kept.journey_id between 'a' and '{'b' * 200}'"


def test_the_bounds_of_an_id_do_not_end_the_block_that_they_stand_in() -> None:
    """The delete of a model is within $$."""
    said, _ = between(["ta$$b", "tz$"], "kept.identifier", "dollars", "identifier")
    assert said == " and kept.identifier between 'a$' || '$' || 'b' and 'z$'"
    assert faults(f"select * from kept where true{said}") == []


def test_an_action_is_a_number() -> None:
    said, (query,) = between(["s7", "s12"], "action_id", "t", "action_id")
    assert said == " and action_id between 7 and 12"
    assert "left(" not in query


def test_bounds_may_be_those_of_a_query() -> None:
    found = "(select event_id from lines where batch_id in ('1'))"
    said, (query,) = between(["ta", "tb"], "event_id", found, "event_id")
    assert said == " and event_id between 'a' and 'b'"
    assert query.endswith(f" from {found}")
    assert faults(query) == []


def test_rows_of_pending_batches_are_found_by_the_list_of_these_batches() -> None:
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "execute": True,
        "this": "a model",
        "adapter": SimpleNamespace(dispatch=lambda _: " and {} in ('1')".format),
        "relation_of": "d.intermediate.{}".format,
        "return": str,
    }
    macros: Any = environment.from_string((PROJECT / "macros/incremental/bounds.sql").read_text()).module
    pending = str(macros.of_pending("copy_id", "d.staging.variants", "batch_id")).strip()
    assert pending == (
        "(select copy_id from d.staging.variants where batch_id in "
        "(select batch_id from d.intermediate.int_landed_batches where is_pending) and batch_id in ('1'))"
    )
    changed = str(macros.of_changed_templates("control_copy_id")).strip()
    found = str(macros.all_of([pending, changed])).strip()
    assert faults(f"select min(copy_id) from {found}") == []


def test_there_is_no_bound_for_other_columns_for_unit_tests_and_without_a_warehouse() -> None:
    assert between(["x", "y"], "kept.is_anybody", "t", "is_anybody") == ("", [])
    assert between(["x", "y"], "kept.dataset", "t", "dataset") == ("", [])
    assert between(["d2026-01-01"] * 2, "kept.metric_date", "t", "metric_date", this=None) == ("", [])
    assert between(["d2026-01-01"] * 2, "kept.metric_date", "t", "metric_date", which="compile") == ("", [])


LISTED = ("and_pending_batch", "and_one_of_new_batches", "and_one_of_new_files")


@pytest.mark.parametrize("macro", LISTED)
def test_batches_and_files_are_constants_and_read_once(macro: str) -> None:
    said, (query,) = rendered(macro, [("b2f",), ("b1e5",)], "_batch_id")
    assert said == " and _batch_id in ('1e5', '2f')"
    assert faults(query) == []
    assert rendered(macro, [], "batch_id")[1] == []


def test_the_name_of_a_file_is_a_text_of_snowflake() -> None:
    said, _ = rendered("and_one_of_new_files", [(r"bs3://b/it's\n.jsonl",)], "_file")
    assert said == r" and _file in ('s3://b/it\'s\\n.jsonl')"


def test_what_is_new_landed_and_was_read_by_no_model() -> None:
    for macro, table in (
        ("and_one_of_new_batches", "landed_batches"),
        ("and_one_of_new_files", "landed_files"),
    ):
        _, (query,) = rendered(macro, [], "_batch_id")
        assert f"from d.staging.{table}" in query
        assert query.endswith(
            "where batch_id not in (select batch_id from d.staging.consumed_batches) limit 101"
        )


@pytest.mark.parametrize("macro", LISTED)
@pytest.mark.parametrize(("count", "condition"), [(0, " and false"), (101, "")])
def test_where_there_is_none_nothing_is_read_and_many_are_no_constants(
    macro: str, count: int, condition: str
) -> None:
    said, (_,) = rendered(macro, [(f"b{number}",) for number in range(count)], "_batch_id")
    assert said == condition
    assert rendered(macro, [("b1",)], "_batch_id")[1] == []


@pytest.mark.parametrize("macro", LISTED)
def test_batches_are_not_asked_for_without_a_run_and_in_unit_tests(macro: str) -> None:
    assert rendered(macro, [("b1",)], "_batch_id", which="compile") == ("", [])
    assert rendered(macro, [("b1",)], "_batch_id", this=None) == ("", [])


@pytest.mark.parametrize("scope", ["all", "changed"])
def test_a_test_of_new_rows_has_the_constants_beside_its_predicate(scope: str) -> None:
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "execute": True,
        "var": {"test_scope": scope}.__getitem__,
        "state_table": "d.staging.{}".format,
        "and_one_of_new_batches": " and {} in ('1')".format,
    }
    macros: Any = environment.from_string((PROJECT / "macros/incremental/test_scope.sql").read_text()).module
    said = str(macros.and_new_batch("batch_id"))
    exact = "and batch_id not in (select batch_id from d.staging.consumed_batches)"
    assert said == (f"{exact} and batch_id in ('1')" if scope == "changed" else "")
