"""A plan on this machine's disk, and the journal of what came of it.

The plan is a file with a line for each item, in the order of sending. The journal says which items were sent,
which were acknowledged and refused, and which of these the ledger in the warehouse has. After a kill at any
moment, plan and journal together say what the ledger lacks, and what was sent without an answer.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.customerio.outbound.outcomes import REFUSED
from scripts.errors import UserError

EVENT, CHANGE, BARRIER = 1, 2, 4
"""What an item does to one of its keys, a person or an object. Events, and relationships to an object, do
not depend on each other: many may stand in a batch, and an old one may follow a new change, but not a new
barrier: after a deletion or a merge it would make the person or object again."""

BATCH, METRICS = "batch", "metrics"
RUN_TIME = "%Y%m%dT%H%M%S%f"
"""How the id of a run begins: the time in UTC."""
_PLAN, _JOURNAL, _LOCK = "plan.jsonl", "journal.jsonl", ".lock"


@dataclass(frozen=True, slots=True)
class Item:
    """A request. `record`: what the ledger keeps of it. `keys`: the people and objects that it is about, each
    with what it does to them. `number`: its place in the plan.
    """

    number: int
    record: tuple[str | bool | None, ...]
    keys: tuple[tuple[str, int], ...]
    endpoint: str
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of an item, with the time as ISO text."""

    number: int
    status: str
    reason: str | None
    at: str


@dataclass
class Leftover:
    """A run that did not end: what the ledger may lack, and the items that were sent without an answer.

    `source`: the warehouse of that ledger, empty where the plan does not say.
    """

    run_id: str
    source: str = ""
    answers: list[Answered] = field(default_factory=list)
    in_flight: set[int] = field(default_factory=set)

    @property
    def unanswered(self) -> int:
        """How many items were sent without an answer."""
        return len(self.in_flight)


@dataclass(frozen=True)
class Unfinished:
    """A run that has begun and not ended; `is_running`: it goes on, otherwise it was killed.

    `command` as it is called, `started_at` in UTC. Of `planned` items, `unwritten` have an answer that the
    ledger lacks and `in_flight` were sent without one.
    """

    command: str
    started_at: datetime
    is_running: bool
    planned: int
    unwritten: int
    in_flight: int


