"""The first screen: a line per template, and how far the data can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow
import pyarrow.compute as compute

from scripts.report.marts import Marts, with_estimate
from scripts.report.packing import LIFT, WHOLE, Number, Numbers, columns, packed, scaled
from scripts.report.templates import shown_metrics
from scripts.report.words import METRICS, REASONS, VERDICTS, WINDOWS, interval, per_cent, signed

# A template is called idle when its newest day is so many days before the newest day of all.
IDLE_DAYS = 14
_MOST_CAMPAIGNS = 30
_PERFORMANCE = {
    "trials": Number(WHOLE),
    "control_trials": Number(WHOLE),
    "lift": Number(LIFT),
    "low": Number(LIFT, "lift"),
    "high": Number(LIFT, "lift", "low"),
}
# The axis of the small intervals: from -50 % to +50 %, in a box of 100 by 16.
_FEEDS = {
    "justai_calls": "JustAI calls",
    "justai_sends": "JustAI sends",
    "justai_variants": "JustAI variants",
    "customerio_events": "Customer.io events",
    "pipeline_calls": "Source calls",
}
_AXIS = 0.5


@dataclass(frozen=True)
class Bar:
    """A small interval: from `low` to `high`, a mark at `lift`, on an axis of 0 to 100; 50 is no lift.

    A lift beyond the axis has no mark. `more_below` and `more_above` say that the interval goes on there.
    """

    low: float
    lift: float | None
    high: float
    more_below: bool
    more_above: bool


@dataclass(frozen=True)
class Line:
    """One template on the first screen, in words."""

    number: int
    template_id: str
    name: str
    metric: str
    verdict: str
    sentence: str
    copies: str
    lift: str
    interval: str
    bar: Bar | None
    traffic: str
    control: str
    days: str
    alerts: list[str]
    notes: list[str]


def lines(marts: Marts, min_match_rate: float) -> list[Line]:
    """Return the lines of all templates: those with alerts or a difference first, then by traffic."""
    shown = shown_metrics(marts)
    names = dict(zip(marts.names["template_id"].to_pylist(), marts.names["name"].to_pylist(), strict=True))
    health = {row["template_id"]: row for row in marts.health.to_pylist()}
    newest = _newest_days(marts)
    last = max((through for _, through in newest.values()), default=None)
    copies = _verdicts_of_copies(marts, shown)
    over_all_days = marts.templates.filter(compute.equal(marts.templates["time_window"], "all"))
    rows = {
        row["template_id"]: row
        for row in with_estimate(over_all_days).to_pylist()
        if row["metric"] == shown[row["template_id"]]
    }
    found = [
        _line(
            number,
            rows[template_id],
            names.get(template_id) or template_id,
            copies.get(template_id, Counter()),
            health.get(template_id, {}),
            newest.get(template_id),
            last,
            min_match_rate,
        )
        for number, template_id in enumerate(sorted(rows))
    ]
    order = {"better": 0, "worse": 0, "split_broken": 0, "no_difference_yet": 1}
    return sorted(
        found,
        key=lambda line: (
            0 if line.alerts else order.get(line.verdict, 2),
            -int(rows[line.template_id]["trials"] or 0),
            line.template_id,
        ),
    )


def only_control(marts: Marts) -> list[str]:
    """Return the names of the templates of which no copy but the control was served: they have no line."""
    names = dict(zip(marts.names["template_id"].to_pylist(), marts.names["name"].to_pylist(), strict=True))
    served, compared = (set(table["template_id"].to_pylist()) for table in (marts.health, marts.templates))
    return [names.get(template_id) or template_id for template_id in sorted(served - compared)]


def _line(
    number: int,
    row: Mapping[str, Any],
    name: str,
    copies: Counter[str],
    health: Mapping[str, Any],
    days: tuple[date, date] | None,
    last: date | None,
    min_match_rate: float,
) -> Line:
    low, lift, high = row["low"], row["lift"], row["high"]
    treated, control = int(row["trials"] or 0), int(row["control_trials"] or 0)
    alerts, notes = warnings(health, min_match_rate)
    if days and last and (last - days[1]).days >= IDLE_DAYS:
        notes = [*notes, f"Not served since {days[1]:%Y-%m-%d}."]
    return Line(
        number=number,
        template_id=row["template_id"],
        name=name,
        metric=METRICS[row["metric"]],
        verdict=row["verdict"] or "",
        sentence=row["verdict_sentence"] or "",
        copies=summary_of(copies),
        lift=signed(lift),
        interval=interval(low, high),
        bar=bar(low, lift, high),
        traffic=f"{treated + control:,}",
        control=per_cent(control / (treated + control)) if treated + control else "–",
        days=f"{days[0]:%Y-%m-%d} to {days[1]:%Y-%m-%d}" if days else "–",
        alerts=alerts,
        notes=notes,
    )


def summary_of(verdicts: Counter[str]) -> str:
    """Return how many copies have which verdict: 4 copies: 1 better, 3 no difference yet."""
    total = sum(verdicts.values())
    if not total:
        return "no copy"
    counts = ", ".join(
        f"{verdicts[verdict]} {words}" for verdict, words in VERDICTS.items() if verdicts[verdict]
    )
    return f"{total} {'copy' if total == 1 else 'copies'}: {counts}"


def bar(low: float | None, lift: float | None, high: float | None) -> Bar | None:
    """Return the interval as drawn, cut at the ends of the axis; None without one."""
    if low is None or lift is None or high is None:
        return None
    return Bar(
        low=_place(low),
        lift=_place(lift) if abs(lift) <= _AXIS else None,
        high=_place(high),
        more_below=low < -_AXIS,
        more_above=high > _AXIS,
    )


def _place(share: float) -> float:
    return round(50 + 50 * max(-1.0, min(1.0, share / _AXIS)), 1)


def warnings(health: Mapping[str, Any], min_match_rate: float) -> tuple[list[str], list[str]]:
    """Return what makes the numbers of a template doubtful, and what only explains them.

    `health`: the template's row of variant_health, empty where it has none.
    """
    alerts: list[str] = []
    notes: list[str] = []
    if health.get("split_status") == "broken":
        alerts.append(
            f"The split is not as planned: {per_cent(health['observed_control_share'])} in control instead "
            f"of {per_cent(health['control_share'])}."
        )
    crossover = health.get("crossover_status")
    if crossover in ("flagged", "reported"):
        (alerts if crossover == "flagged" else notes).append(
            f"{per_cent(health['crossover_share'])} of the people got several copies."
        )
    match_rate = health.get("match_rate")
    if match_rate is not None and match_rate < min_match_rate:
        alerts.append(f"Customer.io reports a message for only {per_cent(match_rate)} of what was served.")
    for name, one, many in (
        (
            "edits_while_serving",
            "A text was changed while it was served.",
            "{} changes of texts while served.",
        ),
        (
            "versions_under_an_hour",
            "A text was replaced within an hour.",
            "{} texts were replaced within an hour.",
        ),
        ("days_without_control", "A day had no control.", "{} days had no control."),
    ):
        if name == "days_without_control" and not health.get("control_split"):
            continue
        count = int(health.get(name) or 0)
        if count:
            notes.append(one if count == 1 else many.format(f"{count:,}"))
    return alerts, notes


def _verdicts_of_copies(marts: Marts, shown: Mapping[str, str]) -> dict[str, Counter[str]]:
    kept = marts.copies.filter(
        compute.and_(
            compute.equal(marts.copies["time_window"], "all"), compute.invert(marts.copies["is_control"])
        )
    )
    found: dict[str, Counter[str]] = {}
    for template_id, metric, verdict in zip(
        *(kept[name].to_pylist() for name in ("template_id", "metric", "verdict")), strict=True
    ):
        if shown.get(template_id) == metric and verdict:
            found.setdefault(template_id, Counter())[verdict] += 1
    return found


def _newest_days(marts: Marts) -> dict[str, tuple[date, date]]:
    spans = marts.days.group_by("template_id").aggregate(
        [("experiment_date", "min"), ("experiment_date", "max")]
    )
    return {
        row["template_id"]: (row["experiment_date_min"], row["experiment_date_max"])
        for row in spans.to_pylist()
    }


def summary(marts: Marts, found: Sequence[Line]) -> str:
    """Return, packed, what the script needs to show the first screen for another metric or window.

    A row's `template` is the number of the template's line; `shown` names each template's metric by number.
    """
    numbers = {line.template_id: line.number for line in found}
    ordered = sorted(numbers, key=numbers.__getitem__)
    shown = shown_metrics(marts)
    table = scaled(with_estimate(marts.templates), _PERFORMANCE)
    places = pyarrow.array([numbers[template_id] for template_id in table["template_id"].to_pylist()])
    texts = table.select(["metric", "time_window", "reason", "verdict_sentence", *_PERFORMANCE])
    rows = Numbers()
    kinds = {**_PERFORMANCE, "template": Number(WHOLE)}
    return packed(
        {
            "metrics": METRICS,
            "windows": WINDOWS,
            "verdicts": VERDICTS,
            "reasons": REASONS,
            "templates": ordered,
            "shown": [shown[template_id] for template_id in ordered],
            "rows": columns(texts.append_column("template", places), kinds, rows),
        },
        rows,
    )


@dataclass(frozen=True)
class Feed:
    """How one dataset landed."""

    name: str
    landed_at: str
    lines: str
    rejected: str
    reasons: str
    lags: list[tuple[str, str]]


@dataclass(frozen=True)
class Campaign:
    """How many of a campaign's events found their copy or are control."""

    campaign: str
    events: str
    match_rate: str
    is_low: bool


