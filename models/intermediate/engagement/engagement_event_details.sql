{# It names persons, so it stays in this schema, which readers of the marts may not see. #}
{{ config(
    materialized='view',
    meta={'touched': [{
        'model': 'int_touched_events', 'on': {'event_id': 'event_id', 'event_date': 'event_date'},
    }]}
) }}

with

landed as (

    select * from {{ source('customerio', 'customerio_events') }}

),

{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'events') }},

final as (

    select
        event_id,
        cast(event_at as date) as event_date,
        event_at,
        channel,
        metric,
        delivery_id,
        user_id,
        coalesce(recipient, {{ json_each_member('recipients', 'device_id') }}) as recipient,
        {{ json_each_member('recipients', 'device_platform') }} as device_platform,
        newsletter_id,
        content_id,
        broadcast_id,
        trigger_id,
        transactional_message_id,
        href,
        link_id,
        tracked_response,
        coalesce(failure_message, {{ json_each_member('recipients', 'failure_message') }}) as failure_message,
        is_proxied,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        source_file,
        source_line
    from events

)

select * from final
