"""Requests go out in the order of each person, and what came of them is known after any end."""

import errno
import json
import os
import random
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.customerio.outbound import sending, spool
from scripts.customerio.outbound.outcomes import Again, Refusal, Refused
from scripts.customerio.outbound.pace import Pace
from scripts.customerio.outbound.sending import Totals, Window, send_all
from scripts.customerio.outbound.sizes import MOST_BYTES
from scripts.customerio.outbound.spool import (
    BARRIER,
    BATCH,
    CHANGE,
    EVENT,
    METRICS,
    Answered,
    Item,
    Journal,
    left_over,
    read_plan,
    write_plan,
)
from scripts.errors import UserError


def item(number: int, *keys: str, role: int = CHANGE, endpoint: str = BATCH, size: int = 2) -> Item:
    both = tuple((key, role) for key in keys)
    return Item(number, (f"r{number}",), both, endpoint, json.dumps("x" * (size - 2)))


class Fake:
    """A sender that keeps what it is sent, and answers as the test says."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answers: list[Any] = []
        self.lock = threading.Lock()

    def batch(self, texts: list[str]) -> dict[int, Refusal]:
        with self.lock:
            self.batches.append(texts)
            answer = self.answers.pop(0) if self.answers else {}
        if callable(answer):
            answer = answer(texts)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def metric(self, text: str) -> dict[int, Refusal]:
        return self.batch([text])


def sent(
    folder: Path, items: list[Item], fake: Fake, failing: bool = False
) -> tuple[Totals, list[tuple[Item, Answered]]]:
    written: list[tuple[Item, Answered]] = []

    def write(answers: list[tuple[Item, Answered]]) -> None:
        if failing:
            raise UserError("locked")
        written.extend(answers)

    write_plan(folder, "run", items)
    pace = Pace(10_000, backoff=0.001)
    totals = send_all(read_plan(folder), lambda: fake, pace, Journal(folder), write)
    return totals, written


def taken(window: Window) -> Iterator[list[int]]:
    """The numbers of the items of each request, without anything coming back."""
    while chosen := window.take():
        yield [each.number for each in chosen]


def test_a_person_stands_in_a_batch_once_and_waits_for_its_answer() -> None:
    items = [item(1, "a"), item(2, "b"), item(3, "a"), item(4, "c"), item(5, "b"), item(6, "a")]
    window = Window(items)
    assert list(taken(window)) == [[1, 2, 4]]
    window.release([items[0]])
    assert list(taken(window)) == [[3]]
    window.release([items[1]])
    assert list(taken(window)) == [[5]]
    window.release([items[2]])
    assert list(taken(window)) == [[6]]


def test_events_stand_beside_each_other_and_pass_nothing_of_their_person() -> None:
    items = [
        *(item(1, "a", role=EVENT), item(2, "a", role=EVENT), item(3, "a"), item(4, "a", role=EVENT)),
        *(item(5, "a", role=BARRIER), item(6, "a", role=EVENT), item(7, "b", role=EVENT)),
    ]
    window = Window(items)
    for numbers in ([1, 2, 7], [3], [4], [5], [6]):
        assert list(taken(window)) == [numbers]
        window.release([each for each in items if each.number in numbers])


def test_one_request_may_have_two_keys() -> None:
    items = [item(1, "a", "object"), item(2, "b", "object"), item(3, "b"), item(4, "c")]
    window = Window(items)
    assert list(taken(window)) == [[1, 4]]
    window.release(items[:1])
    assert list(taken(window)) == [[2]]


def test_relationships_to_an_object_stand_beside_each_other_and_not_beside_its_attributes() -> None:
    def relates(number: int, who: str) -> Item:
        return replace(item(number), keys=((who, CHANGE), ("object", EVENT)))

    items = [relates(1, "a"), relates(2, "b"), item(3, "c", "object"), relates(4, "d")]
    window = Window(items)
    for numbers in ([1, 2], [3], [4]):
        assert list(taken(window)) == [numbers]
        window.release([each for each in items if each.number in numbers])


KEYED = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abc"), max_size=2, unique=True), st.sampled_from([EVENT, CHANGE, BARRIER])
    ),
    max_size=40,
)


@given(made=KEYED, seed=st.integers(0, 1_000), ahead=st.integers(1, 12), passed_over=st.integers(1, 6))
def test_every_item_is_taken_once_and_after_those_that_it_depends_on(
    made: list[tuple[list[str], int]], seed: int, ahead: int, passed_over: int
) -> None:
    chance = random.Random(seed)
    items = [
        replace(item(number, *keys, role=role), endpoint=METRICS if not keys and role == EVENT else BATCH)
        for number, (keys, role) in enumerate(made)
    ]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sending, "_LOOK_AHEAD", ahead)
        monkeypatch.setattr(sending, "_PASSED_OVER", passed_over)
        window, flying, done = Window(items), list[list[Item]](), list[int]()
        while True:
            while len(flying) < 3 and (chosen := window.take()):
                for number, one in enumerate(chosen):
                    others = [other for batch in flying for other in batch]
                    assert not any(_share(one, other) for other in others)
                    assert not any(_conflict(one, other) for other in chosen[:number])
                    assert all(
                        other.number in done or other in chosen[:number]
                        for other in items[: one.number]
                        if _conflict(one, other)
                    )
                flying.append(chosen)
            if not flying:
                break
            back = flying.pop(chance.randrange(len(flying)))
            done += [each.number for each in back]
            window.release(back)
    assert sorted(done) == list(range(len(items)))


def _share(one: Item, other: Item) -> bool:
    return bool({key for key, _ in one.keys} & {key for key, _ in other.keys})


def _conflict(one: Item, other: Item) -> bool:
    mine, theirs = dict(one.keys), dict(other.keys)
    return any(mine[key] != EVENT or theirs[key] != EVENT for key in mine.keys() & theirs.keys())


def test_a_batch_is_as_large_as_customerio_takes_and_no_larger() -> None:
    sizes = (200_000, 200_000, 99_985, 1_000, 400_000)
    items = [item(number, size=size) for number, size in enumerate(sizes)]
    batches = list(taken(Window(items)))
    assert batches == [[0, 1, 2], [3, 4]]
    for numbers in batches:
        body = '{"batch":[' + ",".join(items[number].text for number in numbers) + "]}"
        assert len(body) <= MOST_BYTES
    assert list(taken(Window([item(0, size=200_000), item(1, size=299_988)]))) == [[0], [1]]
    assert list(taken(Window([item(0, size=200_000), item(1, size=299_987)]))) == [[0, 1]]


def test_delivery_events_go_one_by_one_and_hold_up_no_people() -> None:
    items = [*(item(number, endpoint=METRICS) for number in range(3)), item(3, "a"), item(4, "b")]
    assert list(taken(Window(items))) == [[0], [3, 4], [1], [2]]


def test_everything_is_sent_and_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(5)
    items = [item(n, f"p{chance.randrange(30)}", role=chance.choice([EVENT, CHANGE])) for n in range(500)]
    fake = Fake()
    fake.answers = [Again("503"), {0: Refusal("invalid", "f", "mia@example.com")}]
    totals, written = sent(tmp_path, items, fake)
    assert (totals.acknowledged, totals.refused) == (499, Counter({"invalid": 1}))
    assert sorted(each.number for each, _ in written) == list(range(500))
    assert [answer.reason for _, answer in written if answer.reason] == ["invalid: mia@example.com (f)"]
    found = left_over(tmp_path)
    assert found and not found.answers and not found.unanswered


def test_a_request_that_is_refused_whole_is_cut_until_the_item_is_found(tmp_path: Path) -> None:
    def refuse(texts: list[str]) -> Any:
        return Refused(Refusal("too_large")) if any(len(text) == 77 for text in texts) else {}

    fake = Fake()
    fake.answers = [refuse] * 1_000
    totals, written = sent(tmp_path, [item(n, size=77 if n in (3, 90) else 9) for n in range(100)], fake)
    assert totals.acknowledged == 98
    assert sorted(each.number for each, answer in written if answer.reason) == [3, 90]


def test_when_everything_is_refused_nothing_more_is_sent(tmp_path: Path) -> None:
    fake = Fake()
    fake.answers = [Refused(Refusal("unknown"))] * 1_000
    with pytest.raises(UserError, match="refuses everything"):
        sent(tmp_path, [item(n) for n in range(200)], fake)
    assert len(fake.batches) < 200
    found = left_over(tmp_path)
    assert found and not found.answers and found.unanswered == 200


def test_without_an_answer_it_ends_and_keeps_what_was_answered(tmp_path: Path) -> None:
    fake = Fake()
    items = [item(n, size=400_000 + n) for n in range(3)]
    fake.answers = [lambda texts: {} if texts == [items[0].text] else Again("503")] * 1_000
    written: list[Any] = []
    write_plan(tmp_path, "run", items)
    with pytest.raises(UserError, match=r"not taken in 8 attempts \(503\)"):
        send_all(read_plan(tmp_path), lambda: fake, Pace(10_000, 0.001), Journal(tmp_path), written.extend)
    found = left_over(tmp_path)
    assert found is not None
    assert len(written) + found.unanswered == 3


def test_a_half_that_was_acknowledged_counts_where_the_other_ends_the_run(tmp_path: Path) -> None:
    """Otherwise it would be sent again."""
    fake = Fake()
    fake.answers = [Refused(Refusal("invalid")), {}] + [Again("503")] * 8
    written: list[Any] = []
    write_plan(tmp_path, "run", [item(n) for n in range(4)])
    with pytest.raises(UserError, match="not taken in 8 attempts"):
        send_all(read_plan(tmp_path), lambda: fake, Pace(10_000, 0.001), Journal(tmp_path), written.extend)
    assert [(each.number, answer.status) for each, answer in written] == [
        (0, "acknowledged"),
        (1, "acknowledged"),
    ]
    found = left_over(tmp_path)
    assert found and found.unanswered == 2 and not found.answers


def test_what_the_ledger_cannot_take_stays_in_the_journal(tmp_path: Path) -> None:
    totals, written = sent(tmp_path, [item(n) for n in range(10)], Fake(), failing=True)
    assert totals.unwritten == "locked" and not written
    found = left_over(tmp_path)
    assert found and found.unanswered == 0
    assert [answer.number for answer in found.answers] == list(range(10))


def test_what_is_sent_is_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a loss of power the journal has what was synced, and what it lacks was never sent."""
    synced: list[str] = []
    fsync = os.fsync

    def sync(handle: int) -> None:
        fsync(handle)
        if (tmp_path / "journal.jsonl").exists():
            synced.append((tmp_path / "journal.jsonl").read_text())

    monkeypatch.setattr(spool.os, "fsync", sync)
    on_disk: list[bool] = []

    def answer(texts: list[str]) -> dict[int, Refusal]:
        noted = [json.loads(line) for line in synced[-1].splitlines()]
        sent_before = {number for kind, given in noted if kind == "sent" for number in given}
        on_disk.append({len(text) for text in texts} <= {number + 2 for number in sent_before})
        return {}

    fake = Fake()
    fake.answers = [answer] * 40
    # the size of an item tells its number
    sent(tmp_path, [item(number, f"p{number % 3}", size=number + 2) for number in range(40)], fake)
    assert on_disk and all(on_disk)


