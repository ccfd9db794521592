"""What the intervals, verdicts and probabilities promise, measured in simulated experiments.

`make statistics` (COPYMART_STATISTICS=1) simulates many histories and prints the tables; without it a few are
simulated, and the limits are wider by three Monte-Carlo errors.
"""

import os
from collections.abc import Iterator
from datetime import UTC

import numpy as np
import pytest

from scripts.simulate.plan import Plan
from scripts.simulate.world import TEMPLATE, bandit, variant
from support import statistics as reference
from support.histories import (
    History,
    acting_sooner,
    at_the_end,
    drifting,
    ever_missed,
    ever_missed_plain,
    ever_missed_pooled,
    false_verdicts,
    fixed_split,
    looks,
    thompson,
)
from support.simulated import START, opens_by_day

MANY = bool(os.environ.get("COPYMART_STATISTICS"))
RATIOS = np.array([1.0, 1.0, 1.1, 1.25, 0.9])


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(20_261_129)


@pytest.fixture
def say() -> Iterator[list[str]]:
    """Lines that `make statistics` shows at its end: a worker of xdist can show nothing itself."""
    lines: list[str] = []
    yield lines
    print(*lines, sep="\n")


def doubt(share: float, histories: int) -> float:
    """Three Monte-Carlo errors of a share."""
    return 3 * float(np.sqrt(share * (1 - share) / histories))


@pytest.mark.parametrize(
    ("expected", "rate", "control"),
    [
        *((20, rate, share) for rate in (0.02, 0.2, 0.5) for share in (0.5, 0.1)),
        *((count, rate, 0.5) for count in (5, 10) for rate in (0.02, 0.2)),
    ],
)
def test_plain_intervals_hold_at_one_planned_end(
    draw: np.random.Generator, say: list[str], expected: int, rate: float, control: float
) -> None:
    """(a) A fixed split over 28 days; `expected` successes of control."""
    histories = 20_000 if MANY else 1_000
    sends = round(expected / rate / control / 28)
    shares, ratios = np.array([control, 1 - control]), np.array([1.0, 1.2])
    ended = at_the_end(fixed_split(draw, histories, shares, ratios, np.full(28, rate), sends))
    theta, error = ended.log_ratio[:, 0], ended.error()[:, 0]
    there = np.isfinite(error)
    covered = (np.abs(theta - np.log(1.2)) <= reference.Z * error)[there].mean()
    say.append(f"(a) {expected} successes, rate {rate}, control {control}: {covered:.4f}")
    noise = doubt(0.95, histories)
    assert covered >= 0.94 - noise
    if expected >= 20:
        assert covered <= 0.96 + noise


SPLITS = {
    "fixed 50/50": ([0.5, 0.5], None),
    "fixed 90/10": ([0.1, 0.9], None),
    "Thompson by day": (None, 1),
    "Thompson by hour": (None, 24),
}


@pytest.mark.parametrize("split", SPLITS)
def test_anytime_intervals_hold_at_every_look(draw: np.random.Generator, say: list[str], split: str) -> None:
    """(b) Sixty looks, a rate that drifts; each copy by itself."""
    shares, updates = SPLITS[split]
    histories = (1_000 if updates == 24 else 2_000) if MANY else (20 if updates == 24 else 200)
    rates = drifting(60, 0.05)
    if shares:
        history = fixed_split(draw, histories, np.array(shares), RATIOS[[0, 2]], rates, 2_000)
        truth = np.log(RATIOS[[2]])
    else:
        assert updates
        history = thompson(draw, histories, RATIOS, rates, 2_400, updates=updates)
        truth = np.log(RATIOS[1:])
    seen = looks(history)
    missed, plain, pooled = (
        found.max()
        for found in (
            ever_missed(seen, truth),
            ever_missed_plain(seen, truth),
            ever_missed_pooled(history, truth),
        )
    )
    say.append(
        f"(b) {split}: worst copy missed ever: anytime {missed:.3f}, plain {plain:.3f}, pooled {pooled:.3f}"
    )
    assert missed <= 0.05 + (0 if MANY else doubt(0.05, histories))


