"""Landings that are killed or fail leave whole files, and the next run completes them."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.land import (
    HOURS,
    call,
    hourly,
    land_path,
    state,
    warehouse,
    write,
)
from support.project import BIN, PROJECT

LANDING_PROGRAM = """
import sys
import scripts.land.chunks, scripts.land.records, scripts.land.transaction
from support.land import land_path, warehouse
scripts.land.records.PIECE_BYTES, scripts.land.chunks.CHUNK_BYTES = 50_000, 100_000
scripts.land.chunks.TRANSACTION_BYTES = 200_000
check = scripts.land.transaction.Batch._check
def tell(*arguments):
    print(flush=True)
    check(*arguments)
scripts.land.transaction.Batch._check = tell
land_path(warehouse(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.integration
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
    monkeypatch.setattr("scripts.land.chunks.CHUNK_BYTES", 2_000)
    monkeypatch.setattr("scripts.land.chunks.TRANSACTION_BYTES", 2_000)
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    write(paths[0], *(call(user_id=f"v1-{n}") for n in range(20)))
    land_path(connection, paths[0])
    write(paths[0], call(user_id="v2"))
    commit = "scripts.land.transaction.Batch.commit"
    calls: list[Any] = []

    def fail_the_second(batch: Any, outcome: Any) -> None:
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(batch, outcome)

    from scripts.land.transaction import Batch

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
