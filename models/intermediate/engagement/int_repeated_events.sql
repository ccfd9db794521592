{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{
        'model': 'int_touched_events', 'on': {'event_id': 'event_id', 'event_date': 'event_date'},
    }]}
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

with

-- grouped by hash, because text takes several times as long; ids that share a hash are separated below
repeated as (

    select hash(lines.event_id) as id_hash
    from {{ source('customerio', 'customerio_events') }} as lines
    {% if is_incremental() -%}
    where event_id in (select event_id from {{ ref('int_touched_events') }})
    {{- and_between('lines.timestamp', 'int_touched_events', 'event_timestamp') }}
    {%- endif %}
    group by hash(lines.event_id)
    having count(*) > 1

),

landed as (

    select lines.* from {{ source('customerio', 'customerio_events') }} as lines
    where
        hash(event_id) in (select id_hash from repeated)
        {% if is_incremental() -%}
        and event_id in (select event_id from {{ ref('int_touched_events') }})
        {{- and_between('lines.timestamp', 'int_touched_events', 'event_timestamp') }}
        {%- endif %}

),

{{ known_lines() }},

{{ events_of_lines('known_lines', 'events') }},

-- hashing is expensive, and only events that arrived more than once need it
hashed as (

    select
        event_id,
        cast(event_at as date) as event_date,
        event_timestamp,
        source_file,
        source_line,
        {{ surrogate_key(payload) }} as payload_hash
    from events

),

ranked as (

    select
        event_id,
        event_date,
        source_file,
        source_line,
        min(payload_hash) over (partition by event_id, event_date)
        != max(payload_hash) over (partition by event_id, event_date) as has_conflict,
        min(event_date) over (partition by event_id) != max(event_date) over (partition by event_id)
            as is_on_several_days,
        count(*) over (partition by event_id) as line_count,
        row_number() over (
            partition by event_id, event_date
            order by event_timestamp desc, payload_hash desc, source_file, source_line
        ) as recency
    from hashed

),

final as (

    select
        event_id,
        event_date,
        source_file,
        source_line,
        recency = 1 as is_latest,
        has_conflict,
        is_on_several_days
    from ranked
    where line_count > 1

)

select * from final
