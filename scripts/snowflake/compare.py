"""Compares every relation of a project on DuckDB with the one on Snowflake, row for row, as text."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

# Columns that differ between any two landings or builds of the same files, and a relation of only such.
_OF_THE_LANDING = {
    "loaded_at",
    "_loaded_at",
    "landed_at",
    "batch_id",
    "_batch_id",
    "invocation_id",
    "queue_id",
}
_NOT_COMPARED = {"audit_arrival_lag"}
_DATASETS = (
    *("justai_calls", "justai_sends", "justai_variants", "customerio_events"),
    "pipeline_calls",
    *("customerio_deliveries", "customerio_metrics"),
    *("customerio_subjects", "customerio_outputs", "customerio_people", "customerio_attributes"),
    *("customerio_delivery_content", "customerio_campaigns", "customerio_broadcasts"),
)
LANDING_TABLES = (
    *(f"{dataset}{part}" for dataset in _DATASETS for part in ("", "_rejects", "_removed")),
    *("landed_files", "landed_batches", "consumed_batches", "built_with"),
)
# Relations with a row per batch. Snowflake cuts files into other batches, so their distinct rows are
# compared, not how often each occurs.
_BY_BATCH = {
    *("landed_batches", "consumed_batches", "int_landed_batches"),
    *(f"{dataset}_removed" for dataset in _DATASETS),
}
_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "UINTEGER"}


@dataclass(frozen=True)
class Difference:
    """A relation that differs: rows that only one side has, as text."""

    relation: str
    only_duckdb: list[tuple[str | None, ...]]
    only_snowflake: list[tuple[str | None, ...]]


def relations_of(manifest: Path) -> list[str]:
    """The relations to compare: those that dbt made, and those of landing."""
    nodes = json.loads(manifest.read_text())["nodes"].values()
    made = sorted(
        f"{node['schema']}.{node['alias']}"
        for node in nodes
        if node["resource_type"] in ("model", "seed") and node["name"] not in _NOT_COMPARED
    )
    return [*made, *(f"staging.{table}" for table in LANDING_TABLES)]


def differences_of(warehouse: str, session: Any, database: str, relations: list[str]) -> list[Difference]:
    """The relations that differ between the file of DuckDB and the database of the session."""
    differences = []
    with duckdb.connect(warehouse, read_only=True) as connection:
        for relation in relations:
            columns = columns_of(connection, relation)
            ours = counted(relation, connection.execute(as_text("duckdb", relation, columns)).fetchall())
            query = as_text("snowflake", f"{database}.{relation}", columns)
            theirs = counted(relation, session.cursor().execute(query).fetchall())
            if ours != theirs:
                differences.append(Difference(relation, [*(ours - theirs)], [*(theirs - ours)]))
    return differences


def counted(relation: str, rows: list[Any]) -> Counter[Any]:
    """How often each row occurs; once for a relation with a row per batch."""
    return Counter(set(rows) if relation.rpartition(".")[2] in _BY_BATCH else rows)


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Name and type of a DuckDB relation's columns, without those that differ between any two landings."""
    described = connection.execute(f"describe {relation}").fetchall()
    return {name: kind for name, kind, *_ in described if name not in _OF_THE_LANDING}


def as_text(engine: str, relation: str, columns: dict[str, str]) -> str:
    """A query whose values the engine writes as text, because clients read times and numbers differently."""
    # a relation without such columns is compared by its number of rows
    texts = [
        f"{_text(engine, f'compared.{name}', kind)} as c{number}"
        for number, (name, kind) in enumerate(columns.items())
    ]
    return f"select {', '.join(texts) or '1'} from {relation} as compared"


def _text(engine: str, column: str, kind: str) -> str:
    if kind.startswith("TIMESTAMP"):
        # Snowflake's function cuts a fraction off
        seconds = f"floor(epoch({column}))" if engine == "duckdb" else f"date_part(epoch_second, {column})"
        return f"cast(cast({seconds} as bigint) as varchar)"
    if kind == "DATE" and engine == "snowflake":
        # a cast writes it by DATE_OUTPUT_FORMAT, which an account or a user may change
        return f"to_varchar({column}, 'YYYY-MM-DD')"
    if kind in ("DOUBLE", "FLOAT"):
        return f"cast(cast(round({column} * 1000000000) as bigint) as varchar)"
    if kind.startswith("DECIMAL"):
        return f"cast(cast({column} as decimal(38, 4)) as varchar)"
    if kind in _WHOLE:
        return f"cast(cast({column} as bigint) as varchar)"
    return f"cast({column} as varchar)"
