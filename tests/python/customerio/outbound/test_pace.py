"""How fast requests begin, on a clock of the test's own."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.customerio.outbound import pace as module
from scripts.customerio.outbound.outcomes import Again
from scripts.customerio.outbound.pace import ATTEMPTS, Pace, Stopped
from scripts.errors import UserError


class Clock:
    """Time that passes only while somebody waits, or as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace: Pace) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pace.stop, "wait", self.wait)

    def wait(self, seconds: float) -> bool:
        self.now += max(0.0, seconds)
        return False


@given(rate=st.sampled_from([0.5, 1, 3, 100]), seed=st.integers(0, 1_000))
def test_in_no_second_more_requests_begin_than_allowed(rate: float, seed: int) -> None:
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        pace = Pace(rate)
        clock, begun = Clock(monkeypatch, pace), []
        for _ in range(int(4 * rate) + 4):
            clock.now += chance.choice([0, 0, 0, 0.01, 0.5, 3]) / rate
            pace.wait()
            begun.append(clock.now)
    most, span = max(1, int(rate)), max(1.0, 1 / rate)
    assert all(later - first >= span for first, later in zip(begun, begun[most:], strict=False))
    assert pace.requests == len(begun)


def failing(*errors: Again) -> Any:
    """A request that fails in these ways, and then succeeds."""
    left = list(errors)

    def send() -> str:
        if left:
            raise left.pop(0)
        return "taken"

    return send


def test_a_retry_after_holds_up_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace(100)
    clock = Clock(monkeypatch, pace)
    began: list[float] = []

    def send() -> None:
        began.append(clock.now)
        if len(began) == 1:
            raise Again("429", 30.0)

    pace.sent(send)
    assert began == [1_000.0, 1_030.0]
    pace._not_before = clock.now + 7
    pace.sent(send)
    assert began[-1] == 1_037.0


def test_without_one_waits_grow_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace(100)
    clock = Clock(monkeypatch, pace)
    monkeypatch.setattr(module.random, "uniform", lambda _least, most: most)
    assert pace.sent(failing(*[Again("503")] * (ATTEMPTS - 1))) == "taken"
    assert clock.now - 1_000 == 1 + 2 + 4 + 8 + 16 + 32 + 60


def test_it_ends_after_so_many_attempts_or_when_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace(100)
    Clock(monkeypatch, pace)
    with pytest.raises(UserError, match=r"not taken in 8 attempts \(503\)"):
        pace.sent(failing(*[Again("503")] * ATTEMPTS))
    assert pace.requests == ATTEMPTS
    pace.stop.set()
    with pytest.raises(Stopped):
        pace.sent(failing(Again("503"), Again("503")))
    assert pace.requests == ATTEMPTS + 1
