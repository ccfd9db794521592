"""What the page holds of one template, beyond its line on the first screen."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy
import pyarrow
import pyarrow.compute as compute

from scripts.report.marts import DEFAULT_METRIC, Marts, with_estimate
from scripts.report.packing import (
    LIFT,
    P_VALUE,
    RATE,
    WHOLE,
    Number,
    Numbers,
    columns,
    groups,
    packed,
    scaled,
)
from scripts.report.words import twin

MOST_CHARACTERS = 2_000
MOST_VERSIONS = 20
MOST_SEGMENTS = 150

_COPIES = {
    "units": Number(WHOLE),
    "trials": Number(WHOLE, "units"),
    "successes": Number(WHOLE),
    "comparable_rate": Number(RATE),
    "lift": Number(LIFT),
    "low": Number(LIFT, "lift"),
    "high": Number(LIFT, "lift", "low"),
    "pooled_lift": Number(LIFT),
    "p": Number(P_VALUE),
    "probability_beats_control": Number(LIFT),
    "probability_best": Number(LIFT),
    "lift_rank": Number(WHOLE),
}
_TRENDS = {
    "period_start": Number(WHOLE),
    "comparable_rate": Number(RATE),
    "comparable_rate_low": Number(RATE, "comparable_rate"),
    "comparable_rate_high": Number(RATE, "comparable_rate", "comparable_rate_low"),
}
_SEGMENTS = {
    "trials": Number(WHOLE),
    "successes": Number(WHOLE),
    "control_trials": Number(WHOLE),
    "lift": Number(LIFT),
    "lift_low": Number(LIFT, "lift"),
    "lift_high": Number(LIFT, "lift", "lift_low"),
    "q_value": Number(P_VALUE),
}
_COUNTS = ("served", "human_opened", "human_clicked", "converted")


@dataclass(frozen=True)
class Tables:
    """The tables of one template; those it has no rows in are empty."""

    copies: pyarrow.Table
    days: pyarrow.Table
    trends: pyarrow.Table
    segments: pyarrow.Table
    versions: pyarrow.Table


def per_template(marts: Marts) -> Iterator[tuple[str, Tables]]:
    """Yield each template of the marts with its tables, in order of template_id."""
    whole = {
        "copies": scaled(with_estimate(marts.copies), _COPIES),
        "days": marts.days,
        "trends": marts.trends,
        "segments": scaled(marts.segments, _SEGMENTS),
        "versions": marts.versions,
    }
    split = {name: dict(groups(table, "template_id")) for name, table in whole.items()}
    for template_id in sorted(compute.unique(marts.templates["template_id"]).to_pylist()):
        yield (
            template_id,
            Tables(
                **{name: split[name].get(template_id, table.slice(0, 0)) for name, table in whole.items()}
            ),
        )


def version_counts(marts: Marts) -> dict[tuple[str, int], dict[str, int]]:
    """Return the cohort counts of each version, by copy_id and number."""
    return {
        (row["copy_id"], int(row["version_number"])): {name: int(row[name] or 0) for name in _COUNTS}
        for row in marts.version_counts.to_pylist()
    }


def shown_metrics(marts: Marts) -> dict[str, str]:
    """Return the metric that each template's days are shown of: its key metric, else DEFAULT_METRIC."""
    keys = marts.templates.filter(marts.templates["is_key_metric"])
    named = zip(keys["template_id"].to_pylist(), keys["metric"].to_pylist(), strict=True)
    return {
        **dict.fromkeys(compute.unique(marts.templates["template_id"]).to_pylist(), DEFAULT_METRIC),
        **dict(named),
    }


def chunk(tables: Tables, metric: str, counts: Mapping[tuple[str, int], dict[str, int]]) -> str:
    """Return one template, packed. `metric`: what its days are shown of."""
    arms = _arms(tables)
    numbers = Numbers()
    contents = {
        "metric": metric,
        "arms": arms,
        "copies": _copies(tables.copies, arms, metric, numbers),
        "days": _days(tables.days, arms, metric, numbers),
        "trend": _trend(tables.trends, arms, numbers),
        "segments": _segments(tables.segments, arms, numbers),
        "segments_left_out": max(0, tables.segments.num_rows - MOST_SEGMENTS),
        "versions": _versions(tables.versions, arms, counts),
    }
    return packed(contents, numbers)


