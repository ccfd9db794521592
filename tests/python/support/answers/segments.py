"""Rows of segment_performance."""

import json
from collections import defaultdict

import numpy as np

from scripts.simulate.experiments import TRIALS
from support import statistics as reference
from support.answers.comparing import estimate, lift, paired_effect, reason, sums_of
from support.answers.facts import Days, Facts, Row, Unit

LEAST_PEOPLE, MOST_VALUES = 50, 50


def segment_performance(facts: Facts, rows: list[Row]) -> list[Row]:
    """Copies beside an inside control; `rows` has those beside an outside one."""
    found = []
    for name, template in facts.settings.items():
        if template.split == "inside" and template.key_metric:
            compared = segments(facts, name, template.key_metric)
            for row, q in zip(compared, discovery_rates([row["p_value"] for row in compared]), strict=True):
                row["q_value"] = q
            found += compared
    for row in rows:
        is_shown = row["arm_type"] == "copy" and row["is_key_metric"] and row["time_window"] == "all"
        if is_shown and facts.template(row["template_id"]).split == "outside":
            shown = {name: row[name] for name in ("template_id", "metric", "trials", "successes")}
            why = "outside_control_has_no_attributes"
            found.append(shown | {"copy_id": row["arm"], "reason": why})
    return found


def segments(facts: Facts, name: str, metric: str) -> list[Row]:
    """A template's copies beside control, by each attribute of the persons and its values."""
    trials = [unit for unit in facts.units if unit.template == name and TRIALS[metric] in unit.outcomes]
    attributes = [json.loads(unit.attrs or "{}") for unit in trials]
    found = []
    for attribute in {attribute for attrs in attributes for attribute in attrs}:
        values = [attrs.get(attribute, "(none)") for attrs in attributes]
        days = by_value_and_arm(list(zip(trials, values, strict=True)), metric)
        for (value, arm), own in days.items():
            if arm != "control":
                control = days.get((value, "control"), {})
                segment = {"segment_key": attribute, "segment_value": value}
                found.append(compared(facts, name, arm, metric, own, control) | segment)
    return found


def by_value_and_arm(values: list[tuple[Unit, str]], metric: str) -> dict[tuple[str, str], Days]:
    """Units, trials and successes by day; values of few persons are (other)."""
    persons: dict[str, set[int]] = defaultdict(set)
    for unit, value in values:
        persons[value].add(unit.person)
    ranked = sorted(persons, key=lambda value: (-len(persons[value]), value))
    shown = {value for value in ranked[:MOST_VALUES] if len(persons[value]) >= LEAST_PEOPLE}
    found: dict[tuple[str, str], Days] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for unit, value in values:
        counts = found[value if value in shown else "(other)", unit.arm][unit.day]
        counts[0] += 1
        counts[1] += 1
        counts[2] += metric in unit.outcomes
    return found


def compared(facts: Facts, name: str, arm: str, metric: str, own: Days, control: Days) -> Row:
    """One copy in one segment."""
    sums = sums_of(own, control, own)
    people, controls = facts.people[name, arm][metric], facts.people.get((name, "control"), {}).get(metric)
    ratio = estimate(sums, paired_effect(people, controls))
    return {
        "template_id": name,
        "copy_id": arm,
        "metric": metric,
        "trials": int(sums.n1.sum()),
        "successes": int(sums.y1.sum()),
        "control_trials": sum(counts[1] for counts in control.values()),
        "control_successes": sum(counts[2] for counts in control.values()),
        "lift": lift(ratio.log_ratio),
        "lift_low": ratio.bound(-reference.Z),
        "lift_high": ratio.bound(reference.Z),
        "p_value": ratio.p,
        "reason": reason(sums, ratio),
    }


def discovery_rates(values: list[float | None]) -> list[float | None]:
    """p values adjusted as by Benjamini and Hochberg; None is no comparison."""
    there = np.array([value for value in values if value is not None])
    order = np.argsort(there)[::-1]
    steps = there[order] * len(there) / np.arange(len(there), 0, -1)
    rates = np.empty(len(there))
    rates[order] = np.minimum(1, np.minimum.accumulate(steps))
    left = iter(rates)
    return [None if value is None else float(next(left)) for value in values]
