"""Questions to the warehouse of the profile, answered by DuckDB and Snowflake as Arrow tables of one kind."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

from scripts import warehouse
from scripts.errors import UserError
from scripts.snowflake import account
from scripts.snowflake.names import identifier

Answer = Callable[[str], pyarrow.Table]

_LAYERS = ("staging", "marts", "audit")
# Snowflake's errors for an object that does not exist, or is not for this role, and for an unknown column.
_LACKING = (2003, 904)
_ROWS_AT_ONCE = 100_000
# Snowflake's types of the columns that are read; others come as text.
_ARROW_TYPES = {
    "REAL": pyarrow.float64(),
    "DATE": pyarrow.date32(),
    "BOOLEAN": pyarrow.bool_(),
    "TIMESTAMP_NTZ": pyarrow.timestamp("us"),
}


@contextmanager
def answers(project_dir: Path, profiles_dir: Path | None, target: str | None, verb: str) -> Iterator[Answer]:
    """Yield a function that answers a query with its rows; it changes nothing.

    {staging}, {marts} and {audit} in a query are the schemas of these layers. Whole numbers are int64, other
    numbers float64, times UTC. `verb` tags the queries on Snowflake.

    Raises:
        UserError: the warehouse cannot be opened; from the function: it lacks a table or a column.
    """
    if warehouse.kind(project_dir, profiles_dir, target) == "snowflake":
        with _on_snowflake(project_dir, profiles_dir, target, verb) as answer:
            yield answer
        return
    with closing(warehouse.connect(project_dir, profiles_dir, target, read_only=True)) as connection:
        connection.execute("set TimeZone = 'UTC'")

        def answer_of_duckdb(query: str) -> pyarrow.Table:
            try:
                named = query.format(**{layer: layer for layer in _LAYERS})
                return plain(connection.sql(named).to_arrow_table())
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                raise not_built(error) from error

        yield answer_of_duckdb


@contextmanager
def _on_snowflake(
    project_dir: Path, profiles_dir: Path | None, target: str | None, verb: str
) -> Iterator[Answer]:
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    production = warehouse.production_schema(project_dir)
    schemas = {
        layer: identifier(warehouse.layer_schema(settings, layer, production), "schema") for layer in _LAYERS
    }
    with closing(warehouse.connect_snowflake(project_dir, profiles_dir, target, verb)) as session:

        def answer(query: str) -> pyarrow.Table:
            named = query.format(**schemas)
            try:
                with account.explained(named), session.cursor() as cursor:
                    return plain(_fetched(cursor.execute(named)))
            except UserError as error:
                if getattr(error.__cause__, "errno", None) in _LACKING:
                    raise not_built(error.__cause__) from error
                raise

        yield answer


def _fetched(cursor: Any) -> pyarrow.Table:
    """The rows of a Snowflake cursor. The connector's own Arrow tables need pandas."""
    schema = pyarrow.schema([(column.name.lower(), _arrow_type(column)) for column in cursor.description])
    batches = []
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        columns = zip(*rows, strict=True)
        arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        batches.append(pyarrow.record_batch(arrays, schema=schema))
    return pyarrow.Table.from_batches(batches, schema)


def _arrow_type(column: Any) -> pyarrow.DataType:
    # imported here because the connector takes half a second, which DuckDB targets should not
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    name = FIELD_ID_TO_NAME[column.type_code]
    if name == "FIXED":
        return pyarrow.decimal128(38, column.scale) if column.scale else pyarrow.int64()
    return _ARROW_TYPES.get(name, pyarrow.string())


class NotBuilt(UserError):
    """The warehouse lacks what a query reads."""


def not_built(error: Any) -> NotBuilt:
    """The error of an engine that a query reads a table or a column which the warehouse lacks."""
    return NotBuilt(
        "the warehouse lacks a table or a column that this command needs: run `dbt build`, or `dbt build "
        f"--full-refresh` after an update of copymart ({str(error).strip().splitlines()[0]})"
    )


def plain(table: pyarrow.Table) -> pyarrow.Table:
    """Return the table with whole numbers as int64 and others as float64: engines give other types each."""
    kinds = pyarrow.types

    def kind(given: pyarrow.DataType) -> pyarrow.DataType:
        if kinds.is_integer(given) or (kinds.is_decimal(given) and given.scale == 0):
            return pyarrow.int64()
        if kinds.is_decimal(given) or kinds.is_floating(given):
            return pyarrow.float64()
        if kinds.is_large_string(given) or kinds.is_null(given):
            return pyarrow.string()
        return given

    return table.cast(pyarrow.schema([(field.name, kind(field.type)) for field in table.schema]))
