"""Rows of a part of a table that are there again stay as they landed, in the batch that brought them."""

import duckdb
import pyarrow as pa

from scripts.land.engine import Stamp
from scripts.land.rules import Dataset
from scripts.land.tables import removed_keys


def keep_same_rows(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, uris: list[str], stamp: Stamp
) -> None:
    """Of replaced parts, whose rows this batch has brought again, keep the old form of those that were there
    before, and delete the old rows that are gone, whose keys stay.

    A row that was there before has the same number, and may have got a pseudonym since.
    """
    table, batch = f"staging.{dataset.name}", {"batch_id": stamp.batch_id}
    connection.register("parts", pa.table({"file": pa.array(uris, pa.string())}))
    of_parts = f"from {table} where _file in (select file from parts)"
    connection.execute(
        "create or replace temp table kept_rows as "
        f"select _file, _line {of_parts} group by all having count(*) > 1"
    )
    is_kept = "(_file, _line) in (select _file, _line from kept_rows)"
    is_gone = (
        "landed._batch_id is distinct from $batch_id and (landed._file, landed._line) not in (from kept_rows)"
    )
    connection.execute(
        f"insert into {table}_removed by name select distinct $batch_id as batch_id, "
        f"{removed_keys(dataset, 'staging')} where landed._file in (select file from parts) and {is_gone}",
        batch,
    )
    connection.execute(
        f"delete from {table} as landed where _file in (select file from parts) and {is_gone}", batch
    )
    connection.execute(f"delete from {table} where _batch_id = $batch_id and {is_kept}", batch)
    connection.execute("drop table kept_rows")
    connection.unregister("parts")
