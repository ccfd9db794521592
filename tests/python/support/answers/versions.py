"""Rows of copy_version_metrics."""

from collections import defaultdict
from typing import Any

from scripts.simulate.experiments import TRIALS
from support.answers.comparing import share_of
from support.answers.facts import METRICS, Facts, Row

OF_VERSION = ("version_key", "version_number", "change_type", "valid_from", "valid_to")
OF_CELL = ("template_id", "copy_id", "content_hash", "delivery_date")


def copy_version_metrics(facts: Facts) -> list[Row]:
    """Deliveries by version of their text and day."""
    outcomes = outcomes_of_deliveries(facts)
    cells: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for delivery, start, *cell in facts.rows(
        f"select delivery_key, last_called_at, {', '.join(OF_CELL)} from {{fct_deliveries}}"
    ):
        cells[tuple(cell)].append((start, outcomes[delivery]))
    versions: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for copy, text, *version in facts.rows(
        f"select copy_id, content_hash, {', '.join(OF_VERSION)} from {{dim_copy_variants}} "
        "order by valid_from"
    ):
        versions[copy, text].append(tuple(version))
    found = []
    for cell, deliveries in cells.items():
        last = max(start for start, _ in deliveries)
        begun = [version for version in versions[cell[1], cell[2]] if version[3] <= last]
        row = dict(zip(OF_CELL + OF_VERSION, cell + (begun or [(None,) * 5])[-1], strict=True))
        found.append(row | counts([seen for _, seen in deliveries]))
    return found


def outcomes_of_deliveries(facts: Facts) -> dict[str, set[str]]:
    """What happened to each delivery, from its events that count."""
    found: dict[str, set[str]] = defaultdict(set)
    for delivery, channel, metric, is_machine in facts.rows(
        "select delivery_key, channel, counts_as, is_machine from {fct_engagement_events} "
        "where counts and delivery_key is not null"
    ):
        found[delivery].add(metric)
        if not is_machine:
            found[delivery].add(f"human_{metric}")
        if metric == ("sent" if channel in ("in_app", "slack") else "delivered"):
            found[delivery].add("reached")
    return found


def counts(deliveries: list[set[str]]) -> Row:
    """Trials, successes and rates of some deliveries."""
    row: Row = {"served": len(deliveries)}
    for trial in ("sent", "reached"):
        row[trial] = sum(trial in seen for seen in deliveries)
    for metric in METRICS:
        row[metric] = sum({metric, TRIALS[metric]} <= seen for seen in deliveries)
        row[f"{metric}_rate"] = share_of(row[metric], row[TRIALS[metric]])
    return row
