"""The floors that landing is measured against read what landing lands."""

from pathlib import Path

import duckdb
import pytest

from scripts.dev.bench.impressions import CLICKED, require_all
from scripts.dev.bench.impressions import files as impressions
from scripts.dev.bench.landing import FLOORS, INPUTS, _floor
from scripts.errors import UserError
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


def test_impressions_land_whole_and_nothing_repeats(tmp_path: Path) -> None:
    folder = impressions(tmp_path / "made", 500)
    connection = warehouse()
    assert land_path(connection, folder / "calls").rows == 500
    assert land_path(connection, folder / "events.parquet", EVENTS).rows == 8 == -(-500 // CLICKED)
    query = "select count(distinct journey_id), count(distinct vars) from staging.justai_calls"
    ((journeys, texts),) = connection.execute(query).fetchall()
    assert journeys == 500 and texts > 400
    ((matching,),) = connection.execute(
        "select count(*) from staging.customerio_events inner join staging.justai_calls "
        "using (journey_id, action_id)"
    ).fetchall()
    assert matching == 8


def test_a_build_that_lacks_impressions_ends_the_benchmark(tmp_path: Path) -> None:
    database = tmp_path / "built.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema marts")
        for table in ("fct_calls", "fct_deliveries"):
            connection.execute(f"create table marts.{table} as from range(500)")
        connection.execute("create table marts.copy_cohort_metrics_daily as select 8 as clicked")
    require_all(database, 500)
    with pytest.raises(UserError, match=r"hold .*\(500, 500, 8\), and the files \(501, 501, 8\)"):
        require_all(database, 501)
