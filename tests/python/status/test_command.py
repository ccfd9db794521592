"""copymart status shows what landed, what waits, how the last build went, and ends with 1 for a problem."""

import fcntl
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from scripts.answers import NotBuilt, not_built, plain
from scripts.cli import app
from scripts.customerio.outbound import spool
from scripts.customerio.outbound.spool import (
    Answered,
    Item,
    Journal,
    Unfinished,
    forget,
    locked,
    unfinished,
    write_plan,
)
from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.land.tables import ddl
from scripts.status.command import (
    _FEEDS,
    _FEEDS_BEFORE_A_BUILD,
    _MATCHES,
    Build,
    _show,
    last_build,
    read,
)
from support.land import call, write
from support.project import Built, attempt, run

NOW = datetime(2026, 9, 2, 12)
FEEDS = [
    ("customerio_events", NOW - timedelta(hours=30), None, 3, None, 0, 2),
    ("justai_calls", NOW - timedelta(hours=2), datetime(2026, 9, 2, 9), 1, 10, 1, 0),
]


def answering(feeds: list[tuple[Any, ...]], matches: tuple[Any, ...] = (None, None)) -> Any:
    rows = {name: [feed[place] for feed in feeds] for place, name in enumerate("abcdefg")}
    answer = {"expected": [matches[0]], "matched": [matches[1]]}
    return lambda query: pa.table(rows if "landed_batches" in query else answer)


def test_a_feed_that_is_too_old_is_a_problem() -> None:
    for max_age, problems in ((None, 0), (31, 0), (30, 0), (29.9, 1), (1, 2)):
        found = read(answering(FEEDS), None, NOW, max_age)
        assert len(found.problems) == problems
    assert found.problems[0] == "customerio_events: the last landing was 30.0 hours ago"
    assert (found.feeds[0].rows, found.feeds[0].pending) == (0, 2)


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--max-age", "inf"),
        ("status", "--max-age", "1e20"),
        ("send", "--rate", "inf"),
        ("extract", "--rate", "inf"),
    ],
)
def test_a_number_without_end_is_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "should be less than or equal to" in " ".join(done.output.split())


def test_the_tables_of_the_sync_are_one_feed() -> None:
    old, new = (
        (name, NOW - timedelta(hours=hours), None, 1, 1, 0, 0)
        for name, hours in (("customerio_campaigns", 900), ("customerio_metrics", 3))
    )
    assert read(answering([old, new]), None, NOW, 4).problems == []
    assert read(answering([old, new]), None, NOW, 2).problems == [
        "customerio warehouse sync: the last landing was 3.0 hours ago"
    ]


def test_a_build_that_failed_is_a_problem_and_a_warning_is_none() -> None:
    ended = datetime(2026, 9, 2)
    warned = Build(ended, "build", {"warn": 1}, {}, {"at_most_x": "Got 1 result"})
    assert read(answering(FEEDS), warned, NOW, None).problems == []
    failed = Build(ended, "build", {"error": 1}, {"fct_calls": "no disk"}, {})
    assert read(answering(FEEDS), failed, NOW, None).problems == ["dbt build failed: fct_calls"]


def begun(spool: Path, verb: str, items: int) -> Path:
    """A run that has written its plan and sent three of its items; one of them was answered."""
    folder = spool / verb
    folder.mkdir(parents=True)
    plan = [Item(number, (), (), "batch", "{}") for number in range(items)]
    write_plan(folder, "20260902T083000123456-0a1b2c3d", plan)
    journal = Journal(folder)
    journal.sent(plan[:3])
    journal.answered([Answered(0, "acknowledged", None, "2026-09-02T08:31:00")])
    journal.close()
    return folder


def test_a_run_that_was_killed_is_a_problem_until_another_one_ended(tmp_path: Path) -> None:
    assert unfinished(tmp_path / "none") == []
    folder = begun(tmp_path, "send", 5)
    (killed,) = unfinished(tmp_path)
    started = datetime(2026, 9, 2, 8, 30, 0, 123456)
    assert killed == Unfinished("copymart send", started, False, 5, 1, 2)
    assert read(answering(FEEDS), None, NOW, None, [killed]).problems == [
        "copymart send of 2026-09-02 08:30 UTC did not end: 2 of 5 requests were in flight, and 1 answers "
        "are not in the ledger yet. Run it again, which begins with them"
    ]
    Journal(folder).written()
    assert [(run.unwritten, run.in_flight) for run in unfinished(tmp_path)] == [(0, 2)]
    forget(folder)
    assert unfinished(tmp_path) == []


