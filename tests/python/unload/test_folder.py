"""A folder as the place: locks, drafts, and runs that were killed."""

import errno
import fcntl
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts import staging
from scripts.errors import UserError
from support.unload import CALLS, Warehouse
from support.warm import Running, start


def test_staging_may_lie_on_another_disk(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    move = os.replace

    def other_disk(source: Any, target: Any) -> None:
        if str(source).startswith(str(filled.folder / "elsewhere")):
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        move(source, target)

    monkeypatch.setattr(os, "replace", other_disk)
    filled.unload("calls", staging=filled.folder / "elsewhere")
    assert filled.rows("calls") == sorted((row[:9] for row in CALLS), key=str)
    assert not list(filled.out.glob(".staging-*"))
    assert not list((filled.folder / "elsewhere").iterdir())


def test_leftovers_of_killed_runs_are_swept(filled: Warehouse) -> None:
    leftover = filled.out / ".staging-dead/2026/01/01/12"
    leftover.mkdir(parents=True)
    (leftover / "data_0.parquet").write_text("half a file")
    filled.unload("calls")
    assert not list(filled.out.glob(".staging-*"))


def test_the_files_of_a_running_unload_to_another_place_are_left(filled: Warehouse) -> None:
    """Its --staging may be this folder."""
    with staging.staging_folder(filled.out) as others:
        (others / "half.parquet").write_text("half a file")
        filled.unload("calls")
        assert (others / "half.parquet").read_text() == "half a file"
    assert not list(filled.out.glob(".staging-*"))


def test_two_runs_cannot_write_one_folder(filled: Warehouse) -> None:
    filled.out.mkdir()
    handle = os.open(filled.out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another unload"):
        filled.unload("calls")
    os.close(handle)
    filled.unload("calls")


def test_a_folder_that_another_run_sweeps_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sweeps what nobody holds, and may come between the making of a folder and the holding of it."""
    make, hold = tempfile.mkdtemp, staging._held
    made: list[Path] = []
    handles: list[Any] = []

    def made_and_swept(**options: Any) -> str:
        made.append(Path(make(**options)))
        if len(made) == 1:
            made[0].rmdir()
        if len(made) == 2:
            # the other run holds it while it sweeps
            handles.append(hold(made[1]))
            handles[0].__enter__()
        return str(made[-1])

    @contextmanager
    def held_too_late(folder: Path) -> Iterator[None]:
        with hold(folder):
            if len(made) == 3:
                folder.rmdir()
            yield

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_swept)
    monkeypatch.setattr(staging, "_held", held_too_late)
    with staging.staging_folder(tmp_path) as folder:
        assert folder == made[3] and folder.is_dir()
        with pytest.raises(BlockingIOError), hold(folder):
            pass
    handles[0].__exit__(None, None, None)
    assert not folder.exists()


def test_a_manifest_is_on_disk_before_it_takes_its_name(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    named: list[tuple[str, bool]] = []
    move, sync = os.replace, os.fsync

    def noted(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    def moved(source: Any, target: Any) -> None:
        named.append((Path(target).suffix, os.stat(source).st_ino in synced))
        move(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", moved)
    filled.unload("calls")
    assert sorted(named) == [(".json", True)] * 2 + [(".parquet", False)] * 4


def start_unload(warehouse: Warehouse, to: Path) -> Running:
    """Start copymart unload and return once it has begun to write."""
    options = ("--dataset", "calls", "--to", str(to), "--project-dir", str(warehouse.folder))
    log = warehouse.folder / f"log-{time.monotonic_ns()}"
    run = start(log, dict(os.environ), "unload", *options, "--profiles-dir", str(warehouse.folder))
    deadline = time.monotonic() + 60
    while run.process.is_alive() and not list(to.glob(".staging-*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return run


@pytest.mark.integration
def test_a_killed_run_leaves_whole_files_and_the_next_completes_it(warehouse: Warehouse) -> None:
    warehouse.execute(
        "insert into marts.fct_calls select 1767225600 + (i * 7919) % (400 * 3600), 'u' || i, 7, 41, "
        "'0-' || i, 'c', 't', '{}', '{}', 'h1' from range(40000) as numbers(i)"
    )
    warehouse.unload("calls")
    undisturbed = start_unload(warehouse, warehouse.folder / "elsewhere")
    began = time.monotonic()
    assert undisturbed.done().status == 0
    longest = 0.9 * (time.monotonic() - began)
    chance = random.Random(5)
    killed = 0
    for version in range(1, 21):
        warehouse.execute(
            f"update marts.fct_calls set journey_id = '{version}-' || split_part(journey_id, '-', 2)"
        )
        run = start_unload(warehouse, warehouse.out)
        time.sleep(chance.uniform(0, longest))
        run.process.kill()
        status = run.done().status
        assert status in (0, -9)
        if status == -9:
            killed += 1
        else:
            # the machine has become faster than it was for the undisturbed run
            longest /= 2
        files = warehouse.files("calls")
        assert len(files) == 400
        assert sum(map(len, files.values())) == 40000
        for rows in files.values():
            # an hour is of one run, never of two
            assert len({str(row["journey_id"]).partition("-")[0] for row in rows}) == 1
        if killed == 4:
            break
    assert killed == 4
    warehouse.unload("calls")
    assert not list(warehouse.out.glob(".staging-*"))
    with duckdb.connect(str(warehouse.file)) as connection:
        expected = connection.execute("select * exclude (content_hash) from marts.fct_calls").fetchall()
    assert warehouse.rows("calls") == sorted(expected, key=str)
    assert warehouse.manifest("calls")["rows"] == 40000
