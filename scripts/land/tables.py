"""The landing tables of DuckDB."""

from scripts.land.rules import DATASETS, name

_TRACE = "_file varchar, _line bigint, _loaded_at timestamp, _batch_id varchar"
_LEDGER = """
create table if not exists staging.landed_files (
    dataset varchar, file varchar, path_hour timestamp, size_bytes bigint, content_hash varchar,
    row_count bigint, reject_count bigint, loaded_at timestamp, batch_id varchar, unknown_fields varchar
)"""
_BATCHES = """
create table if not exists staging.landed_batches (batch_id varchar, dataset varchar, landed_at timestamp)"""


def ddl() -> list[str]:
    """Statements that create the landing tables of both datasets, or bring them up to date."""
    statements = ["create schema if not exists staging", _LEDGER, _BATCHES]
    for dataset in DATASETS:
        columns = ", ".join(f"{name(column)} {kind}" for column, kind, _ in dataset.table)
        keys = ", ".join(f"{name(column)} {kind}" for column, kind, _ in dataset.keys)
        statements += [
            f"create table if not exists staging.{dataset.name} ({columns}, {_TRACE})",
            f"create table if not exists staging.{dataset.name}_rejects"
            " (_file varchar, _line bigint, raw varchar, reason varchar, _loaded_at timestamp)",
            f"create table if not exists staging.{dataset.name}_removed (batch_id varchar, {keys})",
            f"alter table staging.{dataset.name} add column if not exists _batch_id varchar",
        ]
    ledger = "alter table staging.landed_files add column if not exists"
    return [*statements, f"{ledger} batch_id varchar", f"{ledger} unknown_fields varchar"]