@pytest.mark.parametrize("control", ["per person", "per request"])
def test_the_design_effect_covers_repeated_people(
    draw: np.random.Generator, say: list[str], control: str
) -> None:
    """(d) 300 people with about eight deliveries each and habits of their own, in one arm each or in both."""
    histories = 4_000 if MANY else 300
    covered = {"with": 0, "without": 0}
    for _ in range(histories):
        people = 300 if control == "per request" else 600
        habit = draw.beta(0.5, 2.0, people)
        total = draw.poisson(8, people) + 1
        if control == "per person":
            in_copy = np.arange(people) < 300
            n1, n0 = total * in_copy, total * ~in_copy
        else:
            n1 = draw.binomial(total, 0.5)
            n0 = total - n1
        y1, y0 = draw.binomial(n1, habit), draw.binomial(n0, habit)
        seen = reference.risk_ratio(*(np.array([each.sum()]) for each in (n1, y1, n0, y0)))
        effect = reference.paired_design_effect(n1, y1, n0, y0)
        for name, widened in (("with", effect), ("without", 1.0)):
            covered[name] += abs(float(seen.log_ratio)) <= reference.Z * float(seen.error(widened))
    shares = {name: count / histories for name, count in covered.items()}
    say.append(f"(d) {control}: with {shares['with']:.3f}, without {shares['without']:.3f}")
    noise = doubt(0.95, histories)
    assert shares["with"] >= 0.94 - noise
    if control == "per request":
        assert shares["with"] <= 0.97 + noise
    else:
        assert shares["without"] < 0.85


@pytest.mark.parametrize("copies", [4, 9])
def test_equal_copies_hardly_ever_get_a_verdict(
    draw: np.random.Generator, say: list[str], copies: int
) -> None:
    """(e) Sixty looks under Thompson sampling; Holm adjusts over the copies."""
    histories = 2_000 if MANY else 100
    history = thompson(draw, histories, np.ones(copies + 1), drifting(60, 0.05), 2_400)
    wrong = false_verdicts(looks(history))
    say.append(f"(e) {copies} equal copies: {wrong:.4f} of histories with a verdict")
    assert wrong <= 0.05 + (0 if MANY else doubt(0.05, histories))


def test_a_copy_that_people_act_on_sooner_is_not_better(draw: np.random.Generator, say: list[str]) -> None:
    """(e) Outcomes after one day instead of three, as many in the end."""
    histories = 1_000 if MANY else 60
    wrong, hasty = (
        acting_sooner(draw, histories, 60, 2_000, 0.1, (3.0, 1.0), maturity) for maturity in (7, 0)
    )
    say.append(f"(e) acting sooner: {wrong:.4f} false verdicts, {hasty:.3f} if the youngest days counted")
    assert wrong <= 0.05 + (0 if MANY else doubt(0.05, histories))
    assert hasty > 0.5


