"""What every fact must show after a simulation, and the sums for the marts, from the plan chunk by chunk.

Facts go straight to Parquet; marts are kept as partial sums, because each journey is in one chunk, until
`scripts.simulate.marts` merges them.
"""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from scripts.simulate import experiments

FACTS = ("fct_calls", "fct_deliveries", "fct_engagement_events", "experiment_units")

FACT_SQL = {
    "fct_calls": """
        select c.instant as event_timestamp, c.user_id, c.campaign::bigint as campaign_id,
            c.action::bigint as action_id, c.journey as journey_id, c.copy_id, c.template_id,
            v.canonical as vars, p.canonical as attrs, c.content_hash
        from call_plan c
        join version v using (version_no)
        join (select person_no, canonical from person where rendering = 0) p using (person_no)
        order by c.call_no
    """,
    "fct_deliveries": """
        select delivery_key, journey as journey_id, action::bigint as action_id,
            campaign::bigint as campaign_id, template_id, copy_id, content_hash, user_id,
            day_of(last_at) as delivery_date,
            at_utc(first_at) as first_called_at, at_utc(last_at) as last_called_at,
            calls::bigint as call_count, conflict as copy_conflict, attrs
        from delivery_plan order by delivery_no
    """,
    "fct_engagement_events": """
        select ulid(id_ms, any_hash(id_no, 'event id')) as event_id, day_of(instant) as event_date,
            at_utc(instant) as event_at, channel, metric, counts_as,
            cio_delivery_id(message_no) as delivery_id, journey as journey_id, action::bigint as action_id,
            parent::bigint as parent_action_id, campaign::bigint as campaign_id, user_id, href, is_machine,
            conversion_value::decimal(18, 4) as conversion_value, delivery_key, copy_id,
            control as control_template_id, method as match_method,
            case when method is null then reason end as unmatched_reason, uncounted is null as counts,
            uncounted as uncounted_reason
        from event_plan order by event_no
    """,
    "experiment_units": experiments.UNIT_FACTS,
}

