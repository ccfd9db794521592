"""Types mean the same in every account of Snowflake, and hold every text that lands."""

import re
from pathlib import Path

import pytest
import yaml

from scripts.land.snowflake.tables import LONG
from support.project import PROJECT

COLUMNS = [
    (path.name, model["name"], column)
    for path in sorted(PROJECT.glob("models/**/_*.yml")) + sorted(PROJECT.glob("seeds/_*.yml"))
    for kind in ("models", "seeds")
    for model in yaml.safe_load(path.read_text()).get(kind, ())
    for column in model.get("columns", ())
    if "data_type" in column
]
FILES = [
    path for folder in ("macros", "models", "tests") for path in sorted((PROJECT / folder).glob("**/*.sql"))
]


def test_a_time_of_a_contract_has_no_zone_whatever_the_account_says() -> None:
    """TIMESTAMP_TYPE_MAPPING decides what TIMESTAMP is there, DATETIME is always TIMESTAMP_NTZ."""
    times = {
        column["data_type"]
        for *_, column in COLUMNS
        # days, of which a verdict has a first and a last one
        if column["name"].endswith(("_at", "_from", "_to")) and column["name"] != "verdict_from"
    }
    assert times == {"datetime"}
    assert not [column for *_, column in COLUMNS if column["data_type"].startswith("timestamp")]


def test_a_contract_does_not_cut_vars_and_attrs() -> None:
    kinds = {column["data_type"] for *_, column in COLUMNS if column["name"] in ("vars", "attrs")}
    assert kinds == {LONG}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_model_reads_a_time_from_text(path: Path) -> None:
    """DATE_INPUT_FORMAT and TIMESTAMP_INPUT_FORMAT decide what a text means as one."""
    assert not re.findall(r"cast\('[^'~]*' as (?:date|time)\w*\)|\b(?:date|timestamp) '", path.read_text())
