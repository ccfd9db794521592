"""The plan of messages and events, in SQL: what Customer.io sends after calls, and what people do with it."""

from scripts.simulate.world import KNOWN_BUT_NOT_COUNTED, UNKNOWN_METRICS

MESSAGE_PLAN = """
create temp table message_plan as
with slotted as (
    select s.story_no * 16 + m.slot as message_no, s.story_no, s.base_at, s.user_no,
        case when m.journey then s.journey end as journey,
        s.base_at + draw_int(s.story_no * 16 + m.slot, 'first event', m.lo, m.hi) as first_at,
        m.action, m.parent, m.campaign, m.channel, m.kind, m.method, m.reason, m.control, m.sure, m.edge,
        m.variant, m.later_action, s.story_no * 16 + m.owner as owner_no,
        s.story_no * 16 + m.alternative as alternative_no
    from story s join scenario_message m using (scenario_no)
    where draw(s.story_no * 16 + m.slot, 'message') < m.chance
)
select s.*,
    case when b.delivery_key < a.delivery_key then b.delivery_no else a.delivery_no end as delivery_no,
    case when b.delivery_key < a.delivery_key then b.delivery_key else a.delivery_key end as delivery_key,
    case when b.delivery_key < a.delivery_key then b.copy_no else a.copy_no end as copy_no,
    case when b.delivery_key < a.delivery_key then b.copy_id else a.copy_id end as copy_id,
    coalesce(case when b.delivery_key < a.delivery_key then b.effect else a.effect end, 0.8)
        * day_factor(day_of(coalesce(
            case when b.delivery_key < a.delivery_key then b.last_at else a.last_at end, s.first_at)))
        * person_factor(s.user_no) as effect
from slotted s
left join delivery_plan a on a.delivery_no = s.owner_no
left join delivery_plan b on b.delivery_no = s.alternative_no
"""

