"""The simulation's truth agrees with itself; the warehouse is compared with it elsewhere."""

import hashlib
import json
from pathlib import Path

from scripts.simulate import world
from scripts.simulate.command import simulate
from support.simulated import START, cases, rows, value


def test_content_hashes_and_keys_are_as_defined(small: Path) -> None:
    for template, text, digest in rows(
        small, "select distinct template_id, vars, content_hash from fct_calls"
    ):
        assert hashlib.md5(f"{template}\n{text}".encode()).hexdigest() == digest
        assert world.canonical(json.loads(text)) == text
    ids = "select journey_id, action_id, delivery_key from fct_deliveries"
    for journey, action, key in rows(small, f"{ids} where journey_id is not null and action_id is not null"):
        quoted = journey.replace("\\", "\\\\").replace('"', '\\"')
        assert hashlib.md5(f'"{quoted}","{action}"'.encode()).hexdigest() == key


def test_a_delivery_ends_with_its_last_call(large: Path) -> None:
    """R2 by another way than the plan's: sort the calls of each delivery by the rule."""
    disagreeing = value(large, """
        select count(*) from fct_deliveries d join (
            select * from fct_calls where journey_id is not null and action_id is not null
            qualify row_number() over (
                partition by journey_id, action_id
                order by event_timestamp desc, content_hash desc, copy_id desc, attrs desc,
                    user_id desc nulls last, campaign_id desc nulls last) = 1
        ) c using (journey_id, action_id)
        where (d.copy_id, d.content_hash, d.attrs) <> (c.copy_id, c.content_hash, c.attrs)
            or d.user_id is distinct from c.user_id or d.campaign_id is distinct from c.campaign_id
            or epoch(d.last_called_at) <> c.event_timestamp
    """)  # fmt: skip
    assert disagreeing == 0
    assert value(large, "select count(*) from fct_deliveries where copy_conflict") > 500


def test_versions_are_chained_and_hold_what_was_called(large: Path) -> None:
    broken = value(large, """
        select count(*) from (
            select *, lead(valid_from) over w as next_from, lead(content_hash) over w as next_hash,
                row_number() over w as place
            from dim_copy_variants window w as (partition by copy_id order by version_number)
        )
        where valid_to is distinct from next_from or valid_to <= valid_from or content_hash = next_hash
            or place <> version_number or is_current <> (valid_to is null)
    """)  # fmt: skip
    assert broken == 0
    strays = value(large, """
        select count(*) from fct_calls c join dim_copy_variants v on v.copy_id = c.copy_id
            and epoch(v.valid_from) <= c.event_timestamp
            and (v.valid_to is null or c.event_timestamp < epoch(v.valid_to))
        where v.content_hash <> c.content_hash
    """)  # fmt: skip
    assert 0 < strays <= cases(large)["stray_content"] * 2
    assert value(large, "select count(*) from dim_copy_variants_current") == value(
        large, "select count(distinct copy_id) from fct_calls"
    )


def test_sums_agree(large: Path) -> None:
    daily, cohort = "copy_metrics_daily", "copy_cohort_metrics_daily"
    for mart in (daily, cohort):
        assert value(large, f"select sum(served) from {mart}") == value(
            large, "select count(*) from fct_deliveries"
        )
        assert value(large, f"select sum(api_calls) from {mart}") == 20_000
    columns = ", ".join(f"sum({m}), sum({m}_events)" for m in world.METRICS)
    assert rows(
        large, f"select copy_id, sum(served), {columns} from {daily} group by all order by all"
    ) == rows(large, f"select copy_id, sum(served), {columns} from {cohort} group by all order by all")
    for metric in world.METRICS:
        named = metric.removeprefix("human_")
        which = f"counts and counts_as = '{named}'" + (" and not is_machine" if metric != named else "")
        facts = f"select count(*) from fct_engagement_events where {which}"
        controls = [template.control_template for template in world.TEMPLATES if template.control_template]
        of_control_template = f"""
            select count(*) from (select unnest({controls}) as template_id)
            join fct_deliveries using (template_id)
            join (from fct_engagement_events where {which}) using (delivery_key)
        """
        for mart, expected in (
            (daily, f"{facts} and delivery_key is not null"),
            (
                "control_metrics_daily",
                f"select ({facts} and match_method = 'control') + ({of_control_template})",
            ),
        ):
            assert value(large, f"select sum({metric}_events) from {mart}") == value(large, expected), (
                mart,
                metric,
            )
            assert value(large, f"select bool_and({metric} <= {metric}_events) from {mart}"), (mart, metric)
        together = f"select count(distinct delivery_key) from fct_engagement_events where {which}"
        assert value(large, f"select sum({metric}) from {cohort}") == value(large, together)


def test_why_an_event_does_not_count_is_always_said(large: Path) -> None:
    wrong = """
        select count(*) from fct_engagement_events
        where counts <> (uncounted_reason is null)
            or (match_method is null) <> (unmatched_reason is not null)
            or coalesce(uncounted_reason = 'unmatched', false) <> (match_method is null)
            or (match_method = 'control') <> (control_template_id is not null)
            or (delivery_key is null) <> (copy_id is null)
            or counts and counts_as is null
    """
    assert value(large, wrong) == 0
    assert value(large, "select count(*) from fct_engagement_events") == value(
        large, "select count(*) from (select distinct event_id, event_date from fct_engagement_events)"
    )


def test_days_and_persons_do_to_the_rates_what_the_truth_says(tmp_path: Path) -> None:
    """In the app every open is a person's, and its chance is the base rate times the three effects."""
    simulate(tmp_path, 30_000, 14, 1, START, drift=1.5, person_effect=0.3)
    opens = """
        with unit as (
            select unit_date, copy_id, list_contains(outcomes, 'human_opened')::int as opened,
                substr(person, 2) as user_id
            from experiment_units where template_id = 'feature-inapp' and list_contains(outcomes, 'reached')
        ),
        expected as (
            select opened, 0.4 * effect * d.factor * coalesce(p.factor, 1) as chance,
                ntile(4) over (order by d.factor) as days, ntile(4) over (order by p.factor) as persons
            from unit
            join copy_effects using (copy_id)
            join day_effects d on d.date = unit_date
            join person_effects p using (user_id)
        )
        select count(*), sum(opened), sum(chance), sum(chance * (1 - chance))
        from expected group by grouping sets ((days), (persons)) order by all
    """
    for n, opened, expected, variance in rows(tmp_path, opens):
        assert n > 250
        assert abs(opened - expected) < 4 * variance**0.5
    ends = value(tmp_path, "select arg_max(factor, date) / arg_min(factor, date) from day_effects")
    assert abs(ends - 1.5) < 1e-9
    lowest, highest = rows(tmp_path, "select min(factor), max(factor) from person_effects")[0]
    assert 0.7 <= lowest < 0.71 and 1.29 < highest <= 1.3


def test_without_effects_all_days_and_persons_are_alike(small: Path) -> None:
    assert value(small, "select count(*) from day_effects where factor = 1") == 14
    assert value(small, "select count(*) from person_effects") == 0
