"""The floors that landing is measured against read what landing lands."""

from pathlib import Path

import duckdb
import pytest

from scripts.dev.bench.landing import FLOORS, INPUTS, _floor
from scripts.land.rules import CALLS, EVENTS
from support.formats import parquet
from support.land import call, event, land_path, warehouse, write


@pytest.mark.parametrize("what", INPUTS)
def test_a_floor_reads_every_record(tmp_path: Path, what: str) -> None:
    assert FLOORS.keys() == INPUTS.keys()
    path, database = tmp_path / "in", tmp_path / "floor.duckdb"
    if "JSON" in what:
        record = call if INPUTS[what] == "--calls" else event
        for hour in ("00", "01"):
            write(path / "2026/09/01" / hour / "lines.jsonl.gz", record(user_id="a"), record(user_id="b"))
    else:
        path.write_bytes(parquet([call(user_id=f"p{number}") for number in range(4)]))
        path = path.rename(tmp_path / "calls.parquet")
    _floor(what, str(path), str(database))
    with duckdb.connect(str(database)) as connection:
        floor = connection.execute("select count(*) from records").fetchall()
        columns = {name: kind for name, kind, *_ in connection.execute("describe records").fetchall()}
    connection = warehouse()
    dataset = CALLS if INPUTS[what] == "--calls" else EVENTS
    assert floor == [(land_path(connection, path, dataset).rows,)] == [(4,)]
    types = {
        name: kind for name, kind, *_ in connection.execute(f"describe staging.{dataset.name}").fetchall()
    }
    assert {types[name] for name in columns} == set(columns.values())
    assert all(types[name] == kind for name, kind in columns.items())