# Offsets are seconds after the message's first event; null: it does not happen.
OUTCOME = """
create temp table outcome as
with began as (
    select *, case when sure or edge then 0.5 else draw(message_no, 'start') end as r,
        channel in ('email', 'push', 'sms', 'whatsapp') as confirms,
        channel = 'email' as mail
    from message_plan
),
sent as (
    select *, case
            when r < 0.955 then 'sent' when r < 0.965 then 'attempted' when r < 0.97 then 'drafted'
            when r < 0.975 then 'deferred' when r < 0.98 then 'failed' when r < 0.984 then 'undeliverable'
            when r < 0.987 then 'dropped' when r < 0.99 then 'suppressed' else 'sent' end as start_metric,
        case when r < 0.955 or r >= 0.99 then 0
            when r < 0.975 then draw_int(message_no, 'sent', 60, 9000) end as sent
    from began
),
arrived as (
    select *,
        case when confirms and fate < 0.015 then sent + draw_int(message_no, 'bounced', 5, 90) end as bounced,
        case when confirms and fate between 0.015 and 0.985
            then sent + draw_int(message_no, 'delivered', 0, 20) end as delivered
    from (select *, case when sure or edge then 0.5 else draw(message_no, 'fate') end as fate from sent)
),
seen as (
    select *, case when confirms then delivered else sent end as reached from arrived
),
opened as (
    select *,
        case when mail and draw(message_no, 'prefetch') < 0.24
            then reached + draw_int(message_no, 'prefetched', 1, 40) end as prefetched,
        case when draw(message_no, 'open') < effect * case channel
                when 'email' then 0.29 when 'push' then 0.07 when 'whatsapp' then 0.5
                when 'in_app' then 0.4 when 'slack' then 0.01 else 0 end
            then reached + 20 + least(expo(message_no, 'opened', 9000), 1700000) end as opened,
        case when mail and draw(message_no, 'robot') < 0.03
            then reached + draw_int(message_no, 'robot click', 3, 50) end as robot_click,
        case when mail and draw(message_no, 'blind') < 0.006
            then reached + 60 + least(expo(message_no, 'blind click', 20000), 900000) end as blind_click,
        case when mail and not edge and draw(message_no, 'stray') < 0.001
            then reached + 500 end as stray_synthetic,
        case when mail and draw(message_no, 'forward') < 0.003 then reached + 4000 end as forwarded,
        case when mail and draw(message_no, 'unsubscribe') < 0.004
            then reached + 30 + expo(message_no, 'unsubscribed', 30000) end as unsubscribed,
        case when mail and draw(message_no, 'spam') < 0.001
            then reached + 30 + expo(message_no, 'spammed', 9000) end as spammed,
        case when channel in ('sms', 'whatsapp') and draw(message_no, 'reply') < 0.02
            then reached + 30 + expo(message_no, 'replied', 7000) end as replied,
        case when not edge and draw(message_no, 'preferences') < 0.004
            then reached + 30 + expo(message_no, 'preferences changed', 20000) end as preferences_changed
    from seen
),
clicked as (
    select *,
        case when draw(message_no, 'open again') < 0.25
            then opened + 3600 + expo(message_no, 'opened again', 90000) end as opened_again,
        case when opened is not null and draw(message_no, 'click') < 0.13 * effect
                or channel in ('sms', 'slack') and draw(message_no, 'click') < 0.05 * effect
            then coalesce(opened, reached) + 3 + expo(message_no, 'clicked', 700) end as clicked,
        case when not edge and draw(message_no, 'robot open') < 0.6 then robot_click end as robot_open
    from opened
),
human as (
    select *, clicked is not null or blind_click is not null or edge as human_click,
        case when draw(message_no, 'click again') < 0.2
            then clicked + 5 + expo(message_no, 'clicked again', 40000) end as clicked_again
    from clicked
)
select *,
    case when reached is not null and draw(message_no, 'convert')
            < effect * effect * case when coalesce(clicked, blind_click) is null then 0.009 else 0.14 end
        then reached + 300 + least(expo(message_no, 'converted', 260000), 5200000) end as converted,
    case when reached is not null and draw(message_no, 'late') < 0.0006
        then 7776001 + draw_int(message_no, 'late conversion', 0, 900000) end as converted_late,
    case when variant = 'none' or coalesce(delivered, bounced) is null then 'none'
        when variant <> 'any' then variant
        when delivery_no is null then 'none'
        when draw(message_no, 'variant') < 0.006 then 'strip_first'
        when draw(message_no, 'variant') < 0.016 then 'strip_later'
        when draw(message_no, 'variant') < 0.020 and campaign is not null then 'campaign_first'
        when draw(message_no, 'variant') < 0.020 then 'none'
        when draw(message_no, 'variant') < 0.022 then 'wrong_action_first'
        else 'none' end as lacks
from human
"""

# ordinal, metric, seconds after the first event, how its flags are written, whether a machine did it
HAPPENINGS: tuple[tuple[int, str, str, str, str], ...] = (
    (0, "", "0", "open", "false"),
    (1, "sent", "case when start_metric <> 'sent' then sent end", "", "false"),
    (2, "delivered", "delivered", "", "false"),
    (3, "bounced", "bounced", "", "false"),
    (4, "opened", "prefetched", "prefetched", "true"),
    (5, "opened", "opened", "human", "false"),
    (6, "opened", "opened_again", "human", "false"),
    (7, "clicked", "robot_click", "robot", "true"),
    (8, "opened", "robot_open", "synthetic", "not human_click"),
    (9, "clicked", "blind_click", "person", "false"),
    (10, "opened", "blind_click", "synthetic", "false"),
    (11, "clicked", "clicked", "person", "false"),
    (12, "clicked", "clicked_again", "person", "false"),
    (13, "opened", "stray_synthetic", "synthetic", "not human_click"),
    (14, "converted", "converted", "", "false"),
    (15, "converted", "case when draw(message_no, 'again') < 0.1 then converted + 90000 end", "", "false"),
    (16, "converted", "converted_late", "", "false"),
    (17, "unsubscribed", "unsubscribed", "", "false"),
    (18, "spammed", "spammed", "", "false"),
    (19, "replied", "replied", "", "false"),
    (20, "forwarded", "forwarded", "", "false"),
    (21, "converted", "case when edge then 7776000 end", "", "false"),
    (22, "clicked", "case when edge then 7776001 end", "person", "false"),
    (23, "opened", "case when edge then 7862400 end", "human", "false"),
    (24, "cio_subscription_preferences_changed", "preferences_changed", "", "false"),
)
# Whether an event gives the person's id.
IS_NAMED = "draw_int(id_no, 'identifiers', 0, 19) > 0"
# An event id that occurs again on the next day is a second event.
SECOND_DAY = 32


