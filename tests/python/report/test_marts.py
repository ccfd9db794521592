"""What the report reads is the same on both engines."""

import re
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import yaml

from scripts.answers import plain
from scripts.errors import UserError
from scripts.report.marts import QUERIES, Marts, read
from support.emulated_snowflake import connect
from support.project import PROJECT
from support.report import PROJECT_FILE, read_marts
from support.twin import literal

DATABASE = "REPORT"
PROFILE = """
copymart:
  target: snowflake
  outputs:
    snowflake: {{type: snowflake, account: emulated, user: someone, password: none, host: 127.0.0.1,
      port: {port}, protocol: http, database: {database}, schema: PROD, warehouse: W, role: R}}
"""


@pytest.fixture
def snowflake_project(folder: Path, port: int, tmp_path: Path) -> Path:
    """A project whose profile leads to an emulated Snowflake that holds the hand-made tables."""
    (tmp_path / "dbt_project.yml").write_text(PROJECT_FILE)
    (tmp_path / "profiles.yml").write_text(PROFILE.format(port=port, database=DATABASE))
    session = connect(port, DATABASE)
    file = str(folder / "warehouse.duckdb")
    with duckdb.connect(file, read_only=True) as connection, session.cursor() as cursor:
        for schema in ("staging", "marts", "audit"):
            cursor.execute(f"create schema if not exists {schema}")
        named = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
        for (table,) in named:
            described = connection.execute(f"describe {table}").fetchall()
            made = ", ".join(f"{name} {kind}" for name, kind, *_ in described)
            rows = connection.execute(f"select columns(*)::varchar from {table}").fetchall()
            values = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in rows)
            cursor.execute(f"create or replace table {table} ({made.replace('TIMESTAMP', 'timestamp_ntz')})")
            cursor.execute(f"insert into {table} values {values}")
    session.close()
    return tmp_path


def test_both_engines_give_the_same_tables(folder: Path, snowflake_project: Path) -> None:
    expected = read_marts(folder)
    found = read(snowflake_project, snowflake_project, None, lambda steps: None)
    for field in fields(Marts):
        one, other = getattr(expected, field.name), getattr(found, field.name)
        assert other.column_names == one.column_names, field.name
        assert ordered(other) == ordered(one), field.name
        kinds = dict(zip(one.column_names, map(group, one.schema.types), strict=True))
        assert dict(zip(other.column_names, map(group, other.schema.types), strict=True)) == kinds, field.name


def group(kind: pa.DataType) -> str:
    """A type, where all timestamps are alike."""
    return "timestamp" if pa.types.is_timestamp(kind) else str(kind)


def ordered(table: pa.Table) -> list[str]:
    """The rows as text, sorted; numbers to twelve places."""

    def shown(value: object) -> object:
        if isinstance(value, float):
            return round(value, 12)
        # what the emulation gives for a timestamp that is null
        return None if value == datetime(1970, 1, 1) else value

    return sorted(str(list(map(shown, row.values()))) for row in table.to_pylist())


def test_a_snowflake_without_the_marts_says_what_to_run(port: int, tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text(PROJECT_FILE)
    (tmp_path / "profiles.yml").write_text(PROFILE.format(port=port, database="REPORT_OF_NOTHING"))
    with pytest.raises(UserError, match=r"run `dbt build`.*DIM_TEMPLATES.* does not exist"):
        read(tmp_path, tmp_path, None, lambda steps: None)


def test_numbers_are_of_two_types_only() -> None:
    table = pa.table(
        {
            "whole": pa.array([1, None], pa.decimal128(38, 0)),
            "small": pa.array([1, 2], pa.int8()),
            "part": pa.array([1, 2], pa.decimal128(10, 2)),
            "text": pa.array(["a", None], pa.large_string()),
            "nothing": pa.nulls(2),
        }
    )
    found = plain(table)
    assert [str(kind) for kind in found.schema.types] == ["int64", "int64", "double", "string", "string"]
    assert found["whole"].to_pylist() == [1, None]


def test_the_exposure_names_what_the_report_reads() -> None:
    exposures = yaml.safe_load((PROJECT / "models/exposures.yml").read_text())["exposures"]
    (report,) = (exposure for exposure in exposures if exposure["name"] == "report")
    read = re.findall(r"{(?:marts|audit)}\.(\w+)", " ".join(QUERIES.values()))
    assert sorted(report["depends_on"]) == sorted(f"ref('{name}')" for name in set(read))
