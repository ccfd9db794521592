"""Every landing transaction is a batch, with the keys of what it removed."""

import gzip
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.land.rules import CALLS, EVENTS, Dataset
from scripts.land.tables import ddl
from support.land import (
    LANDED_CALL,
    call,
    event,
    land_path,
    rows,
    warehouse,
    write,
)


def batches(connection: duckdb.DuckDBPyConnection) -> list[str]:
    ordered = connection.execute("select batch_id from staging.landed_batches order by rowid").fetchall()
    return [batch for (batch,) in ordered]


def removed(connection: duckdb.DuckDBPyConnection, dataset: Dataset = CALLS) -> list[dict[str, Any]]:
    return rows(connection, f"select * from staging.{dataset.name}_removed order by all")


def test_every_transaction_is_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.chunks.MOST_FILES", 2)
    monkeypatch.setattr("scripts.land.chunks.TRANSACTION_BYTES", 1)
    for number in range(5):
        write(tmp_path / f"calls/{number}.jsonl", call(), call(user_id="b"), "broken")
    write(tmp_path / "events/e.jsonl", event())
    connection = warehouse()
    land_path(connection, tmp_path / "calls")
    land_path(connection, tmp_path / "events", EVENTS)
    made = batches(connection)
    assert len(made) == 4
    assert made == sorted(set(made))
    assert all(re.fullmatch(r"\d{8}T\d{12}-[0-9a-f]{8}", batch) for batch in made)
    for dataset, files in ((CALLS, [2, 2, 1]), (EVENTS, [1])):
        query = f"""
            select b.batch_id, count(distinct f.file), bool_and(t._batch_id = f.batch_id),
                bool_and(t._loaded_at = b.landed_at and f.loaded_at = b.landed_at)
            from staging.landed_batches as b
            join staging.landed_files as f using (batch_id, dataset)
            join staging.{dataset.name} as t on t._file = f.file
            where dataset = '{dataset.name}' group by all order by all"""
        own = made[:3] if dataset is CALLS else made[3:]
        expected = [(batch, count, True, True) for batch, count in zip(own, files, strict=True)]
        assert connection.execute(query).fetchall() == expected
        assert removed(connection, dataset) == []


def test_what_lands_nothing_is_no_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", call())
    connection = warehouse()
    land_path(connection, path)
    land_path(connection, path)
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(b"x"))
    assert len(land_path(connection, tmp_path).refused) == 1
    assert len(batches(connection)) == 1


def test_a_file_refused_midway_is_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    path = write(tmp_path / "a.jsonl.gz", *(call(user_id=f"{number}") for number in range(300)))
    connection = warehouse()
    land_path(connection, path)
    write(path, *(call(user_id=f"new-{number}") for number in range(300)))
    path.write_bytes(path.read_bytes()[:-4])
    assert len(land_path(connection, path).refused) == 1
    assert (len(batches(connection)), removed(connection)) == (1, [])


def test_keys_of_replaced_rows_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        *(
            call(),
            call(user_id="the same key"),
            call(action_id=None),
            "broken",
            call(event_timestamp=1767268802),
        ),
    )
    write(tmp_path / "other.jsonl", call(journey_id="stays"))
    connection = warehouse()
    land_path(connection, tmp_path)
    write(path, call(journey_id="new"))
    land_path(connection, tmp_path)
    write(path, call(journey_id="newer"))
    land_path(connection, tmp_path)
    _, second, third = batches(connection)
    columns = ("event_timestamp", "copy_id", "template_id", "campaign_id", "journey_id", "action_id")
    key = {name: LANDED_CALL[name] for name in columns}
    assert removed(connection) == [
        {"batch_id": second, **key},
        {"batch_id": second, **key, "action_id": None},
        {"batch_id": second, **key, "event_timestamp": 1767268802},
        {"batch_id": third, **key, "journey_id": "new"},
    ]
    query = "select _file, _batch_id from staging.justai_calls order by 1"
    assert connection.execute(query).fetchall()[0] == (str(path), third)


def test_keys_of_removed_rows_are_kept(tmp_path: Path) -> None:
    hour = tmp_path / "2026/09/01/00"
    path = write(
        hour / "a.jsonl",
        event(data={"delivery_id": "d", "journey_id": "j"}),
        event(data={"delivery_id": "", "journey_id": 15}),
        event(event_id="e", data={"delivery_id": None}),
        event(event_id="e", data={"delivery_id": None}, metric="opened"),
    )
    connection = warehouse()
    land_path(connection, tmp_path, EVENTS)
    path.unlink()
    write(hour / "b.jsonl", event(event_id="new"))
    land_path(connection, tmp_path, EVENTS, span=(datetime(2026, 9, 1), datetime(2026, 9, 2)))
    _, landing, removal = batches(connection)
    common = {"batch_id": removal, "timestamp": 1767268806, "user_id": None}
    assert removed(connection, EVENTS) == [
        {**common, "event_id": event()["event_id"], "delivery_id": "d", "journey_id": "j"},
        {**common, "event_id": event()["event_id"], "delivery_id": None, "journey_id": "15"},
        {**common, "event_id": "e", "delivery_id": None, "journey_id": None},
    ]
    query = "select event_id, _batch_id from staging.customerio_events"
    assert connection.execute(query).fetchall() == [("new", landing)]


def test_a_warehouse_without_batches_goes_on(tmp_path: Path) -> None:
    connection = warehouse()
    old, changed, new = (tmp_path / f"{name}.jsonl" for name in ("old", "changed", "new"))
    write(old, call())
    write(changed, call(journey_id="before"))
    land_path(connection, tmp_path)
    for statement in (
        "alter table staging.justai_calls drop column _batch_id",
        "alter table staging.customerio_events drop column _batch_id",
        "alter table staging.landed_files drop column batch_id",
        "alter table staging.landed_files drop column unknown_fields",
        "drop table staging.landed_batches",
        "drop table staging.justai_calls_removed",
        "drop table staging.customerio_events_removed",
        *ddl(),
    ):
        connection.execute(statement)
    write(changed, call(journey_id="after"))
    write(new, call())
    assert land_path(connection, tmp_path).unchanged == 1
    (batch,) = batches(connection)
    query = (
        "select _file, _batch_id from staging.justai_calls "
        "union all select file, batch_id from staging.landed_files"
    )
    assert set(connection.execute(query).fetchall()) == {
        (str(old), None),
        (str(changed), batch),
        (str(new), batch),
    }
    assert [row["journey_id"] for row in removed(connection)] == ["before"]
