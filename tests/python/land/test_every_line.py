"""Every line of a landed file ends in exactly one place, whatever it holds."""

import json
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.land.rules import CALLS
from support.formats import parquet
from support.json_texts import VALUES, exact, members
from support.land import call, land_path, text, warehouse, write
from support.quick import examples


@pytest.fixture(scope="module")
def shared() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse()
    yield connection
    connection.close()


GOOD = st.builds(
    lambda user, copy, moment, content: text(
        call(user_id=user, copy_id=str(copy), event_timestamp=moment, vars=content)
    ).rstrip("\n"),
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.uuids(),
    st.integers(946_684_800, 4_102_444_799),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=3),
)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
ANY_RECORD = st.builds(
    lambda changes: text(call(**changes)).rstrip("\n"),
    st.dictionaries(st.sampled_from(CALLS.columns.fields), ANY_VALUE, max_size=4),
)
CUT = st.builds(lambda line, at: line[: at % (len(line) + 1)], ANY_RECORD, st.integers(0))
RAW = (
    st.one_of(GOOD, ANY_RECORD, CUT, st.text(st.characters(codec="utf-8"))).map(str.encode)
    | st.binary()
    | st.just(b" ")
)


@given(
    lines=st.lists(st.tuples(RAW, st.sampled_from([b"\n", b"\r\n"])), max_size=12),
    good=GOOD,
    piece=st.sampled_from([200, 1 << 20]),
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_line_ends_in_one_place(
    tmp_path_factory: pytest.TempPathFactory,
    shared: duckdb.DuckDBPyConnection,
    lines: list[tuple[bytes, bytes]],
    good: str,
    piece: int,
) -> None:
    # the first line is good, so that the file is never taken for binary data
    content = good.encode() + b"\n" + b"".join(line.replace(b"\n", b"") + end for line, end in lines)
    path = tmp_path_factory.mktemp("any") / "calls.jsonl"
    path.write_bytes(content)
    physical = enumerate(content.split(b"\n"), 1)
    expected = {number: line for number, line in physical if line.strip(b" \t\r\v\f")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.land.records.PIECE_BYTES", piece)
        outcome = land_path(shared, path)
    assert not outcome.refused
    places = shared.execute(
        """select _line, null from staging.justai_calls where _file = $file
        union all select _line, raw from staging.justai_calls_rejects where _file = $file""",
        {"file": str(path)},
    ).fetchall()
    assert sorted(line for line, _ in places) == sorted(expected)
    assert (1, None) in places
    for number, raw in places:
        if raw is not None:
            assert raw == expected[number].rstrip(b"\r").decode(errors="backslashreplace")


@given(maps=st.lists(st.tuples(members(VALUES), members(VALUES)), min_size=1, max_size=8))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_strings_and_whole_numbers_in_maps_are_exact(
    tmp_path_factory: pytest.TempPathFactory,
    shared: duckdb.DuckDBPyConnection,
    maps: list[tuple[str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    frame = json.dumps(call(vars=0, attrs=1))
    as_objects = [frame.replace('"vars": 0, "attrs": 1', f'"vars":{v} , "attrs":{a}') for v, a in maps]
    write(folder / "objects.jsonl", *as_objects)
    write(folder / "texts.jsonl", *(call(vars=v, attrs=f"\n{a}") for v, a in maps))
    (folder / "texts.parquet").write_bytes(
        parquet([call(vars=v, attrs=a) for v, a in maps], vars=pa.string(), attrs=pa.string())
    )
    land_path(shared, folder)
    query = "select vars, attrs from staging.justai_calls where starts_with(_file, ?) order by _file, _line"
    read = shared.execute(query, [f"{folder}/"]).fetchall()
    assert [(exact(v), exact(a)) for v, a in read] == [(exact(v), exact(a)) for v, a in maps] * 3
