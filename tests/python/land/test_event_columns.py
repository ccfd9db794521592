"""The columns that landing reads out of an event's data: their values, also in rows of an earlier version."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.land.rules import EVENTS, member_columns
from scripts.land.tables import fill_columns
from support.event_lines import DATA, EVENT_LINES
from support.land import land_path, rows, state, warehouse, write

COLUMNS = tuple(member_columns(EVENTS))

NOTHING = dict.fromkeys(COLUMNS)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    connection = warehouse()
    land_path(connection, write(tmp_path_factory.mktemp("events") / "events.jsonl", *EVENT_LINES), EVENTS)
    return connection


@pytest.mark.parametrize(
    ("line", "expected"), [(line, expected) for line, (_, expected) in enumerate(DATA, 1)]
)
def test_what_is_read_out_of_data(
    landed: duckdb.DuckDBPyConnection, line: int, expected: dict[str, Any]
) -> None:
    (row,) = rows(landed, f"select {', '.join(COLUMNS)} from staging.customerio_events where _line = {line}")
    assert row == NOTHING | expected


def test_the_columns_stand_after_data_with_their_types(landed: duckdb.DuckDBPyConnection) -> None:
    described = [
        (name, kind) for name, kind, *_ in landed.execute("describe staging.customerio_events").fetchall()
    ]
    assert described[5:] == [
        ("data", "JSON"),
        ("delivery_id", "VARCHAR"),
        ("journey_id", "VARCHAR"),
        ("action_id", "BIGINT"),
        ("parent_action_id", "BIGINT"),
        ("campaign_id", "BIGINT"),
        ("user_id", "VARCHAR"),
        ("href", "VARCHAR"),
        ("is_prefetched", "BOOLEAN"),
        ("is_synthetic", "BOOLEAN"),
        ("is_machine_click", "BOOLEAN"),
        ("_file", "VARCHAR"),
        ("_line", "BIGINT"),
        ("_loaded_at", "TIMESTAMP"),
        ("_batch_id", "VARCHAR"),
    ]


def whole(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """All rows as they are stored, in their order there."""
    return connection.execute("select rowid, * from staging.customerio_events order by rowid").fetchall()


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table what an earlier version had."""
    for column in COLUMNS:
        connection.execute(f"alter table staging.customerio_events drop column {column}")


def test_rows_of_an_earlier_version_get_what_they_would_get_today(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = warehouse()
    write(tmp_path / "b.jsonl", *EVENT_LINES)
    write(tmp_path / "a.jsonl", *EVENT_LINES[::-1], "broken")
    for name in ("b", "a"):
        land_path(connection, tmp_path / f"{name}.jsonl", EVENTS)
    before, described = whole(connection), connection.execute("describe staging.customerio_events").fetchall()
    forget(connection)
    capsys.readouterr()
    fill_columns(connection)
    assert whole(connection) == before
    assert connection.execute("describe staging.customerio_events").fetchall() == described
    said = capsys.readouterr().out
    assert (
        f"an earlier version landed its {2 * len(EVENT_LINES)} rows. Reading delivery_id, journey_id," in said
    )
    # once is enough, and the files are still known
    fill_columns(connection)
    assert (whole(connection), capsys.readouterr().out) == (before, "")
    assert land_path(connection, tmp_path, EVENTS).unchanged == 2
    fresh = warehouse()
    land_path(fresh, tmp_path, EVENTS)
    assert state(connection) == state(fresh)


def test_a_fill_that_breaks_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.duckdb"
    with warehouse(path) as connection:
        land_path(connection, write(tmp_path / "events.jsonl", *EVENT_LINES), EVENTS)
        filled = whole(connection)
        forget(connection)
        before = whole(connection)
    for step in ("create table", "drop table", "alter table"):
        with warehouse(path) as connection:

            class Cut:
                """A connection that is lost after a step."""

                def __getattr__(self, name: str, connection: Any = connection) -> Any:
                    return getattr(connection, name)

                def execute(self, statement: str, connection: Any = connection, step: str = step) -> Any:
                    done = connection.execute(statement)
                    if statement.startswith(step):
                        raise ConnectionError("cut")
                    return done

            with pytest.raises(ConnectionError):
                fill_columns(Cut())  # type: ignore[arg-type]
        with warehouse(path) as connection:
            assert whole(connection) == before
            names = connection.execute(
                "select table_name from duckdb_tables() where table_name like '%filled'"
            )
            assert names.fetchall() == []
    with warehouse(path) as connection:
        fill_columns(connection)
        assert whole(connection) == filled
