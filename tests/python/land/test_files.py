"""Files land whole or not at all, land once, and a backfill makes a range equal to the files there."""

import gzip
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from scripts.cli import main
from scripts.errors import UserError
from scripts.land.rules import EVENTS
from scripts.land.sources import path_hour
from support.formats import avro, parquet
from support.land import (
    HOURS,
    SPAN,
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
from support.project import BIN, PROJECT, settings


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
    # what the file brought before is still there, and the file behind it has landed
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


def test_backfill_makes_the_range_equal_to_the_files(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    other = write(tmp_path.parent / f"{tmp_path.name}_old" / HOURS[1] / "x.jsonl", call())
    land_path(connection, other.parent)
    land_path(connection, tmp_path)
    for path in paths:
        path.unlink()
        write(path.with_name("again.jsonl"), call(user_id=path.parent.name))
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, outcome.rows) == (2, 2, 2)
    expected = {str(paths[0]), str(paths[3]), str(other)} | {
        str(path.with_name("again.jsonl")) for path in paths[1:3]
    }
    for table, column in (("justai_calls", "_file"), ("landed_files", "file")):
        assert {
            file for (file,) in connection.execute(f"select {column} from staging.{table}").fetchall()
        } == expected
    assert len(rejected(connection)) == 2
    again = land_path(connection, tmp_path, span=SPAN)
    assert (again.files, again.removed, again.unchanged) == (0, 0, 2)


def test_backfill_does_not_empty_an_hour_unasked(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path)
    before = state(connection)
    paths[1].unlink()
    with pytest.raises(UserError, match="2026-09-01T00") as refusal:
        land_path(connection, tmp_path, span=SPAN)
    assert "--allow-empty" in str(refusal.value)
    assert "T05" not in str(refusal.value)
    assert state(connection) == before
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 1
    assert len(landed(connection)) == 9


def test_backfill_of_a_range_without_any_file(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    with pytest.raises(UserError, match="no files to land between"):
        land_path(connection, tmp_path, span=(datetime(2025, 1, 1), datetime(2025, 1, 2)))
    land_path(connection, tmp_path)
    paths[1].unlink()
    paths[2].unlink()
    with pytest.raises(UserError, match=r"2 hour\(s\)"):
        land_path(connection, tmp_path, span=SPAN)
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 2
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 0


def test_backfill_removes_nothing_when_a_file_was_refused(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path)
    paths[1].rename(paths[1].with_name("new.jsonl.gz"))
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[:-3])
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, len(outcome.refused)) == (1, 0, 1)
    assert outcome.held_back == 1
    paths[2].write_bytes(data)
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, outcome.unchanged, outcome.held_back) == (0, 1, 2, 0)


def test_backfill_wants_hours_in_paths(tmp_path: Path) -> None:
    hourly(tmp_path, *HOURS)
    write(tmp_path / "late.jsonl", call())
    with pytest.raises(UserError, match=r"late\.jsonl"):
        land_path(warehouse(), tmp_path, span=SPAN)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def copymart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run `copymart land` in this process (importing dbt takes seconds) with a profile of its own."""
    for name, value in settings(tmp_path / "profile").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(PROJECT)

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["copymart", "land", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


def test_the_command(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    database = tmp_path / "profile/warehouse.duckdb"
    logs = tmp_path / "logs"
    hourly(logs, *HOURS)
    write(tmp_path / "events/e.jsonl", event(), event(event_id=None), event(extra=1))

    both = ("--calls", logs, "--events", tmp_path / "events")
    done = copymart(*both, "--dry-run")
    assert (done.returncode, database.exists()) == (0, False), done.stderr
    assert "would land 4" in done.stdout

    done = copymart(*both)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][2:8] == ["files", "rows", "rejected", "unchanged", "replaced", "removed"]
    assert lines[1][:8] == ["justai_calls", "4", "12", "4", "0", "0", "0", "0"]
    assert lines[2][:8] == ["customerio_events", "1", "2", "1", "0", "0", "0", "0"]
    assert "missing_event_id 1" in done.stdout
    assert "select * from staging.justai_calls_rejects" in done.stdout
    assert done.stdout.count("ignored unknown field(s) extra") == 1

    (logs / "x.csv").write_text("a,b")
    done = copymart("--calls", logs)
    assert done.returncode == 1
    assert f"refused: {logs / 'x.csv'}" in done.stderr
    (logs / "x.csv").unlink()

    gone = logs / HOURS[1] / "calls.jsonl.gz"
    gone.rename(gone.with_name("new.jsonl.gz"))
    span = ("--backfill", "2026-09-01", "2026-09-02")
    (gone.parent / "x.csv").write_text("a,b")
    done = copymart("--calls", logs, *span)
    assert done.returncode == 1
    assert "1 file(s) that are gone were not removed, because a file was refused: mend it" in done.stdout
    (gone.parent / "x.csv").unlink()
    for extra, removed in ((("--dry-run",), 0), ((), 1)):
        done = copymart("--calls", logs, *span, *extra)
        assert done.returncode == 0, done.stderr
        assert str(gone) in done.stdout
        with duckdb.connect(str(database)) as connection:
            files = connection.execute(
                "select count(*) from staging.landed_files where file = ?", [str(gone)]
            )
            assert files.fetchall() == [(1 - removed,)]

    for arguments, message in (
        ((), "--calls URI"),
        (("--calls", ""), "--calls is empty"),
        (("--calls", logs, "--events", " "), "--events is empty"),
        (("--calls", "s3:///calls"), "names no bucket"),
        (("--events", "s3://"), "names no bucket"),
        (("--calls", tmp_path / "nowhere"), "does not exist"),
        (("--calls", logs, "--backfill", "2026-09-02", "2026-09-01"), "START must lie before END"),
        (("--calls", logs, "--backfill", "2026-09-01T00:30", "2026-09-02"), "no whole hour"),
        (("--calls", logs, "--backfill", "September", "2026-09-02"), "is no time"),
        (("--calls", logs, "--allow-empty"), "belongs to --backfill"),
        (("--calls", "s3://b/x", "--external-id", "e"), "give --role-arn"),
    ):
        done = copymart(*arguments)
        assert done.returncode == 1, arguments
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_warehouse_in_use_or_out_of_reach(
    tmp_path: Path, copymart: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs,) = hourly(tmp_path / "logs", HOURS[0])
    database = str(tmp_path / "profile/warehouse.duckdb")
    program = f"import duckdb, sys; c = duckdb.connect({database!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [BIN / "python", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        done = copymart("--calls", logs)
    assert (done.returncode, "cannot open" in done.stderr) == (1, True), done.stderr
    monkeypatch.setenv("COPYMART_DUCKDB", str(tmp_path / "no/such/w.duckdb"))
    done = copymart("--calls", logs)
    assert (done.returncode, "does not exist" in done.stderr) == (1, True), done.stderr


LANDING_PROGRAM = """
import sys
import scripts.land.command, scripts.land.records
from support.land import land_path, warehouse
scripts.land.records.PIECE_BYTES, scripts.land.command.CHUNK_BYTES = 50_000, 100_000
insert = scripts.land.command.Batch._insert
def tell(*arguments):
    print(flush=True)
    insert(*arguments)
