"""The simulated world: its templates, its traffic, and every hard case."""

import csv
from pathlib import Path

from scripts.simulate import command as simulator
from scripts.simulate import world
from scripts.simulate.scenarios import scenarios
from scripts.simulate.source_calls import STORIES
from support.project import PROJECT
from support.simulated import cases, rows


def test_the_sample_seeds_are_the_simulated_templates() -> None:
    def seed(name: str) -> list[list[str]]:
        with (PROJECT / f"scripts/simulate/sample_seeds/{name}.csv").open(newline="") as file:
            return list(csv.reader(file))[1:]

    assert seed("template_settings") == [[str(field) for field in row] for row in world.settings_rows()]
    actions = [["" if field is None else str(field) for field in row] for row in world.ACTIONS]
    assert seed("template_actions") == actions


def test_every_scenario_says_which_call_counts() -> None:
    for scenario in scenarios():
        for number in range(len(scenario.deliveries)):
            calls = [call for call in scenario.calls if call.delivery == number]
            final = [call for call in calls if call.final]
            assert final, scenario.name
            assert len(final) == 1 or all(call.tie for call in final), scenario.name
            assert len({(call.lo, call.hi) for call in final}) == 1, scenario.name
            assert all(call.hi < final[0].lo for call in calls if not call.final), scenario.name
        for message in scenario.messages:
            stated = [message.owner is not None, message.control is not None, message.reason is not None]
            assert sum(stated) == 1, scenario.name
            assert (message.method is None) == (message.owner is None), scenario.name


def test_the_bandit_moves_traffic_and_leaves_control_its_share(large: Path) -> None:
    share = """
        select sum(api_calls) filter (copy_id = (
            select copy_id from dim_copy_variants_current where subject like 'Warm%welcome%'))
            / sum(api_calls),
            sum(api_calls) filter (is_control) / sum(api_calls)
        from copy_metrics_daily where template_id = 'welcome-email' and metric_date between {} and {}
    """
    best_before, control_before = rows(large, share.format("'2026-01-01'", "'2026-01-03'"))[0]
    best_after, control_after = rows(large, share.format("'2026-01-12'", "'2026-01-14'"))[0]
    assert best_after > 2 * best_before
    assert 0.1 < control_before < 0.25 and 0.1 < control_after < 0.25


def test_better_copies_do_better(large: Path) -> None:
    treatment, control = rows(large, """
        select sum(human_opened) / sum(reached) from copy_cohort_metrics_daily
        where template_id = 'welcome-email' group by is_control order by is_control
    """)  # fmt: skip
    assert treatment[0] > 1.1 * control[0]


def test_rates_are_plausible(large: Path) -> None:
    delivered, opened, machine, clicked, converted = rows(large, """
        select sum(delivered) / sum(sent), sum(human_opened) / sum(delivered),
            (sum(opened) - sum(human_opened)) / sum(delivered), sum(human_clicked) / sum(delivered),
            sum(converted) / sum(delivered)
        from copy_cohort_metrics_daily where template_id in ('welcome-email', 'plan-nudge')
    """)[0]  # fmt: skip
    assert 0.94 < delivered < 0.99
    assert 0.25 < opened < 0.45
    assert 0.08 < machine < 0.3
    assert 0.02 < clicked < 0.08
    assert 0.01 < converted < 0.05
    events, calls = rows(large, "select lines from lines order by dataset")
    assert 2 < events[0] / calls[0] < 3


METHODS = ("direct", "action_map", "parent_direct", "parent_map", "delivery_id", "control")
REASONS = (
    *("no_journey_id", "no_action_id", "no_call_in_journey"),
    *("call_out_of_range", "action_not_mapped", "map_disagrees"),
)
HELD_BACK = (
    *("anonymous_identify", "merged_with_itself", "missing_object_id", "missing_token", "no_identifier"),
    *("switched_off", "too_many_attributes", "unknown_metric", "value_too_long"),
)
JUNK = [
    f"junk {dataset} {reason or 'blank'}"
    for dataset, kinds in simulator.junk.JUNK.items()
    for _, reason in kinds
]
PLANNED = {
    **dict.fromkeys((scenario.name for scenario in scenarios()), 10),
    **{f"tie_{kind}": 24 for kind in ("copy", "twin", "attrs", "user", "campaign", "late", "three")},
    **dict.fromkeys(("shared_message_tie", "reentry_same_second", "edit_instant", "stray_content"), 24),
    "rival accused": 12,
    "rival denied": 12,
    "call delivered again": 100,
    "call delivered again in its hour": 30,
    "call weeks late": 100,
    "event delivered again": 400,
    "event contradicted": 100,
    "event weeks late": 300,
    "event of a webhook": 1_000,
    "event of a person": 15,
    "event of a customer": 60,
    "event of a legacy": 40,
    "event of a newsletter": 100,
    "event of a transactional": 100,
    "event of a broadcast": 100,
    "events strip_first": 100,
    "events strip_later": 100,
    "events campaign_first": 100,
    "events wrong_action_first": 100,
    "events wrong_campaign_first": 30,
    "outside_window": 100,
    "second_day": 15,
    "metric email forwarded": 10,
    "metric slack opened": 1,
    "metric email drafted": 10,
    "metric email suppressed": 10,
    "version created": 40,
    "version edited": 10,
    "version reverted": 8,
    **dict.fromkeys(("method " + name for name in METHODS), 100),
    **dict.fromkeys(("method " + name for name in REASONS), 40),
    **dict.fromkeys(JUNK, 3),
    **{f"source call {story.__name__}": 5 for story in STORIES},
    **dict.fromkeys((f"source call {reason}" for reason in HELD_BACK), 1),
    **dict.fromkeys(
        (f"source call {what}" for what in ("weeks late", "of a wrong clock", "delivered again")), 3
    ),
}


def test_every_hard_case_is_there(large: Path) -> None:
    found = cases(large)
    assert {name: found.get(name, 0) for name, least in PLANNED.items() if found.get(name, 0) < least} == {}


def test_most_hard_cases_are_there_in_a_small_world(small: Path) -> None:
    found = cases(small)
    missing = [name for name in PLANNED if not found.get(name)]
    assert len(missing) < 0.03 * len(PLANNED), missing
