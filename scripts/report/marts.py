"""What the report reads from the warehouse, on DuckDB or Snowflake; no other module of the report asks it.

Every number of the page is one of these tables' or a share or sum of them: statistics are the marts' work.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.compute as compute

from scripts import warehouse
from scripts.errors import UserError
from scripts.report.words import METRICS, twin
from scripts.snowflake import account
from scripts.snowflake.names import identifier

# The metric that a template's days are shown of where its settings name none.
DEFAULT_METRIC = "human_clicked"
# Snowflake's errors for an object that does not exist, or is not for this role, and for an unknown column.
_LACKING = (2003, 904)
_ROWS_AT_ONCE = 100_000
# Snowflake's types of the columns that the report reads; others come as text.
_ARROW_TYPES = {
    "REAL": pyarrow.float64(),
    "DATE": pyarrow.date32(),
    "BOOLEAN": pyarrow.bool_(),
    "TIMESTAMP_NTZ": pyarrow.timestamp("us"),
}


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
    "names": "select template_id, name from {staging}.template_settings",
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
    with _opened(project_dir, profiles_dir, target) as ask:
        found = {}
        for field in fields(Marts):
            found[field.name] = plain(ask(QUERIES[field.name]))
            advance(1)
    return Marts(**found)


def plain(table: pyarrow.Table) -> pyarrow.Table:
    """Return the table with whole numbers as int64 and others as float64: engines give other types each."""
    kinds = pyarrow.types

    def kind(given: pyarrow.DataType) -> pyarrow.DataType:
        if kinds.is_integer(given) or (kinds.is_decimal(given) and given.scale == 0):
            return pyarrow.int64()
        if kinds.is_decimal(given) or kinds.is_floating(given):
            return pyarrow.float64()
        if kinds.is_large_string(given) or kinds.is_null(given):
            return pyarrow.string()
        return given

    return table.cast(pyarrow.schema([(field.name, kind(field.type)) for field in table.schema]))


@contextmanager
def _opened(
    project_dir: Path, profiles_dir: Path | None, target: str | None
) -> Iterator[Callable[[str], pyarrow.Table]]:
    """Yield a function that answers a query of QUERIES with its rows."""
    if warehouse.kind(project_dir, profiles_dir, target) == "snowflake":
        with _opened_snowflake(project_dir, profiles_dir, target) as ask:
            yield ask
        return
    connection = warehouse.connect(project_dir, profiles_dir, target, read_only=True)

    def answer(query: str) -> pyarrow.Table:
        try:
            return connection.sql(
                query.format(staging="staging", marts="marts", audit="audit")
            ).to_arrow_table()
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise _not_built(error) from error

    try:
        connection.execute("set TimeZone = 'UTC'")
        yield answer
    finally:
        connection.close()


@contextmanager
def _opened_snowflake(
    project_dir: Path, profiles_dir: Path | None, target: str | None
) -> Iterator[Callable[[str], pyarrow.Table]]:
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    production = str(warehouse.project_vars(project_dir)["production_schema"])
    schemas = {
        layer: identifier(warehouse.layer_schema(settings, layer, production), "schema")
        for layer in ("staging", "marts", "audit")
    }
    session = warehouse.connect_snowflake(project_dir, profiles_dir, target, "report")

    def answer(query: str) -> pyarrow.Table:
        named = query.format(**schemas)
        try:
            with account.explained(named), session.cursor() as cursor:
                return _fetched(cursor.execute(named))
        except UserError as error:
            if getattr(error.__cause__, "errno", None) in _LACKING:
                raise _not_built(error.__cause__) from error
            raise

    try:
        yield answer
    finally:
        session.close()


def _fetched(cursor: Any) -> pyarrow.Table:
    """The rows of a Snowflake cursor. The connector's own Arrow tables need pandas."""
    schema = pyarrow.schema([(column.name.lower(), _arrow_type(column)) for column in cursor.description])
    batches = []
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        columns = zip(*rows, strict=True)
        arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        batches.append(pyarrow.record_batch(arrays, schema=schema))
    return pyarrow.Table.from_batches(batches, schema)


def _arrow_type(column: Any) -> pyarrow.DataType:
    # imported here because the connector takes half a second, which DuckDB targets should not
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    name = FIELD_ID_TO_NAME[column.type_code]
    if name == "FIXED":
        return pyarrow.decimal128(38, column.scale) if column.scale else pyarrow.int64()
    return _ARROW_TYPES.get(name, pyarrow.string())


def _not_built(error: Any) -> UserError:
    return UserError(
        "the warehouse lacks a table or a column that the report needs: run `dbt build`, or `dbt build "
        f"--full-refresh` after an update of copymart ({str(error).strip().splitlines()[0]})"
    )


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