def _arms(tables: Tables) -> list[dict[str, Any]]:
    """The control first, then the copies in the order in which they were first served."""
    served: dict[str, Any] = {}
    for copy_id, since in zip(
        *(tables.versions[name].to_pylist() for name in ("copy_id", "valid_from")), strict=True
    ):
        served[copy_id] = min(since, served.get(copy_id, since))
    known = pyarrow.concat_tables(
        [table.select(["copy_id", "is_control"]) for table in (tables.copies, tables.days)]
    )
    # a copy that is the control is one arm, also on the days before it was
    controls = set(compute.unique(known.filter(known["is_control"])["copy_id"]).to_pylist())
    ordered = sorted(
        compute.unique(known["copy_id"]).to_pylist(),
        key=lambda copy_id: (
            copy_id not in controls,
            copy_id not in served,
            str(served.get(copy_id)),
            copy_id or "",
        ),
    )
    numbers = iter(range(1, len(ordered) + 1))
    return [
        {
            "id": copy_id,
            "control": copy_id in controls,
            "name": "control" if copy_id in controls else f"copy {next(numbers)}",
        }
        for copy_id in ordered
    ]


def texts_of(variables: str) -> dict[str, str]:
    """Return the texts of a version by name, from the JSON of `vars`; what is no text stays JSON.

    JSON that Python does not read, such as a thousand lists in each other, stays whole.
    """
    try:
        found = json.loads(variables)
    except (ValueError, RecursionError):
        return {"vars": variables}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in found.items()
    }


def _places(table: pyarrow.Table, arms: list[dict[str, Any]]) -> numpy.ndarray[Any, Any]:
    """The number of each row's arm in `arms`."""
    known = pyarrow.array([arm["id"] for arm in arms], pyarrow.string())
    return compute.index_in(table["copy_id"].cast(pyarrow.string()), known).to_numpy()


def _with_arm(
    table: pyarrow.Table, arms: list[dict[str, Any]], kinds: Mapping[str, Number], numbers: Numbers
) -> dict[str, Any]:
    dropped = [name for name in ("template_id", "copy_id", "is_control") if name in table.column_names]
    placed = table.drop_columns(dropped).append_column("arm", pyarrow.array(_places(table, arms)))
    return columns(placed, {**kinds, "arm": Number(WHOLE)}, numbers)


def _copies(
    table: pyarrow.Table, arms: list[dict[str, Any]], metric: str, numbers: Numbers
) -> dict[str, Any]:
    """Sentences for the shown metrics only: the others' would be a tenth of the page."""
    # in this order the same numbers of all metrics lie at the same distance, which compresses
    table = table.sort_by([(name, "ascending") for name in ("metric", "time_window", "copy_id")])
    for name in ("verdict_from", "verdict_through"):
        table = _replaced(table, name, table[name].cast(pyarrow.date32()).cast(pyarrow.string()))
    is_shown = compute.is_in(table["metric"], pyarrow.array([metric, twin(metric)]))
    shown = compute.if_else(is_shown, table["verdict_sentence"], None)
    return _with_arm(_replaced(table, "verdict_sentence", shown), arms, _COPIES, numbers)


