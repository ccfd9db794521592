"""What landing does faster for usual columns and small files gives what the long way gives."""

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts.land import checks, chunks, maps, parquet, records, straight
from scripts.land.rules import EVENTS
from support.land import COPY, call, event, land_path, state, warehouse, write
from support.quick import QUICK, examples

TEXTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "null", "NaN", "Infinity", "true", "{}", "[1]", '"', '"a"', "\\", "\x00", "\x1f\x7f", "a\n"]
    ),
    st.sampled_from(["41", "41.0", "1e3", "-0", "1767268801", " 7", COPY, COPY.upper(), "\u2028é🚀"]),
    st.text(max_size=5),
)
NUMBERS = st.one_of(
    st.none(), st.sampled_from([0, -1, 41, 2**53 + 1, 2**63 - 1, -(2**63), 1767268801, 1767268801999])
)
PAIRS = st.lists(st.tuples(st.sampled_from(["a", "b", "", 'x"y', "é"]), TEXTS), max_size=3)
ODD = {
    "event_timestamp": NUMBERS,
    "user_id": TEXTS,
    "campaign_id": NUMBERS,
    "action_id": NUMBERS,
    "journey_id": TEXTS,
    "copy_id": TEXTS,
    "template_id": TEXTS,
    "vars": st.one_of(st.none(), PAIRS),
    "attrs": st.one_of(st.none(), PAIRS),
}
USUAL = call() | {"vars": [("subject", "Hello")], "attrs": [("persona", "planner")]}
# a usual record in which some fields are odd
RECORDS = st.sets(st.sampled_from(list(ODD)), max_size=3).flatmap(
    lambda fields: st.fixed_dictionaries(
        {name: ODD[name] if name in fields else st.just(value) for name, value in USUAL.items()}
    )
)
MAP = pa.map_(pa.string(), pa.string())
KINDS = {
    "event_timestamp": pa.int64(),
    "campaign_id": pa.int64(),
    "action_id": pa.int64(),
    "vars": MAP,
    "attrs": MAP,
}


def landed_as(connection: duckdb.DuckDBPyConnection, file: Path) -> tuple[Any, Any]:
    land_path(connection, file)
    query = "select * exclude (_file, _loaded_at, _batch_id) from staging.justai_calls where _file = $file"
    rejects = "select _line, raw, reason from staging.justai_calls_rejects where _file = $file order by _line"
    return tuple(  # type: ignore[return-value]
        connection.execute(sql, {"file": str(file)}).fetchall()
        for sql in (f"{query} order by _line", rejects)
    )


def test_typed_columns_and_maps_land_as_by_the_long_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = warehouse()
    counts: Counter[str] = Counter()

    @seed(5)
    @hypothesis_settings(
        max_examples=examples(25), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(RECORDS, min_size=1, max_size=30), st.integers(1, 3))
    def same(given_records: list[dict[str, Any]], times: int) -> None:
        # repeated, so that most maps are not distinct
        whole = given_records * times
        table = pa.table(
            {
                name: pa.array([record[name] for record in whole], KINDS.get(name, pa.string()))
                for name in whole[0]
            }
        )
        pq.write_table(table, tmp_path / "short.parquet", row_group_size=7)
        pq.write_table(table, tmp_path / "long.parquet", row_group_size=7)
        short = landed_as(connection, tmp_path / "short.parquet")
        with monkeypatch.context() as patched:
            patched.setattr(parquet, "json_of_maps", lambda entries: None)
            patched.setattr(straight, "can_insert", lambda *_: False)
            patched.setattr(checks, "_column_field", by_json)
            assert landed_as(connection, tmp_path / "long.parquet") == short
        counts.update(reason for _, _, reason in short[1])
        counts["landed"] += len(short[0])

    same()
    if QUICK:
        return
    assert counts["landed"] > 20
    assert {"duplicate_key_in_vars", "missing_template_id", "bad_copy_id"} <= counts.keys()


def by_json(field: pa.Field, _: bool) -> str:
    column = field.name
    return (
        f"{checks.column_json(field)} as f_{column}, land_text(f_{column}) as t_{column}, "
        f"land_not_text(f_{column}) as n_{column}"
    )


def test_maps_are_written_once_per_distinct_one() -> None:
    given_maps = [
        [("a", "x"), ("b", None)],
        None,
        [],
        [("a", "x"), ("b", None)],
        [("b", None), ("a", "x")],
        [],
    ]
    entries = pa.array(given_maps * 4, MAP).cast(
        pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
    )
    for part in (entries, entries[3:], entries[1:20]):
        whole = maps.json_of_maps(parquet._list(part, "vars")[0])
        assert whole is not None
        found, once = whole
        assert once
        assert len(found.dictionary) == 3
        expected = {None: None, (): "{}", ("a", "b"): '{"a":"x","b":null}', ("b", "a"): '{"b":null,"a":"x"}'}
        keys = [None if one is None else tuple(pair["key"] for pair in one) for one in part.to_pylist()]
        assert found.to_pylist() == [expected[key] for key in keys]
    assert maps.json_of_maps(entries[3:6]) is None
    assert maps.json_of_maps(entries[:0]) is None


@pytest.mark.parametrize("transaction", [1, 4_000, 2**40])
def test_transactions_of_any_size_land_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transaction: int
) -> None:
    for hour in range(12):
        lines = [call(user_id=f"{hour}-{n}", new=1) for n in range(hour * 3)]
        write(
            tmp_path / f"2026/09/01/{hour:02d}/calls.jsonl.gz",
            *lines,
            "broken",
            call(vars='{"a": 1, "a": 2}'),
        )
    write(tmp_path / "big.jsonl", *(call(user_id=f"big-{n}") for n in range(200)), "broken")
    write(tmp_path / "empty.jsonl")
    whole = warehouse()
    land_path(whole, tmp_path)
    monkeypatch.setattr(records, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 3_000)
    monkeypatch.setattr(chunks, "TRANSACTION_BYTES", transaction)
    connection = warehouse()
    for _ in range(2):
        outcome = land_path(connection, tmp_path)
    assert outcome.unchanged == 14
    assert state(connection) == state(whole)
    ((batches,),) = connection.execute("select count(*) from staging.landed_batches").fetchall()
    # one for the files before the large one, one for it, and one for those after it
    assert batches == 3 if transaction == 2**40 else batches > 3


def test_columns_that_duckdb_refuses_cost_no_other_file_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of lines spans several chunks, one of columns does not."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    for number in range(3):
        write(tmp_path / f"a{number}.jsonl", event(event_id=f"a{number}"))
    pq.write_table(
        pa.table({"event_id": ["p"], "timestamp": [1767268806], "metric": ["sent"]}), tmp_path / "b.parquet"
    )
    write(tmp_path / "c.jsonl", event(event_id="c"))
    real = checks.check_query

    def broken(dataset: Any, schema: pa.Schema) -> str:
        return real(dataset, schema) if "raw" in schema.names else "select error('of a file')"

    monkeypatch.setattr("scripts.land.straight.check_query", broken)
    connection = warehouse()
    outcome = land_path(connection, tmp_path, EVENTS)
    assert [Path(uri).name for uri, _ in outcome.refused] == ["b.parquet"]
    query = "select event_id from staging.customerio_events order by 1"
    assert connection.execute(query).fetchall() == [("a0",), ("a1",), ("a2",), ("c",)]
