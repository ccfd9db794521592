"""On Snowflake a person is forgotten as on DuckDB: the same rows get the same pseudonyms."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.forget import rows
from scripts.forget.person import find
from scripts.forget.rows import count, forget_rows, known_of
from scripts.land.api import OnDuckDB, Warehouse, place_of
from scripts.land.snowflake.api import OnSnowflake
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.tables import make_tables
from support.emulated_snowflake import connect, differences, land_there
from support.forgotten import ID, NAMES, calls, events, sync
from support.land import land_path, warehouse


@pytest.fixture
def session(port: int) -> Iterator[Session]:
    connection = connect(port, "FORGET")
    session = Session(connection, "STAGING")
    make_tables(session)
    yield session
    connection.close()


def forget_ann(warehouse: Warehouse) -> list[rows.Count]:
    place = place_of(warehouse)
    person = find(place, ID, None)
    assert person.identifiers == {name.lower() for name in NAMES}
    known = known_of(place, person.identifiers)
    counts = count(place, known, person.identifiers)
    forget_rows(warehouse, known, person.identifiers)
    return counts


def test_a_person_is_forgotten_as_on_duckdb(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that have landed, and those that land later: calls are lines that Snowflake inserts itself."""
    monkeypatch.setattr(rows, "token_hex", lambda size: "5a17" * (size // 2))
    connection = warehouse()
    files = [*sync(tmp_path, 0), *events(tmp_path, 0)]
    for path, dataset in files:
        land_path(connection, path, dataset)
        land_there(session, path, dataset)
    here, there = forget_ann(OnDuckDB(connection)), forget_ann(OnSnowflake(session))
    assert here == there
    assert len(here) == 8
    assert differences(connection, session) == {}
    for path, dataset in (*calls(tmp_path, 0), *events(tmp_path, 1), *sync(tmp_path, 1)):
        ours, theirs = land_path(connection, path, dataset), land_there(session, path, dataset)
        assert ours.forgotten == theirs.forgotten, dataset.name
    assert differences(connection, session) == {}
    pseudonyms = "select count(*) from staging.justai_calls where user_id like 'forgotten:%'"
    assert connection.execute(pseudonyms).fetchall() == [(2,)]
    connection.close()
