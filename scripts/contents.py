"""What each partition holds in a DuckDB warehouse: rows, hash sum and columns."""

from typing import Any

import duckdb

from scripts.datasets import CONTENTS, DAY, HOUR, WHOLE, Dataset, Layout, Span
from scripts.errors import UserError
from scripts.publish import Contents


def require_relations(connection: duckdb.DuckDBPyConnection, datasets: list[Dataset]) -> None:
    """Raise UserError when the warehouse lacks a relation that is read."""
    query = "select table_schema || '.' || table_name from information_schema.tables"
    there = {name for (name,) in connection.execute(query).fetchall()}
    missing = sorted({name for dataset in datasets for name in dataset.relations} - there)
    if missing:
        raise UserError(f"the warehouse has no {', '.join(missing)}: run `dbt build` first")


def columns_of(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, layout: Layout
) -> tuple[tuple[str, str], ...]:
    """Return the names and SQL types of a dataset's columns."""
    described = connection.execute(f"describe select {dataset.select(layout)} {dataset.source}").fetchall()
    return tuple((column[0], column[1]) for column in described)


def contents_of(connection: duckdb.DuckDBPyConnection, dataset: Dataset, span: Span) -> dict[str, Contents]:
    """Return the contents of each partition in the span, in order of time.

    Raises:
        UserError: what dbt keeps of the hours does not agree with the mart.
    """
    if dataset.period is HOUR:
        _require_agreement(connection, dataset)
        query = (
            f"select strftime(partition_hour, '{HOUR.folders}'), row_count, hash_sum from {CONTENTS} "
            f"where dataset = '{dataset.name}' and {span.where('partition_hour')} order by partition_hour"
        )
    else:
        # small enough to be looked at; to_json tells null from every text
        folders = f"strftime(cast({dataset.moment} as timestamp), '{DAY.folders}')"
        rows = (
            f"select {folders if dataset.period else repr(WHOLE)} as _partition, to_json(mart) as _row "
            f"from {dataset.mart} as mart "
            f"where {span.of(dataset.period).where(f'cast({dataset.moment} as timestamp)')}"
        )
        query = (
            f"select _partition, count(*), sum(md5_number_lower(cast(_row as varchar))) from ({rows}) "
            "group by _partition order by _partition"
        )
    return {
        partition: Contents(int(rows), str(int(hash_sum)))
        for partition, rows, hash_sum in connection.execute(query).fetchall()
    }


def _require_agreement(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    total = row(connection, f"select count(*) from {dataset.mart}")[0]
    kept = row(
        connection, f"select coalesce(sum(row_count), 0) from {CONTENTS} where dataset = '{dataset.name}'"
    )[0]
    if total != kept:
        raise UserError(
            f"{CONTENTS} counts {int(kept):,} rows of {dataset.name}, {dataset.mart} has {total:,}: "
            "run `dbt build`, which brings both to the same state, and unload again"
        )


def is_empty(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> bool:
    """Tell whether the mart has no rows at all."""
    return bool(row(connection, f"select not exists (from {dataset.mart})")[0])


def row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the one row of a query."""
    found = connection.execute(query).fetchone()
    assert found is not None
    return found
