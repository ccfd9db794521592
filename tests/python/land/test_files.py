"""Files land whole or not at all, land once, and a backfill makes a range equal to the files there."""

import gzip
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from scripts.errors import UserError
from scripts.land.rules import EVENTS
from scripts.land.sources import path_hour
from support.formats import avro, parquet
from support.land import (
    HOURS,
    call,
    event,
    hourly,
    land_path,
    landed,
    rejected,
    rows,
    state,
    text,
    warehouse,
    write,
)


def test_landing_again_changes_nothing(tmp_path: Path) -> None:
    hourly(tmp_path, *HOURS)
    connection = warehouse()
    first = land_path(connection, tmp_path)
    before, times = (
        state(connection),
        connection.execute("select _loaded_at from staging.justai_calls").fetchall(),
    )
    again = land_path(connection, tmp_path)
    assert (first.files, first.rows, first.rejected.total(), first.unchanged) == (4, 12, 4, 0)
    assert (again.files, again.rows, again.rejected.total(), again.unchanged) == (0, 0, 0, 4)
    assert state(connection) == before
    assert connection.execute("select _loaded_at from staging.justai_calls").fetchall() == times


def test_a_changed_file_replaces_its_rows(tmp_path: Path) -> None:
    changed, kept = hourly(tmp_path, *HOURS[:2])
    connection = warehouse()
    land_path(connection, tmp_path)
    write(changed, call(user_id="new"), call(copy_id="bad"))
    outcome = land_path(connection, tmp_path)
    assert (outcome.files, outcome.replaced, outcome.unchanged, outcome.rows) == (1, 1, 1, 1)
    fresh = warehouse()
    land_path(fresh, tmp_path)
    assert state(connection) == state(fresh)
    assert [row["user_id"] for row in landed(connection)] == ["new", *(f"{HOURS[1]}-{n}" for n in range(3))]
    assert [(line, reason) for line, _, reason in rejected(connection)] == [
        (2, "bad_copy_id"),
        (4, "malformed_json"),
    ]
    newest = "select max_by(_file, _loaded_at) from staging.justai_calls"
    assert connection.execute(newest).fetchall() == [(str(changed),)]
    assert kept.exists()


def test_a_file_whose_hash_was_cleared_is_landed_anew(tmp_path: Path) -> None:
    hourly(tmp_path, HOURS[0])
    connection = warehouse()
    land_path(connection, tmp_path)
    before = state(connection)
    connection.execute("delete from staging.justai_calls where _line = 1")
    connection.execute("update staging.landed_files set content_hash = null")
    assert land_path(connection, tmp_path).replaced == 1
    assert state(connection) == before


def test_plain_landing_never_removes(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path)
    before = state(connection)
    paths[1].unlink()
    assert land_path(connection, tmp_path).removed == 0
    assert state(connection) == before


def test_both_data_sets_may_read_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.jsonl", call(), event())
    connection = warehouse()
    land_path(connection, path)
    land_path(connection, path, EVENTS)
    ledger = rows(connection, "select dataset, row_count, reject_count from staging.landed_files order by 1")
    assert [tuple(row.values()) for row in ledger] == [("customerio_events", 1, 1), ("justai_calls", 1, 1)]


def test_identity_is_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = hourly(tmp_path / "logs", HOURS[0])
    (tmp_path / "link").symlink_to(tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    connection = warehouse()
    given: list[str | Path] = [
        "logs",
        "./logs/",
        "logs/../logs",
        "link",
        path,
        "logs/2026/**/*.gz",
        "logs/*/08",
        f"file://{path}",
    ]
    outcomes = [land_path(connection, uri) for uri in given]
    assert [outcome.files for outcome in outcomes] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert [outcome.unchanged for outcome in outcomes[1:]] == [1] * 7
    assert connection.execute("select distinct _file from staging.justai_calls").fetchall() == [(str(path),)]


def test_globs(tmp_path: Path) -> None:
    for name in ("a/x1.jsonl", "a/x2.jsonl", "a/b/x3.jsonl", "a/y[1].jsonl", "c/x4.jsonl.gz"):
        write(tmp_path / name, call())

    def taken(pattern: str) -> list[str]:
        connection = warehouse()
        land_path(connection, tmp_path / pattern)
        files = connection.execute("select file from staging.landed_files order by 1").fetchall()
        return [str(Path(file).relative_to(tmp_path)) for (file,) in files]

    assert taken("a/x?.jsonl") == ["a/x1.jsonl", "a/x2.jsonl"]
    assert taken("a/x[!1].jsonl") == ["a/x2.jsonl"]
    assert taken("**/x*.jsonl*") == ["a/b/x3.jsonl", "a/x1.jsonl", "a/x2.jsonl", "c/x4.jsonl.gz"]
    assert taken("a/y[1].jsonl") == ["a/y[1].jsonl"]
    assert taken("[bc]") == ["c/x4.jsonl.gz"]


def test_hidden_files_and_markers_are_left_out(tmp_path: Path) -> None:
    hourly(tmp_path, HOURS[0])
    for name in (
        "_SUCCESS",
        ".calls.jsonl.gz.crc",
        "_temporary/0/calls.jsonl",
        "manifest.json",
        ".git/x.jsonl",
    ):
        write(tmp_path / name, "x")
    outcome = land_path(warehouse(), tmp_path)
    assert (outcome.files, outcome.refused) == (1, [])


def _damaged(data: bytes, near: bytes, beyond: int = 0) -> bytes:
    """The data with other bytes behind the first place of these."""
    at = data.index(near) + len(near) + beyond
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 16]) + data[at + 16 :]