ADD_UP = {
    "version_start": """
        select copy_no, version_no, min(instant) as first_at,
            -- a content that loses in the second of the edit is visible from the next call on
            min(instant) filter (instant > from_at) as first_after,
            min(instant) filter (not forced) as first_unforced, bool_or(forced) as forced
        from call_plan group by all
    """,
    "day_calls": "select day_of(instant) as day, copy_no, count(*) as n from call_plan group by all",
    "day_served": """
        select day_of(last_at) as day, copy_no, count(*) as n, sum(calls) as calls
        from delivery_plan group by all
    """,
    "day_metric": """
        with first as (
            select copy_no, delivery_no, metric, min(day_of(instant)) as day from counted
            where delivery_no is not null group by all
        )
        select day, copy_no, metric, sum(uniques) as uniques, sum(events) as events, sum(value) as value
        from (
            select day, copy_no, metric, 1 as uniques, 0 as events, null as value from first
            union all
            select day_of(instant), copy_no, metric, 0, 1, value from counted where delivery_no is not null
        ) group by all
    """,
    "day_link": """
        select day_of(instant) as day, copy_no, link,
            count(distinct delivery_no) filter (metric = 'clicked') as clicked,
            count(*) filter (metric = 'clicked') as clicked_events,
            count(distinct delivery_no) filter (metric = 'human_clicked') as human_clicked,
            count(*) filter (metric = 'human_clicked') as human_clicked_events
        from counted where delivery_no is not null and metric in ('clicked', 'human_clicked') group by all
    """,
    "cohort_metric": """
        select day_of(d.last_at) as day, d.copy_no, c.metric, count(distinct c.delivery_no) as uniques,
            count(*) as events, sum(c.value) as value
        from counted c join delivery_plan d using (delivery_no) group by all
    """,
    "cohort_reached": """
        select day_of(d.last_at) as day, d.copy_no, count(distinct c.delivery_no) as n
        from counted c join delivery_plan d using (delivery_no) where c.reaches group by all
    """,
    "control_metric": """
        select day_of(first_at) as day, control, metric, count(distinct message_no) as uniques,
            count(*) as events, sum(value) as value
        from counted where control is not null group by all
        union all
        select day_of(a.last_at), a.control, c.metric, count(distinct c.delivery_no), count(*), sum(c.value)
        from counted c join control_arm a using (delivery_no) group by all
    """,
    "control_reached": """
        select day_of(first_at) as day, control, count(distinct message_no) as n
        from counted where control is not null and reaches group by all
        union all
        select day_of(a.last_at), a.control, count(distinct c.delivery_no)
        from counted c join control_arm a using (delivery_no) where c.reaches group by all
    """,
    "day_cell": """
        with contribution as (
            select day_of(last_at) as day, copy_no, delivery_no from delivery_plan
            union all
            select day_of(instant), copy_no, delivery_no from call_plan
            union all
            select day_of(instant), copy_no, delivery_no from counted where delivery_no is not null
        )
        select c.day, c.copy_no, max(row(d.last_at, d.delivery_key)) as latest,
            arg_max({'template': d.template_id, 'campaign': d.campaign},
                row(d.last_at, d.delivery_key)) as ids
        from (select distinct * from contribution) c join delivery_plan d using (delivery_no) group by all
    """,
    "cohort_cell": """
        select day_of(last_at) as day, copy_no, max(row(last_at, delivery_key)) as latest,
            arg_max({'template': template_id, 'campaign': campaign}, row(last_at, delivery_key)) as ids
        from delivery_plan group by all
    """,
    "person_seen": "select max(user_no) as user_no from story",
    "scenario_seen": "select name, count(*) as n from story join scenario using (scenario_no) group by all",
    "variant_seen": """
        select 'events ' || lacks as name, count(*) as n from event_plan where lacks <> 'none' group by all
        union all select 'outside_window', count(*) from event_plan where uncounted = 'outside_window'
        union all select 'second_day', count(*) from event_plan where event_no <> id_no
        union all select 'stray_content', count(*) from call_plan where forced
        union all select 'rival ' || flags, count(*) from event_plan
            where flags in ('accused', 'denied') group by all
        union all select 'machine', count(*) from event_plan where is_machine
        union all select 'metric ' || channel || ' ' || metric, count(*) from event_plan group by all
        union all select 'method ' || coalesce(method, reason), count(*) from event_plan group by all
    """,
}

COUNTED = """
create temp table counted as
select delivery_no, message_no, control, copy_no, instant, first_at, link, user_id,
    conversion_value as value,
    unnest(case
        when counts_as in ('opened', 'clicked') and not is_machine then [counts_as, 'human_' || counts_as]
        else [counts_as] end) as metric,
    counts_as = case when channel in ('in_app', 'slack') then 'sent' else 'delivered' end as reaches
from event_plan where uncounted is null
"""

# The deliveries that are the control arm of another template.
CONTROL_ARM = """
create or replace temp view control_arm as
select d.delivery_no, d.last_at, t.name as control
from delivery_plan d join template t on t.control_template = d.template_id
"""


class Facts:
    """The open Parquet files of the fact tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, pq.ParquetWriter] = {}

    def add(self, con: duckdb.DuckDBPyConnection) -> None:
        """Append the chunk's rows."""
        for name in FACTS:
            rows = con.sql(FACT_SQL[name]).to_arrow_table()
            if name not in self.writers:
                self.writers[name] = pq.ParquetWriter(
                    self.folder / f"{name}.parquet", rows.schema, compression="zstd"
                )
            self.writers[name].write_table(rows)

    def close(self) -> None:
        """Close the files; until then they are not readable Parquet."""
        for writer in self.writers.values():
            writer.close()


def add_up(con: duckdb.DuckDBPyConnection) -> None:
    """Add the chunk's sums to the tables that `marts.finish` merges."""
    con.execute("drop table if exists counted")
    con.execute(COUNTED)
    con.execute(CONTROL_ARM)
    for name, query in ADD_UP.items():
        con.execute(f"create table if not exists sum_{name} as select * from ({query}) limit 0")
        con.execute(f"insert into sum_{name} {query}")
    experiments.add_up(con)