def test_a_run_that_goes_on_is_no_problem_and_is_not_disturbed(tmp_path: Path) -> None:
    begun(tmp_path, "activate-winning-copy", 4)
    with locked(tmp_path):
        (running,) = unfinished(tmp_path)
    assert (running.command, running.is_running) == ("copymart activate winning-copy", True)
    found = read(answering(FEEDS), None, NOW, None, [running])
    assert (found.problems, found.sending) == ([], [running])
    with locked(tmp_path):
        assert unfinished(tmp_path)[0].is_running


def test_a_look_at_a_run_keeps_no_other_from_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path, "send"):
        pass
    looking, handle = Event(), os.open(tmp_path / ".lock", os.O_RDONLY)

    def look() -> None:
        fcntl.flock(handle, fcntl.LOCK_SH)
        looking.set()
        sleep(0.1)
        os.close(handle)

    with ThreadPoolExecutor(1) as other:
        other.submit(look)
        assert looking.wait(10)
        with locked(tmp_path, "send"):
            pass


def test_a_run_that_was_killed_does_not_go_on_because_another_one_does(tmp_path: Path) -> None:
    for name in ("activate-vip", "send"):
        begun(tmp_path, name, 4)
    with locked(tmp_path, "send"):
        found = unfinished(tmp_path)
    assert [(run.command, run.is_running) for run in found] == [
        ("copymart activate vip", False),
        ("copymart send", True),
    ]


def test_a_run_that_ends_while_it_is_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, "send", 4)
    really = spool.left_over

    def ended(given: Path) -> spool.Leftover | None:
        left = really(given)
        forget(folder)
        return left

    monkeypatch.setattr(spool, "left_over", ended)
    assert unfinished(tmp_path) == []


def test_a_run_that_begins_while_it_is_looked_at_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, lock = spool.left_over, locked(tmp_path, "send")
    begun(tmp_path, "send", 4)

    def began(given: Path) -> spool.Leftover | None:
        lock.__enter__()
        return really(given)

    monkeypatch.setattr(spool, "left_over", began)
    assert [run.is_running for run in unfinished(tmp_path)] == [True]
    lock.__exit__(None, None, None)


@pytest.mark.parametrize("name", ["plan.jsonl", "journal.jsonl"])
def test_a_spool_that_a_disk_has_spoiled_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    file = begun(tmp_path, "send", 4) / name
    file.write_bytes(b"\0\0\n" + file.read_bytes())
    with pytest.raises(UserError, match=rf"{name}, line 1 is not what a run writes there"):
        unfinished(tmp_path)


def test_a_spool_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "send").mkdir()
    (tmp_path / "send/plan.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*: only who sends may. Name another --spool"):
        unfinished(tmp_path)


def test_before_anything_landed_it_says_what_to_run() -> None:
    with pytest.raises(UserError, match="nothing has landed yet: run `copymart land` first"):
        read(answering([]), None, NOW, None)


def test_a_warehouse_of_seeds_says_what_comes_first() -> None:
    """Without the tables of landing, a build is not what is missing, nor before anything has landed."""

    def lacking(name: str) -> Any:
        def answer(query: str) -> Any:
            if name in query:
                raise NotBuilt("run `dbt build`")
            return pa.table({})

        return answer

    for name in ("landed_batches", "consumed_batches"):
        with pytest.raises(UserError, match="run `copymart land` first"):
            read(lacking(name), None, NOW, None)


@pytest.mark.parametrize("lacks", ["consumed_batches", "audit_match_rate"])
def test_before_the_first_build_it_shows_what_waits(lacks: str) -> None:
    """The sentence, which is a reason for exit status 1, hides nothing of what landed."""
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        connection.execute("create schema audit")
        if lacks != "consumed_batches":
            connection.execute("create table staging.consumed_batches (model varchar, batch_id varchar)")
        connection.execute(
            "insert into staging.landed_batches (batch_id, dataset, landed_at) values "
            "('1', 'justai_calls', timestamp '2026-09-02 10:00'), ('2', 'justai_calls', '2026-09-02 11:00')"
        )

        def answer(query: str) -> Any:
            try:
                return plain(connection.sql(query.format(staging="staging", audit="audit")).to_arrow_table())
            except duckdb.CatalogException as error:
                raise not_built(error) from error

        found = read(answer, None, NOW, None)
    assert [(feed.name, feed.pending) for feed in found.feeds] == [("justai_calls", 2)]
    (problem,) = found.problems
    assert "run `dbt build`" in problem and lacks in problem


