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
            {{- and_between('messages.first_event_date', 'int_rewritten_messages', 'first_event_date', since=true) }}
    {%- endif -%}
{%- endset %}

with

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

-- a metric counts by its name, on every channel
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

-- most messages have each metric once and need no ordering
messages_to_order as (

    select messages.delivery_id
    from {{ ref('int_messages') }} as messages
    {{ if_rewritten }}
    left join shared_deliveries
        on hash(messages.delivery_key) = shared_deliveries.key_hash
    where
        messages.has_repeats
        or shared_deliveries.key_hash is not null

),

events_to_order as (

    {{ events_with_messages() }}
    where
        events.is_about_message
        and events.delivery_id in (select delivery_id from messages_to_order)

),

-- a metric counts once per subject: a delivery, or a message of the control arm
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

    {{ events_with_messages() }}
    where events.is_about_message

),

final as (

    select
        judged.feed,
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
        judged.user_id,
        judged.href,
        judged.is_machine,
        judged.conversion_value,
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
