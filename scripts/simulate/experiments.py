"""What experiment_daily must show: units of templates and arms, and their outcomes, from the plan.

A unit is a delivery, but where something outside of JustAI splits the traffic it is a journey, so that the
arm that JustAI never saw counts alike.
"""

import duckdb

from scripts.simulate.world import ACTIONS, TEMPLATES

# metric: what it is a share of
TRIALS = {
    "delivered": "sent",
    "opened": "reached",
    "human_opened": "reached",
    "clicked": "reached",
    "human_clicked": "reached",
    "converted": "reached",
    "unsubscribed": "reached",
}
WITH_CONTROL_ACTION = {template for template, _, role, _ in ACTIONS if role == "control"}
OUTSIDE = [
    template.name
    for template in TEMPLATES
    if not template.control_arm and (template.control_template or template.name in WITH_CONTROL_ACTION)
]

ARM_PARTS = f"""
create or replace temp table arm_part as
with message as (
    select message_no, delivery_no, control, min(instant) as first_at, min(journey) as journey,
        min(campaign) as campaign
    from event_plan group by all
),
arm as (
    select unnest({OUTSIDE}) as template, unnest({OUTSIDE}) as served, false as is_control
    union all
    select name, control_template, true from template
    where control_template is not null and list_contains({OUTSIDE}, name)
)
select arm.template, d.journey as unit, coalesce(d.campaign, m.campaign) as campaign,
    case when not is_control then d.copy_id end as copy_id, m.message_no, m.first_at, d.last_at,
    d.delivery_key as part, d.user_id
from delivery_plan d join arm on arm.served = d.template_id
left join message m on m.delivery_no = d.delivery_no
where d.journey is not null
union all
select control, coalesce(journey, cio_delivery_id(message_no)), campaign, null, message_no, first_at, null,
    cio_delivery_id(message_no), null
from message where control is not null
"""

# Per unit: what happened, with `sent` and `reached`, which say whether it is a trial. A person is known
# by the calls of the unit, else by its events, else is one of its own.
UNITS = f"""
create or replace temp table unit as
with happened as (
    select delivery_no, message_no, metric, user_id from counted
    union all
    select delivery_no, message_no, 'reached', user_id from counted where reaches
),
journey as (
    select template, unit, arg_min(row(campaign, copy_id), place) as of_first,
        arg_min(coalesce(first_at, last_at), place) as started
    from (
        select *, row_number() over (
            partition by template, unit
            order by first_at nulls last, last_at nulls last, part, cio_delivery_id(message_no)) as place
        from arm_part
    ) group by all
)
select 'delivery' as unit_type, d.template_id as template, null::bigint as campaign, d.copy_id,
    day_of(d.last_at) as day, coalesce(list(distinct h.metric), []) as outcomes, d.last_at as started,
    coalesce('u' || d.user_id, 'd' || d.delivery_key) as person, d.attrs
from delivery_plan d left join happened h using (delivery_no)
where not list_contains({OUTSIDE}, d.template_id)
group by d.delivery_no, d.template_id, d.copy_id, d.last_at, d.user_id, d.delivery_key, d.attrs
union all
select 'journey', j.template, j.of_first[1], j.of_first[2], day_of(j.started),
    coalesce(list(distinct h.metric), []), j.started,
    coalesce('u' || coalesce(min(p.user_id), min(h.user_id)), 'd' || j.unit), null
from journey j
join arm_part p on p.template = j.template and p.unit = j.unit
left join happened h using (message_no)
group by j.unit, j.template, j.of_first, j.started
"""

UNIT_FACTS = """
select unit_type, template as template_id, campaign::bigint as campaign_id, copy_id, day as unit_date,
    at_utc(started) as started_at, person, attrs, list_sort(outcomes) as outcomes
from unit order by all
"""

CELLS = """
select unit_type, template, campaign, copy_id, day, outcomes, count(*) as n from unit group by all
"""


def add_up(con: duckdb.DuckDBPyConnection) -> None:
    """Add the chunk's units to the sums; it reads `counted`."""
    con.execute(ARM_PARTS)
    con.execute(UNITS)
    con.execute(f"create table if not exists sum_experiment_cell as select * from ({CELLS}) limit 0")
    con.execute(f"insert into sum_experiment_cell {CELLS}")


def finish(con: duckdb.DuckDBPyConnection) -> None:
    """Make the table experiment_daily. Journeys count in campaigns with a control, if any has both arms."""
    metrics = " union all ".join(
        f"select '{metric}' as metric, '{trial}' as trial" for metric, trial in TRIALS.items()
    )
    con.execute(f"""
        create temp table experiment_daily as
        with arms as (
            select template, campaign, bool_or(copy_id is null) as control,
                bool_or(copy_id is not null) as copies
            from sum_experiment_cell where unit_type = 'journey' group by all
        ),
        compared as (
            select template, campaign,
                case when bool_or(control and copies) over of_template or not bool_or(copies) over of_template
                    then control else copies end as counts
            from arms window of_template as (partition by template)
        ),
        fair as (
            select cell.*, template.control_arm and copy.arm = 0 as is_inside_control
            from sum_experiment_cell cell
            left join compared c
                on c.template = cell.template and c.campaign is not distinct from cell.campaign
            left join template on template.name = cell.template
            left join copy on copy.copy_id = cell.copy_id
            where unit_type = 'delivery' or c.counts or template.control_template is not null
        )
        select template as template_id, copy_id,
            copy_id is null or coalesce(is_inside_control, false) as is_control,
            unit_type, day as experiment_date, metric, sum(n)::bigint as units,
            coalesce(sum(n) filter (list_contains(outcomes, trial)), 0)::bigint as trials,
            coalesce(sum(n) filter (
                list_contains(outcomes, trial) and list_contains(outcomes, metric)), 0)::bigint as successes,
            coalesce(sum(n) filter (
                not list_contains(outcomes, trial) and list_contains(outcomes, metric)), 0)::bigint
                as successes_outside_trials
        from fair cross join ({metrics}) group by all
    """)
