"""Folders for files on their way: held ones stay, those of killed runs go, also where there are no locks."""

import errno
import fcntl
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from scripts.staging import staging_folder
from support.project import PROJECT


def _hold(parent: Path) -> None:
    with staging_folder(parent) as folder:
        (folder / "rows.parquet").write_text("somebody")
        (parent / "begun").touch()
        time.sleep(60)


def test_what_a_killed_run_left_goes_and_what_a_running_one_holds_stays(tmp_path: Path) -> None:
    run = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path,))
    run.start()
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with staging_folder(tmp_path):
            (rows,) = tmp_path.rglob("rows.parquet")
    finally:
        os.kill(run.pid or 0, signal.SIGKILL)
        run.join()
    assert rows.exists()
    with staging_folder(tmp_path) as folder:
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_a_pipe_with_the_name_of_a_folder_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".staging-copymart-x")
    with staging_folder(tmp_path) as folder:
        assert folder.is_dir()


@pytest.mark.parametrize("missing", ["fcntl", "locks"])
def test_without_locks_no_run_deletes_the_folder_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Windows has no fcntl, and a network disk may lock no folder: every command works there."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    if missing == "fcntl":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    with staging_folder(tmp_path) as others:
        with staging_folder(tmp_path) as own:
            assert own != others
        assert others.is_dir() and not own.exists()
    assert not list(tmp_path.iterdir())


def test_it_lies_among_temporary_files_and_only_its_owner_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with staging_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700


def test_commands_make_no_temporary_folder_that_nobody_sweeps() -> None:
    """Only what works on logs of its own may: `make verify-snowflake` and what measures."""
    made = {
        path.relative_to(PROJECT / "scripts").as_posix()
        for path in (PROJECT / "scripts").rglob("*.py")
        if "TemporaryDirectory(" in path.read_text(encoding="utf-8")
    }
    assert made == {"snowflake/verify.py", "dev/bench/sending.py"}
