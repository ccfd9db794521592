"""The project's own generic tests find what they look for."""

import re
from typing import Any

import duckdb
import pytest
import yaml
from jinja2 import Template

from support.project import PROJECT


def failures(name: str, rows: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """The rows that a generic test gives for a table of (a, b)."""
    text = (PROJECT / f"tests/generic/{name}.sql").read_text()
    body = re.sub(r"{% (test|endtest)[^%]*%}", "", text)
    table = f"(select * from (values {rows}) as t (a, b))"
    return duckdb.execute(Template(body).render(model=table, **arguments)).fetchall()


@pytest.mark.parametrize(
    ("rows", "found"),
    [("(1, 2), (3, 4)", []), ("(1, null), (null, null), (3, 4)", [(1, 2)]), ("(null, 1)", [(1, 0)])],
)
def test_nulls_are_counted_by_column(rows: str, found: list[tuple[int, int]]) -> None:
    assert failures("not_null_columns", rows, columns=["a", "b"]) == found


def test_a_combination_occurs_once_and_nulls_are_equal() -> None:
    rows = "(1, null), (1, null), (1, 2)"
    assert failures("unique_combination", rows, columns=["a", "b"]) == [(1, None, 2)]


@pytest.mark.parametrize(
    ("rate", "low", "high", "holds"),
    [
        (0.5, 0.4, 0.6, True),
        (None, None, None, True),
        (1.2, None, None, True),
        (1.0, None, None, False),
        (0.5, 0.6, 0.7, False),
        (1.2, 1.1, 1.3, False),
    ],
)
def test_only_a_rate_above_one_has_no_interval(
    rate: float | None, low: float | None, high: float | None, holds: bool
) -> None:
    """Beyond 92 days such a row fails no build."""
    described = yaml.safe_load((PROJECT / "models/marts/experiments/_experiments.yml").read_text())
    (trend,) = (model for model in described["models"] if model["name"] == "variant_trend")
    (condition,) = (
        test["always"]["arguments"]["condition"] for test in trend["data_tests"] if "always" in test
    )
    columns = "? as comparable_rate, ? as comparable_rate_low, ? as comparable_rate_high"
    ((found,),) = duckdb.execute(
        f"select coalesce({condition}, false) from (select {columns})", [rate, low, high]
    ).fetchall()
    assert found == holds
