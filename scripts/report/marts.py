"""What the report reads from the warehouse, on DuckDB or Snowflake; no other module of the report asks it.

Every number of the page is one of these tables' or a share or sum of them: statistics are the marts' work.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow
import pyarrow.compute as compute

from scripts.answers import answers
from scripts.report.words import METRICS, twin

# The metric that a template's days are shown of where its settings name none.
DEFAULT_METRIC = "human_clicked"


@dataclass(frozen=True)
class Marts:
    """The tables behind the page, each with the columns that its query in QUERIES names."""

    names: pyarrow.Table
    templates: pyarrow.Table
    copies: pyarrow.Table
    days: pyarrow.Table
    trends: pyarrow.Table
    segments: pyarrow.Table
    health: pyarrow.Table
    versions: pyarrow.Table
    version_counts: pyarrow.Table
    landings: pyarrow.Table
    rejects: pyarrow.Table
    lags: pyarrow.Table
    campaigns: pyarrow.Table


_TWINS = " ".join(f"when '{metric}' then '{twin(metric)}'" for metric in METRICS)
# Each template with the metric that its days are shown of.
_SHOWN = f"""
    select template_id, coalesce(max(case when is_key_metric then metric end), '{DEFAULT_METRIC}') as metric
    from {{marts}}.template_performance
    group by template_id
"""

QUERIES = {
    "names": "select template_id, name from {marts}.dim_templates",
    "templates": """
        select
            template_id, metric, time_window, is_key_metric, trials, control_trials, lift, lift_low,
            lift_high,
            p_value, reason, verdict, verdict_sentence, verdict_lift, lift_low_anytime, lift_high_anytime,
            p_value_anytime
        from {marts}.template_performance
        """,
    "copies": """
        select
            template_id, copy_id, is_control, metric, time_window, units, trials, successes,
            comparable_rate, lift, lift_low, lift_high, p_value, p_value_holm, lift_rank, pooled_lift,
            probability_beats_control, probability_best, reason, verdict, verdict_sentence, verdict_lift,
            lift_low_anytime, lift_high_anytime, p_value_anytime, p_value_anytime_holm, verdict_from,
            verdict_through
        from {marts}.variant_performance
        """,
    "days": f"""
        with shown as ({_SHOWN})
        select
            days.template_id, days.copy_id, days.is_control, days.metric, days.experiment_date, days.trials,
            days.successes
        from {{marts}}.experiment_daily as days
        inner join shown
            on days.template_id = shown.template_id
            and days.metric in (shown.metric, case shown.metric {_TWINS} end)
        """,
    "trends": f"""
        with shown as ({_SHOWN})
        select
            trends.template_id, trends.copy_id, trends.is_control, trends.metric, trends.period_start,
            trends.period_days, trends.comparable_rate, trends.comparable_rate_low,
            trends.comparable_rate_high
        from {{marts}}.variant_trend as trends
        inner join shown
            on trends.template_id = shown.template_id
            and trends.metric in (shown.metric, case shown.metric {_TWINS} end)
        """,
    "segments": f"""
        with shown as ({_SHOWN})
        select
            segments.template_id, segments.copy_id, segments.segment_key, segments.segment_value,
            segments.metric,
            segments.trials, segments.successes, segments.control_trials, segments.lift, segments.lift_low,
            segments.lift_high, segments.q_value
        from {{marts}}.segment_performance as segments
        inner join shown on segments.template_id = shown.template_id and segments.metric = shown.metric
        where segments.segment_key is not null
        """,
    "health": """
        select
            template_id, control_split, control_share, split_units, split_control_units,
            observed_control_share,
            split_p_value_anytime, split_status, people_sampled, crossover_share, crossover_status,
            edits_while_serving, versions_under_an_hour, match_rate, days_without_control
        from {marts}.variant_health
        """,
    "versions": """
        select template_id, copy_id, version_number, vars, change_type, valid_from, valid_to
        from {marts}.dim_copy_variants
        """,
    "version_counts": """
        select
            copy_id, version_number, cast(sum(served) as bigint) as served,
            cast(sum(human_opened) as bigint) as human_opened,
            cast(sum(human_clicked) as bigint) as human_clicked, cast(sum(converted) as bigint) as converted
        from {marts}.copy_version_metrics
        where version_number is not null
        group by copy_id, version_number
        """,
    "landings": """
        select
            dataset, cast(sum(row_count) as bigint) as row_count,
            cast(sum(reject_count) as bigint) as reject_count,
            max(loaded_at) as landed_at
        from {staging}.landed_files
        group by dataset
        """,
    "rejects": """
        select dataset, reason, cast(sum(reject_count) as bigint) as reject_count
        from {audit}.audit_rejects
        group by dataset, reason
        """,
    "lags": """
        select dataset, bucket_number, arrival_lag, cast(sum(row_count) as bigint) as row_count
        from {audit}.audit_arrival_lag
        group by dataset, bucket_number, arrival_lag
        """,
    "campaigns": """
        select
            campaign_id, cast(sum(event_count) as bigint) as event_count,
            sum(event_count * match_rate) / sum(event_count) as match_rate
        from {audit}.audit_match_rate
        where is_expected
        group by campaign_id
        """,
}
"""The query behind each table of Marts, with {schema} for the schema of a layer."""


def read(
    project_dir: Path, profiles_dir: Path | None, target: str | None, advance: Callable[[int], None]
) -> Marts:
    """Read all tables through the profile; `advance` is called after each.

    Raises:
        UserError: the warehouse cannot be opened, or lacks a table or a column that the report needs.
    """
    with answers(project_dir, profiles_dir, target, "report") as answer:
        found = {}
        for field in fields(Marts):
            found[field.name] = answer(QUERIES[field.name])
            advance(1)
    return Marts(**found)


def with_estimate(table: pyarrow.Table) -> pyarrow.Table:
    """Return a table of comparisons with one estimate per row: `lift`, `low`, `high` and `p`.

    Over all days these are the verdict's, whose interval and p value hold at every look; over the shorter
    windows the plain ones. The p value is Holm-adjusted where the table compares several copies.
    """
    is_all = compute.equal(table["time_window"], "all")
    holm = "_holm" if "p_value_holm" in table.column_names else ""
    pairs = {
        "lift": ("verdict_lift", "lift"),
        "low": ("lift_low_anytime", "lift_low"),
        "high": ("lift_high_anytime", "lift_high"),
        "p": (f"p_value_anytime{holm}", f"p_value{holm}"),
    }
    found = {name: compute.if_else(is_all, table[one], table[other]) for name, (one, other) in pairs.items()}
    dropped = {name for pair in pairs.values() for name in pair} | {"p_value", "p_value_anytime"}
    kept = table.select([name for name in table.column_names if name not in dropped])
    for name, values in found.items():
        kept = kept.append_column(name, values)
    return kept