def _replaced(table: pyarrow.Table, name: str, values: pyarrow.ChunkedArray) -> pyarrow.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _days(table: pyarrow.Table, arms: list[dict[str, Any]], metric: str, numbers: Numbers) -> dict[str, Any]:
    """First day, number of days, and by arm and day: how many more trials than seven days before, how many
    more successes than the arm's rate gives for the trials, and how many more again the twin metric has.

    `totals` of an arm: trials, successes, and how many more the twin metric has. What a week and a rate
    foretell leaves small numbers, which compress to two thirds of the counts themselves.
    """
    if not table.num_rows:
        return {"first": None, "count": 0, "totals": []}
    dates = table["experiment_date"].cast(pyarrow.date32()).cast(pyarrow.int32()).to_numpy()
    first = int(dates.min())
    days = int(dates.max()) - first + 1
    cells = _places(table, arms) * days + (dates - first)
    shown, other = (compute.equal(table["metric"], name).to_numpy() for name in (metric, twin(metric)))

    def filled(name: str, where: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
        sums = numpy.zeros(len(arms) * days, dtype=numpy.int64)
        # a copy that became the control has a row as either
        numpy.add.at(sums, cells[where], table[name].cast(pyarrow.int64()).to_numpy()[where])
        return sums.reshape(len(arms), days)

    trials, successes = filled("trials", shown), filled("successes", shown)
    more = filled("successes", other) - successes
    totals = [series.sum(axis=1) for series in (trials, successes, more)]

    week_before = numpy.zeros_like(trials)
    week_before[:, 7:] = trials[:, :-7]

    def beside_rate(series: numpy.ndarray[Any, Any], total: numpy.ndarray[Any, Any]) -> pyarrow.Array:
        expected = trials * total[:, None] // numpy.maximum(totals[0], 1)[:, None]
        return pyarrow.array((series - expected).ravel())

    return {
        "first": date.fromordinal(date(1970, 1, 1).toordinal() + first).isoformat(),
        "count": days,
        "totals": [[int(number) for number in arm] for arm in zip(*totals, strict=True)],
        "trials": numbers.add(pyarrow.array((trials - week_before).ravel())),
        "successes": numbers.add(beside_rate(successes, totals[1])),
        "more": numbers.add(beside_rate(more, totals[2])),
    }


def _trend(table: pyarrow.Table, arms: list[dict[str, Any]], numbers: Numbers) -> dict[str, Any]:
    ordered = table.sort_by(
        [("metric", "ascending"), ("copy_id", "ascending"), ("period_start", "ascending")]
    )
    days = ordered["period_days"][0].as_py() if ordered.num_rows else 1
    # days since 1970, which compress better than their text
    starts = ordered["period_start"].cast(pyarrow.date32()).cast(pyarrow.int32()).cast(pyarrow.int64())
    kept = scaled(_replaced(ordered.drop_columns(["period_days"]), "period_start", starts), _TRENDS)
    return {"days": int(days), "rows": _with_arm(kept, arms, _TRENDS, numbers)}


def _segments(table: pyarrow.Table, arms: list[dict[str, Any]], numbers: Numbers) -> dict[str, Any]:
    """The largest, in order of key and size."""
    largest = table.sort_by([("trials", "descending"), ("segment_key", "ascending")]).slice(0, MOST_SEGMENTS)
    ordered = largest.sort_by([("segment_key", "ascending"), ("trials", "descending")])
    return _with_arm(ordered.drop_columns(["metric"]), arms, _SEGMENTS, numbers)


def _versions(
    table: pyarrow.Table, arms: list[dict[str, Any]], counts: Mapping[tuple[str, int], dict[str, int]]
) -> list[dict[str, Any]]:
    """The newest versions of each copy, oldest first, with their texts cut at MOST_CHARACTERS."""
    rows = table.sort_by([("copy_id", "ascending"), ("version_number", "ascending")]).to_pylist()
    newest: dict[str, int] = {row["copy_id"]: int(row["version_number"]) for row in rows}
    places = {arm["id"]: place for place, arm in enumerate(arms)}
    return [
        {
            "arm": places[row["copy_id"]],
            "number": int(row["version_number"]),
            "change": row["change_type"],
            "from": row["valid_from"].isoformat(sep=" ", timespec="minutes"),
            "to": row["valid_to"] and row["valid_to"].isoformat(sep=" ", timespec="minutes"),
            "texts": {name: text[:MOST_CHARACTERS] for name, text in texts_of(row["vars"]).items()},
            "cut": [name for name, text in texts_of(row["vars"]).items() if len(text) > MOST_CHARACTERS],
            "counts": counts.get((row["copy_id"], int(row["version_number"]))),
        }
        for row in rows
        if row["copy_id"] in places and int(row["version_number"]) > newest[row["copy_id"]] - MOST_VERSIONS
    ]
