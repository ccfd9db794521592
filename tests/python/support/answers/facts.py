"""The simulator's truth as the comparisons read it: units and their persons, arms by day, edits of texts."""

import csv
import hashlib
import math
from collections import defaultdict
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from scripts.simulate.experiments import TRIALS
from scripts.simulate.world import ACTIONS
from support import statistics as reference
from support.project import PROJECT

Row = dict[str, Any]
# Counts by day, and what happened to each person's units.
Days = dict[date, list[int]]
Persons = dict[int, list[frozenset[str]]]
METRICS = tuple(TRIALS)
WINDOWS = {"all": 10**6, "28_days": 28, "7_days": 7}
SEEDS = PROJECT / "scripts/simulate/sample_seeds"
# Of an arm with more persons, at least so many are in the sample.
LEAST_PEOPLE = 22_000


class Template(NamedTuple):
    """What the owner says of a template."""

    split: str | None = None
    control_copy: str | None = None
    control_template: str | None = None
    key_metric: str | None = None
    min_sends: int = 1000
    control_share: float | None = None


class Metric(NamedTuple):
    """What the catalogue says of a metric."""

    good_when: str
    maturity: int


def read_seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def settings() -> dict[str, Template]:
    """The templates of the sample's seeds."""
    with_action = {template for template, _, role, _ in ACTIONS if role == "control"}
    found = {}
    for row in read_seed("template_settings"):
        name, copy, other = row["template_id"], row["control_copy_id"], row["control_template_id"]
        outside = bool(other) or name in with_action
        metric = row["key_metric"]
        found[name] = Template(
            "inside" if copy else "outside" if outside else None,
            copy or None,
            None if copy else other or None,
            f"human_{metric}" if metric in ("opened", "clicked") else metric,
            int(row["min_sends"]),
            float(row["control_share"]) if row["control_share"] else None,
        )
    return found


def catalogue() -> dict[str, Metric]:
    """The compared metrics."""
    rows = {row["counts_as"]: row for row in read_seed("engagement_metrics") if row["good_when"]}
    named = {metric: rows[metric.removeprefix("human_")] for metric in METRICS}
    return {metric: Metric(row["good_when"], int(row["maturity_days"])) for metric, row in named.items()}


class People(NamedTuple):
    """Counts of an arm's persons, of whom `share` are in the sample: key -> (trials, successes)."""

    share: float
    counts: dict[int, tuple[int, int]]

    @property
    def with_trials(self) -> int:
        return round(sum(n > 0 for n, _ in self.counts.values()) / self.share)

    @property
    def totals(self) -> tuple[int, int]:
        return sum(n for n, _ in self.counts.values()), sum(y for _, y in self.counts.values())

    def residuals(self) -> dict[int, float]:
        trials, successes = self.totals
        return {key: y - successes / trials * n for key, (n, y) in self.counts.items()}

    @property
    def design_effect(self) -> float:
        trials, successes = self.totals
        if not 0 < successes < trials:
            return 1.0
        return reference.design_effect(*np.array(list(self.counts.values()), dtype=float).T)


class Unit(NamedTuple):
    """A delivery or a journey."""

    template: str
    copy: str | None
    is_control: bool
    day: date
    start: datetime
    person: int
    attrs: str | None
    outcomes: frozenset[str]

    @property
    def arm(self) -> str:
        return "control" if self.is_control else str(self.copy)


