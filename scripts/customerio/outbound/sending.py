"""Sending a plan: batches, what is in flight, answers, journal and ledger."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from threading import local
from typing import Protocol

from scripts.customerio.outbound.outcomes import ACKNOWLEDGED, REFUSED, Refusal, Refused
from scripts.customerio.outbound.pace import Pace
from scripts.customerio.outbound.sizes import MOST_BYTES
from scripts.customerio.outbound.spool import (
    BARRIER,
    CHANGE,
    EVENT,
    METRICS,
    Answered,
    Item,
    Journal,
    reasons,
)
from scripts.errors import UserError

# a comma before each item but the first
_AROUND = len('{"batch":[]}') - 1
# So many items are read ahead, and so many that must wait are passed over for the sake of others.
_LOOK_AHEAD, _PASSED_OVER = 20_000, 5_000
_WORKERS = 8
_ITEMS_TO_LEDGER, _SECONDS_TO_LEDGER = 10_000, 10.0
# Answers that may wait for a ledger that cannot be written: 2 kB of memory each, in the next run too.
_MOST_WAITING = 100_000
# A request that is refused as a whole is cut in halves, to find the item. So many in a row are no bad items.
_REFUSED_IN_A_ROW = 50
# What must not stand before an item of the same key in one batch, or be left behind by it.
_CONFLICTS = {EVENT: CHANGE | BARRIER, CHANGE: EVENT | CHANGE | BARRIER, BARRIER: EVENT | CHANGE | BARRIER}


class Sender(Protocol):
    """What sends requests: see Track."""

    def batch(self, texts: list[str]) -> dict[int, Refusal]:
        """Send items; return those that are refused, by their place."""

    def metric(self, text: str) -> dict[int, Refusal]:
        """Report a delivery event."""


Write = Callable[[list[tuple[Item, Answered]]], None]
_Answers = tuple[list[Answered], Exception | None]


@dataclass
class Totals:
    """What came of a run. `unwritten`: answers that only the journal has, and why."""

    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    unwritten: str | None = None


class Window:
    """The items that may be sent next, in their order."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._batch: deque[Item] = deque()
        self._metrics: deque[Item] = deque()
        self._turn = False
        # nothing more can be taken until something is released or read
        self._all_wait = False
        self.busy: set[str] = set()

    def _fill(self) -> None:
        lacking = _LOOK_AHEAD - len(self._batch) - len(self._metrics)
        # not one by one: whatever is read has those before it looked at again
        if lacking < _LOOK_AHEAD // 10:
            return
        for item in islice(self._items, lacking):
            (self._metrics if item.endpoint == METRICS else self._batch).append(item)
            self._all_wait = False

    def take(self) -> list[Item]:
        """The items of the next request, whose keys are busy until `release`; none if all must wait."""
        self._fill()
        # each kind in turn, so that many delivery events hold up no people
        self._turn = not self._turn
        if self._metrics and (self._turn or not self._batch):
            return [self._metrics.popleft()]
        if chosen := self._take_batch():
            self.busy.update(key for item in chosen for key, _ in item.keys)
            return chosen
        return [self._metrics.popleft()] if self._metrics else []

    def _take_batch(self) -> list[Item]:
        chosen: list[Item] = []
        left: list[Item] = []
        before: dict[str, int] = {}
        size = _AROUND
        while self._batch and not self._all_wait and len(left) < _PASSED_OVER:
            item = self._batch.popleft()
            waits = any(key in self.busy or before.get(key, 0) & _CONFLICTS[role] for key, role in item.keys)
            if not waits:
                size += len(item.text.encode()) + 1
                if size > MOST_BYTES and chosen:
                    self._batch.extendleft(reversed([*left, item]))
                    return chosen
                chosen.append(item)
            else:
                left.append(item)
            for key, role in item.keys:
                before[key] = before.get(key, 0) | role
        self._batch.extendleft(reversed(left))
        self._all_wait = True
        return chosen

    def release(self, items: Iterable[Item]) -> None:
        """Let others of these keys be sent."""
        self._all_wait = False
        self.busy.difference_update(key for item in items for key, _ in item.keys)


def send_all(
    items: Iterable[Item],
    open_sender: Callable[[], Sender],
    pace: Pace,
    journal: Journal,
    write: Write,
    advance: Callable[[int], None] = lambda _count: None,
) -> Totals:
    """Send items in order: of one key never two requests at once, nor two in a batch unless both are events.

    `write` brings answers into the ledger; what it cannot write stays in the journal.

    Raises:
        UserError: Customer.io takes nothing. What it acknowledged before is in the journal and, if it can be
            written, in the ledger.
    """
    run = _Run(Window(items), open_sender, pace, journal, write, advance)
    with ThreadPoolExecutor(_WORKERS, "send") as workers:
        try:
            run.go(workers)
        finally:
            pace.stop.set()
            run.settle()
    run.totals.requests = pace.requests
    return run.totals


