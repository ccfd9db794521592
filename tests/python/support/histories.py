"""Histories of experiments in numpy: how traffic is split, what people do, and what somebody sees who looks.

Arrays have the axes (history, arm, day); arm 0 is the control.
"""

from typing import NamedTuple

import numpy as np

from support.statistics import (
    Numbers,
    Ratio,
    Z,
    anytime_p,
    clock,
    holm,
    multiplier,
    risk_ratio,
    running_risk_ratio,
)

Draw = np.random.Generator


class History(NamedTuple):
    """Trials and successes by (history, arm, day)."""

    trials: Numbers
    successes: Numbers


def drifting(days: int, base: float, size: float = 0.5) -> Numbers:
    """The rate of control by day: a wave of two weeks and a slow rise, the same factor for every arm."""
    day = np.arange(days)
    return base * np.exp(size * np.sin(2 * np.pi * day / 14) + size * day / days)


def fixed_split(
    draw: Draw, histories: int, shares: Numbers, ratios: Numbers, rates: Numbers, sends: int
) -> History:
    """The shares never change. `ratios`: rate of each arm to control; `rates`: of control by day."""
    trials = draw.multinomial(sends, shares, (histories, len(rates))).transpose(0, 2, 1)
    successes = draw.binomial(trials, np.minimum(1, ratios[:, None] * rates))
    return History(trials.astype(float), successes.astype(float))


def thompson(
    draw: Draw,
    histories: int,
    ratios: Numbers,
    rates: Numbers,
    sends: int,
    control: float = 0.1,
    updates: int = 1,
    draws: int = 40,
) -> History:
    """Control has a fixed share; the rest follows how often each copy is the best of draws of its posterior.

    The posterior takes in all outcomes `updates` times a day, so that yesterday's luck moves today's traffic.
    """
    arms, days = len(ratios), len(rates)
    trials, successes = np.zeros((2, histories, arms, days))
    n, y = np.zeros((2, histories, arms))
    chance = ratios[None, :] * rates[:, None]
    for day in range(days):
        for _ in range(updates):
            best = draw.beta(1 + y[:, 1:], 1 + n[:, 1:] - y[:, 1:], (draws, histories, arms - 1)).argmax(-1)
            shares = np.stack([(best == arm).mean(0) for arm in range(arms - 1)], axis=-1)
            shares = np.concatenate([np.full((histories, 1), control), (1 - control) * shares], axis=-1)
            served = draw.multinomial(sends // updates, shares / shares.sum(-1, keepdims=True))
            acted = draw.binomial(served, np.minimum(1, chance[day]))
            n, y = n + served, y + acted
            trials[:, :, day] += served
            successes[:, :, day] += acted
    return History(trials, successes)


def looks(history: History) -> Ratio:
    """The comparison of each copy with control after each day: (history, copy, day)."""
    n, y = history
    return running_risk_ratio(n[:, 1:], y[:, 1:], n[:, :1], y[:, :1])


def at_the_end(history: History) -> Ratio:
    """The comparison of each copy with control after the last day: (history, copy)."""
    n, y = history
    return risk_ratio(n[:, 1:], y[:, 1:], n[:, :1], y[:, :1])


def ever_missed(seen: Ratio, truth: Numbers) -> Numbers:
    """By copy, the share of histories in which the anytime interval misses the truth at one look or more."""
    theta, error = seen.log_ratio, seen.error()
    with np.errstate(invalid="ignore"):
        missed = np.abs(theta - truth[:, None]) > multiplier(clock(seen.w)) * error
    return missed.any(axis=-1).mean(axis=0)


def ever_missed_plain(seen: Ratio, truth: Numbers) -> Numbers:
    """The same for the plain interval."""
    theta, error = seen.log_ratio, seen.error()
    with np.errstate(invalid="ignore"):
        return (np.abs(theta - truth[:, None]) > Z * error).any(axis=-1).mean(axis=0)


def ever_missed_pooled(history: History, truth: Numbers) -> Numbers:
    """The same for an anytime interval of the pooled lift."""
    n, y = np.cumsum(history, axis=-1)
    n1, y1, n0, y0 = n[:, 1:], y[:, 1:], n[:, :1], y[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.log(y1 / n1 / (y0 / n0))
        error = np.sqrt(1 / y1 - 1 / n1 + 1 / y0 - 1 / n0)
        missed = np.abs(theta - truth[:, None]) > multiplier(clock(n1 * n0 / (n1 + n0))) * error
    return missed.any(axis=-1).mean(axis=0)


def false_verdicts(seen: Ratio) -> float:
    """The share of histories in which any copy gets a verdict at any look."""
    with np.errstate(invalid="ignore"):
        p = anytime_p(seen.log_ratio / seen.error(), clock(seen.w))
    # copies to the last axis, which Holm adjusts over
    adjusted = holm(p.transpose(0, 2, 1))
    with np.errstate(invalid="ignore"):
        return float((adjusted <= 0.05).any(axis=(1, 2)).mean())


def acting_sooner(
    draw: Draw, histories: int, days: int, sends: int, rate: float, delays: tuple[float, float], maturity: int
) -> float:
    """The share of histories with a false verdict where a copy only makes people act sooner.

    `delays`: mean days until an outcome, of control and of the copy. Days younger than `maturity` do not
    count.
    """
    trials = np.full((histories, 2, days), sends / 2)
    lags = np.arange(days)
    ages = [np.exp(-lags / mean) - np.exp(-(lags + 1) / mean) for mean in delays]
    arrivals = np.zeros((histories, 2, days, days))
    for arm, share in enumerate(ages):
        each = np.append(share, max(0.0, 1 - share.sum()))
        successes = draw.binomial(sends // 2, rate, (histories, days))
        arrivals[:, arm] = draw.multinomial(successes, each / each.sum())[..., :-1]
    by_age = arrivals.cumsum(axis=-1)
    wrong = np.zeros(histories, dtype=bool)
    for look in range(maturity, days):
        counted = np.arange(0, look - maturity + 1)
        y = by_age[:, :, counted, look - counted]
        n = trials[:, :, counted]
        seen = risk_ratio(n[:, 1], y[:, 1], n[:, 0], y[:, 0])
        with np.errstate(invalid="ignore"):
            wrong |= anytime_p(seen.log_ratio / seen.error(), clock(seen.w)) <= 0.05
    return float(wrong.mean())
