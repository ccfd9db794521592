{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{
        'model': 'int_rewritten_messages',
        'on': {'delivery_id': 'delivery_id'},
        'since': {'event_date': 'first_event_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

messages as (

    select * from {{ ref('int_messages') }}
    {% if is_incremental() -%}
    where delivery_id in (select delivery_id from {{ ref('int_rewritten_messages') }})
    {%- endif %}

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
        messages.delivery_key,
        messages.copy_id,
        messages.delivery_date,
        messages.last_called_at,
        messages.control_template_id,
        case
            when messages.delivery_key is null or {{ same_ids('events', 'messages') }} then messages.match_method
            else 'delivery_id'
        end as match_method,
        messages.unmatched_reason,
        case
            when messages.unmatched_reason is not null then 'unmatched'
            when events.event_at > messages.window_ends_at then 'outside_window'
            when metric_names.metric is null then 'unknown_metric'
            when metric_names.counts_as is null then 'not_counted'
        end as uncounted_reason
    from {{ ref('int_distinct_events') }} as events
    {% if is_incremental() -%}
    inner join {{ ref('int_rewritten_messages') }} as rewritten
        on
            events.delivery_id = rewritten.delivery_id
            and events.event_date >= rewritten.first_event_date
    {% endif -%}
    inner join messages
        on events.delivery_id = messages.delivery_id
    left join metric_names
        on events.metric = metric_names.metric
    where events.is_about_message

),

-- what is counted is counted once per subject: a delivery, or a message of the control arm
subjects as (

    select
        event_id,
        event_date,
        event_at,
        counts_as,
        is_machine,
        {{ is_reached() }} as is_reached,
        coalesce(delivery_key, delivery_id) as subject
    from judged
    where uncounted_reason is null

),

-- most subjects have each metric once, and need no order
several_events as (

    select
        subject,
        counts_as
    from subjects
    group by subject, counts_as
    having count(*) > 1

),

several_arrivals as (

    select subject
    from subjects
    where is_reached
    group by subject
    having count(*) > 1

),

ordered_events as (

    select
        subjects.event_id,
        subjects.event_date,
        row_number() over (
            partition by subjects.subject, subjects.counts_as
            order by subjects.event_at, subjects.event_id
        ) as occurrence,
        row_number() over (
            partition by subjects.subject, subjects.counts_as, subjects.is_machine
            order by subjects.event_at, subjects.event_id
        ) as occurrence_by_kind
    from subjects
    inner join several_events
        on
            subjects.subject = several_events.subject
            and subjects.counts_as = several_events.counts_as

),

ordered_arrivals as (

    select
        subjects.event_id,
        subjects.event_date,
        row_number() over (
            partition by subjects.subject
            order by subjects.event_at, subjects.event_id
        ) as occurrence
    from subjects
    inner join several_arrivals
        on subjects.subject = several_arrivals.subject
    where subjects.is_reached

),

final as (

    select
        judged.event_id,
        judged.event_date,
        judged.event_at,
        {{ reporting_date('judged.event_at') }} as metric_date,
        judged.channel,
        judged.metric,
        judged.counts_as,
        judged.delivery_id,
        judged.journey_id,
        judged.action_id,
        judged.parent_action_id,
        judged.campaign_id,
        judged.is_machine,
        judged.delivery_key,
        judged.copy_id,
        judged.delivery_date,
        judged.last_called_at,
        judged.control_template_id,
        judged.match_method,
        judged.unmatched_reason,
        judged.uncounted_reason is null as counts,
        judged.uncounted_reason,
        judged.uncounted_reason is null and coalesce(ordered_events.occurrence, 1) = 1 as is_first,
        judged.uncounted_reason is null
        and not judged.is_machine
        and coalesce(ordered_events.occurrence_by_kind, 1) = 1 as is_first_human,
        judged.uncounted_reason is null
        and {{ is_reached() }}
        and coalesce(ordered_arrivals.occurrence, 1) = 1 as is_first_reached
    from judged
    left join ordered_events
        on
            judged.event_id = ordered_events.event_id
            and judged.event_date = ordered_events.event_date
    left join ordered_arrivals
        on
            judged.event_id = ordered_arrivals.event_id
            and judged.event_date = ordered_arrivals.event_date

)

select * from final
