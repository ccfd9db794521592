"""Lines of a file, as they are split, numbered and read."""

# ruff: noqa: RUF001  full-width text is what is tested

import gzip
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from scripts.land import json_lines
from scripts.land.json_lines import lines_table
from scripts.land.opening import open_file
from scripts.land.readers import read_pieces
from scripts.land.records import PIECE_BYTES
from scripts.land.rules import CALLS
from scripts.land.sources import Opened, SourceFile, list_files, locate
from support.land import call, land_path, landed, rejected, rows, text, warehouse, write


def test_line_numbers_are_physical(tmp_path: Path) -> None:
    lines = [b"\xef\xbb\xbf" + text(call()).encode(), b"\n", b" \t \r\n", b"broken\r\n", b"\xff\xfe{}\n"]
    lines += [
        text(call(user_id="crlf")).encode().replace(b"\n", b"\r\n"),
        b"\x0b\n",
        b"  " + text(call()).encode(),
    ]
    lines += [text(call(user_id="last")).strip().encode()]
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"".join(lines))
    connection = warehouse()
    outcome = land_path(connection, path)
    query = "select _line, user_id, _file from staging.justai_calls order by _line"
    assert connection.execute(query).fetchall() == [
        (1, "u-1001", str(path)),
        (6, "crlf", str(path)),
        (8, "u-1001", str(path)),
        (9, "last", str(path)),
    ]
    assert rejected(connection) == [(4, "broken", "malformed_json"), (5, "\\xff\\xfe{}", "invalid_utf8")]
    ledger = rows(connection, "select * from staging.landed_files")
    assert [(row["row_count"], row["reject_count"], row["size_bytes"]) for row in ledger] == [
        (4, 2, path.stat().st_size)
    ]
    assert outcome.rejected == {"malformed_json": 1, "invalid_utf8": 1}


def test_a_nul_in_one_line_does_not_make_a_file_binary(tmp_path: Path) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", "\0\0\0", call()))
    assert len(landed(connection)) == 1
    assert rejected(connection) == [(1, "\0\0\0", "malformed_json")]


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_a_small_file_that_holds_much_is_read_in_pieces(tmp_path: Path, extension: str) -> None:
    """zstd packs a gigabyte of such lines into 40 KB."""
    lines = text(call()).encode() * 300_000
    packed = zstandard.compress(lines) if extension == ".zst" else gzip.compress(lines, 1)
    path = tmp_path / f"calls.jsonl{extension}"
    path.write_bytes(packed)
    (file,) = list_files(locate(str(path)))
    pieces = [len(piece.table) for piece in read_pieces(open_file(file), CALLS.columns)]
    assert sum(pieces) == 300_000
    assert max(pieces) * len(lines) / 300_000 <= 2 * PIECE_BYTES


@given(st.lists(st.sampled_from(["", "{}", "[" * 40, " \r", "x" * 100]), min_size=1), st.booleans())
def test_many_short_lines_are_read_in_pieces(lines: list[str], has_end: bool) -> None:
    """Their numbers and the reasons of rejects take more memory than their text."""
    block = "\n".join(["{}", *lines, "{}" + "\n" * has_end]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "MOST_LINES", 3)
        opened = Opened(SourceFile("x.jsonl", len(block), "jsonl"), BytesIO(block), "")
        pieces = [piece.table for piece in json_lines.read_json_lines(opened, CALLS.columns)]
    assert max(map(len, pieces)) <= 4
    whole, _ = lines_table(block, 1)
    assert pa.concat_tables(pieces).to_pylist() == whole.to_pylist()


def test_a_ten_megabyte_line(tmp_path: Path) -> None:
    body = "ｘ" * 3_500_000
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl.gz", call(), call(vars={"body": body}), call()))
    query = "select vars->>'$.body' from staging.justai_calls where _line = 2"
    assert connection.execute(query).fetchall() == [(body,)]
    assert len(landed(connection)) == 3


def test_a_deeply_nested_line_is_only_a_reject_or_a_row(tmp_path: Path) -> None:
    connection = warehouse()
    deep = "[" * 200_000
    land_path(connection, write(tmp_path / "calls.jsonl", call(), deep, call(attrs={"a": [[[]]]})))
    assert (len(landed(connection)), len(rejected(connection))) == (2, 1)


def test_a_file_larger_than_a_piece_is_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [call(user_id=f"u-{number}") for number in range(500)] + ["broken"]
    path = write(tmp_path / "calls.jsonl.gz", *records)
    whole = warehouse()
    land_path(whole, path)
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 20_000)
    pieces = warehouse()
    outcome = land_path(pieces, path)
    assert (outcome.files, outcome.rows, outcome.rejected.total()) == (1, 500, 1)
    assert landed(pieces) == landed(whole)
    assert rejected(pieces) == rejected(whole) == [(501, "broken", "malformed_json")]
    assert pieces.execute("select count(distinct _loaded_at) from staging.justai_calls").fetchall() == [(1,)]


@given(st.binary(max_size=200))
def test_lines_are_split_as_bytes_are(content: bytes) -> None:
    table, count = lines_table(content, 1)
    physical = content.removesuffix(b"\n").split(b"\n") if content else []
    assert count == len(physical)
    expected = [(n, line) for n, line in enumerate(physical, 1) if line.strip(b" \t\r\v\f")]
    assert table["line"].to_pylist() == [number for number, _ in expected]
    assert table["size"].to_pylist() == [len(line.removesuffix(b"\r")) for _, line in expected]
