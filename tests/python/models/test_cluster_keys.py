"""Tables on Snowflake are sorted by their models' cluster_by; they have a clustering key only on demand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dbt.include.snowflake
import pytest
from dbt.adapters.snowflake.connections import SnowflakeConnectionManager
from jinja2 import Environment

from support.project import PROJECT, read_yaml

MACROS = Path(next(iter(dbt.include.snowflake.__path__))) / "macros/relations/table/create.sql"


def created(keys: bool, automatic: bool) -> list[str]:
    """The statements by which dbt makes a table of a model with cluster_by."""
    relation = SimpleNamespace(
        catalog_type="INFO_SCHEMA",
        cluster_by="call_date",
        automatic_clustering=automatic,
        is_transient=True,
        change_tracking=None,
    )
    options: dict[str, Any] = {"contract": SimpleNamespace(enforced=False)}
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "return": lambda value: value,
        "adapter": SimpleNamespace(build_catalog_relation=lambda model: relation),
        "config": SimpleNamespace(get=lambda name, default=None: options.get(name, default), model={}),
        "optional": lambda *_: "",
        "var": {"snowflake_cluster_keys": keys}.__getitem__,
    }
    environment.globals["dbt"] = environment.from_string(MACROS.read_text()).module
    ours = environment.from_string((PROJECT / "macros/dialect/cluster_keys.sql").read_text()).module
    sql = ours.snowflake__create_table_info_schema_sql("D.S.T", "select 1 as call_date")  # type: ignore[attr-defined]
    return [
        " ".join(statement.split())
        for statement in SnowflakeConnectionManager._split_queries(str(sql))
        if statement
    ]


@pytest.mark.parametrize("automatic", [True, False])
def test_a_table_is_sorted_and_has_no_clustering_key_unless_asked_for(automatic: bool) -> None:
    made = (
        "create or replace transient table D.S.T as (select * from ( select 1 as call_date ) "
        "order by ( call_date ) ) ;"
    )
    assert created(keys=False, automatic=automatic) == [made]
    key = ["alter table D.S.T cluster by (call_date);", "alter table D.S.T resume recluster;"]
    assert created(keys=True, automatic=automatic) == [made, *key[: 1 + automatic]]


def test_clustering_keys_are_off_by_default() -> None:
    assert read_yaml(PROJECT / "dbt_project.yml")["vars"]["snowflake_cluster_keys"] is False
