"""Lines that are cut into a head and parts that others share land as whole ones do."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts.land import straight, tails, transaction
from scripts.land.json_lines import lines_table
from scripts.land.rules import CALLS, MACROS, SENDS, Dataset
from scripts.land.tails import divided
from support.json_texts import SPACE, VALUES
from support.land import BOUNDS, COPY, call, land_path, landed, send, warehouse

COMPACT = (",", ":")
OBJECTS = st.sampled_from(
    [
        *(
            "{}",
            '{"a":"b"}',
            '{"a": "b" }',
            '{"a":"\\u00e4"}',
            '{"a":"1","a":"2"}',
            '{"a":{"b":1,"b":2}}',
            "null",
        ),
        *(
            '"{}"',
            '"{\\"a\\":1}"',
            '{"a":1,}',
            '{"a":NaN}',
            "[]",
            '{"x":1,"attrs":2}',
            '{"x":"\\",\\"attrs\\":{"}',
        ),
    ]
)


def _members(unknown: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.sampled_from(CALLS.columns.fields) | st.just(unknown)
    member = st.builds(
        lambda name, value, space: f'{space}"{name}":{space}{value}', names, values, st.just("") | SPACE
    )
    return st.lists(member, max_size=2).map(",".join)


HEADS = st.one_of(
    st.sampled_from(["", "{", "[", '{"event_timestamp":1767268801,', '{"user_id":"x\\"']),
    st.builds(
        lambda second, more: f'{{"event_timestamp":{second}' + (f",{more}" if more else ""),
        st.sampled_from(["1767268801", '"1767268801"', "1767268801.5", "1e9", "1", "null"]),
        _members("of_head", VALUES | OBJECTS),
    ),
)
FIRST = st.one_of(
    st.sampled_from(["", ',"copy_id":', f', "copy_id": "{COPY}"', f',"copy_id":"{COPY}"']),
    st.builds(
        lambda copy, template, words, more: (
            f',"copy_id":{copy},"template_id":{template},"vars":{words}' + (f",{more}" if more else "")
        ),
        st.sampled_from([f'"{COPY}"', f'"{COPY.upper()}"', '"x"', "1", "null"]),
        st.sampled_from(['"t"', "7", '""', "null", "{}"]),
        OBJECTS,
        _members("of_first", VALUES),
    ),
)
LAST = st.one_of(
    st.sampled_from(
        [
            "",
            "}",
            "}}",
            ',"attrs":{}',
            ',"attrs":{}}}',
            ',"attrs":{}} ',
            ',"attrs":{}}\t{}',
            ',"attrs":{"a":"1","a":"2"}}',
        ]
    ),
    st.builds(
        lambda of, more: f',"attrs":{of}' + (f",{more}" if more else "") + "}",
        OBJECTS,
        _members("of_last", VALUES),
    ),
)


def _tables(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> list[list[Any]]:
    land_path(connection, path, dataset)
    tables = {dataset.name: "_loaded_at, _batch_id", f"{dataset.name}_rejects": "_loaded_at"}
    tables["landed_files"] = "loaded_at, batch_id"
    queries = (f"select * exclude ({trace}) from staging.{table}" for table, trace in tables.items())
    return [sorted(connection.execute(query).fetchall(), key=repr) for query in queries]


@pytest.mark.parametrize("dataset", [CALLS, SENDS], ids=lambda dataset: dataset.name)
def test_divided_lines_land_as_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    cut, whole = warehouse(), warehouse()
    counts: Counter[str] = Counter()
    record = {CALLS.name: call(), SENDS.name: send(1)}[dataset.name]
    texts = {field: json.dumps(value, separators=COMPACT) for field, value in record.items()}
    middle = "".join(
        f',"{field}":{value}' for field, value in texts.items() if field not in ("event_timestamp", "attrs")
    )
    usual = ('{"event_timestamp":1767268801', middle, f',"attrs":{texts["attrs"]}}}')

    def spy(*given: Any) -> Any:
        table = divided(*given)
        counts["cut"] += table is not None
        return table

    @seed(7)
    @hypothesis_settings(
        max_examples=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # a smaller example would take minutes to find
        phases=[Phase.generate],
    )
    @given(
        st.lists(st.tuples(st.tuples(HEADS, FIRST, LAST), st.integers(0, 3)), min_size=4, max_size=16),
        st.sampled_from(["\n", "\r\n"]),
        st.booleans(),
    )
    def same(odd: list[tuple[tuple[str, ...], int]], end: str, closed: bool) -> None:
        # the part of this number is odd, with 3 all of them
        lines = [
            "".join(own if place in (at, 3) else usual[at] for at, own in enumerate(parts))
            for parts, place in odd
        ]
        lines += ["".join(usual)] * (3 * len(odd) + 2)
        (tmp_path / "a.jsonl").write_text(end.join(lines) + end * closed)
        with monkeypatch.context() as patched:
            patched.setattr(tails, "MOST_DISTINCT", 1)
            patched.setattr(transaction, "divided", spy)
            found = _tables(cut, tmp_path, dataset)
            patched.setattr(transaction, "divided", lambda *_: None)
            assert _tables(whole, tmp_path, dataset) == found
        counts.update(reason for *_, reason in found[1])
        counts["landed"] += len(found[0])
        counts["unknown"] += sum(file[-1] is not None for file in found[2])

    same()
    assert counts["cut"] > 15
    assert counts["landed"] > 300
    assert counts["unknown"] > 3
    assert {"malformed_json", "duplicate_key", "bad_copy_id", "duplicate_key_in_attrs"} <= counts.keys()


@pytest.mark.parametrize("odd", ['"n":"1\n"', '"n"\n:"1"', '\n"n":"1"\n'])
def test_a_line_break_within_an_element_stays_there(tmp_path: Path, odd: str) -> None:
    """An element of an array may hold one, also in the part that others share."""
    records = [call(user_id=f"u{n}", attrs={"n": str(n % 3)}) for n in range(64)]
    elements = [json.dumps(record, separators=COMPACT) for record in records]
    elements[1] = elements[1].replace('"n":"1"', odd)
    (tmp_path / "calls.json").write_text(f"[{','.join(elements)}]")
    connection = warehouse()
    land_path(connection, tmp_path)
    found = {row["user_id"]: json.loads(row["attrs"]) for row in landed(connection)}
    expected = {record["user_id"]: record["attrs"] for record in records}
    if odd == '"n":"1\n"':
        del expected["u1"]
    assert found == expected


@pytest.mark.parametrize(
    ("records", "is_cut"),
    [
        ([call(user_id=str(n)) for n in range(64)], True),
        ([call(attrs={"n": str(n // 16)}) for n in range(64)], True),
        ([call(attrs={"n": str(n // 2)}) for n in range(64)], False),
        ([call(copy_id="odd") for n in range(64)], False),
    ],
    ids=["alike", "few differ", "many differ", "all odd"],
)
def test_lines_are_divided_where_it_pays(records: list[dict[str, Any]], is_cut: bool) -> None:
    text = "".join(json.dumps(record, separators=COMPACT) + "\n" for record in records)
    table, _ = lines_table(text.encode(), 1)
    connection = warehouse()
    connection.execute(MACROS)
    with straight.ready(connection):
        assert (divided(connection, CALLS, table, BOUNDS) is not None) == is_cut
