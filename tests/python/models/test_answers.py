"""Every cell of the marts that compare copies is what plain Python computes from the simulator's truth."""

import math
from typing import Any

import duckdb
import pytest

from support.answers import expected, facts, performance
from support.answers.facts import Row
from support.project import Built, broken, models_in_order, rebuild

KEYS = {
    "variant_performance": ("template_id", "copy_id", "metric", "time_window"),
    "template_performance": ("template_id", "metric", "time_window"),
    "variant_health": ("template_id",),
    "segment_performance": ("template_id", "copy_id", "segment_key", "segment_value"),
    "copy_version_metrics": ("template_id", "copy_id", "content_hash", "delivery_date"),
}

# name: (model, text of its compiled SQL, what replaces it)
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "days before an edit count for a verdict": (
        "int_arm_days",
        "coalesce(arms.experiment_date > arm_edits.last_edit_date, true)",
        "true",
    ),
    "days before an edit of control count for a verdict": (
        "int_arm_days",
        "coalesce(arms.experiment_date > control_edits.last_edit_date, true)",
        "true",
    ),
    "a window ends today": (
        "int_comparison_sums",
        "arm_days.days_before_newest < windows.days",
        "arm_days.days_before_newest <= windows.days",
    ),
    "deliveries of a person are independent": (
        "int_comparisons",
        "coalesce(design_effects.paired_design_effect, 1)",
        "1.0",
    ),
    "all arms are one family": ("int_comparisons", "metric, time_window, arm_type", "metric, time_window"),
    "few sends are enough": ("int_judged_arms", "< min_sends", "< 0"),
    "the worst copy has the first rank": ("variant_performance", "-1 * lift", "lift"),
    "people are split by their last delivery": (
        "int_split_people",
        "first_started_at,",
        "first_started_at desc,",
    ),
    "values of few people are shown": ("int_segments", "people >= 50", "people >= 0"),
    "a segment is compared with all of control": (
        "int_segment_comparisons",
        "and days.segment_value = controls.segment_value",
        "",
    ),
    "a sentence counts people for sends": (
        "variant_performance",
        "cast(arms.verdict_trials as",
        "cast(arms.people as",
    ),
    "a text that returns counts for its first version": (
        "copy_version_metrics",
        "versions.valid_from desc",
        "versions.valid_from asc",
    ),
}

# The same for sentences that say a lift, which need more sends than the simulation has.
MUTATIONS_OF_LIFTS: dict[str, tuple[str, str, str]] = {
    "no sign": ("template_performance", "then '+' else ''", "then '' else ''"),
    "two decimal places": ("variant_performance", "as decimal(18, 1)", "as decimal(18, 2)"),
    "one bound twice": ("variant_performance", "100 * arms.lift_low_anytime", "100 * arms.lift_high_anytime"),
    "the plain lift": ("variant_performance", "100 * arms.verdict_lift", "100 * arms.lift"),
    "opens of all": ("template_performance", " || ' by people'", ""),
    "another beginning": ("variant_performance", "'No difference from control seen yet: '", "'Better: '"),
}


@pytest.fixture(scope="module")
def answers(built: Built) -> dict[str, list[Row]]:
    return expected(built.truth)


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def differences(warehouse: duckdb.DuckDBPyConnection, mart: str, rows: list[Row]) -> list[Any]:
    """Keys that only one of both has, and cells that differ: key, column, value of the mart, expected one."""
    table = warehouse.execute(f"select * from marts.{mart}")
    names = [name for name, *_ in table.description or []]
    shown = [dict(zip(names, row, strict=True)) for row in table.fetchall()]
    found, planned = (
        {tuple(row.get(name) for name in KEYS[mart]): row for row in each} for each in (shown, rows)
    )
    assert len(found) == len(shown) and len(planned) == len(rows)
    return [
        *found.keys() ^ planned.keys(),
        *(
            (key, name, found[key][name], planned[key].get(name))
            for key in found.keys() & planned.keys()
            for name in names
            if not is_same(found[key][name], planned[key].get(name))
        ),
    ]


@pytest.mark.parametrize("mart", KEYS)
def test_every_cell_is_what_the_truth_gives(built: Built, answers: dict[str, list[Row]], mart: str) -> None:
    assert answers[mart]
    with built.connect() as warehouse:
        assert differences(warehouse, mart, answers[mart])[:5] == []


def test_samples_of_people_give_what_the_truth_gives(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms are large enough for a sample of their people, as they are in a million calls."""
    monkeypatch.setattr(facts, "LEAST_PEOPLE", 50)
    sampled = expected(built.truth)
    models = models_in_order(built.target)
    compiled = models["int_person_samples"][2]
    smaller = compiled.replace("44000", "100").replace("22000.0", "50.0")
    assert smaller.count("100") > compiled.count("100") and "22000" not in smaller
    with built.connect() as warehouse:
        warehouse.execute("begin")
        stale = rebuild(warehouse, models, KEYS, "int_person_samples", smaller)
        found = {mart: differences(warehouse, mart, sampled[mart])[:5] for mart in KEYS if mart in stale}
        shares = warehouse.execute("select distinct share from intermediate.int_person_samples").fetchall()
        warehouse.execute("rollback")
    assert len(shares) > 2
    assert len(found) > 3 and not any(found.values()), found


@pytest.fixture(scope="module")
def answers_of_few(built: Built) -> dict[str, list[Row]]:
    """As they are if an arm may have few sends and few people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performance, "has_too_few", lambda *_: False)
        return expected(built.truth)


@pytest.mark.parametrize("mutation", [None, *MUTATIONS_OF_LIFTS])
def test_a_sentence_says_the_lift_and_its_interval(
    built: Built, answers_of_few: dict[str, list[Row]], mutation: str | None
) -> None:
    models, marts = models_in_order(built.target), ("variant_performance", "template_performance")
    if mutation:
        model, rule, other = MUTATIONS_OF_LIFTS[mutation]
        relation, kind, own = models[model]
        assert rule in own
        models[model] = (relation, kind, own.replace(rule, other))
    compiled = models["int_judged_arms"][2]
    of_few = compiled.replace("< min_sends", "< 0").replace("control_people) < 200", "control_people) < 0")
    with built.connect() as warehouse:
        warehouse.execute("begin")
        rebuild(warehouse, models, marts, "int_judged_arms", of_few)
        found = [each for mart in marts for each in differences(warehouse, mart, answers_of_few[mart])]
        warehouse.execute("rollback")
    verdicts = {row["verdict"] for mart in marts for row in answers_of_few[mart]}
    assert "no_difference_yet" in verdicts and "too_few_sends" not in verdicts
    assert {each[1] for each in found} == ({"verdict_sentence"} if mutation else set()), found[:3]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_breaking_a_comparison_is_noticed(built: Built, answers: dict[str, list[Row]], mutation: str) -> None:
    with broken(built, KEYS, MUTATIONS[mutation]) as (warehouse, stale):
        noticed = any(differences(warehouse, mart, answers[mart]) for mart in KEYS if mart in stale)
    assert noticed, f"{MUTATIONS[mutation]} changed no mart"
