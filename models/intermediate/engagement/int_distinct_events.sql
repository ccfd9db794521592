{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['event_date'],
    meta={'touched': [{'model': 'int_touched_events', 'on': {'event_id': 'event_id'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{% set payload = [
    'event_timestamp', 'channel', 'metric', 'delivery_id', 'journey_id', 'action_id', 'parent_action_id', 'campaign_id',
    'broadcast_id', 'trigger_id', 'newsletter_id', 'content_id', 'transactional_message_id', 'trigger_event_id', 'user_id',
    'email', 'cio_id', 'email_address', 'recipient', json_without_nulls('recipients'), 'subject', 'content',
    json_without_nulls('headers'), 'failure_message',
    'href', 'link_id', 'tracked_response', 'inbound_event_id', 'inbound_to', 'is_proxied', 'is_prefetched',
    'is_synthetic', 'is_machine_click', 'conversion_value',
] %}

{% set with_touched_ids -%}
    {%- if is_incremental() -%}
    where event_id in (select event_id from {{ ref('int_touched_events') }})
    {%- endif -%}
{%- endset %}

with

-- grouped by hash, because text takes several times as long; ids that share a hash are separated below
repeated as (

    select hash(event_id) as id_hash
    from {{ source('customerio', 'customerio_events') }}
    {{ with_touched_ids }}
    group by hash(event_id)
    having count(*) > 1

),

repeated_lines as (

    select * from {{ source('customerio', 'customerio_events') }}
    where
        hash(event_id) in (select id_hash from repeated)
        {% if is_incremental() -%}
        and event_id in (select event_id from {{ ref('int_touched_events') }})
        {%- endif %}

),

{{ events_of_lines('repeated_lines', 'repeated_events') }},

-- hashing is expensive, and only events that arrived more than once need it
hashed as (

    select
        event_id,
        cast(event_at as date) as event_date,
        event_timestamp,
        source_file,
        source_line,
        {{ surrogate_key(payload) }} as payload_hash
    from repeated_events

),

ranked as (

    select
        event_id,
        event_date,
        source_file,
        source_line,
        min(payload_hash) over (partition by event_id, event_date)
        != max(payload_hash) over (partition by event_id, event_date) as has_conflict,
        row_number() over (
            partition by event_id, event_date
            order by event_timestamp desc, payload_hash desc, source_file, source_line
        ) as recency
    from hashed

),

outdone as (

    select
        source_file,
        source_line
    from ranked
    where recency > 1

),

conflicts as (

    select
        event_id,
        event_date
    from ranked
    where
        recency = 1
        and has_conflict

),

several_days as (

    select event_id
    from hashed
    group by event_id
    having count(distinct event_date) > 1

),

lines as (

    select source.*
    from {{ source('customerio', 'customerio_events') }} as source
    left join outdone
        on
            source._file = outdone.source_file
            and source._line = outdone.source_line
    where
        outdone.source_line is null
        {% if is_incremental() -%}
        and source.event_id in (select event_id from {{ ref('int_touched_events') }})
        {%- endif %}

),

{{ events_of_lines('lines', 'events', with_payload=false) }},

final as (

    select
        events.event_id,
        cast(events.event_at as date) as event_date,
        events.event_timestamp,
        events.event_at,
        events.channel,
        events.metric,
        events.delivery_id,
        events.journey_id,
        events.action_id,
        events.parent_action_id,
        events.campaign_id,
        events.user_id,
        case when events.metric = 'clicked' then events.href end as href,
        events.failure_message,
        events.conversion_value,
        events.is_prefetched,
        events.is_synthetic,
        events.is_machine_click,
        conflicts.event_id is not null as has_conflict,
        several_days.event_id is not null as is_on_several_days,
        {{ is_about_message('events.channel', 'events.delivery_id') }} as is_about_message,
        events.source_file,
        events.source_line
    from events
    left join conflicts
        on
            events.event_id = conflicts.event_id
            and cast(events.event_at as date) = conflicts.event_date
    left join several_days
        on events.event_id = several_days.event_id

)

select * from final
