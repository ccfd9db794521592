"""Rows of variant_performance and template_performance."""

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
from scipy.special import ndtr

from support import statistics as reference
from support.answers.comparing import (
    Estimate,
    Sums,
    estimate,
    lift,
    paired_effect,
    reason,
    share_of,
    sums_of,
    wilson,
)
from support.answers.facts import WINDOWS, Facts, Row, grouped
from support.answers.sentences import verdict_sentence

CONTROLS = ("trials", "successes", "people", "rate", "rate_low", "rate_high")


def judged(facts: Facts, split_status: dict[str, str]) -> list[Row]:
    """Every arm, metric and window, with what both marts of performance show."""
    found = []
    for (name, arm, metric), days in facts.arms.items():
        for window, length in WINDOWS.items():
            kept = [day for day in days if facts.newest[name] - day < timedelta(length)]
            if kept:
                found.append(measured(facts, name, arm, metric, window, kept))
    for family in grouped(found, "template_id", "metric", "time_window", "arm_type"):
        for column in ("p_value", "p_value_anytime"):
            values = np.array([row[column] for row in family], dtype=float)
            for row, value in zip(family, reference.holm(values), strict=True):
                row[f"{column}_holm"] = None if row[column] is None else float(value)
    for row in found:
        is_broken = split_status[row["template_id"]] == "broken"
        row["verdict"] = verdict(facts, row, is_broken) if row["time_window"] == "all" else None
        row["verdict_sentence"] = verdict_sentence(facts, row)
    return found


def measured(facts: Facts, name: str, arm: str, metric: str, window: str, days: list[date]) -> Row:
    """One arm, metric and window, without what depends on other copies."""
    is_control, good_when = arm == "control", facts.metrics[metric].good_when
    control_days = facts.arms.get((name, "control", metric), {})
    sums = sums_of(facts.arms[name, arm, metric], control_days, days)
    units, trials, successes, outside = (
        sum(facts.arms[name, arm, metric][day][place] for day in days) for place in range(4)
    )
    people = facts.people.get((name, arm), {}).get(metric)
    controls = facts.people.get((name, "control"), {}).get(metric)
    effect = people.design_effect if people else 1.0
    paired = 1.0 if is_control or people is None else paired_effect(people, controls)
    plain = Estimate(None, None) if is_control else estimate(sums, paired)
    length = timedelta(WINDOWS[window])
    of_control = [counts for day, counts in control_days.items() if facts.newest[name] - day < length]
    control_rate = share_of(*(sum(counts[place] for counts in of_control) for place in (2, 1)))
    rate, found_lift = share_of(successes, trials), 0.0 if is_control else lift(plain.log_ratio)
    low, high = wilson(successes, trials, effect)
    z = None if plain.z is None else plain.z if good_when == "up" else -plain.z
    comparable = None if control_rate is None or found_lift is None else control_rate * (1 + found_lift)
    has_pooled = not is_control and control_rate and rate is not None
    return {
        "template_id": name,
        "arm": arm,
        "arm_type": arm if arm in ("control", "copies") else "copy",
        "metric": metric,
        "time_window": window,
        "is_key_metric": metric == facts.template(name).key_metric,
        "units": units,
        "trials": trials,
        "successes": successes,
        "successes_outside_trials": outside,
        "people": people.with_trials if people else 0,
        "control_people": controls.with_trials if controls and people else 0,
        "has_control": bool(of_control),
        "rate": rate,
        "rate_low": low,
        "rate_high": high,
        "design_effect": effect,
        "paired_design_effect": paired,
        "comparable_rate": comparable,
        "lift": found_lift,
        "lift_low": plain.bound(-reference.Z),
        "lift_high": plain.bound(reference.Z),
        "p_value": plain.p,
        "pooled_lift": rate / control_rate - 1 if has_pooled else None,
        "probability_beats_control": None if z is None else float(ndtr(z)),
        "reason": "no_control" if not control_days else None if is_control else reason(sums, plain),
        **of_verdict(facts, name, arm, metric, window, sums, paired),
        "sums": sums,
        "estimate": plain,
    }


def of_verdict(
    facts: Facts, name: str, arm: str, metric: str, window: str, sums: Sums, paired: float
) -> dict[str, Any]:
    """What is computed of the days that count for a verdict, which the shorter windows do not have."""
    names = ("verdict_lift", "lift_low_anytime", "lift_high_anytime", "p_value_anytime", "verdict_from")
    names += ("verdict_through", "verdict_trials", "verdict_control_trials", "share_outside_verdict")
    if window != "all":
        return dict.fromkeys(names)
    settled = facts.last_edit(name, "control")
    if arm != "control":
        settled = max(settled, facts.last_edit(name, arm))
    mature = facts.newest_event - timedelta(facts.metrics[metric].maturity)
    kept = sums.only(sums.both & np.array([settled < day <= mature for day in sums.days]))
    found = Estimate(None, None) if arm == "control" else estimate(kept, paired)
    clock = np.array(reference.clock(kept.ratio.w, paired))
    width = float(reference.multiplier(clock)) if clock > 0 else math.nan
    trials = sums.n1.sum()
    values = (
        lift(found.log_ratio),
        found.bound(-width),
        found.bound(width),
        None if found.z is None else float(reference.anytime_p(np.array(found.z), clock)),
        min(kept.days, default=None),
        max(kept.days, default=None),
        int(kept.n1.sum()),
        int(kept.n0.sum()),
        1 - kept.n1.sum() / trials if trials else None,
    )
    return dict(zip(names, values, strict=True))