def feeds(marts: Marts) -> list[Feed]:
    """Return landing, rejects and lag of each dataset."""
    reasons: dict[str, list[str]] = {}
    for row in marts.rejects.sort_by([("reject_count", "descending"), ("reason", "ascending")]).to_pylist():
        reasons.setdefault(row["dataset"], []).append(f"{row['reason']} {row['reject_count']:,}")
    lags: dict[str, list[tuple[str, int]]] = {}
    for row in marts.lags.sort_by("bucket_number").to_pylist():
        lags.setdefault(row["dataset"], []).append((row["arrival_lag"], int(row["row_count"])))
    found = []
    for row in marts.landings.sort_by("dataset").to_pylist():
        landed, rejected = int(row["row_count"] or 0), int(row["reject_count"] or 0)
        total = sum(count for _, count in lags.get(row["dataset"], [])) or 1
        found.append(
            Feed(
                name=_FEEDS.get(row["dataset"], row["dataset"]),
                landed_at=f"{row['landed_at']:%Y-%m-%d %H:%M}",
                lines=f"{landed + rejected:,}",
                rejected=f"{rejected:,} ({per_cent(rejected / max(landed + rejected, 1))})",
                reasons=", ".join(reasons.get(row["dataset"], [])) or "none",
                lags=[(name, per_cent(count / total)) for name, count in lags.get(row["dataset"], [])],
            )
        )
    return found


def campaigns(marts: Marts, min_match_rate: float) -> tuple[list[Campaign], int]:
    """Return the campaigns with the lowest match rates, and how many more there are."""
    rows = marts.campaigns.sort_by([("match_rate", "ascending"), ("campaign_id", "ascending")]).to_pylist()
    found = [
        Campaign(
            campaign="none" if row["campaign_id"] is None else str(row["campaign_id"]),
            events=f"{int(row['event_count']):,}",
            match_rate=per_cent(row["match_rate"]),
            is_low=row["match_rate"] < min_match_rate,
        )
        for row in rows[:_MOST_CAMPAIGNS]
    ]
    return found, max(0, len(rows) - _MOST_CAMPAIGNS)


def newest_day(marts: Marts) -> str:
    """Return the newest day of all templates."""
    found = compute.max(marts.days["experiment_date"]).as_py()
    return f"{found:%Y-%m-%d}" if isinstance(found, date | datetime) else "–"