def test_a_full_disk_is_said_and_the_ledger_gets_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal takes nothing more while eight requests are on the way."""
    written: list[Answered] = []
    items = [item(number, f"p{number % 3}", size=200_000) for number in range(9)]
    write_plan(tmp_path, "run", items)
    journal = Journal(tmp_path)
    note = journal._file.write

    def full(line: str) -> int:
        if line.startswith('["answered'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return note(line)

    monkeypatch.setattr(journal, "_file", Mock(wraps=journal._file, write=full))
    fake = Fake()
    with pytest.raises(UserError, match=r"cannot write to .* \(No space left on device\): make room there"):
        send_all(
            items,
            lambda: fake,
            Pace(10_000, backoff=0.001),
            journal,
            lambda answers: written.extend(answer for _, answer in answers),
        )
    texts = sum(len(batch) for batch in fake.batches)
    assert texts == len(written) == len({answer.number for answer in written}) > 0


def test_a_plan_that_the_disk_does_not_take_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool.os, "fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="No space left on device"):
        write_plan(tmp_path, "run", [item(0)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("failing", "times"), [(False, 4), (True, 2)])
def test_answers_come_into_the_ledger_by_and_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool, times: int
) -> None:
    """A ledger that cannot be written is not tried again after each answer."""
    monkeypatch.setattr(sending, "_ITEMS_TO_LEDGER", 10)
    write_plan(tmp_path, "run", [item(n, size=MOST_BYTES // 2) for n in range(40)])
    held: list[int] = []

    def write(answers: list[Any]) -> None:
        held.append(len(answers))
        if failing:
            raise UserError("locked")

    send_all(read_plan(tmp_path), Fake, Pace(10_000), Journal(tmp_path), write)
    assert len(held) <= times and held[0] >= 10 and (failing or sum(held) == 40)
    assert held[-1] == 40 or not failing


def test_no_more_is_sent_than_memory_holds_while_the_ledger_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor could the next run bring more than that into the ledger."""
    monkeypatch.setattr(sending, "_ITEMS_TO_LEDGER", 5)
    monkeypatch.setattr(sending, "_MOST_WAITING", 20)
    fake = Fake()
    with pytest.raises(UserError, match=r"locked\. 2\d answers wait .* nothing more is sent"):
        sent(tmp_path, [item(n, size=MOST_BYTES // 2) for n in range(60)], fake, failing=True)
    found = left_over(tmp_path)
    assert found and not found.in_flight
    assert 20 <= len(found.answers) == len(fake.batches) < 20 + 2 * sending._WORKERS


def test_a_journal_that_was_cut_off_loses_its_last_line_only(tmp_path: Path) -> None:
    items = [item(n) for n in range(4)]
    write_plan(tmp_path, "run", items)
    journal = Journal(tmp_path)
    journal.sent(items)
    journal.answered([Answered(0, "acknowledged", None, "2026-03-01 00:00:00")])
    whole = (tmp_path / "journal.jsonl").read_bytes()
    journal.answered([Answered(1, "acknowledged", None, "2026-03-01 00:00:00")])
    longer = (tmp_path / "journal.jsonl").read_bytes()
    for end in range(len(whole), len(longer)):
        (tmp_path / "journal.jsonl").write_bytes(longer[:end])
        found = left_over(tmp_path)
        assert found and [answer.number for answer in found.answers] == [0] and found.unanswered == 3


def test_a_long_journal_is_read_line_by_line(tmp_path: Path) -> None:
    """That of millions of requests is larger than memory: the ledger has most of its answers."""
    write_plan(tmp_path, "run", [item(0)])
    journal = Journal(tmp_path)
    for _ in range(100):
        journal.answered(Answered(number, "acknowledged", None, "2026-03-01") for number in range(1_000))
        journal.written()
    journal.close()
    size = (tmp_path / "journal.jsonl").stat().st_size
    tracemalloc.start()
    try:
        found = left_over(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found and not found.answers
    assert most < size / 3


def test_a_new_plan_begins_without_the_journal_of_the_one_before(tmp_path: Path) -> None:
    items = [item(n) for n in range(4)]
    write_plan(tmp_path, "one", items)
    Journal(tmp_path).sent(items)
    write_plan(tmp_path, "two", items)
    found = left_over(tmp_path)
    assert found and (found.run_id, found.unanswered) == ("two", 0)


def test_the_spool_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_plan(tmp_path, "run", [item(1)])
    Journal(tmp_path).sent([item(1)])
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