def test_nine_of_ten_claims_to_be_the_best_are_right(draw: np.random.Generator, say: list[str]) -> None:
    """(f) Four copies, with other ratios in each history, under Thompson sampling with drift."""
    histories = 1_500 if MANY else 60
    claims = right = 0
    for _ in range(histories // 20):
        ratios = np.concatenate([[1.0], np.exp(draw.normal(0, 0.1, 4))])
        n, y = history = thompson(draw, 20, ratios, drifting(40, 0.05), 2_400)
        sums = at_the_end(history)
        total = np.maximum(n[:, 1:] + n[:, :1], 1)
        rates = y.sum(-1) / n.sum(-1)
        own = (y[:, 1:] * (n[:, :1] / total) ** 2).sum(-1) / sums.t1**2 * (1 - rates[:, 1:])
        control = (y[:, :1] * (n[:, 1:] / total) ** 2).sum(-1) / sums.t0**2 * (1 - rates[:, :1])
        scores = np.concatenate([np.zeros((20, 1)), sums.log_ratio], axis=-1)
        errors = np.sqrt(np.concatenate([control.mean(-1, keepdims=True), own], axis=-1))
        best = reference.probability_best(scores, errors)
        claimed = best.max(-1) > 0.9
        claims += claimed.sum()
        right += (claimed & (best.argmax(-1) == ratios.argmax())).sum()
    say.append(f"(f) {right} of {claims} claims above 0.9 are right: {right / claims:.3f}")
    assert claims > histories / 10
    assert right / claims >= 0.9 - (0 if MANY else doubt(0.9, claims))


def test_days_take_the_bias_out_of_a_moving_split(draw: np.random.Generator, say: list[str]) -> None:
    """(c) The simulator's schedule draws traffic to the better copies while the rate of everybody drifts."""
    template, days, histories = TEMPLATE["welcome-email"], 60, 4_000 if MANY else 400
    schedule = np.array([np.diff([0.0, *bandit(day / days, template)]) for day in range(days)])
    ratios = np.array([variant(template, arm).effect for arm in range(template.arms)])
    ratios /= ratios[0]
    trials = np.stack([draw.multinomial(20_000, day, histories) for day in schedule], axis=-1).astype(float)
    rates = drifting(days, 0.05, size=1.0)
    history = History(trials, draw.binomial(trials.astype(int), ratios[:, None] * rates).astype(float))
    truth = np.log(ratios[1:])
    stratified = at_the_end(history).log_ratio - truth
    total = np.log(history.successes.sum(-1) / history.trials.sum(-1))
    pooled = total[:, 1:] - total[:, :1] - truth
    bias, pooled_bias = stratified.mean(0), pooled.mean(0)
    noise = 3 * stratified.std(0) / np.sqrt(histories)
    for arm in range(len(truth)):
        say.append(
            f"(c) copy {arm + 1}: bias of the log ratio by day {bias[arm]:+.5f} (3 errors {noise[arm]:.5f}), "
            f"pooled {pooled_bias[arm]:+.4f}"
        )
    assert (np.abs(bias) <= noise).all()
    moved = np.abs(pooled_bias) > 0.02
    assert moved.any()
    assert (
        np.abs(bias[moved]) <= np.maximum(np.abs(pooled_bias[moved]) / 10, 0 if MANY else noise[moved])
    ).all()


def test_days_take_the_bias_out_of_what_the_simulator_plans(say: list[str]) -> None:
    """(c) Whole plans, with a base rate that falls to a fifth and persons who differ.

    In the app, every open is a person's and the ratio of two copies' chances is that of their effects.
    """
    template, histories = TEMPLATE["feature-inapp"], 40 if MANY else 2
    effects = np.array([variant(template, arm).effect for arm in range(template.arms)])
    truth = np.log(effects[1:] / effects[0])
    start = int(START.replace(tzinfo=UTC).timestamp())
    found, errors, pooled = [], [], []
    for seed in range(histories):
        plan = Plan(250_000 if MANY else 60_000, 30, seed, start, drift=0.2, person_effect=0.5)
        trials, opens = opens_by_day(plan, template.name)
        sums = reference.risk_ratio(trials[1:], opens[1:], trials[0], opens[0])
        found.append(sums.log_ratio - truth)
        errors.append(sums.error())
        rates = opens.sum(-1) / trials.sum(-1)
        pooled.append(np.log(rates[1:] / rates[0]) - truth)
    bias, pooled_bias = np.mean(found, axis=0), np.mean(pooled, axis=0)
    noise = 3 * np.sqrt(np.square(errors).mean(axis=0) / histories)
    for arm in range(len(truth)):
        say.append(
            f"(c) simulated copy {arm + 1}: bias by day {bias[arm]:+.4f} (3 errors {noise[arm]:.4f}), "
            f"pooled {pooled_bias[arm]:+.4f}"
        )
    assert (np.abs(bias) <= noise).all()
    most = np.abs(pooled_bias).argmax()
    assert abs(pooled_bias[most]) > noise[most]
    assert not MANY or abs(bias[most]) <= abs(pooled_bias[most]) / 10
