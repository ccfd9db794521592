"""A run that was killed, at whatever statement, is completed by running it again."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.forget import rows as rows_of_person
from scripts.forget.person import find
from scripts.forget.rows import forget_rows, known_of, remember
from scripts.land.api import Counts, Part, Record, Reject, begin, land, place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.engine import Stamp
from scripts.land.rules import EVENTS
from scripts.land.tables import API
from support.forgotten import (
    AT,
    CIO,
    EMAIL,
    ID,
    NAMES,
    calls,
    cells,
    events,
    extract,
    forget_ann,
    landing,
    of_ann,
    of_bob,
    reconciled,
    source_calls,
    sync,
)
from support.land import land_path, warehouse, write
from support.quick import points


class _Killed(BaseException):
    """The end of a process."""


class _Mortal(OnDuckDB):
    """Ends the run before its n-th statement, or at the end of the transaction that this one began."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, left: int) -> None:
        super().__init__(connection)
        self.left = left

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        self._live()
        return super().run(statement, parameters)

    @contextmanager
    def transaction(self, stamp: Stamp, dataset: str = API) -> Iterator[None]:
        self._live()
        with super().transaction(stamp, dataset):
            yield
            self._live()

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Killed


def again(folder: Path) -> duckdb.DuckDBPyConnection:
    """A copy of the warehouse that was landed."""
    return warehouse(shutil.copy(folder / "landed.duckdb", folder / "copy.duckdb"))


def killed(connection: duckdb.DuckDBPyConnection, statements: int, **named: str) -> bool:
    """Forget Ann, but end before so many statements, once her hashes are known; return whether it did."""
    place = place_of(OnDuckDB(connection))
    person = find(place, named.get("customer_id"), named.get("email"))
    known = known_of(place, person.identifiers)
    remember(OnDuckDB(connection), known)
    try:
        forget_rows(_Mortal(connection, statements), known, person.identifiers)
    except _Killed:
        return True
    return False


def state(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    """The rows of all landing tables without batches and times."""
    left_out = ("_batch_id", "_loaded_at", "batch_id", "landed_at", "loaded_at", "forgotten_at")
    names = connection.execute("select table_name from duckdb_tables() where schema_name = 'staging'")
    found = {}
    for (name,) in names.fetchall():
        columns = connection.execute(f"describe staging.{name}").fetchall()
        kept = ", ".join(f'"{column}"' for column, *_ in columns if column not in left_out)
        distinct = "distinct" if name.endswith("_removed") or name == "landed_batches" else ""
        query = f"select {distinct} {kept} from staging.{name} order by all"
        found[name] = connection.execute(query).fetchall()
    return found


@pytest.mark.parametrize("named", [{"customer_id": ID}, {"email": EMAIL}], ids=["id", "address"])
def test_a_run_that_was_killed_anywhere_is_completed_by_running_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    """Also where the rows that said which identifiers are the person's have their pseudonyms already."""
    monkeypatch.setattr(rows_of_person, "token_hex", lambda size: "5a17" * (size // 2))

    with warehouse(tmp_path / "landed.duckdb") as connection:
        for way in (*map(landing, (calls, events, source_calls, sync)), extract):
            way(connection, tmp_path, 0)
    with again(tmp_path) as connection:
        forget_ann(connection, **named)
        whole = state(connection)
        assert cells(connection, *NAMES) == []
    for statements in points(range(0, 200, 9)):
        connection = again(tmp_path)
        was_killed = killed(connection, statements, **named)
        forget_ann(connection, **named)
        assert state(connection) == whole, statements
        reconciled(connection)
        connection.close()
        if not was_killed:
            return
    raise AssertionError("more statements than were looked at")


@pytest.mark.parametrize("named", [{"customer_id": ID}, {"email": EMAIL}], ids=["id", "address"])
def test_what_a_killed_run_knew_is_forgotten_where_its_file_was_replaced(
    tmp_path: Path, named: dict[str, str]
) -> None:
    """Nothing says any more which id the address belongs to; rejects and records have one of them alone."""

    with warehouse(tmp_path / "landed.duckdb") as connection:
        says = write(tmp_path / "says.jsonl", of_ann(1))
        alone = [f"half a line of {name}" for name in (ID, CIO, EMAIL)]
        others = write(tmp_path / "others.jsonl", of_bob(1), *alone)
        for path in (says, others):
            land_path(connection, path, EVENTS)
        tables = OnDuckDB(connection)
        for number, name in enumerate((ID, CIO, EMAIL)):
            begin(tables)
            payload = json.dumps({"id": f"d{number}", "customer_id": name})
            rejects = [Reject("messages", "", json.dumps([name]), "missing_id")]
            land(
                tables,
                Part("messages", [Record("messages", f"d{number}", "", payload, AT)], rejects),
                Counts(),
            )
    for statements in points(range(0, 200, 9)):
        connection = again(tmp_path)
        was_killed = killed(connection, statements, **named)
        land_path(connection, write(tmp_path / "says.jsonl", of_bob(2)), EVENTS)
        forget_ann(connection, **named)
        assert cells(connection, *NAMES) == [], statements
        begun = "select count(*) from staging.forgotten_people where forgotten_at is null"
        assert connection.execute(begun).fetchall() == [(0,)]
        reconciled(connection)
        connection.close()
        if not was_killed:
            return
    raise AssertionError("more statements than were looked at")
