"""Whatever is read, in however many transactions: the table is that of a reader who keeps a dictionary."""

from collections.abc import Iterator
from datetime import datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.land.api import API, Counts, Extent, Part, Record, begin, land, positions
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.tables import ddl
from support.quick import examples

AT = datetime(2026, 1, 1)
Rows = dict[str, tuple[str, int, int, str]]
"""By key: scope, moment, version and payload."""

ITEMS = st.dictionaries(
    st.sampled_from([f"{scope}/{number}" for scope in "ab" for number in range(4)]),
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from(['{"n":1}', '{"n":2}'])),
)
READINGS = st.lists(st.tuples(ITEMS, st.booleans(), st.integers(0, 9), st.integers(1, 3)), max_size=5)


@pytest.fixture(scope="module")
def tables() -> Iterator[OnDuckDB]:
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    yield OnDuckDB(connection)
    connection.close()


def landed(tables: OnDuckDB) -> Rows:
    query = f"select key, _scope, _moment, _version, cast(payload as varchar) from staging.{API}"
    return {
        key: (scope, moment, version, payload) for key, scope, moment, version, payload in tables.run(query)
    }


@given(readings=READINGS, by_window=st.booleans())
@settings(max_examples=examples(40), deadline=None)
def test_readings_of_any_kind_leave_what_they_say(
    tables: OnDuckDB, readings: list[tuple[dict[str, tuple[int, int, str]], bool, int, int]], by_window: bool
) -> None:
    """By key or in full, whole scopes or a window of time, in one transaction or several."""
    tables.run(f"delete from staging.{API}")
    model: Rows = {}
    counts = Counts()
    for items, full, last, pieces in readings:
        records = [
            Record("e", key, key[0], payload, AT, moment, version)
            for key, (moment, version, payload) in items.items()
        ]
        begin(tables)
        cut = len(records) // pieces
        for start in range(0, cut * (pieces - 1), max(cut, 1)):
            land(tables, Part("e", records[start : start + cut], tracked=full), counts)
        rest = records[cut * (pieces - 1) :]
        covered = [Extent(None, 0, last)] if by_window else [Extent("a"), Extent("b")]
        scopes = None if by_window else sorted({key[0] for key in items})
        land(tables, Part("e", rest, (), covered if full else (), scopes if full else None, full), counts)

        for key, (moment, version, payload) in items.items():
            known = model.get(key)
            if known is None or known[2] <= version:
                model[key] = known if known and known[3] == payload else (key[0], moment, version, payload)
        if full:
            model = {
                key: row
                for key, row in model.items()
                if key in items or (by_window and not 0 <= row[1] <= last)
            }
        assert landed(tables) == model
    assert counts.new - counts.removed == len(model)
    ledger = "select row_count from staging.landed_files where file = 'customerio_api:e'"
    assert not model or tables.run(ledger) == [(len(model),)]


def test_a_position_never_goes_back(tables: OnDuckDB) -> None:
    for second in (5, 9, 7):
        land(tables, Part("p", position=("*", second)), Counts())
    assert positions(tables, "p") == {"*": 9}


def test_many_scopes_are_removed_in_pieces(tables: OnDuckDB) -> None:
    records = [Record("many", f"{n}/1", str(n), "{}", AT) for n in range(2_500)]
    counts = Counts()
    begin(tables)
    land(tables, Part("many", records), counts)
    begin(tables)
    kept = records[:1_200]
    land(tables, Part("many", kept, (), [Extent(str(n)) for n in range(2_400)], None, True), counts)
    assert (counts.new, counts.removed) == (2_500, 1_200)
    land(tables, Part("many", (), (), (), [str(n) for n in range(1_200)], True), counts)
    assert counts.removed == 1_300