class Facts:
    """A folder of truth."""

    def __init__(self, truth: Path) -> None:
        self.con = duckdb.connect()
        self.tables = {path.stem: f"'{path}'" for path in truth.glob("*.parquet")}
        self.settings, self.metrics = settings(), catalogue()
        ((self.newest_event,),) = self.rows("select max(event_date) from {fct_engagement_events}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query in which {name} is a table of the truth."""
        return self.con.execute(query.format(**self.tables)).fetchall()

    def template(self, name: str) -> Template:
        return self.settings.get(name, Template())

    @cached_property
    def units(self) -> list[Unit]:
        """Deliveries, and journeys of campaigns that are compared."""
        found = self.rows(
            "select unit_type = 'delivery', campaign_id, template_id, copy_id, unit_date, started_at, "
            "person, attrs, outcomes from {experiment_units}"
        )
        arms: dict[str, dict[int | None, set[bool]]] = defaultdict(lambda: defaultdict(set))
        for is_delivery, campaign, name, copy, *_ in found:
            if not is_delivery:
                arms[name][campaign].add(copy is None)
        compared = {name: self.compared(name, campaigns) for name, campaigns in arms.items()}
        return [
            Unit(
                name,
                copy,
                copy in (None, self.template(name).control_copy),
                *when,
                place(person),
                attrs,
                seen,
            )
            for is_delivery, campaign, name, copy, *when, person, attrs, outcomes in found
            if is_delivery or campaign in compared[name]
            for seen in (frozenset(outcomes),)
        ]

    def compared(self, name: str, campaigns: dict[int | None, set[bool]]) -> set[int | None]:
        """A template's campaigns that are compared, of those with their arms: True is control."""
        if self.template(name).control_template:
            return set(campaigns)
        has_both = any(len(arms) == 2 for arms in campaigns.values())
        has_copies = any(False in arms for arms in campaigns.values())
        return {campaign for campaign, arms in campaigns.items() if (has_both or not has_copies) in arms}

    @cached_property
    def people(self) -> dict[tuple[str, str], dict[str, People]]:
        """Sampled persons by template and arm, then by metric."""
        by_arm: dict[tuple[str, str], Persons] = defaultdict(lambda: defaultdict(list))
        for unit in self.units:
            by_arm[unit.template, unit.arm][unit.person].append(unit.outcomes)
        samples = {arm: sample(persons) for arm, persons in by_arm.items()}
        for name in {name for name, arm in by_arm if arm != "control"}:
            copies = [found for (of, arm), found in samples.items() if of == name and arm != "control"]
            samples[name, "copies"] = together(copies)
        return {
            arm: {metric: People(share, counted(persons, metric)) for metric in METRICS}
            for arm, (share, persons) in samples.items()
        }

    @cached_property
    def edits(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select copy_id, template_id, valid_from::date from {dim_copy_variants} where version_number > 1"
        )

    def last_edit(self, name: str, arm: str) -> date:
        """The day of the last edit of an arm's text; a control template has one with every copy of it."""
        template, days = self.template(name), [date.min]
        for copy, of_template, day in self.edits:
            if arm != "control":
                is_edited = copy == arm
            elif template.control_copy:
                is_edited = copy == template.control_copy
            else:
                is_edited = of_template == template.control_template
            days += [day] * is_edited
        return max(days)

    @cached_property
    def arms(self) -> dict[tuple[str, str, str], Days]:
        """Units, trials, successes and successes outside of trials, by template, arm and metric, then day."""
        found: dict[tuple[str, str, str], Days] = defaultdict(dict)
        for name, copy, is_control, day, metric, *counts in self.rows(
            "select template_id, copy_id, is_control, experiment_date, metric, units, trials, successes, "
            "successes_outside_trials from {experiment_daily}"
        ):
            for arm in ["control"] if is_control else [copy, "copies"]:
                before = found[name, arm, metric].get(day, [0, 0, 0, 0])
                found[name, arm, metric][day] = [a + b for a, b in zip(before, counts, strict=True)]
        return dict(found)

    @cached_property
    def newest(self) -> dict[str, date]:
        """The newest day of each template."""
        found: dict[str, date] = {}
        for (name, *_), days in self.arms.items():
            found[name] = max([*days, found.get(name, date.min)])
        return found


def place(person: str) -> int:
    """Where a person is in the order from which samples are taken."""
    return int(hashlib.md5(person.encode()).hexdigest()[-15:], 16)


def sample(persons: Persons) -> tuple[float, Persons]:
    """An arm's share and sample of persons; every sixteenth says how many there are."""
    many = 16 * sum(person < 2**56 for person in persons)
    halved = int(math.log2(many / LEAST_PEOPLE)) if many >= 2 * LEAST_PEOPLE else 0
    return 0.5**halved, {person: seen for person, seen in persons.items() if person < 2 ** (60 - halved)}


def together(copies: list[tuple[float, Persons]]) -> tuple[float, Persons]:
    """The persons of all copies, as far as each copy has them in its sample."""
    smallest, found = min(share for share, _ in copies), defaultdict(list)
    for _, persons in copies:
        for person, seen in persons.items():
            if person < smallest * 2**60:
                found[person] += seen
    return smallest, found


def counted(persons: Persons, metric: str) -> dict[int, tuple[int, int]]:
    """Trials and successes of each person."""
    trial = TRIALS[metric]
    return {
        person: (sum(trial in each for each in seen), sum({trial, metric} <= each for each in seen))
        for person, seen in persons.items()
    }


def grouped(rows: list[Row], *names: str) -> list[list[Row]]:
    """The rows with equal values of these columns."""
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in names)].append(row)
    return list(found.values())
