{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['event_date'],
    meta={'touched': [{
        'model': 'int_rewritten_messages',
        'on': {'delivery_id': 'delivery_id'},
        'since': {'event_date': 'first_event_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{% set if_rewritten -%}
    {%- if is_incremental() -%}
    inner join {{ ref('int_rewritten_messages') }} as rewritten
        on
            messages.delivery_id = rewritten.delivery_id
            and messages.first_event_date >= rewritten.first_event_date
    {%- endif -%}
{%- endset %}

{# An event with what is known of its message. Written out twice, because DuckDB copies out a CTE that two places read:
   24 M events of 25 columns, which spilled to disk and took most of the time. #}
{% set judged_events -%}
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
    inner join {{ ref('int_messages') }} as messages
        on
            events.delivery_id = messages.delivery_id
            {% if is_incremental() -%}
            and rewritten.first_event_date <= messages.first_event_date
            {%- endif %}
    left join metric_names
        on events.metric = metric_names.metric
{%- endset %}

with

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

shared_deliveries as (

    select hash(messages.delivery_key) as key_hash
    from {{ ref('int_messages') }} as messages
    {{ if_rewritten }}
    where messages.delivery_key is not null
    group by hash(messages.delivery_key)
    having count(*) > 1

),

-- most messages have each metric once, and need no order
messages_to_order as (

    select messages.delivery_id
    from {{ ref('int_messages') }} as messages
    {{ if_rewritten }}
    where
        messages.has_repeats
        or hash(messages.delivery_key) in (select key_hash from shared_deliveries)

),

events_to_order as (

    {{ judged_events }}
    where
        events.is_about_message
        and events.delivery_id in (select delivery_id from messages_to_order)

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
    from events_to_order
    where uncounted_reason is null

),

ordered as (

    select
        event_id,
        event_date,
        row_number() over (
            partition by subject, counts_as
            order by event_at, event_id
        ) as occurrence,
        row_number() over (
            partition by subject, counts_as, is_machine
            order by event_at, event_id
        ) as occurrence_by_kind,
        row_number() over (
            partition by subject, is_reached
            order by event_at, event_id
        ) as occurrence_by_arrival
    from subjects

),

judged as (

    {{ judged_events }}
    where events.is_about_message

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
        judged.uncounted_reason is null and coalesce(ordered.occurrence, 1) = 1 as is_first,
        judged.uncounted_reason is null
        and not judged.is_machine
        and coalesce(ordered.occurrence_by_kind, 1) = 1 as is_first_human,
        judged.uncounted_reason is null
        and {{ is_reached() }}
        and coalesce(ordered.occurrence_by_arrival, 1) = 1 as is_first_reached
    from judged
    left join ordered
        on
            judged.event_id = ordered.event_id
            and judged.event_date = ordered.event_date

)

select * from final
