"""Runs a command and measures what it costs: time, processor, memory, temporary disk."""

import os
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic

from scripts.errors import UserError

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Cost:
    """What one run took. `work` is the part that counts: the sum of dbt's nodes or of the script's steps."""

    work: float
    wall: float
    processor: float
    memory: int
    temporary: int


@dataclass
class Peak:
    """The greatest memory and temporary disk seen so far, in bytes."""

    memory: int = 0
    temporary: int = 0


def measured(command: list[str], environment: dict[str, str], database: Path) -> tuple[Cost, str]:
    """Run the command and return its cost, `work` being its wall time, and what it printed.

    Raises:
        UserError: the command failed; the text ends with its last lines.
    """
    spill = database.with_name(database.name + ".tmp")
    done = threading.Event()
    peak = Peak()
    began = monotonic()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watcher = threading.Thread(target=_watch, args=(process.pid, spill, done, peak), daemon=True)
    watcher.start()
    assert process.stdout is not None
    output = process.stdout.read()
    # wait4, because getrusage() gives only the greatest of all children
    _, status, usage = os.wait4(process.pid, 0)
    wall = monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    if process.returncode:
        tail = "\n".join(output.splitlines()[-25:])
        raise UserError(f"{' '.join(command)} failed with status {process.returncode}:\n{tail}")
    memory = peak.memory or usage.ru_maxrss * 1024
    return Cost(wall, wall, usage.ru_utime + usage.ru_stime, memory, peak.temporary), output


def _watch(process_id: int, folder: Path, done: threading.Event, peak: Peak) -> None:
    while not done.wait(_POLL_SECONDS):
        peak.temporary = max(peak.temporary, _size(folder))
        peak.memory = max(peak.memory, _memory(process_id))


def _memory(process_id: int) -> int:
    """The most memory a process has held so far; 0 where there is no /proc.

    ru_maxrss of a child starts with what this process held at the fork, so it is only the second choice.
    """
    try:
        text = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    match = re.search(r"^VmHWM:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _size(folder: Path) -> int:
    total = 0
    try:
        for entry in os.scandir(folder):
            total += entry.stat().st_size
    except FileNotFoundError:
        # DuckDB may remove its files and folder during the count
        pass
    return total


def middle(costs: list[Cost]) -> Cost:
    """The median of times; the greatest memory and temporary disk."""
    return Cost(
        median(cost.work for cost in costs),
        median(cost.wall for cost in costs),
        median(cost.processor for cost in costs),
        max(cost.memory for cost in costs),
        max(cost.temporary for cost in costs),
    )