def test_the_result_of_dbt_is_read_by_node(tmp_path: Path) -> None:
    results = tmp_path / "run_results.json"
    assert last_build(results) is None
    nodes = {
        "model.copymart.a": ("success", "OK"),
        "test.copymart.not_null_a_b.c1": ("fail", "Got 3 results"),
        "test.copymart.at_most_c.d2": ("warn", "Got 1 result"),
        "model.copymart.e": ("error", None),
        "model.copymart.f": ("skipped", None),
    }
    found = {
        "metadata": {"generated_at": "2026-09-02T08:30:00.123456Z"},
        "args": {"which": "build"},
        "results": [
            {"unique_id": name, "status": state, "message": message}
            for name, (state, message) in nodes.items()
        ],
    }
    results.write_text(json.dumps(found))
    build = last_build(results)
    assert build
    assert build.ended_at == datetime(2026, 9, 2, 8, 30, 0, 123456)
    assert build.nodes == {"success": 1, "fail": 1, "warn": 1, "error": 1, "skipped": 1}
    assert build.failed == {"not_null_a_b.c1": "Got 3 results", "e": ""}
    assert build.warned == {"at_most_c.d2": "Got 1 result"}


@pytest.mark.parametrize(
    ("command", "is_lost"), [("show", True), ("compile", True), ("build", False), ("test", False)]
)
def test_what_builds_nothing_is_not_shown_as_the_last_build(
    command: str, is_lost: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """dbt writes the result of `dbt show` over that of a build that may have failed."""
    last = Build(datetime(2026, 9, 2), command, {"success": 1}, {}, {})
    _show(read(answering(FEEDS), last, NOW, None))
    said = " ".join(capsys.readouterr().out.split())
    lost = f"dbt {command} wrote over the result of the last build"
    assert (lost in said) is is_lost
    assert (f"Last dbt {command}: 2026-09-02 00:00 UTC, 1 success" in said) is not is_lost


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"metadata": {}, "args": {}, "results": [1]}'])
def test_a_broken_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run_results.json").write_text(text)
    with pytest.raises(UserError, match=r"run_results.json is no result of dbt .*run dbt again"):
        last_build(tmp_path / "run_results.json")


def test_its_questions_are_snowflakes_too() -> None:
    layers = {"staging": "staging", "audit": "audit"}
    for query in (_FEEDS, _FEEDS_BEFORE_A_BUILD, _MATCHES):
        assert faults(query.format(**layers)) == []


def test_what_waits_for_a_build_is_counted(built: Built, tmp_path: Path) -> None:
    shutil.copy(built.warehouse, tmp_path / "warehouse.duckdb")
    environment = built.environment | {"COPYMART_DUCKDB": str(tmp_path / "warehouse.duckdb")}
    done = attempt(environment, "copymart", "status", "--json")
    assert done.status == 0, done.output
    found = json.loads(done.output)
    assert [(feed["name"], feed["pending"]) for feed in found["feeds"]] == [
        ("customerio_events", 0),
        ("justai_calls", 0),
        ("pipeline_calls", 0),
    ]
    assert found["sending"] == []
    with built.connect() as connection:
        ((calls,),) = connection.execute("select count(*) from staging.justai_calls").fetchall()
        query = "select sum(event_count), sum(event_count * match_rate) from audit.audit_match_rate"
        ((events, matched),) = connection.execute(f"{query} where is_expected").fetchall()
    assert found["feeds"][1]["rows"] == calls
    assert (found["expected_events"], found["matched_events"]) == (events, round(matched))
    assert found["build"]["command"] == "build" and found["build"]["failed"] == {}

    write(tmp_path / "late/2026/09/01/00/calls.jsonl", call())
    run(environment, "copymart", "land", "--calls", tmp_path / "late")
    begun(tmp_path / "spool", "send", 4)
    sending = ("--spool", tmp_path / "spool")
    told = attempt(environment, "copymart", "status", "--json", *sending)
    assert told.status == 1
    assert json.loads(told.output)["sending"] == [
        {
            "command": "copymart send",
            "started_at": "2026-09-02T08:30:00.123456",
            "is_running": False,
            "planned": 4,
            "unwritten": 1,
            "in_flight": 2,
        }
    ]
    shown = attempt(environment, "copymart", "status", "--max-age", "0", *sending)
    assert shown.status == 1
    assert "problem: copymart send of 2026-09-02 08:30 UTC did not end: 2 of 4 requests" in shown.output
    assert "problem: justai_calls: the last landing was 0.0 hours ago" in shown.output
    assert json.loads(attempt(environment, "copymart", "status", "--json").output)["feeds"][1]["pending"] == 1
