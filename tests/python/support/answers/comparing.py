"""Comparisons of two arms by day, and what is computed of one."""

import math
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from statsmodels.stats.proportion import proportion_confint

from support import statistics as reference
from support.answers.facts import Days, People


class Sums(NamedTuple):
    """A comparison over days, by day: trials and successes of a copy (n1, y1) and of control."""

    days: list[date]
    n1: np.ndarray
    y1: np.ndarray
    n0: np.ndarray
    y0: np.ndarray

    def only(self, kept: np.ndarray) -> "Sums":
        days = [day for day, keep in zip(self.days, kept, strict=True) if keep]
        return Sums(days, *(each[kept] for each in self[1:]))

    @property
    def both(self) -> np.ndarray:
        """Whether a day has trials of both arms."""
        return (self.n1 > 0) & (self.n0 > 0)

    @property
    def ratio(self) -> reference.Ratio:
        return reference.risk_ratio(*self[1:])


def sums_of(own: Days, control: Days, days: Iterable[date]) -> Sums:
    """The counts of two arms on some days of the first."""
    listed = sorted(days)
    pairs = [(*own[day][1:3], *control.get(day, [0, 0, 0])[1:3]) for day in listed]
    return Sums(listed, *np.array(pairs, dtype=float).reshape(-1, 4).T)


class Estimate(NamedTuple):
    """A risk ratio on the scale of the logarithm; None where an arm has no success."""

    log_ratio: float | None
    error: float | None

    @property
    def z(self) -> float | None:
        return None if self.log_ratio is None or self.error is None else self.log_ratio / self.error

    @property
    def p(self) -> float | None:
        return None if self.z is None else float(2 * ndtr(-abs(self.z)))

    def bound(self, multiplier: float) -> float | None:
        """The lift so many errors away."""
        if self.log_ratio is None or self.error is None or math.isnan(multiplier):
            return None
        return lift(self.log_ratio + multiplier * self.error)


def lift(log_ratio: float | None) -> float | None:
    return None if log_ratio is None else math.exp(min(log_ratio, 20)) - 1


def estimate(sums: Sums, effect: float) -> Estimate:
    ratio = sums.ratio
    theta, error = float(ratio.log_ratio), float(ratio.error(effect))
    return Estimate(*(None if math.isnan(number) else number for number in (theta, error)))


def reason(sums: Sums, found: Estimate) -> str | None:
    """Why there is no lift."""
    if found.log_ratio is not None:
        return None
    return "no_outcome_in_an_arm" if sums.both.any() else "no_day_with_both_arms"


def share_of(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def wilson(successes: float, trials: float, effect: float) -> tuple[float | None, float | None]:
    if not trials:
        return None, None
    low, high = proportion_confint(successes / effect, trials / effect, method="wilson")
    return float(low), float(high)


def paired_effect(first: People, second: People | None) -> float:
    """The design effect of a comparison, of arms of which each has a sample of its own."""
    if second is None:
        return 1.0
    (n1, y1), (n0, y0) = first.totals, second.totals
    if not y1 or not y0 or (y1 == n1 and y0 == n0):
        return 1.0
    one, two = first.residuals(), second.residuals()
    crossed = sum(residual * two[key] for key, residual in one.items() if key in two)
    above = (
        first.share * sum(each**2 for each in one.values()) / y1**2
        + second.share * sum(each**2 for each in two.values()) / y0**2
        - 2 * max(first.share, second.share) * crossed / (y1 * y0)
    )
    below = first.share * (1 - y1 / n1) / y1 + second.share * (1 - y0 / n0) / y0
    return max(1.0, above / below)
