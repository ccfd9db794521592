"""Rows of variant_health."""

import math
from collections import defaultdict
from datetime import datetime

import numpy as np

from support import statistics as reference
from support.answers.comparing import share_of
from support.answers.facts import METRICS, Facts, Row

# Of a person in an arm: start of the first unit, whether the copy is null, the copy, whether it is control.
First = tuple[datetime, bool, str, bool]


def variant_health(facts: Facts) -> list[Row]:
    """One row per template."""
    firsts: dict[str, dict[int, dict[str, First]]] = defaultdict(lambda: defaultdict(dict))
    for unit in facts.units:
        arms = firsts[unit.template][unit.person]
        here = (unit.start, unit.copy is None, unit.copy or "", unit.is_control)
        arms[here[2]] = min(here, arms.get(here[2], here))
    versions = facts.rows(
        "select template_id, version_number > 1, valid_to < valid_from + interval 1 hour "
        "from {dim_copy_variants}"
    )
    found = []
    for name in facts.newest:
        edits = [(edited, short) for template, edited, short in versions if template == name]
        found.append(
            split(facts, name, list(sampled(facts, name, firsts[name]).values()))
            | {
                "edits_while_serving": sum(edited for edited, _ in edits),
                "versions_under_an_hour": sum(bool(short) for _, short in edits),
            }
        )
    return found


def sampled(facts: Facts, name: str, persons: dict[int, dict[str, First]]) -> dict[int, dict[str, First]]:
    """The persons of the smallest sample, which every arm has whole."""
    shares = [of[METRICS[0]].share for (template, _), of in facts.people.items() if template == name]
    return {person: arms for person, arms in persons.items() if person < min(shares) * 2**60}


def split(facts: Facts, name: str, persons: list[dict[str, First]]) -> Row:
    """Whether the traffic was split as planned, and what else of units and persons is shown."""
    template = facts.template(name)
    copies, control = (facts.arms.get((name, arm, "delivered"), {}) for arm in ("copies", "control"))
    both = [*copies.values(), *control.values()]
    units, sent = (sum(day[place] for day in both) for place in (0, 1))
    if template.split == "outside":
        found, total = sum(day[0] for day in control.values()), units
    else:
        found, total = sum(min(arms.values())[3] for arms in persons), len(persons)
    p = None
    if template.split and template.control_share:
        share = template.control_share
        variance = np.array(total * share * (1 - share))
        z = (found - share * total) / math.sqrt(variance)
        p = float(reference.anytime_p(np.array(z), reference.clock(variance)))
    several = sum(len(arms) > 1 for arms in persons)
    crossed = share_of(several, len(persons)) or 0
    return {
        "template_id": name,
        "control_split": template.split,
        "control_share": template.control_share,
        "split_units": total,
        "split_control_units": found,
        "observed_control_share": share_of(found, total),
        "split_p_value_anytime": p,
        "split_status": "not_checked" if p is None else "broken" if p < 0.001 else "as_planned",
        "people_sampled": len(persons),
        "crossover_share": share_of(several, len(persons)),
        "crossover_status": "flagged" if crossed >= 0.1 else "reported" if crossed >= 0.01 else "none",
        "match_rate": share_of(sent, units),
        "days_without_control": sum(
            counts[1] > 0 and not control.get(day, [0, 0])[1] for day, counts in copies.items()
        ),
    }
