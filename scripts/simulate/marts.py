"""What every mart must show after a simulation, from the sums of all chunks.

The start of a copy's version needs all of them.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.simulate import experiments
from scripts.simulate.files import Reject
from scripts.simulate.world import METRICS

RATES = ("open", "human_open", "click", "human_click", "conversion", "unsubscribe")
NUMERATORS = dict(
    zip(
        RATES,
        ("opened", "human_opened", "clicked", "human_clicked", "converted", "unsubscribed"),
        strict=True,
    )
)


def finish(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    rejects: list[Reject],
    lines: dict[str, int],
    source_cases: dict[str, int],
) -> None:
    """Write the truth of all marts but the facts; `source_cases`: the hard cases of source calls."""
    con.execute(VERSIONS)
    con.execute(DAILY.format(metrics=metric_columns("m")))
    con.execute(COHORT.format(metrics=metric_columns("m"), rates=rate_columns()))
    con.execute(CONTROL.format(metrics=metric_columns("m"), rates=rate_columns()))
    con.execute(LINKS)
    experiments.finish(con)
    con.execute(EFFECTS)
    con.execute("create temp table source_case (name varchar, n bigint)")
    con.executemany("insert into source_case values (?, ?)", list(source_cases.items()))
    con.execute(HARD_CASES)
    marts = {
        "dim_copy_variants": "order by copy_id, version_number",
        "dim_copy_variants_current": "order by copy_id",
        "copy_metrics_daily": "order by metric_date, copy_id",
        "copy_cohort_metrics_daily": "order by delivery_date, copy_id",
        "control_metrics_daily": "order by delivery_date, template_id",
        "link_clicks_daily": "order by metric_date, copy_id, href",
        "experiment_daily": "order by template_id, copy_id, experiment_date, metric",
        "copy_effects": "order by copy_id",
        "day_effects": "order by date",
        "person_effects": "order by user_id",
        "hard_cases": "order by name",
    }
    for name, order in marts.items():
        pq.write_table(con.sql(f"select * from {name} {order}").to_arrow_table(), folder / f"{name}.parquet")
    texts = {name: pa.string() for name in ("dataset", "file", "raw", "reason")}
    schema = pa.schema(
        [(name, texts.get(name, pa.int64())) for name in ("dataset", "file", "line", "raw", "reason")]
    )
    ordered = sorted(rejects, key=lambda reject: (reject.dataset, reject.file, reject.line))
    pq.write_table(
        pa.Table.from_pylist([vars(reject) for reject in ordered], schema), folder / "rejects.parquet"
    )
    pq.write_table(
        pa.table({"dataset": list(lines), "lines": [lines[name] for name in lines]}), folder / "lines.parquet"
    )


def metric_columns(alias: str) -> str:
    """Two columns for each metric, unique units and events, and the value of all conversions."""
    value = f", coalesce(sum({alias}.value), 0)::decimal(38, 4) as conversion_value"
    counts = ", ".join(
        f"coalesce(sum({alias}.uniques) filter ({alias}.metric = '{m}'), 0)::bigint as {m}, "
        f"coalesce(sum({alias}.events) filter ({alias}.metric = '{m}'), 0)::bigint as {m}_events"
        for m in METRICS
    )
    return counts + value


def rate_columns() -> str:
    """One column for each rate, null where its denominator is zero."""
    rates = ["delivered / nullif(sent, 0)::double as delivery_rate"]
    rates += [f"{NUMERATORS[rate]} / nullif(reached, 0)::double as {rate}_rate" for rate in RATES]
    return ", ".join(rates)


VERSIONS = """
create temp table dim_copy_variants as
with started as (
    select copy_no, version_no, min(first_at) as first_at, min(first_after) as first_after,
        min(first_unforced) as first_unforced, bool_or(forced) as forced
    from sum_version_start group by all
),
-- At a disputed edit, two contents are logged in one second: the one with the greater hash was served.
edge as (
    select s.*, v.k, v.content_hash, v.canonical, v.template_id, v.from_at,
        coalesce(n.content_hash > v.content_hash, false) as loses_last,
        coalesce(p.forced and b.content_hash > v.content_hash, false) as loses_first
    from started s
    join version v using (version_no)
    left join version n on n.copy_no = v.copy_no and n.k = v.k + 1
    left join version b on b.copy_no = v.copy_no and b.k = v.k - 1
    left join started p on p.version_no = b.version_no
),
seen as (
    select *, case when loses_first then first_after when loses_last then first_unforced
        else first_at end as instant
    from edge
    where instant is not null
),
changed as (
    select *, lag(content_hash) over (partition by copy_no order by k) as before_hash from seen
),
numbered as (
    select *, row_number() over w as version_number, lead(instant) over w as until,
        list(content_hash) over (
            partition by copy_no order by k rows between unbounded preceding and 1 preceding) as earlier
    from changed where before_hash is distinct from content_hash
    window w as (partition by copy_no order by k)
)
select md5(field(copy_id) || ',' || field(instant)) as version_key, copy_id,
    version_number::bigint as version_number, template_id, content_hash,
    canonical ->> '$.subject' as subject, canonical ->> '$.preheader' as preheader,
    canonical ->> '$.body' as body, canonical as vars,
    case when version_number = 1 then 'created' when list_contains(earlier, content_hash) then 'reverted'
        else 'edited' end as change_type,
    at_utc(instant) as valid_from, at_utc(until) as valid_to, until is null as is_current
