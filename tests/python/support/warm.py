"""copymart and dbt in processes of their own that are forked from one which has imported everything.

A fresh Python needs two seconds for the imports, which is too long for a test that kills a run at each of its
requests, and a third of what an incremental build takes. A forked process runs the same entry point with the
same arguments, and can be killed as well.
"""

import gc
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from unittest.mock import patch

# what `copymart` imports late, because --help does not need it
import dbt.adapters.duckdb
import dbt.cli.main
import dbt.config.runtime
from dbt.adapters.duckdb.connections import DuckDBConnectionManager

import scripts.customerio.entities  # noqa: F401
from scripts import cli

# multiprocessing looks after all its processes when one is started, which two threads must not do at once.
_lock = threading.Lock()
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.warm", "support.parsed"])


@dataclass(frozen=True)
class Done:
    """A run that ended: its exit status, -9 when it was killed, and what it printed."""

    status: int
    output: str

    @property
    def errors(self) -> list[str]:
        """The lines in which the program says what went wrong."""
        return re.findall(r"^error: .*$", self.output, re.MULTILINE)


class Running:
    """A run on its way."""

    def __init__(self, process: Any, log: Path) -> None:
        self.process, self.log = process, log

    def kill(self) -> None:
        """End it with -9."""
        os.kill(self.process.pid, signal.SIGKILL)

    def done(self) -> Done:
        """Wait for its end."""
        wait([self.process.sentinel])
        with _lock:
            self.process.join()
            return Done(self.process.exitcode, self.log.read_text())


def ended(runs: Sequence[Running], count: int) -> list[Running]:
    """Wait until so many runs have ended, and return those."""
    sentinels = {run.process.sentinel: run for run in runs}
    done: list[Running] = []
    while len(done) < count:
        done += [sentinels.pop(sentinel) for sentinel in wait(list(sentinels))]
    return done


def start(
    log: Path,
    environment: dict[str, str],
    *arguments: str,
    program: str = "copymart",
    folder: Path | None = None,
    largest_file: int | None = None,
) -> Running:
    """Run `copymart` or `dbt` with these arguments; what it prints goes to the log.

    `folder`: where it runs. `largest_file`: writing more bytes into one file fails, as on a full disk.
    """
    process = _context.Process(
        target=_main, args=(str(log), environment, program, arguments, folder, largest_file)
    )
    # at its first use the fork server inherits it, and finds this module
    with _lock, patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1])):
        process.start()
    return Running(process, log)


def _main(
    log: str,
    environment: dict[str, str],
    program: str,
    arguments: tuple[str, ...],
    folder: Path | None,
    largest_file: int | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = [program, *arguments]
    if program == "dbt":
        # a process that ends soon need not look for what it could free
        gc.disable()
    try:
        {"copymart": cli.main, "dbt": dbt.cli.main.cli}[program]()
    finally:
        # what atexit does for dbt, but not in a forked process: writes would stay in the .wal beside the file
        DuckDBConnectionManager.close_all_connections()
