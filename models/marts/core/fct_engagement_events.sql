with

events as (

    select * from {{ ref('int_distinct_events') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

matches as (

    select * from {{ ref('int_message_matches') }}

),

controls as (

    select * from {{ ref('int_control_messages') }}

),

unmatched as (

    select * from {{ ref('int_unmatched_messages') }}

),

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

-- a metric counts by its name, on whatever channel it comes
metric_names as (

    select
        metric,
        max(counts_as) as counts_as
    from catalogue
    group by metric

),

judged as (

    select
        events.event_id,
        events.event_date,
        events.event_at,
        events.channel,
        events.metric,
        metric_names.counts_as,
        events.delivery_id,
        events.journey_id,
        events.action_id,
        events.parent_action_id,
        events.campaign_id,
        case
            when events.metric = 'opened'
                then
                    coalesce(events.is_prefetched, false)
                    or (coalesce(events.is_synthetic, false) and not messages.has_human_click)
            when events.metric = 'clicked' then coalesce(events.is_machine_click, false)
            else false
        end as is_machine,
        matches.delivery_key,
        matches.copy_id,
        controls.control_template_id,
        case
            when controls.delivery_id is not null then 'control'
            when matches.delivery_id is null then null
            when {{ same_ids('events', 'matches') }} then matches.match_method
            else 'delivery_id'
        end as match_method,
        unmatched.unmatched_reason,
        case
            when unmatched.delivery_id is not null then 'unmatched'
            when events.event_at > messages.window_ends_at then 'outside_window'
            when metric_names.metric is null then 'unknown_metric'
            when metric_names.counts_as is null then 'not_counted'
        end as uncounted_reason
    from events
    inner join messages
        on events.delivery_id = messages.delivery_id
    left join matches
        on events.delivery_id = matches.delivery_id
    left join controls
        on events.delivery_id = controls.delivery_id
    left join unmatched
        on events.delivery_id = unmatched.delivery_id
    left join metric_names
        on events.metric = metric_names.metric
    where events.is_about_message

),

final as (

    select
        event_id,
        event_date,
        event_at,
        channel,
        metric,
        counts_as,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        is_machine,
        delivery_key,
        copy_id,
        control_template_id,
        match_method,
        unmatched_reason,
        uncounted_reason is null as counts,
        uncounted_reason
    from judged

)

select * from final