def event_plan() -> str:
    """SQL of event_plan: one row per event of a message, with everything the fact table must show for it."""
    parts = []
    for ordinal, metric, offset, flags, machine in HAPPENINGS:
        name = f"'{metric}'" if metric else "start_metric"
        parts.append(
            f"select *, {ordinal} as ordinal, {name} as metric, ({offset})::bigint as after, "
            f"'{flags}' as flags, {machine} as is_machine from outcome where ({offset}) is not null"
        )
    happened = " union all ".join(parts)
    unknown = ", ".join(f"'{metric}'" for metric in UNKNOWN_METRICS)
    in_catalogue = ", ".join(f"'{metric}'" for metric in KNOWN_BUT_NOT_COUNTED)
    return f"""
create temp table event_plan as
with happened as ({happened}),
numbered as (
    select *, message_no * 64 + ordinal as event_no, event_no as id_no, first_at + after as instant,
        instant * 1000 + ordinal as id_ms
    from happened
),
again as (
    select * from numbered
    union all
    select * replace (
        event_no + {SECOND_DAY} as event_no, instant + 86400 as instant, after + 86400 as after)
    from numbered where ordinal in (5, 14) and draw(event_no, 'second day') < 0.006
),
lacking as (
    select * replace (
            case when not bare then journey end as journey,
            case when bare then null when odd = 'wrong_action_first' then 990001
                when ordinal > 0 then coalesce(later_action, action) else action end as action,
            case when not bare and odd <> 'wrong_action_first' then parent end as parent,
            case when bare or odd = 'campaign_first' then null
                when odd = 'wrong_campaign_first' then 902 else campaign end as campaign),
        ordinal = 11 and channel = 'email' and kind = 'campaign' and lacks = 'none'
            and coalesce(robot_open, stray_synthetic, blind_click) is null and draw(event_no, 'rival') < 0.08
            as rival
    from (
        select *, case when ordinal = 0 then lacks else '' end as odd,
            odd = 'strip_first' or lacks = 'strip_later' and ordinal >= 2 as bare
        from again
    )
),
-- Reported twice with one time, as a machine's and as a person's: the greater hash of the payload is right.
judged as (
    select * replace (case when rival
        then click_payload(id_no, instant, delivery_id, journey, action, parent, campaign, user_no, true)
            > click_payload(id_no, instant, delivery_id, journey, action, parent, campaign, user_no, false)
        -- older events have no flags
        else is_machine and kind <> 'legacy' end as is_machine)
    from (select *, case when rival then cio_delivery_id(message_no) end as delivery_id from lacking)
)
select event_no, id_no, id_ms, message_no, story_no, ordinal, channel, kind, metric, instant, first_at,
    user_no, case when rival or kind = 'legacy' or {IS_NAMED} then 'u-' || user_no end as user_id,
    case when metric = 'clicked' then link_path(id_no) end as link,
    case when metric = 'clicked' then link_href(id_no, user_no) end as href,
    case when metric = 'converted' and kind <> 'legacy' then value_of(id_no) end as conversion_value,
    delivery_no, delivery_key, copy_no, copy_id, control, lacks, journey, action, parent, campaign,
    is_machine, case when not rival then flags when is_machine then 'accused' else 'denied' end as flags,
    case when control is not null then 'control'
        when delivery_no is null then null
        when bare or odd in ('wrong_action_first', 'wrong_campaign_first')
            or (lacks = 'campaign_first' or later_action is not null) and ordinal > 0 then 'delivery_id'
        else method end as method,
    reason,
    case when metric = 'suppressed' then 'dropped'
        when metric not in ({in_catalogue}, {unknown}) then metric end as counts_as,
    case when delivery_no is null and control is null then 'unmatched'
        when after > 7776000 then 'outside_window'
        when metric = 'converted' and is_outside_conversion_window(after) then 'outside_conversion_window'
        when metric in ({unknown}) then 'unknown_metric'
        when metric in ({in_catalogue}) then 'not_counted' end as uncounted
from judged
"""
