"""The command line of `copymart land`."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from scripts.cli import main
from scripts.errors import UserError
from scripts.warehouse import connect, full, production_schema
from support.land import (
    COPY,
    HOURS,
    call,
    event,
    hourly,
    send,
    variant,
    write,
)
from support.project import BIN, PROJECT, settings
from support.sync import TABLES, delivery, metric, write_export


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
    assert "1 file(s) that are gone were not removed, because a file was refused or held back" in done.stdout
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
        with pytest.raises(UserError) as reading:
            connect(PROJECT, tmp_path / "profile", read_only=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    for said in (done.stderr, str(reading.value)):
        assert f"another process has {database} open" in said
        assert f"(PID {other.pid})" in said
        assert "wait until it ends, or close it" in said
    monkeypatch.setenv("COPYMART_DUCKDB", str(tmp_path / "no/such/w.duckdb"))
    done = copymart("--calls", logs)
    assert (done.returncode, "does not exist" in done.stderr) == (1, True), done.stderr


def test_copies_and_moves(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    logs = tmp_path / "logs"
    hourly(logs, *HOURS)
    assert copymart("--calls", logs).returncode == 0
    logs.rename(tmp_path / "moved")
    moved = ("--calls", tmp_path / "moved")
    for extra in (("--dry-run",), ()):
        done = copymart(*moved, *extra)
        assert done.returncode == (0 if extra else 1)
        assert f"held back: {tmp_path}/moved/{HOURS[0]}" in done.stderr
        assert f"has the content of {logs}/{HOURS[0]}" in done.stderr
        assert "--moved OLD NEW" in done.stderr
    done = copymart("--moved", logs, tmp_path / "movd")
    assert (done.returncode, f"--moved: {tmp_path}/movd does not exist" in done.stderr) == (1, True), (
        done.stdout
    )
    done = copymart("--moved", logs, tmp_path / "moved", "--dry-run")
    assert (done.returncode, "4 file(s) would be renamed" in done.stdout) == (0, True), done.stderr
    done = copymart("--moved", logs, tmp_path / "moved", *moved)
    assert (done.returncode, "4 file(s) are renamed" in done.stdout) == (0, True), done.stderr
    line = next(line.split() for line in done.stdout.splitlines() if line.startswith("justai_calls "))
    assert line[:5] == ["justai_calls", "0", "0", "0", "4"]
    done = copymart("--moved", logs, tmp_path / "moved")
    assert (done.returncode, "the ledger has no file" in done.stderr) == (1, True)
    done = copymart("--moved", logs, tmp_path / "moved", "--backfill", "2026-01-01", "2026-01-02")
    assert (done.returncode, "--backfill belongs to --calls or --events" in done.stderr) == (1, True)


def test_a_move_in_a_missing_warehouse_makes_none(
    tmp_path: Path, copymart: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "other.duckdb"
    monkeypatch.setenv("COPYMART_DUCKDB", str(file))
    done = copymart("--moved", tmp_path / "a", tmp_path / "b")
    assert (done.returncode, "does not exist: run `copymart land`" in " ".join(done.stderr.split())) == (
        1,
        True,
    )
    assert not file.exists()


def test_memory_that_is_too_small_or_no_amount(
    tmp_path: Path, copymart: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "calls.jsonl", *(call(user_id=f"u{number}" * 50) for number in range(40_000)))
    for unlimited in ("-1", "none", "Null"):
        monkeypatch.setenv("COPYMART_MEMORY_LIMIT", unlimited)
        done = copymart("--calls", tmp_path / "calls.jsonl")
        assert (done.returncode, "set COPYMART_MEMORY_LIMIT to an amount" in done.stderr) == (1, True), (
            done.stderr
        )
    monkeypatch.setenv("COPYMART_MEMORY_LIMIT", "20MB")
    done = copymart("--calls", tmp_path / "calls.jsonl")
    assert done.returncode == 1
    assert "raise COPYMART_MEMORY_LIMIT" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_warehouse_in_memory_is_refused_because_it_keeps_nothing(
    tmp_path: Path, copymart: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPYMART_DUCKDB", ":memory:")
    done = copymart("--calls", write(tmp_path / "calls.jsonl", call()))
    assert done.returncode == 1
    assert "set COPYMART_DUCKDB to a" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vars:\n  earliest_event_at: 2026-02-31\n", "dbt_project.yml: day is out of range for month"),
        ("vars: [\n", "dbt_project.yml: "),
        ("name: copymart\n", "dbt_project.yml has no vars"),
        ("", "dbt_project.yml has no vars"),
        ("vars: {}\n", "dbt_project.yml: the var production_schema is missing"),
        ("vars: {production_schema: 1}\n", "dbt_project.yml: the var production_schema is missing or no"),
    ],
)
def test_a_project_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "dbt_project.yml").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        production_schema(tmp_path)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            duckdb.OutOfMemoryException("could not allocate block"),
            "COPYMART_MEMORY_LIMIT",
        ),
        (
            duckdb.OutOfMemoryException("failed to offload block"),
            "COPYMART_SPILL_FOLDER",
        ),
        (
            duckdb.IOException("cannot write: No space left on device"),
            "COPYMART_SPILL_FOLDER",
        ),
        (
            duckdb.IOException(
                'Could not write file "/w.duckdb.tmp/duckdb_temp_block-1": No space left on device'
            ),
            "COPYMART_SPILL_FOLDER",
        ),
        (
            duckdb.Error(
                'Failed to commit: Could not write file "/data/w.duckdb.wal": No space left on device'
            ),
            "the disk of /data/w.duckdb.wal is full",
        ),
        (duckdb.IOException("no such file"), None),
    ],
)
def test_what_was_full_names_its_setting(error: duckdb.Error, remedy: str | None) -> None:
    reason = full(error)
    assert (remedy in str(reason)) if remedy else reason is None


@pytest.mark.integration
@pytest.mark.parametrize(
    "variables", [{"PYTHONUTF8": "0", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_without_utf_8(tmp_path: Path, variables: dict[str, str]) -> None:
    write(tmp_path / "Grüße/全.jsonl", call())
    write(tmp_path / "Grüße/b.csv", "a")
    environment = {**settings(tmp_path / "profile"), **variables}
    command = [BIN / "copymart", "land", "--calls", tmp_path / "Grüße"]
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False), done.stderr
    assert b"b.csv: its extension is none" in done.stderr
    with duckdb.connect(str(tmp_path / "profile/warehouse.duckdb")) as connection:
        files = connection.execute("select file from staging.landed_files").fetchall()
    assert files == [(str(tmp_path / "Grüße/全.jsonl"),)]


def test_the_warehouse_sync(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    """Files of all tables in one folder; what is left out is said, and does not fail the run."""
    sync = tmp_path / "sync"
    write_export(sync / "deliveries_v4_111528_1.parquet", TABLES["deliveries"], [delivery(1)])
    write_export(sync / "metrics_v5_111528_1.parquet", TABLES["metrics"], [metric(1)])
    write_export(
        *(sync / "metrics_v9_111528_2.parquet", TABLES["metrics"], [metric(2)]),
        others={"mood": pa.array(["good"])},
    )
    write_export(sync / "newsletters_v5_111528_1.parquet", TABLES["metrics"], [metric(1)])
    done = copymart("--sync", sync, "--dry-run")
    assert (done.returncode, done.stdout.count("would land /")) == (0, 3), done.stderr
    done = copymart("--sync", sync)
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    assert f"left out: {sync}/newsletters_v5_111528_1.parquet" in printed
    assert f"kept in the column other: mood in {sync}/metrics_v9_111528_2.parquet" in printed
    assert "customerio_metrics: 1 file(s) have schema version 9" in printed
    assert "version 5" not in printed
    with duckdb.connect(str(tmp_path / "profile/warehouse.duckdb")) as connection:
        counts = "select dataset, sum(row_count) from staging.landed_files group by all order by all"
        assert connection.execute(counts).fetchall() == [
            ("customerio_deliveries", 1),
            ("customerio_metrics", 2),
        ]

    # a new first sync brings the same bytes under another name: models read one of the two
    shutil.copy(sync / "deliveries_v4_111528_1.parquet", sync / "deliveries_v4_111528_8.parquet")
    done = copymart("--sync", sync)
    assert done.returncode == 0, done.stderr
    sync.rename(tmp_path / "elsewhere")
    done = copymart("--moved", sync, tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "customerio_deliveries: 2 file(s) are renamed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--sync", "."), "no file of the warehouse sync to land"),
        (("--sync", " "), "--sync is empty"),
        (("--sync", ".", "--backfill", "2026-01-01", "2026-01-02"), "--backfill does not go with --sync"),
    ],
)
def test_a_sync_that_cannot_land(
    tmp_path: Path, copymart: Callable[..., Done], arguments: tuple[str, ...], reason: str
) -> None:
    write(tmp_path / "logs/notes.jsonl", call())
    done = copymart(*(str(tmp_path / "logs") if argument == "." else argument for argument in arguments))
    assert done.returncode == 1
    assert reason in " ".join(done.stderr.split())


def test_every_feed_that_lies_in_a_landing(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    done = copymart("--landing", landing)
    assert (done.returncode, "no feed lies there" in " ".join(done.stderr.split())) == (1, True)
    assert not (tmp_path / "profile/warehouse.duckdb").exists()
    write_export(
        landing / "customerio/sync/people_v4_1_1.parquet", TABLES["people"], [{"internal_customer_id": "p"}]
    )
    (landing / "customerio/events").mkdir()
    done = copymart("--landing", landing)
    assert (done.returncode, "customerio_people" in done.stdout) == (0, True), done.stderr
    write(landing / "justai/calls/2026/09/01/00/c.jsonl", call())
    done = copymart("--landing", f"file://{landing}/")
    assert (done.returncode, "justai_calls" in done.stdout) == (0, True), done.stderr
    # an export in two tables; its variants are current, so their file has no hour
    write(landing / "justai/sends/2026/09/01/00/s.jsonl", send(0))
    write(landing / "justai/variants/v.jsonl", variant("words"))
    done = copymart("--landing", landing, "--backfill", "2026-09-01", "2026-09-02")
    assert done.returncode == 0, done.stderr
    assert ("justai_sends" in done.stdout, "justai_variants" in done.stdout) == (True, True)
    done = copymart("--landing", landing, "--calls", landing)
    assert (done.returncode, "leave out --calls" in done.stderr) == (1, True)
    done = copymart("--landing", tmp_path / "nowhere")
    assert (done.returncode, "does not exist" in done.stderr) == (1, True)


def attached(tmp_path: Path) -> Path:
    """Let the profile attach a DuckDB file with a table of calls; it is that file."""
    source = tmp_path / "source.duckdb"
    with duckdb.connect(str(source)) as connection:
        connection.execute(
            f"create schema justai; create table justai.calls as select 1788220800 as event_timestamp, "
            f"'{COPY}' as copy_id, 't' as template_id"
        )
    profile = tmp_path / "profile/profiles.yml"
    attach = f"      attach: [{{path: '{source}', alias: raw}}]\n"
    profile.write_text(
        profile.read_text().replace("      schema: main\n", f"      schema: main\n{attach}", 1)
    )
    return source


def test_a_table_of_what_the_profile_attaches(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    source = attached(tmp_path)
    table = ("--calls", "table:raw.justai.calls")
    # a dry run opens the source only to read, so that another process may read it too
    with duckdb.connect(str(source), read_only=True):
        done = copymart(*table, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would land table:raw.justai.calls/2026/09/01/00" in done.stdout
    assert not (tmp_path / "profile/warehouse.duckdb").exists()
    assert copymart(*table).returncode == 0
    done = copymart(*table, "--all")
    assert done.stdout.split("\n")[1].split()[:5] == ["justai_calls", "0", "0", "0", "1"], done.stdout

    done = copymart("--moved", "table:raw.justai.calls", "table:raw.justai.logged")
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(tmp_path / "profile/warehouse.duckdb")) as connection:
        found = connection.execute("select file, path_hour::varchar from staging.landed_files").fetchall()
    assert found == [("table:raw.justai.logged/2026/09/01/00", "2026-09-01 00:00:00")]


def test_what_the_profile_attaches_is_missing(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    attached(tmp_path).write_bytes(b"no database")
    done = copymart("--calls", "table:raw.justai.calls")
    assert (done.returncode, "the profile's target attaches" in " ".join(done.stderr.split())) == (1, True)


def test_all_belongs_to_a_table(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    write(tmp_path / "calls.jsonl", call())
    done = copymart("--calls", tmp_path, "--all")
    assert (done.returncode, "--all belongs to a table" in done.stderr) == (1, True)


def test_sends_and_variants(tmp_path: Path, copymart: Callable[..., Done]) -> None:
    sent = call(template_id=..., vars=...)
    write(tmp_path / "sends/2026/01/01/12/s.jsonl", sent)
    words = {"copy_id": COPY, "template_id": "t", "vars": {"subject": "x"}}
    write(tmp_path / "variants/v1.jsonl", words)
    # an export repeats its variants, and those without an hour are of no range
    write(tmp_path / "variants/v2.jsonl", words)
    both = ("--calls", tmp_path / "sends", "--variants", tmp_path / "variants")
    done = copymart(*both, "--backfill", "2026-01-01", "2026-01-02")
    assert done.returncode == 0, done.stderr
    counts = [line.split()[:3] for line in done.stdout.splitlines()[1:3]]
    assert counts == [["justai_variants", "2", "2"], ["justai_sends", "1", "1"]]

    (tmp_path / "sends/2026/01/01/12/s.jsonl").unlink()
    write(tmp_path / "sends/2026/01/01/13/s.jsonl", sent)
    done = copymart(*both, "--backfill", "2026-01-01", "2026-01-02", "--allow-empty")
    assert "justai_sends: 1 file(s) are gone" in done.stdout
    done = copymart("--calls", tmp_path / "sends")
    assert "missing_template_id 1" in done.stdout
