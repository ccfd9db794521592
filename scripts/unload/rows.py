"""The rows of a partition's files against those of the warehouse, told without personal data."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow.parquet as parquet

from scripts.staging import staging_folder
from scripts.unload import encode
from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.engines.base import Engine
from scripts.unload.manifest import Partition

# Messages identify a row by those of these columns that it has: no personal data.
_KEYS = ("delivery_key", "version_key", "event_timestamp", "metric_date", "delivery_date", "copy_id")
# A row: the text of each value, by column.
Row = dict[str, str]


def row_differences(engine: Engine, dataset: Dataset, partition: Partition, paths: list[Path]) -> list[str]:
    """Compare every row of a partition with the warehouse, including how often it occurs.

    Return what is wrong, or nothing.
    """
    layout = Layout(partition.shape.layout)
    is_parquet = partition.shape.format == Format.PARQUET.value
    compare = _parquet_differences if is_parquet else _avro_differences
    try:
        with engine.rows(dataset, layout, partition.partition) as (connection, rows):
            only_there, only_here = compare(connection, rows, paths)
    except duckdb.ConversionException:
        # its message contains a value
        return ["cannot be compared: a column has another type than in the warehouse"]
    except (duckdb.Error, ValueError, EOFError) as error:
        return [f"cannot be compared: {error}"]
    if not (only_there or only_here):
        return []
    counts = f"{len(only_there):,} rows only there, {len(only_here):,} only in the warehouse"
    return [f"{counts}; {_example(only_there, only_here)}"]


def _example(only_there: list[Row], only_here: list[Row]) -> str:
    """Describe one difference by key and column names; values may be personal data."""
    row, others = (only_there[0], only_here) if only_there else (only_here[0], only_there)
    names = [name for name in _KEYS if name in row]
    if names[0].endswith("_key"):
        names = names[:1]
    key = ", ".join(f"{name} {row[name]}" for name in names)
    same_key = (other for other in others if all(other.get(name) == row[name] for name in names))
    differing = [", ".join(name for name in row if other.get(name) != row[name]) for other in same_key]
    if not differing:
        return f"e.g. {key}: only {'there' if only_there else 'in the warehouse'}"
    return f"e.g. {key}: another {min(differing, key=len)}"


def _parquet_differences(
    connection: duckdb.DuckDBPyConnection, rows: str, paths: list[Path]
) -> tuple[list[Row], list[Row]]:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    # DuckDB would make a column of a folder above them that is named a=b
    files = f"select * from read_parquet([{listed}], hive_partitioning = false)"
    names = [column[0] for column in connection.execute(f"describe {rows}").fetchall()]

    def only(query: str) -> list[Row]:
        found = connection.execute(query).fetchall()
        return [dict(_text(dict(zip(names, row, strict=True)))) for row in found]

    return only(f"{files} except all ({rows})"), only(f"({rows}) except all ({files})")


def _avro_differences(
    connection: duckdb.DuckDBPyConnection, rows: str, paths: list[Path]
) -> tuple[list[Row], list[Row]]:
    with staging_folder() as folder:
        expected = folder / "rows.parquet"
        connection.execute(f"copy ({rows}) to '{expected}' (format parquet)")
        here = Counter(_text(row) for row in encode.avro_rows(parquet.ParquetFile(expected)))
    there: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path in paths:
        with path.open("rb") as stream:
            there.update(_text(dict(row)) for row in fastavro.reader(stream))  # type: ignore[arg-type]
    return list(map(dict, (there - here).elements())), list(map(dict, (here - there).elements()))


def _text(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A row as texts, without the order of a map's keys and without the library's own UTC object."""
    return tuple((name, repr(_plain(value))) for name, value in row.items())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(value.items())
    return value.isoformat() if isinstance(value, date) else value