scripts.land.command.Batch._insert = tell
land_path(warehouse(sys.argv[1]), sys.argv[2])
"""


def test_killed_at_any_moment_and_run_again(tmp_path: Path) -> None:
    """Kill landings at random moments, then let one end: the state is that of one undisturbed run."""
    logs, database = tmp_path / "logs", tmp_path / "warehouse.duckdb"
    command: list[str | Path] = [BIN / "python", "-c", LANDING_PROGRAM, database, logs]
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests/python'}"}
    for number in range(24):
        records = [
            call(user_id=f"{number}-{n}", vars={"body": "x" * 300}) for n in range(700 if number % 5 else 60)
        ]
        write(logs / f"2026/09/01/{number:02d}/calls.jsonl.gz", *records, "broken")

    chance = random.Random(3)
    killed = 0
    for attempt in range(6):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout
            for _ in range(chance.randint(1, 9)):
                process.stdout.readline()
            time.sleep(chance.random() * 0.02)
            process.kill()
        killed += process.returncode == -signal.SIGKILL
        with warehouse(database) as connection:
            assert_files_are_whole(connection)
        for path in chance.sample(sorted(logs.rglob("*.gz")), 12):
            write(path, *(call(user_id=f"{attempt}-{n}") for n in range(attempt * 60)), "broken again")
    assert killed > 3
    subprocess.run(command, env=environment, check=True, capture_output=True)
    undisturbed = warehouse()
    land_path(undisturbed, logs)
    with warehouse(database) as connection:
        assert state(connection) == state(undisturbed)


def assert_files_are_whole(connection: duckdb.DuckDBPyConnection) -> None:
    """Every file has the rows and rejects that its ledger row says; no row lacks its
    ledger row and batch."""
    query = """
        select coalesce(l.file, t._file), l.row_count, l.reject_count, t.good, t.bad
        from staging.landed_files as l full join (
            select _file, count(*) filter (good) as good, count(*) filter (not good) as bad from (
                select _file, true as good from staging.justai_calls
                union all select _file, false from staging.justai_calls_rejects) group by all
        ) as t on l.file = t._file
        where (l.row_count, l.reject_count) is distinct from (t.good, t.bad)"""
    assert connection.execute(query).fetchall() == []
    query = """
        select _file, _batch_id from staging.justai_calls
        except select file, batch_id from staging.landed_files join staging.landed_batches using (batch_id)"""
    assert connection.execute(query).fetchall() == []


def test_landing_that_fails_midway_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.land.command.CHUNK_BYTES", 2_000)
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    write(paths[0], *(call(user_id=f"v1-{n}") for n in range(20)))
    land_path(connection, paths[0])
    write(paths[0], call(user_id="v2"))
    commit = "scripts.land.command.Batch.commit"
    calls: list[Any] = []

    def fail_the_second(batch: Any, outcome: Any) -> None:
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(batch, outcome)

    from scripts.land.command import Batch

    original = Batch.commit
    monkeypatch.setattr(commit, fail_the_second)
    with pytest.raises(KeyboardInterrupt):
        land_path(connection, tmp_path)
    assert_files_are_whole(connection)
    monkeypatch.setattr(commit, original)
    land_path(connection, tmp_path)
    fresh = warehouse()
    land_path(fresh, tmp_path)
    assert state(connection) == state(fresh)
    shutil.rmtree(tmp_path)
