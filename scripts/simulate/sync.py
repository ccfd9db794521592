"""Customer.io's warehouse sync of a simulation: the plan of the webhook events as its tables, in exports.

What the vendor's sync does to a loader is in the files: rows come again because they changed, and though they
did not, also within one file; metrics come before their delivery; calls of webhooks are deliveries too; the
first exports have no flags of machines, and the rest never says that an open was inferred from a click.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from scripts.simulate import world
from scripts.simulate.lines import OTHER_ID

FOLDER = Path("customerio/sync")
WORKSPACE = 111_528
EXPORTS = 8
"""Half of them in the days of the calls; the last one has all that came later."""
FIRST_OF_V5 = 2
_FIRST_SEQUENCE = 241_600_000_000_000_000
# not about a delivery
_NO_METRICS = "('cio_subscription_preferences_changed')"

MACROS = f"""
create macro export_of(instant, k) as least({EXPORTS - 1}, greatest(0,
    (instant + draw_int(k, 'sync late', 0, 7200) - plan_start()) * {EXPORTS // 2} // (plan_days() * 86400)));
create macro hook_no(call_no) as call_no * 4 + {3 * OTHER_ID};
"""

KEPT = {
    "sync_delivery": """
        select message_no as k, kind, channel, user_no, action, first_at as instant,
            case when kind in ('campaign', 'broadcast') then journey end as journey,
            case when kind = 'broadcast' then 15 when kind in ('campaign', 'legacy') then campaign end
                as campaign,
            start_metric = 'drafted' as draft, copy_no, delivery_no
        from outcome
        union all
        select hook_no(call_no), 'campaign', 'webhook', s.user_no, c.action, c.instant - 1, c.journey,
            c.campaign, false, null, null
        from call_plan c join story s using (story_no)
        where c.journey is not null and c.action is not null
    """,
    "sync_metric": f"""
        select event_no as k, message_no as delivery_no, channel, metric, flags, instant, href,
            case when event_no = id_no and draw(event_no, 'same id') < 0.05
                then ulid(id_ms, any_hash(id_no, 'event id'))
                else ulid(id_ms, any_hash(event_no, 'metric id')) end as event_id
        from event_plan where metric not in {_NO_METRICS}
        union all
        select hook_no(call_no), hook_no(call_no), 'webhook',
            case when draw(call_no, 'hook metric') < 0.92 then 'sent'
                when draw(call_no, 'hook metric') < 0.95 then 'attempted'
                when draw(call_no, 'hook metric') < 0.98 then 'failed' else 'converted' end,
            '', instant - 1, null, ulid((instant - 1) * 1000, any_hash(hook_no(call_no), 'metric id'))
        from call_plan
        where journey is not null and action is not null and draw(call_no, 'hook') < 0.1
    """,
    "sync_content": """
        select m.message_no as k, m.first_at as instant, m.user_no, any_value(v.canonical) as content
        from outcome m join delivery_plan d using (delivery_no)
        join version v on v.copy_no = d.copy_no and v.content_hash = d.content_hash
        where m.channel = 'email' and m.kind = 'campaign'
        group by all
    """,
}

# Of each table: rows with the number of their export; `step` says which export of the row it is.
_AGAIN = """
    select *, e as export_no, 0 as step from first
    union all
    select *, least(e + 1, {last}), 1 from first where changes
    union all
    select *, least(e + 2, {last}), 2 from first where draw(k, 'again') < 0.05
    union all
    select *, e, 0 from first where draw(k, 'twice in a file') < 0.005
"""

ROWS = {
    "deliveries": f"""
        with first as (
            select *, draw(k, 'changes') < 0.03 as changes,
                export_of(instant, k) + (draw(k, 'export late') < 0.01)::bigint as late
            from sync_delivery
        ),
        exported as ({_AGAIN.replace(" from first", " from (select *, least(late, {last}) as e from first)")})
        select export_no, {WORKSPACE} as workspace_id, cio_delivery_id(k) as delivery_id,
            'c' || user_no as internal_customer_id, journey as subject_id, null::varchar as event_id,
            channel as delivery_type, campaign as campaign_id,
            -- known only when the row comes again
            case when not (changes and step = 0) then action end as action_id,
            case when kind = 'newsletter' then 88 end as newsletter_id,
            case when kind = 'newsletter' then 301 end as content_id,
            case when kind = 'broadcast' then 4 end as trigger_id, at_utc(instant) as created_at,
            case when kind = 'transactional' then 12 end as transactional_message_id,
            instant * 1000 + step as seq_num
        from exported
    """,
    "metrics": f"""
        with first as (
            select *, export_of(instant, k) as e,
                export_of(instant, k) < {FIRST_OF_V5} as changes
            from sync_metric
        ),
        -- the new version brings the rows of the old one again, with their flags
        exported as ({_AGAIN.replace("least(e + 1, {last})", str(FIRST_OF_V5))})
        select export_no, event_id, {WORKSPACE} as workspace_id, cio_delivery_id(delivery_no) as delivery_id,
            metric,
            case when metric in ('attempted', 'bounced', 'failed', 'dropped', 'suppressed', 'undeliverable')
                then 'no luck: ü again' end as reason,
            case when metric = 'clicked' then 3 end as link_id, href as link_url,
            at_utc(instant) as created_at, instant * 1000 + step as seq_num,
            case when channel = 'email' and metric = 'opened'
                then draw(k, 'proxied') < 0.3 end as proxied,
            case when channel = 'email' and metric = 'opened' then flags = 'prefetched' end as prefetched,
            case when channel <> 'email' or metric <> 'clicked' then null
                when flags in ('robot', 'accused') then true
                when draw(k, 'no flag') < 0.2 then null else false end as machine,
            case when channel = 'email' and metric = 'opened' then 'Mail/1.0 (simulated)' end as user_agent
        from exported
    """,
    "subjects": f"""
        with first as (
            select any_hash(min(k), 'subject') as k, journey, min(user_no) as user_no,
                min(instant) as instant, min(campaign) as campaign,
                bool_or(kind = 'broadcast') as is_broadcast, export_of(min(instant), min(k)) as e,
                draw(min(k), 'subject changes') < 0.05 as changes
            from sync_delivery where journey is not null group by journey
        ),
        exported as ({_AGAIN})
        select export_no, {WORKSPACE} as workspace_id, journey as subject_name,
            'c' || user_no as internal_customer_id, campaign as campaign_id,
            case when is_broadcast then 'api_triggered_broadcast' else 'event_triggered' end as campaign_type,
            null::varchar as event_id, case when is_broadcast then 4 end as trigger_id,
            at_utc(instant) as created_at,
            case when not (changes and step = 0) then at_utc(instant) end as started_campaign_at,
            instant * 1000 + step as seq_num
        from exported
    """,
    "outputs": f"""
        with first as (
            select *, export_of(instant, k) as e, false as changes
            from sync_delivery where journey is not null
        ),
        exported as ({_AGAIN})
        select export_no, {WORKSPACE} as workspace_id, 'o' || k as output_id, journey as subject_name,
            channel as output_type, action as action_id, null::varchar as explanation,
            cio_delivery_id(k) as delivery_id, draft, channel = 'email' as link_tracked,
            at_utc(instant) as created_at, instant * 1000 + step as seq_num
        from exported
    """,
    # as one consumer saw it: times and booleans as text, and the epoch for no value
    "people": f"""
        with first as (
            select user_no as k, min(instant) as instant, export_of(min(instant), user_no) as e,
                draw(user_no, 'deleted') < 0.02 as changes
            from sync_delivery group by user_no
        ),
        exported as ({_AGAIN})
        select export_no, {WORKSPACE} as workspace_id, 'u-' || k as customer_id,
            'c' || k as internal_customer_id, (changes and step > 0)::varchar as deleted,
            (draw(k, 'suppressed') < 0.01)::varchar as suppressed,
            strftime(case when draw(k, 'created') < 0.3 then timestamp '1970-01-01'
                else at_utc(instant) end, '%Y-%m-%d %H:%M:%S') as created_at,
            '1970-01-01 00:00:00' as updated_at, k || '@example.com' as email_addr
        from exported
    """,
    "attributes": f"""
        select export_of(min(instant), user_no) as export_no, {WORKSPACE} as workspace_id,
            'c' || user_no as internal_customer_id, 'newsletter' as attribute_name,
            ['weekly', 'monthly', 'never'][draw_int(user_no, 'newsletter', 1, 3)] as attribute_value,
            at_utc(min(instant)) as timestamp
        from sync_delivery group by user_no
    """,
    "delivery_contents": f"""
        select export_of(instant, k) as export_no, {WORKSPACE} as workspace_id,
            cio_delivery_id(k) as delivery_id, 'hello@example.com' as "from",
            user_no || '@example.com' as recipient, content->>'$.subject' as subject,
            content->>'$.preheader' as preheader, content->>'$.body' as body, 'email' as type
        from sync_content
    """,
    "campaigns": f"""
        select export_no, {WORKSPACE} as workspace_id, campaign.*, 1 as version
        from campaign cross join (values (0), (3)) as exports (export_no)
    """,
    "broadcasts": f"""
        select 0 as export_no, {WORKSPACE} as workspace_id, 15 as broadcast_id, 'Price alert' as name,
            at_utc(plan_start()) as created_at, at_utc(plan_start()) as updated_at, ['prices'] as topic_names
    """,
}
_NEWER_COLUMNS = ("proxied", "prefetched", "machine", "user_agent")


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Macros, and the names of the campaigns."""
    con.execute(MACROS)
    names: dict[int, str] = {}
    for template in world.TEMPLATES:
        names.setdefault(template.campaign, template.name)
    con.execute(
        "create table campaign as select unnest($1) as campaign_id, unnest($2) as name, "
        "at_utc(plan_start()) as created_at, created_at as updated_at, []::varchar[] as topic_names",
        [list(names), list(names.values())],
    )


def keep(con: duckdb.DuckDBPyConnection) -> None:
    """Store what the sync exports of the chunk."""
    for table, query in KEPT.items():
        con.execute(f"create table if not exists {table} as select * from ({query}) limit 0")
        con.execute(f"insert into {table} by name {query}")


def write(con: duckdb.DuckDBPyConnection, out: Path, advance: Callable[[int], None]) -> int:
    """Write the files of all exports; return how many rows they have."""
    folder = out / FOLDER
    folder.mkdir(parents=True)
    rows = 0
    for number, (table, query) in enumerate(ROWS.items()):
        con.execute(f"create temp table exported_rows as {query.replace('{last}', str(EXPORTS - 1))}")
        for export_no in range(EXPORTS):
            version = 5 if export_no >= FIRST_OF_V5 or table in ("campaigns", "broadcasts") else 4
            dropped = ("export_no", *(_NEWER_COLUMNS if version == 4 and table == "metrics" else ()))
            found = con.sql(
                f"select * exclude ({', '.join(dropped)}) from exported_rows where export_no = {export_no} "
                "order by all"
            ).to_arrow_table()
            if len(found):
                sequence = _FIRST_SEQUENCE + export_no * 1_000 + number
                pq.write_table(found, folder / f"{table}_v{version}_{WORKSPACE}_{sequence}.parquet")
                rows += len(found)
                advance(1)
        con.execute("drop table exported_rows")
    return rows
