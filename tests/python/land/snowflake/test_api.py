"""What the App API returned lands on Snowflake as on DuckDB; a failing statement undoes its transaction."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from snowflake.connector.cursor import SnowflakeCursor

from scripts.customerio.app_api import open_api
from scripts.customerio.entities import Reading, read
from scripts.customerio.wish import ENTITIES, Wish
from scripts.dev.check_grammar import faults
from scripts.land.api import Counts, Warehouse
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.snowflake.api import OnSnowflake
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.tables import make_tables
from scripts.land.tables import ddl
from support.app_api import DAY, KEY, NOW, World, error, example, message, served
from support.emulated_snowflake import connect


@pytest.fixture
def world() -> Iterator[World]:
    with served(example()) as world:
        yield world


@pytest.fixture
def there(port: int) -> Iterator[OnSnowflake]:
    connection = connect(port, "API")
    session = Session(connection, "STAGING")
    make_tables(session)
    for table in ("customerio_api", "customerio_api_rejects", "customerio_api_state", "landed_files"):
        with connection.cursor() as cursor:
            cursor.execute(f"delete from STAGING.{table}")
    yield OnSnowflake(session)
    connection.close()


@pytest.fixture
def here() -> Iterator[OnDuckDB]:
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    yield OnDuckDB(connection)
    connection.close()


class Killed(BaseException):
    """The end of a process, in the middle of it."""


def extracted(world: World, tables: Warehouse, *entities: str, **wish: Any) -> dict[str, Counts]:
    world.polls = 1
    wanted = Wish(since=NOW - 20 * DAY, **wish)
    run = Reading(open_api(world.address, KEY, 10_000, 0.001, 0.001), wanted, now=NOW)
    return {entity: counts for entity, counts, _ in read(run, entities or ENTITIES, tables)}


def contents(tables: Warehouse) -> list[list[tuple[Any, ...]]]:
    queries = (
        "select entity, key, cast(payload as varchar), _scope, _moment, _version from {}.customerio_api",
        "select entity, key, raw, reason, _scope from {}.customerio_api_rejects",
        "select entity, scope, position from {}.customerio_api_state",
        "select file, row_count, reject_count from {}.landed_files",
    )
    return [sorted(map(tuple, tables.run(query.format(tables.schema))), key=str) for query in queries]


def test_it_lands_as_on_duckdb(
    world: World, here: OnDuckDB, there: OnSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its statements are of Snowflake's grammar, too."""
    sent: set[str] = set()
    execute = SnowflakeCursor.execute

    def noted(self: SnowflakeCursor, statement: str, parameters: Any = None, **options: Any) -> Any:
        given = tuple(f"'{value}'" if isinstance(value, str) else value for value in parameters or ())
        sent.add(re.sub(r"'[^']*'", "'x'", statement % given if given else statement))
        return execute(self, statement, parameters, **options)

    monkeypatch.setattr(SnowflakeCursor, "execute", noted)
    world.most = 5
    world.transactional.append({"name": 'it\'s \\ "no" id\n'})
    assert extracted(world, here) == extracted(world, there)
    assert contents(here) == contents(there) and len(contents(here)[0]) > 45
    world.messages = [message(1, changed=NOW), *world.messages[2:]]
    world.campaigns = world.campaigns[1:]
    world.segments[2]["state"] = "events"
    for full in (False, True):
        first, second = (extracted(world, tables, full=full) for tables in (here, there))
        assert first == second and any(counts.changed for counts in first.values()) != full
        assert contents(here) == contents(there)
    assert second["actions"].removed == 13
    # sqlfluff knows no PUT of a file name in quotes
    shapes = {
        re.sub(r"-[0-9a-f]{16}/|\b\d+\b|('x', )+", "1", each): each for each in sent if "put " not in each
    }
    assert len(shapes) > 20
    assert {each: refused for each in shapes.values() if (refused := faults(each))} == {}


def test_the_rows_that_a_killed_run_staged_go_with_the_next_one(
    world: World, there: OnSnowflake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # a kill is what removes nothing
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        extracted(world, there, "segments")
    assert list(tmp_path.rglob("rows.parquet"))
    extracted(world, there, "segments", full=True)
    assert not list(tmp_path.rglob("rows.parquet"))


def test_a_failing_statement_undoes_its_transaction(
    world: World, here: OnDuckDB, there: OnSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = ("segments", "segment_members", "messages")
    world.messages = world.messages[:2]
    extracted(world, here, *what, full=True)
    run = OnSnowflake.run
    fatal, state, count = 0, True, 0

    def fail(self: OnSnowflake, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        nonlocal count
        count += 1
        if count == fatal:
            raise Killed
        return run(self, statement, parameters)

    monkeypatch.setattr(OnSnowflake, "run", fail)
    while state:
        fatal, count = fatal + 3, 0
        try:
            extracted(world, there, *what, full=True)
            state = False
        except Killed:
            fatal_now, fatal = fatal, -1
            _, _, _, ledger = contents(there)
            counted = there.run("select entity, count(*) from STAGING.customerio_api group by 1")
            assert {(f"customerio_api:{entity}", number) for entity, number in counted} <= {
                row[:2] for row in ledger
            }
            fatal = fatal_now
    assert fatal > 30
    fatal = -1
    assert contents(there) == contents(here)


def test_what_was_landed_before_an_error_is_there(world: World, there: OnSnowflake) -> None:
    world.before = lambda count: world.instead.append(error(401, "revoked")) if count == 2 else None
    with pytest.raises(Exception, match="refuses the key"):
        extracted(world, there, "campaigns", "transactional")
    assert len(contents(there)[0]) == 3