GOOD_GZIP = gzip.compress(text(*(call(user_id=f"u-{n}") for n in range(2_000))).encode())
REFUSED = {
    "truncated.jsonl.gz": (GOOD_GZIP[:-200], "truncated or damaged"),
    "damaged.jsonl.gz": (GOOD_GZIP[:-8] + b"12345678", "truncated or damaged"),
    "plain.jsonl.gz": (text(call()).encode(), "truncated or damaged"),
    "empty.jsonl.gz": (b"", "0 bytes"),
    "truncated.jsonl.zst": (zstandard.compress(text(call()).encode())[:-3], "truncated or damaged"),
    "text.jsonl.zst": (text(call()).encode(), "truncated or damaged"),
    "table.csv": (b"a,b\n1,2\n", "extension"),
    "noextension": (text(call()).encode(), "extension"),
    "junk.jsonl": (bytes(range(256)) * 50, "binary data"),
    "utf16.jsonl": (text(call()).encode("utf-16"), "UTF-16"),
    "misnamed.jsonl": (GOOD_GZIP, "gzip data"),
    "parquet.json": (parquet([call()]), "Parquet"),
    "junk.parquet": (b"x" * 100, "no readable Parquet"),
    "truncated.parquet": (parquet([call()])[:-50], "no readable Parquet"),
    "junk.avro": (b"x" * 100, "no readable Avro"),
    "truncated.avro": (avro([call()] * 10)[:-20], "Avro|damaged"),
    "page.parquet": (_damaged(parquet([call()] * 10), b"plan-nudge"), "truncated or damaged"),
    "name.parquet": (parquet([call()]).replace(b"journey_id", b"journey_\xff\xc3"), "no UTF-8"),
    "deflate.avro": (_damaged(avro([call()] * 10, "deflate"), b"]}\x00", 30), "truncated or damaged"),
    "bzip2.avro": (_damaged(avro([call()] * 10, "bzip2"), b"BZh9"), "truncated or damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file_leaves_no_trace(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    write(tmp_path / "a.jsonl", call(user_id="before"))
    (tmp_path / name).write_bytes(data)
    write(tmp_path / "zz.jsonl", call(user_id="after"))
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [uri for uri, _ in outcome.refused] == [str(tmp_path / name)]
    assert any(word in outcome.refused[0][1] for word in reason.split("|")), outcome.refused
    assert "check the disk" not in outcome.refused[0][1]
    assert [row["user_id"] for row in landed(connection)] == ["before", "after"]
    assert (outcome.files, rejected(connection)) == (2, [])


def test_a_large_file_refused_at_its_end_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.land.records.PIECE_BYTES", 150_000)
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(GOOD_GZIP)
    write(tmp_path / "z.jsonl", call(user_id="after"))
    connection = warehouse()
    land_path(connection, tmp_path)
    before = state(connection)
    changed = gzip.compress(gzip.decompress(GOOD_GZIP)[1_000:])
    path.write_bytes(changed[:-4])
    write(tmp_path / "z.jsonl", call(user_id="later"))
    outcome = land_path(connection, tmp_path)
    assert [uri for uri, _ in outcome.refused] == [str(path)]
    # the rows that the file had before are still there, and the next file has landed
    assert len(state(connection)["justai_calls"]) == len(before["justai_calls"])
    assert [row["user_id"] for row in landed(connection)][-1] == "later"


def test_parquet_without_required_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"copy_id": ["x"], "when": [1]}), tmp_path / "calls.parquet")
    outcome = land_path(warehouse(), tmp_path)
    reason = outcome.refused[0][1]
    assert "event_timestamp, template_id" in reason
    assert "it has copy_id, when" in reason


def test_empty_files_and_folders_of_many(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n\n"))
    (tmp_path / "c.parquet").write_bytes(parquet([]))
    (tmp_path / "d.avro").write_bytes(avro([]))
    write(tmp_path / "e.jsonl", call())
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert (outcome.files, outcome.rows, outcome.refused) == (5, 1, [])
    assert land_path(connection, tmp_path).unchanged == 5


def test_a_file_that_cannot_be_listed_or_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", call())
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    outcome = land_path(warehouse(), tmp_path)
    assert outcome.files == 1
    assert [Path(uri).name for uri, _ in outcome.refused] == ["gone.jsonl"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nothing_here", "does not exist"),
        ("nothing*/x", "no files to land"),
        ("nothing_here/*.gz", "does not exist"),
        ("gs://bucket/x", "not gs://"),
        ("s3://", "names no bucket"),
        ("s3:///calls", "names no bucket"),
        ("s3://acme-*/calls", "no glob"),
        ("", "is empty"),
        ("file://", "is empty"),
        ("empty", "no files to land"),
        ("other", "it holds only .csv"),
        ("other/x.csv", "it holds only .csv"),
    ],
)
def test_what_cannot_be_landed_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other/x.csv", "a,b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        land_path(warehouse(), uri)


def test_path_hours() -> None:
    assert path_hour("/a/2026/09/01/05/x.gz") == datetime(2026, 9, 1, 5)
    assert path_hour("s3://b/2020/01/01/00/out/2026/09/01/23/deep/x.gz") == datetime(2026, 9, 1, 23)
    assert path_hour("/a/2026/09/01/x.gz") is None
    assert path_hour("/a/2026/13/01/05/x.gz") is None
    assert path_hour("/a/2026/09/01/24/x.gz") is None
    assert path_hour("/a/x2026/09/01/05/x.gz") is None
    assert path_hour("/a/2026/09/01/05") is None