def verdict(facts: Facts, row: Row, is_split_broken: bool) -> str:
    """The first that applies."""
    template = facts.template(row["template_id"])
    p, good_when = row["p_value_anytime_holm"], facts.metrics[row["metric"]].good_when
    if row["arm_type"] == "control":
        return "control"
    if template.key_metric is None:
        return "no_key_metric"
    if not row["has_control"]:
        return "no_control"
    if is_split_broken:
        return "split_broken"
    if has_too_few(facts, row):
        return "too_few_sends"
    if row["verdict_lift"] is None:
        return "no_outcome_yet"
    if p is None or p > 0.05:
        return "no_difference_yet"
    return "better" if (row["verdict_lift"] > 0) == (good_when == "up") else "worse"


def has_too_few(facts: Facts, row: Row) -> bool:
    """Whether an arm has too few trials or people for a verdict."""
    sends = min(row["verdict_trials"], row["verdict_control_trials"])
    people = min(row["people"], row["control_people"])
    return bool(sends < facts.template(row["template_id"]).min_sends or min(sends, people) < 200)


def best(facts: Facts, rows: list[Row]) -> dict[tuple[str, str], float]:
    """The probability of each arm that it is the best, by template and arm."""
    found = {}
    of_key_metric = [row for row in rows if row["is_key_metric"] and row["time_window"] == "all"]
    for family in grouped(of_key_metric, "template_id"):
        control = next((row for row in family if row["arm_type"] == "control"), None)
        copies = [row for row in family if row["arm_type"] == "copy" and row["estimate"].error is not None]
        arms = arms_of(facts, copies, control) if control and copies else []
        if len(arms) > 1:
            names, scores, errors = zip(*arms, strict=True)
            chances = reference.probability_best(np.array(scores), np.array(errors))
            for arm, chance in zip(names, chances, strict=True):
                found[family[0]["template_id"], arm] = float(chance)
    return found


def arms_of(facts: Facts, copies: list[Row], control: Row) -> list[tuple[str, float, float]]:
    """Name, score and own error of each copy and of control; none where all trials of control succeeded."""
    sign = 1 if facts.metrics[control["metric"]].good_when == "up" else -1
    arms, of_control = [], []
    for row in copies:
        days = row["sums"].only(row["sums"].both)
        total = days.n1 + days.n0
        squares = (days.y1 * (days.n0 / total) ** 2).sum() / days.ratio.t1**2
        others = (days.y0 * (days.n1 / total) ** 2).sum() / days.ratio.t0**2
        variance = row["design_effect"] * (1 - row["rate"]) * squares
        if variance > 0:
            of_control.append(control["design_effect"] * (1 - control["rate"]) * others)
            arms.append((row["arm"], sign * row["estimate"].log_ratio, math.sqrt(variance)))
    if min(of_control, default=0) == 0:
        return []
    return [*arms, ("control", 0.0, math.sqrt(np.mean(of_control)))]


def variant_performance(facts: Facts, rows: list[Row]) -> list[Row]:
    """A copy or the control beside control, with what depends on the other copies."""
    chances = best(facts, rows)
    found = [dict(row) for row in rows if row["arm_type"] != "copies"]
    for family in grouped(found, "template_id", "metric", "time_window"):
        sign = -1 if facts.metrics[family[0]["metric"]].good_when == "up" else 1
        lifted = [row for row in family if row["lift"] is not None]
        ranks = sorted((sign * round(row["lift"], 12), row["arm"]) for row in lifted)
        places = {arm: place for place, (_, arm) in enumerate(ranks, start=1)}
        total = sum(row["units"] for row in family)
        for row in family:
            name, is_control = row["template_id"], row["arm_type"] == "control"
            is_shown = row["is_key_metric"] and row["time_window"] == "all"
            row |= {
                "copy_id": facts.template(name).control_copy if is_control else row["arm"],
                "is_control": is_control,
                "lift_rank": places.get(row["arm"]),
                "traffic_share": share_of(row["units"], total),
                "probability_best": chances.get((name, row["arm"])) if is_shown else None,
            }
    return found


def template_performance(rows: list[Row]) -> list[Row]:
    """All copies together beside control."""
    found = []
    for family in grouped(rows, "template_id", "metric", "time_window"):
        control = next((row for row in family if row["arm_type"] == "control"), {})
        found += [
            row | {f"control_{name}": control.get(name) for name in CONTROLS}
            for row in family
            if row["arm_type"] == "copies"
        ]
    return found
