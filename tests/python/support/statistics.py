"""The formulas of macros/statistics once more, in numpy, and their SQL as the macros write it.

A comparison is four arrays of whole numbers whose last axis is the day: trials and successes of a copy
(n1, y1) and of the control (n0, y0).
"""

from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from scipy.special import ndtr

from support.project import PROJECT

Numbers = NDArray[np.float64]

Z = 1.959963984540054
# -2 ln(0.05) and C = c + ln(1 + c)
C0 = -2 * np.log(0.05)
C = C0 + np.log(1 + C0)
TUNING = 5000.0


def macros() -> Any:
    """The macros of macros/statistics, as a module of functions that write SQL."""
    text = "\n".join(path.read_text() for path in sorted((PROJECT / "macros/statistics").glob("*.sql")))
    return Environment(extensions=["jinja2.ext.do"]).from_string(text).module


class Ratio(NamedTuple):
    """Sums of a Mantel-Haenszel risk ratio over days."""

    t1: Numbers
    t0: Numbers
    w: Numbers
    g: Numbers

    @property
    def log_ratio(self) -> Numbers:
        """The logarithm of the risk ratio; nan without a success in an arm."""
        with np.errstate(divide="ignore", invalid="ignore"):
            theta = np.log(self.t1 / self.t0)
        return np.where((self.t1 > 0) & (self.t0 > 0), theta, np.nan)

    def error(self, design_effect: Numbers | float = 1.0) -> Numbers:
        """Its standard error (Greenland and Robins), widened by the design effect."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(self.g / (self.t1 * self.t0) * design_effect)
        return np.where((self.t1 > 0) & (self.t0 > 0) & (self.g > 0), error, np.nan)


def risk_ratio(n1: Numbers, y1: Numbers, n0: Numbers, y0: Numbers) -> Ratio:
    """Sum up over the last axis."""
    return Ratio(*(terms.sum(axis=-1) for terms in _terms(n1, y1, n0, y0)))


def running_risk_ratio(n1: Numbers, y1: Numbers, n0: Numbers, y0: Numbers) -> Ratio:
    """The same after each day, as somebody sees it who looks every day."""
    return Ratio(*(terms.cumsum(axis=-1) for terms in _terms(n1, y1, n0, y0)))


def _terms(n1: Numbers, y1: Numbers, n0: Numbers, y0: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    n1, y1, n0, y0 = (np.asarray(each, dtype=float) for each in (n1, y1, n0, y0))
    total = np.where((n1 > 0) & (n0 > 0), n1 + n0, np.inf)
    return (
        y1 * n0 / total,
        y0 * n1 / total,
        n1 * n0 / total,
        (y1 * n1 * (n0 - y0) + y0 * n0 * (n1 - y1)) / total**2,
    )


def clock(w: Numbers, design_effect: Numbers | float = 1.0) -> Numbers:
    """How far a comparison has come."""
    return 4 * w * C / (TUNING * design_effect)


def multiplier(k: Numbers) -> Numbers:
    """By how many standard errors the anytime interval reaches to each side."""
    with np.errstate(divide="ignore"):
        return np.sqrt((1 + 1 / k) * (np.log1p(k) + C0))


def anytime_p(z: Numbers, k: Numbers) -> Numbers:
    """The p value that holds at every look."""
    return np.minimum(1.0, np.exp(0.5 * np.log1p(k) - 0.5 * z * z * k / (1 + k)))


def holm(p: Numbers) -> Numbers:
    """Adjust p values over the last axis; nan is no comparison."""
    filled = np.where(np.isnan(p), np.inf, p)
    order = np.argsort(filled, axis=-1, kind="stable")
    count = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    remaining = np.maximum(1, count - np.arange(p.shape[-1]))
    steps = np.take_along_axis(filled, order, axis=-1) * remaining
    steps = np.where(np.isfinite(steps), steps, -np.inf)
    sorted_p = np.minimum(1.0, np.maximum.accumulate(steps, axis=-1))
    adjusted = np.empty_like(sorted_p)
    np.put_along_axis(adjusted, order, sorted_p, axis=-1)
    return np.where(np.isnan(p), np.nan, adjusted)


def design_effect(trials: Numbers, successes: Numbers) -> float:
    """The design effect of an arm from each person's trials and successes."""
    rate = successes.sum() / trials.sum()
    residual = successes - rate * trials
    return float(max(1.0, (residual**2).sum() / (trials.sum() * rate * (1 - rate))))


def paired_design_effect(n1: Numbers, y1: Numbers, n0: Numbers, y0: Numbers) -> float:
    """The design effect of a comparison; the arrays have one place per person, 0 where not in an arm."""
    p1, p0 = y1.sum() / n1.sum(), y0.sum() / n0.sum()
    e1, e0 = y1 - p1 * n1, y0 - p0 * n0
    above = (
        (e1**2).sum() / y1.sum() ** 2
        + (e0**2).sum() / y0.sum() ** 2
        - 2 * (e1 * e0).sum() / (y1.sum() * y0.sum())
    )
    return float(max(1.0, above / ((1 - p1) / y1.sum() + (1 - p0) / y0.sum())))


def probability_best(scores: Numbers, errors: Numbers, points: int = 193, reach: float = 6.0) -> Numbers:
    """The probability of each arm (last axis) that it is the best, errors independent and normal."""
    z = np.linspace(-reach, reach, points)
    weights = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    found = np.zeros_like(scores)
    for arm in range(scores.shape[-1]):
        at = scores[..., arm, None] + errors[..., arm, None] * z
        product = np.ones_like(at)
        for other in range(scores.shape[-1]):
            if other != arm:
                product *= ndtr((at - scores[..., other, None]) / errors[..., other, None])
        found[..., arm] = (weights * product).sum(axis=-1)
    return found
