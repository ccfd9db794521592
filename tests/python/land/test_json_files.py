"""JSON files that are no JSON lines, and compressed ones of unusual writers."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from support.land import call, land_path, landed, rejected, text, warehouse, write

RECORDS = [call(user_id="a"), call(user_id="b", vars={"subject": "one\ntwo, [three]"}), call(copy_id="bad")]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_an_array_of_records_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, ending: str, piece: int
) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", piece)
    (tmp_path / "calls.json").write_text("\ufeff" + json.dumps([*RECORDS, 7], indent=indent) + ending)
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert [row["user_id"] for row in landed(connection)] == ["a", "b"]
    assert json.loads(landed(connection)[1]["vars"]) == {"subject": "one\ntwo, [three]"}
    assert [(line, reason) for line, _, reason in rejected(connection)] == [
        (3, "bad_copy_id"),
        (4, "not_an_object"),
    ]


@pytest.mark.parametrize(("first", "between"), [("[\n", ",\n"), ("[\n\t", ",\n\t"), ("\n[", "\n,\n")])
def test_an_array_with_a_record_on_each_line_is_read(tmp_path: Path, first: str, between: str) -> None:
    """DuckDB and others write it so; its last record is a line of its own, as in JSON lines."""
    array = first + between.join(text(record).strip() for record in RECORDS[:2]) + "\n]\n"
    (tmp_path / "calls.json").write_text(array)
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert [row["user_id"] for row in landed(connection)] == ["a", "b"]
    assert rejected(connection) == []


def test_an_array_with_a_record_on_each_line_may_be_broken(tmp_path: Path) -> None:
    array = "[\n" + ",\n".join(text(record).strip() for record in RECORDS) + "\n]\n"
    (tmp_path / "calls.json").write_text(array.replace('"b"', '"b'))
    connection = warehouse()
    ((_, reason),) = land_path(connection, tmp_path).refused
    assert "is none from line 3" in reason
    assert landed(connection) == rejected(connection) == []


def test_a_value_of_an_array_that_is_no_text_rejects_its_record(tmp_path: Path) -> None:
    data = json.dumps(RECORDS[:2]).encode().replace(b'"a"', b'"\xff"')
    (tmp_path / "calls.json").write_bytes(data)
    connection = warehouse()
    land_path(connection, tmp_path)
    assert [row["user_id"] for row in landed(connection)] == ["b"]
    ((line, raw, reason),) = rejected(connection)
    assert (line, reason) == (1, "invalid_utf8")
    assert '"\\xff"' in raw


PRETTY = json.dumps(call(), indent=2)
REFUSED = {
    "pretty": (PRETTY, "span several lines"),
    "pretty records": (f"{PRETTY}\n{PRETTY}\n", "span several lines"),
    "cut pretty": (PRETTY[:80], "span several lines"),
    "cut array": (json.dumps(RECORDS)[:-30], "is none from line 1"),
    "array, then more": (json.dumps(RECORDS, indent=1) + "\n7", "is none from line"),
    "array without comma": ('[{"a": 1}\n{"a": 2}]', "from line 2, character 1"),
    "table": ("a,b\n1,2\n", "none of its lines is a JSON object"),
    "page": ("<html>\n<body>503</body>\n</html>", "none of its lines is a JSON object"),
    "numbers": ("1\n2\n", "none of its lines is a JSON object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_json_and_other_text_is_refused(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    (tmp_path / "a.json").write_text(content)
    write(tmp_path / "b.json", call())
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [Path(uri).name for uri, _ in outcome.refused] == ["a.json"]
    assert reason in outcome.refused[0][1]
    assert (len(landed(connection)), rejected(connection)) == (1, [])


@pytest.mark.parametrize("first", ["[1, 2]", "[1, 2", "[1,", "[", "7", "broken", '{"a": 1', "{", ""])
def test_one_record_makes_a_file_of_lines(tmp_path: Path, first: str) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.json", first, call()))
    assert len(landed(connection)) == 1
    assert [line for line, _, _ in rejected(connection)] == ([1] if first else [])


def test_a_record_that_was_cut_off_is_a_reject(tmp_path: Path) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.json", text(call())[:70]))
    assert [reason for _, _, reason in rejected(connection)] == ["malformed_json"]


@pytest.mark.parametrize(
    ("escape", "reason"),
    [
        ("\\ud800", "invalid_unicode"),
        ("\\udc00x", "invalid_unicode"),
        ("\\uD83D\\uDE00", None),
        ("\\\\ud800", None),
    ],
)
def test_half_a_surrogate_pair_is_no_character(tmp_path: Path, escape: str, reason: str | None) -> None:
    line = text(call(user_id="u-X")).replace("u-X", escape)
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", call(), line.strip()))
    assert [found for _, _, found in rejected(connection)] == ([reason] if reason else [])


def test_a_line_with_half_a_pair_and_another_fault_is_malformed(tmp_path: Path) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "calls.jsonl", call(), '{"a": "\\ud800", }, {'))
    assert [reason for _, _, reason in rejected(connection)] == ["malformed_json"]


def test_zstd_with_a_long_window_is_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(text(call()).encode()) + compressor.flush()
    (tmp_path / "calls.jsonl.zst").write_bytes(data)
    connection = warehouse()
    assert not land_path(connection, tmp_path).refused
    assert len(landed(connection)) == 1


def test_what_was_compressed_twice_says_so(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl.gz").write_bytes(gzip.compress(gzip.compress(text(call()).encode())))
    ((_, reason),) = land_path(warehouse(), tmp_path).refused
    assert reason == "it holds gzip data within gzip data: decompress it once"
