"""Lines that are inserted straight from their chunks land as those of which a checked copy is made."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts.land import checks, chunks, records, straight
from scripts.land.rules import EVENTS
from support.event_lines import EVENT_LINES
from support.json_texts import SPACE, VALUES, in_json, members
from support.land import event, land_path, text, warehouse, write
from support.quick import QUICK, examples

FIELDS = st.sampled_from([*EVENTS.columns.fields, "received", "Data"])
PLAIN = st.builds(
    lambda number, compact: json.dumps(
        event(event_id=f"e{number}"), separators=(",", ":") if compact else (", ", ": ")
    ),
    st.integers(0, 99),
    st.booleans(),
)
# any value in any field, with fields twice, unknown ones and white space
ODD = st.lists(st.tuples(FIELDS, VALUES | in_json(st.just("sent")) | members(VALUES), SPACE), max_size=7).map(
    lambda found: (
        "{" + ",".join(f'{space}"{name}"{space}:{value}{space}' for name, value, space in found) + "}"
    )
)
CHANGED = st.builds(lambda line, field, value: line[:-1] + f',"{field}":{value}' + "}", PLAIN, FIELDS, VALUES)
BROKEN = st.one_of(
    st.builds(lambda line, at: line[: at % (len(line) + 1)], PLAIN, st.integers(0, 400)),
    PLAIN.map(lambda line: line[:-1] + ",}"),
    PLAIN.map(lambda line: f" {line}\t"),
    PLAIN.map(lambda line: f"{line} {{}}"),
    st.sampled_from(
        ["{}", "{ }", "[1]", "null", "17", '"x"', "{", "}", "{}}", '{"data":{"x":NaN}}', "", "\\u00e9"]
    ),
)
LINES = st.one_of(PLAIN, PLAIN, ODD, CHANGED, BROKEN, st.sampled_from(EVENT_LINES)).map(str.encode)
BYTES = st.one_of(LINES, LINES, LINES, st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")))


def landed(connection: duckdb.DuckDBPyConnection, path: Path) -> list[list[Any]]:
    """Rows, rejects and ledger after one more landing."""
    land_path(connection, path, EVENTS)
    tables = {"customerio_events": "_loaded_at, _batch_id", "customerio_events_rejects": "_loaded_at"}
    tables["landed_files"] = "loaded_at, batch_id"
    queries = (f"select * exclude ({trace}) from staging.{table}" for table, trace in tables.items())
    return [sorted(connection.execute(query).fetchall(), key=repr) for query in queries]


def long_way(patch: pytest.MonkeyPatch) -> None:
    """A temporary table of checked records, and a parser for each line."""
    patch.setattr(straight, "can_insert", lambda *_: False)
    patch.setattr(checks, "_parsed", lambda shape: f"try(json_transform(raw, '{shape}'))")


def test_lines_land_straight_as_by_the_long_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straightly, checked = warehouse(), warehouse()
    reasons: Counter[str] = Counter()

    @seed(11)
    @hypothesis_settings(
        max_examples=examples(30), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.lists(st.lists(BYTES, max_size=12), min_size=1, max_size=3),
        st.sampled_from([b"\n", b"\r\n"]),
        st.sampled_from([4_000, 2**30]),
    )
    def same(files: list[list[bytes]], end: bytes, transaction: int) -> None:
        for number, lines in enumerate(files):
            # the first line is good, so that the file is never taken for another format
            good = text(event(event_id=f"first-{number}")).encode().strip()
            (tmp_path / f"{number}.jsonl").write_bytes(end.join([good, *lines]))
        with monkeypatch.context() as patched:
            patched.setattr(records, "PIECE_BYTES", 1_000)
            patched.setattr(chunks, "TRANSACTION_BYTES", transaction)
            rows, rejects, ledger = landed(straightly, tmp_path)
            long_way(patched)
            assert landed(checked, tmp_path) == [rows, rejects, ledger]
        reasons.update(reason for *_, reason in rejects)
        reasons["landed"] += len(rows)
        reasons["unknown"] += sum(file[-1] is not None for file in ledger)

    same()
    if QUICK:
        return
    assert reasons["landed"] > 100
    assert reasons["unknown"] > 10
    assert {
        "malformed_json",
        "not_an_object",
        "duplicate_key",
        "missing_event_id",
        "invalid_utf8",
    } <= reasons.keys()


def test_lines_parse_with_and_without_a_look_at_their_ends() -> None:
    lines = [
        "{}",
        "{}\n",
        "{}\r\n",
        " {} ",
        "{",
        "{\n",
        "}",
        '{"a":1,}\n',
        "[1]\n",
        "null",
        "{}\n\n",
        "\ufeff{}",
    ]
    connection = duckdb.connect()
    connection.execute("create table chunk as select unnest($lines) as raw", {"lines": lines})
    shape = '{"a":"JSON"}'
    query = f"select {checks._parsed(shape)}, try(json_transform(raw, '{shape}')) from chunk"
    assert all(one == other for one, other in connection.execute(query).fetchall())


def test_an_insert_keeps_what_the_profile_sets(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", event(), "broken")
    for order in (True, False):
        connection = warehouse()
        connection.execute(f"set preserve_insertion_order = {order}")
        assert land_path(connection, tmp_path, EVENTS).rejected == {"malformed_json": 1}
        setting = connection.execute("select current_setting('preserve_insertion_order')").fetchall()
        assert setting == [(order,)]
