"""The lines of a simulation as columns: what is planned, with repetitions and the hour of arrival."""

import duckdb

from scripts.simulate.plan import Plan
from scripts.simulate.spelling import SPELLING

# Far above the numbers of planned events, for lines that are not about a message.
OTHER_ID = 2**54


def prepare(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Macros for times of arrival and ways of writing; the tables that `keep` fills."""
    end_hour = (plan.start + plan.days * 86_400) // 3_600
    outage = plan.start + 86_400 * min(3, plan.days - 1) + 9 * 3_600
    con.execute(f"""
        -- Files are hourly until two days after the last call; later rows arrive once a day.
        create macro folder(hour) as
            case when hour > {end_hour + 48} then (hour - 5 + 23) // 24 * 24 + 5 else hour end;
        create macro arrival(instant, k) as folder(instant // 3600 + case
            when draw(k, 'lateness') < 0.965 then 0
            when draw(k, 'lateness') < 0.99 then draw_int(k, 'hours late', 1, 7)
            else draw_int(k, 'weeks late', 300, 1000) end);
        -- One receiver failed for some hours: its events arrive in a burst.
        create macro event_arrival(instant, k) as arrival(
            case when instant between {outage} and {outage + 5 * 3_600} then {outage + 6 * 3_600}
                else instant end, k);
    """)
    con.execute(SPELLING)
    con.execute(TABLES)


TABLES = """
create table call_line (
    hour bigint, line_no bigint, spelling bigint, instant bigint, user_id varchar, campaign bigint,
    action bigint, journey varchar, copy_no bigint, version_no bigint, person_no bigint);
create table event_line (
    hour bigint, line_no bigint, spelling bigint, channel varchar, kind varchar, metric varchar,
    flags varchar, instant bigint, id_ms bigint, id_no bigint, message_no bigint, user_no bigint,
    journey varchar, action bigint, parent bigint, campaign bigint, note varchar);
create table junk (dataset varchar, hour bigint, junk_no bigint, raw blob, reason varchar);
"""


def keep(con: duckdb.DuckDBPyConnection) -> None:
    """Store the chunk's lines: every call and event at least once, some repeated, some contradicted."""
    con.execute(KEEP_CALLS)
    con.execute(KEEP_EVENTS)


# Lines with one `spelling` are the same text.
KEEP_CALLS = """
insert into call_line by name
with once as (
    select call_no, call_no * 4 as line_no, call_no * 4 as spelling, instant, user_id, campaign, action,
        journey, copy_no, version_no, person_no
    from call_plan
),
line as (
    from once
    union all
    -- delivered again: the same text, or the same call written differently
    select * replace (
        line_no + 1 as line_no, spelling + (draw(call_no, 'respelled') < 0.5)::bigint as spelling)
    from once
    where draw(call_no, 'again') < case when journey is null and action is null then 0.2 else 0.012 end
    union all
    select * replace (line_no + 2 as line_no) from once where draw(call_no, 'again') < 0.003
)
select * exclude (call_no),
    case when line_no % 4 = 2 then folder(instant // 3600) else arrival(instant, line_no) end as hour
from line
"""

KEEP_EVENTS = f"""
insert into event_line by name
with once as (
    select event_no, ordinal, event_no * 4 as line_no, event_no * 4 as spelling, channel, kind, metric,
        flags, instant, id_ms, id_no, message_no, user_no, journey, action, parent, campaign, '' as note,
        case when flags in ('accused', 'denied') or event_no <> id_no or instant % 86400 < 120
                or draw(event_no, 'conflict') >= 0.004 then 'none'
            when draw(event_no, 'conflict') < 0.0012 then 'metric'
            when draw(event_no, 'conflict') < 0.0024 then 'flags'
            else 'note' end as conflict
    from event_plan
),
line as (
    from once
    union all
    select * replace (
        line_no + 1 as line_no, spelling + (draw(event_no, 'respelled') < 0.5)::bigint as spelling)
    from once where draw(event_no, 'again') < 0.015
    union all
    -- the same event with other values: the greater time is right, and is the planned one
    select * replace (
        line_no + 2 as line_no, spelling + 2 as spelling, ' (corrected)' as note,
        case when conflict <> 'metric' then metric
            when metric = 'spammed' then 'sent' else 'spammed' end as metric,
        case when conflict <> 'flags' then flags when flags in ('prefetched', 'synthetic') then 'human'
            when flags = 'human' then 'prefetched' when flags = 'robot' then 'person'
            when flags = 'person' then 'robot' else flags end as flags,
        case conflict when 'note' then instant
            else instant - draw_int(event_no, 'earlier', 1, 50) end as instant)
    from once where conflict <> 'none'
    union all
    -- reported twice with one time: the payload with the greater hash is right, and is the planned one
    select * replace (
        line_no + 3 as line_no, spelling + 3 as spelling,
        case flags when 'accused' then 'denied' else 'accused' end as flags)
    from once where flags in ('accused', 'denied')
    union all
    -- about no message: an event of mail that names no delivery
    select * replace (
        line_no + {OTHER_ID} as line_no, id_no + {OTHER_ID} as id_no, null as message_no)
    from once where kind = 'campaign' and ordinal = 5 and draw(event_no, 'no delivery') < 0.006
    union all
    -- unsubscribing by mail also gives an event of the person
    select * replace (
        line_no + {2 * OTHER_ID} as line_no, id_no + {2 * OTHER_ID} as id_no, 'person' as kind,
        'email' as channel)
    from once where metric = 'unsubscribed' and draw(event_no, 'person') < 0.6
),
-- the call to JustAI as Customer.io reports it
hook as (
    select call_no * 4 + {3 * OTHER_ID} as line_no, line_no as spelling,
        'webhook' as channel, 'campaign' as kind,
        case when draw(call_no, 'hook metric') < 0.92 then 'sent'
            when draw(call_no, 'hook metric') < 0.95 then 'attempted'
            when draw(call_no, 'hook metric') < 0.98 then 'failed' else 'converted' end as metric,
        '' as flags, c.instant - 1 as instant, (c.instant - 1) * 1000 as id_ms, line_no as id_no,
        line_no as message_no, s.user_no, c.journey, c.action, null as parent, c.campaign, '' as note
    from call_plan c join story s using (story_no)
    where c.journey is not null and c.action is not null and draw(call_no, 'hook') < 0.1
),
customer as (
    select (story_no * 16 + n) * 4 + {4 * OTHER_ID} as line_no, line_no as spelling, 'customer' as channel,
        case n when 2 then 'preferences' else 'customer' end as kind,
        ['subscribed', 'unsubscribed', 'cio_subscription_preferences_changed'][n + 1] as metric, '' as flags,
        base_at + n * 100 as instant, instant * 1000 as id_ms, line_no as id_no, line_no as message_no,
        user_no, journey, 2002 as action, null as parent, 200 as campaign, '' as note
    from story join scenario using (scenario_no), range(3) t(n)
    where name = 'customer_events'
)
select *, event_arrival(instant, line_no) as hour
from (
    select * exclude (event_no, ordinal, conflict) from line
    union all by name from hook
    union all by name from customer
)
"""
