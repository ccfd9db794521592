"""On Snowflake a person is forgotten as on DuckDB: the same rows get the same pseudonyms."""

import re
from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path
from typing import Any

import pytest

from scripts.forget import rows
from scripts.forget.person import find
from scripts.forget.rows import count, forget_rows, known_of
from scripts.land.api import Warehouse, place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.rules import EVENTS
from scripts.land.snowflake import api, transaction
from scripts.land.snowflake.api import OnSnowflake
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.tables import ddl, make_tables
from scripts.snowflake.names import literal
from support.emulated_snowflake import connect, differences, everything, land_there
from support.forgotten import CIO, ID, NAMES, NEW_ID, OTHER_EMAIL, calls, events, of_ann, source_calls, sync
from support.land import land_path, warehouse, write
from support.snowflake import built
from support.strict_account import Refused

# who is forgotten in a database stays so for the next test
DATABASES = (f"FORGET_{number}" for number in count_up())


@pytest.fixture
def session(port: int) -> Iterator[Session]:
    connection = connect(port, next(DATABASES))
    session = Session(connection, "STAGING")
    make_tables(session)
    yield session
    connection.close()


def forget_ann(warehouse: Warehouse) -> list[rows.Count]:
    place = place_of(warehouse)
    person = find(place, ID, None)
    assert person.identifiers == {*(name.lower() for name in NAMES), f"cio_{CIO}", NEW_ID, OTHER_EMAIL}
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
    files = [*sync(tmp_path, 0), *events(tmp_path, 0), *source_calls(tmp_path, 0)]
    for path, dataset in files:
        land_path(connection, path, dataset)
        land_there(session, path, dataset)
    here, there = forget_ann(OnDuckDB(connection)), forget_ann(OnSnowflake(session))
    assert here == there
    assert len(here) == 9
    assert differences(connection, session) == {}
    for path, dataset in (*calls(tmp_path, 0), *events(tmp_path, 1), *sync(tmp_path, 1)):
        ours, theirs = land_path(connection, path, dataset), land_there(session, path, dataset)
        assert ours.forgotten == theirs.forgotten, dataset.name
    assert differences(connection, session) == {}
    pseudonyms = "select count(*) from staging.justai_calls where user_id like 'forgotten:%'"
    assert connection.execute(pseudonyms).fetchall() == [(2,)]
    connection.close()


def test_a_person_of_many_long_events_is_forgotten(session: Session, tmp_path: Path) -> None:
    """More than 1 MB, which the text of a statement has at most."""
    long = {f"field_{number}": "some words" for number in range(100)}
    path = write(tmp_path / "events.jsonl", *(of_ann(number, variables=long) for number in range(500)))
    land_there(session, path, EVENTS)
    place = place_of(OnSnowflake(session))
    known = known_of(place, {ID})
    forget_rows(OnSnowflake(session), known, {ID})
    left = "select count(*) from staging.customerio_events where user_id not like 'forgotten:%'"
    assert everything(session, left) == [(0,)]
    assert everything(session, "select count(*) from staging.customerio_events") == [(500,)]


def test_an_address_loses_its_spaces_and_no_other_white_space(session: Session, tmp_path: Path) -> None:
    connection = warehouse()
    addresses = (" Ann.77@Example.com ", "Ann.77@Example.com\u00a0")
    given = [of_ann(number, identifiers={"id": ID, "email": text}) for number, text in enumerate(addresses)]
    path = write(tmp_path / "events.jsonl", *given)
    land_path(connection, path, EVENTS)
    land_there(session, path, EVENTS)
    for there in (OnDuckDB(connection), OnSnowflake(session)):
        person = find(place_of(there), ID, None)
        assert person.emails == {"ann.77@example.com", "ann.77@example.com\u00a0"}
    connection.close()


def test_forgetting_takes_the_rights_of_the_role_that_lands(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It owns the landing tables; roles that only read them, or build on them, are refused."""
    for path, dataset in (*sync(tmp_path, 0), *events(tmp_path, 0), *source_calls(tmp_path, 0)):
        land_there(session, path, dataset)
    statements: list[str] = []
    run = api.execute

    def noted(session: Session, statement: str, parameters: tuple[Any, ...] | None = None) -> list[Any]:
        values = tuple(literal(str(value)) for value in parameters or ())
        statements.append(statement % values if parameters else statement)
        return run(session, statement, parameters)

    monkeypatch.setattr(api, "execute", noted)
    monkeypatch.setattr(transaction, "execute", noted)
    forget_ann(OnSnowflake(session))
    changes = [text for text in statements if text.split(maxsplit=1)[0] in ("update", "insert", "delete")]
    assert {text.split()[0] for text in changes} == {"update", "insert"}
    account = built()
    account.run('use role "COPYMART_LOADER"')
    for statement in ddl('"COPYMART"."STAGING"'):
        account.run(statement)
    for role in ("LOADER", "TRANSFORMER", "READER"):
        account.run(f'use role "COPYMART_{role}"')
        for statement in statements:
            text = re.sub(r"\bSTAGING\.(?=\w)", '"COPYMART"."STAGING".', statement)
            if role == "LOADER":
                account.run(text)
            elif statement in changes:
                with pytest.raises(Refused):
                    account.run(text)
