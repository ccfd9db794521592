"""Fields that land ignores are reported by file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.land.report import unknown_notes
from support.formats import parquet
from support.land import COPY, call, land_path, landed, warehouse, write


def test_unknown_fields_are_known_by_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", call(copy="x"), call(copy="y", trace=1), call())
    write(tmp_path / "b.jsonl", call())
    (tmp_path / "c.jsonl").write_text(json.dumps(call(zz=None), separators=(",", ":")))
    (tmp_path / "d.parquet").write_bytes(parquet([call()]))
    pq.write_table(
        pa.table({"copy_id": [COPY], "event_timestamp": [1767268801], "template_id": ["t"], "x": [1]}),
        tmp_path / "e.parquet",
    )
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert outcome.unknown == {
        str(tmp_path / "a.jsonl"): {"copy", "trace"},
        str(tmp_path / "c.jsonl"): {"zz"},
        str(tmp_path / "e.parquet"): {"x"},
    }
    assert outcome.rows == 7
    query = "select unknown_fields from staging.landed_files order by file"
    assert connection.execute(query).fetchall() == [("copy,trace",), (None,), ("zz",), (None,), ("x",)]
    write(tmp_path / "a.jsonl", call(copy="x"))
    land_path(connection, tmp_path)
    assert connection.execute(query).fetchall()[0] == ("copy",)


@pytest.mark.parametrize("vars_", ['{"x":"of vars"}', {"x": "of vars"}, ...], ids=["text", "struct", "none"])
def test_columns_that_look_like_members_of_another_are_unknown_ones(tmp_path: Path, vars_: Any) -> None:
    columns = {"vars.x": ["flat"], "vars": [vars_], "vars.y": ["flat"], "attrs.z": ["flat"]}
    table = {"copy_id": [COPY], "event_timestamp": [1767268801], "template_id": ["t"]}
    table |= {name: values for name, values in columns.items() if values != [...]}
    pq.write_table(pa.table(table), tmp_path / "flat.parquet")
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert outcome.unknown == {str(tmp_path / "flat.parquet"): {"vars.x", "vars.y", "attrs.z"}}
    (row,) = landed(connection)
    assert (row["vars"], row["attrs"]) == ("{}" if vars_ is ... else '{"x":"of vars"}', "{}")


def test_unknown_fields_of_a_file_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    records = [call(**{"last": 1} if number == 299 else {"first": 1}) for number in range(300)]
    connection = warehouse()
    land_path(connection, write(tmp_path / "a.jsonl", *records))
    assert connection.execute("select unknown_fields from staging.landed_files").fetchall() == [
        ("first,last",)
    ]


def test_unknown_fields_are_told_once_per_set() -> None:
    unknown = {f"/{number:03}.jsonl": {"tracking_id"} for number in range(268)}
    assert unknown_notes(unknown | {"/a.jsonl": {"b", "a"}, "/000.jsonl": {"a"}}) == [
        "ignored unknown field(s) tracking_id in 267 files, the first /001.jsonl; "
        "see staging.landed_files.unknown_fields",
        "ignored unknown field(s) a in /000.jsonl",
        "ignored unknown field(s) a, b in /a.jsonl",
    ]
    assert unknown_notes({}) == []


@pytest.mark.parametrize(("sets", "last"), [(10, "x9 in /9"), (12, "x09, x10, x11 in 3 more files")])
def test_unknown_fields_take_ten_lines_at_most(sets: int, last: str) -> None:
    width = len(str(sets - 1))
    notes = unknown_notes({f"/{number:0{width}}": {f"x{number:0{width}}"} for number in range(sets)})
    assert len(notes) == 10
    named = "; see staging.landed_files.unknown_fields" if sets > 10 else ""
    assert notes[-1] == f"ignored unknown field(s) {last}{named}"


def test_a_file_of_many_unknown_fields_is_told_in_short() -> None:
    (note,) = unknown_notes({"/a": {f"x{number:03}" for number in range(300)}})
    assert note.endswith("x008, x009 and 290 more in /a")