from numbered join copy using (copy_no);

create temp table dim_copy_variants_current as
select * exclude (valid_to, is_current) from dim_copy_variants where is_current
"""

DAILY = """
create temp table copy_metrics_daily as
with cell as (select day, copy_no, arg_max(ids, latest) as ids from sum_day_cell group by all),
m as (select day, copy_no, {metrics} from sum_day_metric m group by all),
api as (select day, copy_no, sum(n)::bigint as n from sum_day_calls group by all),
served as (select day, copy_no, sum(n)::bigint as n from sum_day_served group by all)
select cell.day as metric_date, copy.copy_id, cell.ids.template as template_id,
    cell.ids.campaign::bigint as campaign_id, template.control_arm and copy.arm = 0 as is_control,
    coalesce(api.n, 0) as api_calls, coalesce(served.n, 0) as served,
    coalesce(columns(m.* exclude (day, copy_no)), 0)
from cell
join copy using (copy_no)
join template using (template_no)
left join api on api.day = cell.day and api.copy_no = cell.copy_no
left join served on served.day = cell.day and served.copy_no = cell.copy_no
left join m on m.day = cell.day and m.copy_no = cell.copy_no
"""

COHORT = """
create temp table copy_cohort_metrics_daily as
with cell as (select day, copy_no, arg_max(ids, latest) as ids from sum_cohort_cell group by all),
m as (select day, copy_no, {metrics} from sum_cohort_metric m group by all),
served as (
    select day, copy_no, sum(n)::bigint as n, sum(calls)::bigint as calls from sum_day_served group by all
),
reached as (select day, copy_no, sum(n)::bigint as reached from sum_cohort_reached group by all),
counted_up as (
    select cell.day as delivery_date, copy.copy_id, cell.ids.template as template_id,
        cell.ids.campaign::bigint as campaign_id, template.control_arm and copy.arm = 0 as is_control,
        served.calls as api_calls, served.n as served, coalesce(columns(m.* exclude (day, copy_no)), 0),
        coalesce(reached.reached, 0) as reached
    from cell
    join copy using (copy_no)
    join template using (template_no)
    join served on served.day = cell.day and served.copy_no = cell.copy_no
    left join reached on reached.day = cell.day and reached.copy_no = cell.copy_no
    left join m on m.day = cell.day and m.copy_no = cell.copy_no
)
select *, {rates} from counted_up
"""

CONTROL = """
create temp table control_metrics_daily as
with m as (select day, control, {metrics} from sum_control_metric m group by all),
reached as (select day, control, sum(n)::bigint as reached from sum_control_reached group by all),
counted_up as (
    select m.day as delivery_date, m.control as template_id, m.* exclude (day, control),
        coalesce(reached.reached, 0) as reached
    from m left join reached on reached.day = m.day and reached.control = m.control
)
select *, {rates} from counted_up
"""

LINKS = """
create temp table link_clicks_daily as
select day as metric_date, copy_id, link as href, sum(clicked)::bigint as clicked,
    sum(clicked_events)::bigint as clicked_events, sum(human_clicked)::bigint as human_clicked,
    sum(human_clicked_events)::bigint as human_clicked_events
from sum_day_link join copy using (copy_no) group by all
"""

# How many times the base rate a copy's, a day's and a person's is; persons as their events name them.
EFFECTS = """
create temp table copy_effects as
select t.name as template_id, c.copy_id, c.effect from copy c join template t using (template_no);

create temp table day_effects as
select day_of(plan_start() + 86400 * n) as date, day_factor(day_of(plan_start() + 86400 * n)) as factor
from range(plan_days()) t(n);

create temp table person_effects as
select 'u-' || n as user_id, person_factor(n) as factor
from range((select max(user_no) + 1 from sum_person_seen)) t(n) where person_factor(n) <> 1
"""

HARD_CASES = """
create temp table hard_cases as
select name, sum(n)::bigint as cases from (
    select name, n from sum_scenario_seen
    union all select name, n from sum_variant_seen
    union all select 'call delivered again', count(*) from call_line where line_no % 4 <> 0
    union all select 'call delivered again in its hour', count(*) from call_line where line_no % 4 = 2
    union all select 'call weeks late', count(*) from call_line where hour - instant // 3600 >= 300
    union all select 'event delivered again', count(*) from event_line where line_no % 4 = 1
    union all select 'event contradicted', count(*) from event_line where line_no % 4 = 2
    union all select 'event weeks late', count(*) from event_line where hour - instant // 3600 >= 300
    union all select 'event of a webhook', count(*) from event_line where channel = 'webhook'
    union all select 'event of a person', count(*) from event_line where kind = 'person'
    union all select 'event of a customer', count(*) from event_line where channel = 'customer'
    union all select 'event of a ' || kind, count(*) from event_line group by all
    union all select 'version ' || change_type, count(*) from dim_copy_variants group by all
    union all from source_case
    union all select 'junk ' || dataset || ' ' || coalesce(reason, 'blank'), count(*) from junk group by all
) group by name
"""
