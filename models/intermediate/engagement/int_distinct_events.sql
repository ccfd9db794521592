{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['event_date'],
    meta={'touched': [{
        'model': 'int_touched_events', 'on': {'event_id': 'event_id', 'event_date': 'event_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

landed as (

    select lines.* from {{ source('customerio', 'customerio_events') }} as lines
    {% if is_incremental() -%}
    where event_id in (select event_id from {{ ref('int_touched_events') }})
    {{- and_between('lines.timestamp', 'int_touched_events', 'event_timestamp') }}
    {%- endif %}

),

{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'events', with_payload=false) }},

final as (

    select
        event_id,
        cast(event_at as date) as event_date,
        event_timestamp,
        event_at,
        channel,
        metric,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        user_id,
        case when metric = 'clicked' then href end as href,
        conversion_value,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        {{ is_about_message('channel', 'delivery_id') }} as is_about_message
    from events

)

select * from final
