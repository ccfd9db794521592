{# It names persons, so it stays in this schema, which readers of the marts may not see. #}
{{ config(
    materialized='view',
    meta={'touched': [{'model': 'int_touched_events', 'on': {'event_id': 'event_id'}}]}
) }}

with

distinct_events as (

    select * from {{ ref('int_distinct_events') }}

),

-- joined before it is parsed, and on event_id too, so that a filter on it reaches both sides
lines as (

    select source.*
    from {{ source('customerio', 'customerio_events') }} as source
    inner join distinct_events
        on
            source.event_id = distinct_events.event_id
            and source._file = distinct_events.source_file
            and source._line = distinct_events.source_line

),

{{ events_of_lines('lines', 'events') }},

final as (

    select
        event_id,
        cast(event_at as date) as event_date,
        event_at,
        channel,
        metric,
        delivery_id,
        user_id,
        recipient,
        {{ json_first_member('recipients', 'device_platform') }} as device_platform,
        newsletter_id,
        content_id,
        broadcast_id,
        trigger_id,
        transactional_message_id,
        href,
        link_id,
        tracked_response,
        failure_message,
        is_proxied,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        source_file,
        source_line
    from events

)

select * from final