class _Run:
    def __init__(
        self,
        window: Window,
        open_sender: Callable[[], Sender],
        pace: Pace,
        journal: Journal,
        write: Write,
        advance: Callable[[int], None],
    ) -> None:
        self.window, self.pace, self.journal = window, pace, journal
        self.write, self.advance, self.open_sender = write, advance, open_sender
        self.totals = Totals()
        self.flying: dict[Future[_Answers], list[Item]] = {}
        self.waiting: list[tuple[Item, Answered]] = []
        self.written_at = time.monotonic()
        self.senders = local()
        self.in_a_row = 0

    def go(self, workers: ThreadPoolExecutor) -> None:
        while True:
            for chosen in self._taken():
                self.flying[workers.submit(self._deliver, chosen)] = chosen
            if not self.flying:
                return
            done, _ = wait(self.flying, return_when=FIRST_COMPLETED)
            self._take_in(done)

    def _taken(self) -> list[list[Item]]:
        """What is sent next, noted on the disk, where the answers so far are now too."""
        taken: list[list[Item]] = []
        while len(self.flying) + len(taken) < _WORKERS and (chosen := self.window.take()):
            self.journal.sent(chosen)
            taken.append(chosen)
        # before it is sent: after a loss of power nobody would know of it
        self.journal.sync()
        return taken

    def settle(self) -> None:
        """Note what still comes back, and bring all answers into the ledger, noted or not."""
        done, _ = wait(self.flying)
        try:
            self._note(done)
            if done:
                self.journal.sync()
        finally:
            self._write()

    def _note(self, done: Iterable[Future[_Answers]]) -> BaseException | None:
        """Take in what came back; return what ended one of the requests."""
        failed: BaseException | None = None
        noted: list[list[Answered]] = []
        for future in done:
            if (error := future.exception()) is not None:
                failed = failed or error
                continue
            chosen = self.flying.pop(future)
            answers, broken_off = future.result()
            failed = failed or broken_off
            noted.append(answers)
            if not broken_off:
                self.window.release(chosen)
            of_number = {item.number: item for item in chosen}
            self.waiting.extend((of_number[answer.number], answer) for answer in answers)
            refused = list(reasons(answers))
            self.totals.refused.update(refused)
            self.totals.acknowledged += len(answers) - len(refused)
            self.advance(len(answers))
        for answers in noted:
            self.journal.answered(answers)
        return failed

    def _take_in(self, done: Iterable[Future[_Answers]]) -> None:
        if failed := self._note(done):
            raise failed
        due = time.monotonic() - self.written_at >= _SECONDS_TO_LEDGER
        # a ledger that could not be written is tried again after these seconds, not after each answer
        if due or (len(self.waiting) >= _ITEMS_TO_LEDGER and not self.totals.unwritten):
            self._write()
        if self.totals.unwritten and len(self.waiting) >= _MOST_WAITING:
            raise UserError(
                f"{self.totals.unwritten}. {len(self.waiting):,} answers wait for the ledger in the journal, "
                "so nothing more is sent until it can be written: run the command again then, which writes "
                "them first"
            )

    def _write(self) -> None:
        if not self.waiting:
            return
        self.written_at = time.monotonic()
        try:
            self.write(self.waiting)
        except UserError as error:
            # such as a DuckDB file that a build has open: the journal keeps it
            self.totals.unwritten = str(error)
            return
        self.totals.unwritten = None
        self.journal.written()
        self.waiting = []

    def _deliver(self, chosen: list[Item]) -> _Answers:
        """In a thread: send one request, and return what came of its items.

        Where it is cut in halves and one of them ends the run, what was acknowledged of the others counts.
        Refusals do not: where everything is refused, they are of no item.
        """
        answers: list[Answered] = []
        try:
            self._ask(chosen, answers)
        except Exception as error:
            acknowledged = [answer for answer in answers if answer.status == ACKNOWLEDGED]
            if not acknowledged:
                raise
            return acknowledged, error
        return answers, None

    def _ask(self, chosen: list[Item], answers: list[Answered]) -> None:
        sender, texts = self._sender(), [item.text for item in chosen]
        metrics = chosen[0].endpoint == METRICS

        def send() -> dict[int, Refusal]:
            return sender.metric(texts[0]) if metrics else sender.batch(texts)

        try:
            refused = self.pace.sent(send)
        except Refused as error:
            self._ask_in_halves(chosen, error.refusal, answers)
            return
        self.in_a_row = 0
        self._answer(chosen, refused, answers)

    def _answer(self, chosen: list[Item], refused: dict[int, Refusal], answers: list[Answered]) -> None:
        at = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
        answers.extend(
            Answered(item.number, REFUSED, str(refused[place]), at)
            if place in refused
            else Answered(item.number, ACKNOWLEDGED, None, at)
            for place, item in enumerate(chosen)
        )

    def _ask_in_halves(self, chosen: list[Item], refusal: Refusal, answers: list[Answered]) -> None:
        """Find the refused items of a request that is refused without saying which they are."""
        if len(chosen) == 1:
            self.in_a_row += 1
            if self.in_a_row >= _REFUSED_IN_A_ROW:
                raise UserError(
                    f"Customer.io refuses everything ({refusal.reason}), {self.in_a_row} requests in a row: "
                    "nothing more is sent. `copymart send --dry-run` shows samples of what is sent"
                )
            self._answer(chosen, {0: refusal}, answers)
            return
        middle = len(chosen) // 2
        self._ask(chosen[:middle], answers)
        self._ask(chosen[middle:], answers)

    def _sender(self) -> Sender:
        if not hasattr(self.senders, "own"):
            self.senders.own = self.open_sender()
        return self.senders.own
