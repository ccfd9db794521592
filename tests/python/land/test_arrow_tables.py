"""What SQL has read by a name is given back before its transaction ends."""

import gc
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from scripts.land import chunks, records, transaction
from scripts.land.arrow_tables import registered
from scripts.land.rules import CALLS, Dataset
from support.land import call, land_path, warehouse
from support.sync import TABLES, metric, write_export

METRICS = TABLES["metrics"]
ROWS = 200_000


def counted(numbers: int) -> pa.Table:
    return pa.table({"number": pc.add(pa.array(range(numbers)), 1)})


def test_a_table_is_given_back_within_the_transaction() -> None:
    connection = duckdb.connect()
    connection.begin()
    before = pa.total_allocated_bytes()
    for numbers in (100_000, 200_000, 300_000):
        with registered(connection, many=counted(numbers), one=counted(1)):
            query = "select count(*), any_value(one.number) from many cross join one"
            assert connection.execute(query).fetchall() == [(numbers, 1)]
        assert pa.total_allocated_bytes() - before < 10_000
    with pytest.raises(duckdb.CatalogException):
        connection.execute("from many")


def test_an_error_within_the_block_is_the_one_that_is_raised() -> None:
    connection = duckdb.connect()
    connection.begin()
    with (
        pytest.raises(duckdb.ConversionException),
        registered(connection, texts=pa.table({"text": ["x"]})),
    ):
        connection.execute("select cast(text as int) from texts").fetchall()
    connection.rollback()
    with registered(connection, texts=counted(2)):
        assert connection.execute("select count(*) from texts").fetchall() == [(2,)]


def calls(path: Path) -> None:
    """Calls in Parquet: maps of which few are distinct, and a person of its own for each."""
    words = pa.array([[("subject", "Your plan")]] * ROWS, pa.map_(pa.string(), pa.string()))
    columns = {name: pa.array([value] * ROWS) for name, value in call().items() if name not in CALLS.maps}
    columns |= {"user_id": pa.array([f"u{number}" for number in range(ROWS)]), "vars": words, "attrs": words}
    pq.write_table(pa.table(columns), path)


# of lines, Arrow does not count the bytes that Python has read
@pytest.mark.parametrize("dataset", [CALLS, METRICS], ids=lambda dataset: dataset.name)
def test_a_large_file_lands_in_the_memory_of_a_few_pieces(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dataset is CALLS:
        calls(tmp_path / "a.parquet")
    else:
        rows = [metric(number) for number in range(ROWS)]
        write_export(tmp_path / "metrics_v4_1_1.parquet", METRICS, rows)
    monkeypatch.setattr(records, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(chunks, "TRANSACTION_BYTES", 40_000)
    add = transaction.Batch.add
    held: list[int] = []

    def watched(batch: Any, chunk: chunks.Chunk) -> None:
        add(batch, chunk)
        gc.collect()
        held.append(pa.total_allocated_bytes())

    monkeypatch.setattr(transaction.Batch, "add", watched)
    assert land_path(warehouse(), tmp_path, dataset).rows == ROWS
    assert len(held) > 10
    # a piece has 1 to 2 MB; all of them were 12 and 19
    assert max(held) - held[0] < 6_000_000