@contextmanager
def locked(folder: Path, holder: str = "") -> Iterator[None]:
    """Hold a folder of this machine for one run; `holder` names the run's own folder in it.

    Raises:
        UserError: another run holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): name another --spool") from error
    try:
        _take(handle)
        os.ftruncate(handle, 0)
        os.write(handle, holder.encode())
        yield
    except BlockingIOError as error:
        raise UserError(
            f"another run sends from {folder}: two at once would not keep the order of one person's "
            "requests. Wait until it has ended"
        ) from error
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    """Take the lock, also in the moment in which `copymart status` looks whether a run has it."""
    # imported here because Windows has none, and all other commands work there
    import fcntl

    for tries_left in reversed(range(10)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not tries_left:
                raise
            time.sleep(0.05)


def write_plan(folder: Path, run_id: str, items: Iterable[Item], source: str = "") -> int:
    """Write the items of a run; return how many there are. Only a whole plan is one.

    `source`: the warehouse that they come from, whose ledger the answers belong to.

    Raises:
        UserError: the disk takes no more.
    """
    count = 0
    beside = folder / f"{_PLAN}.new"
    try:
        with _writing(folder), _private(beside) as file:
            file.write(json.dumps({"run_id": run_id, "source": source}) + "\n")
            for item in items:
                count += 1
                line = [item.record, item.keys, item.endpoint, item.text]
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
            (folder / _JOURNAL).unlink(missing_ok=True)
            beside.rename(folder / _PLAN)
            _sync_folder(folder)
    finally:
        # what a run could not plan to its end names people too
        beside.unlink(missing_ok=True)
    return count


def read_plan(folder: Path) -> Iterator[Item]:
    """Yield the items of the plan in its order."""
    with (folder / _PLAN).open(encoding="utf-8") as file:
        next(file)
        for number, line in enumerate(file):
            record, keys, endpoint, text = json.loads(line)
            yield Item(number, tuple(record), tuple((key, role) for key, role in keys), endpoint, text)


def left_over(folder: Path) -> Leftover | None:
    """What a run that was killed left behind; None where the last one ended.

    Raises:
        UserError: a line is not what a run wrote.
    """
    plan = folder / _PLAN
    if not plan.exists():
        return None
    with plan.open(encoding="utf-8") as file:
        head = _read_line(plan, 1, next(file, ""))
    found = Leftover(head["run_id"], head.get("source", ""))
    sent = found.in_flight
    for kind, given in _journal_lines(folder):
        if kind == "sent":
            sent.update(given)
        elif kind == "written":
            # the ledger has all before
            found.answers.clear()
        else:
            answers = [Answered(*answer) for answer in given]
            found.answers.extend(answers)
            sent.difference_update(answer.number for answer in answers)
    return found


def unfinished(spool: Path) -> list[Unfinished]:
    """The runs in a spool that have not ended, one of them perhaps still running.

    Raises:
        UserError: the spool cannot be read.
    """
    found: dict[str, tuple[Leftover, int]] = {}
    try:
        # a run may begin or end while this reads
        holders = {_holder(spool)}
        for folder in sorted(path.parent for path in spool.glob(f"*/{_PLAN}")):
            with suppress(FileNotFoundError):
                if (left := left_over(folder)) is not None:
                    with (folder / _PLAN).open(encoding="utf-8") as file:
                        found[folder.name] = left, sum(1 for _ in file) - 1
        holders.add(_holder(spool))
    except OSError as error:
        raise UserError(
            f"cannot read {spool} ({error.strerror}): only who sends may. Name another --spool"
        ) from error
    return [
        Unfinished(
            f"copymart {name.replace('-', ' ', 1)}",
            datetime.strptime(left.run_id.partition("-")[0], RUN_TIME),
            bool({name, ""} & holders),
            *(planned, len(left.answers), left.unanswered),
        )
        for name, (left, planned) in found.items()
    ]


def _holder(spool: Path) -> str | None:
    """The name of the run that holds the spool, empty where it gives none; None if no run does.

    Nobody is kept from it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(spool / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(handle, 1_000).decode()
    finally:
        os.close(handle)
    return None


def _journal_lines(folder: Path) -> Iterator[tuple[str, Any]]:
    try:
        file = (folder / _JOURNAL).open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            # the last line of a killed run may be cut off: nothing in it counted as written; a run that goes
            # on may be writing it
            if not line.endswith(b"\n"):
                return
            kind, given = _read_line(folder / _JOURNAL, number, line)
            yield kind, given


def _read_line(path: Path, number: int, line: str | bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UserError(
            f"{path}, line {number} is not what a run writes there, such as after a fault of the disk: "
            "remove that line if it is the journal's, or else move the folder away. What is lost with it is "
            "sent again"
        ) from error


def forget(folder: Path) -> None:
    """Remove the plan and the journal of a run that ended."""
    for name in (_PLAN, _JOURNAL, f"{_PLAN}.new"):
        (folder / name).unlink(missing_ok=True)


class Journal:
    """The journal of the plan in a folder. Its methods raise UserError where the disk takes no more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _writing(folder):
            self._file = _private(folder / _JOURNAL, "a")
            _sync_folder(folder)

    def sent(self, items: Iterable[Item]) -> None:
        """Note what is about to be sent; `sync` brings it to the disk."""
        self._note("sent", [item.number for item in items])

    def answered(self, answers: Iterable[Answered]) -> None:
        """Note answers; `sync` brings them to the disk."""
        self._note("answered", [(each.number, each.status, each.reason, each.at) for each in answers])

    def written(self) -> None:
        """Note that the ledger has every answer so far."""
        self._note("written", None)

    def _note(self, kind: str, given: Any) -> None:
        with _writing(self._folder):
            self._file.write(json.dumps([kind, given], ensure_ascii=False, separators=(",", ":")) + "\n")
            self._file.flush()

    def sync(self) -> None:
        """Wait for the disk."""
        with _writing(self._folder):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        # what a full disk did not take was said when it was noted
        with suppress(OSError):
            self._file.close()


def reasons(answers: Iterable[Answered]) -> Iterator[str]:
    """The reasons of refusals, without the messages, which may hold what was sent."""
    return ((answer.reason or "").partition(":")[0] for answer in answers if answer.status == REFUSED)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}): make room there, and run the command "
            "again, which begins with what it has noted"
        ) from error


def _private(path: Path, mode: str = "w") -> Any:
    """Open a file that only its owner may read: it holds what is sent about people."""
    return open(path, mode, encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
