with

lines as (

    select * from {{ source('customerio', 'customerio_events') }}

),

-- a few dozen spellings, whatever the number of lines
spellings as (

    select
        object_type,
        metric,
        event_type,
        count(*) as line_count,
        {{ unix_to_timestamp('min(lines.timestamp)') }} as first_event_at,
        {{ unix_to_timestamp('max(lines.timestamp)') }} as last_event_at
    from lines
    group by object_type, metric, event_type

),

plain_names as (

    select
        object_type,
        metric,
        event_type,
        line_count,
        first_event_at,
        last_event_at,
        {{ plain_name('object_type') }} as plain_object_type,
        {{ plain_name('metric') }} as plain_metric,
        {{ plain_name('event_type') }} as plain_event_type
    from spellings

),

-- customer_subscription_preferences_changed is what the webhook's configuration calls a metric of every channel
named as (

    select
        object_type,
        metric,
        event_type,
        line_count,
        first_event_at,
        last_event_at,
        {{ channel_of('plain_object_type') }} as channel,
        case
            when plain_metric not like 'customer^_%' escape '^' then {{ channel_in_name('plain_metric') }}
        end as channel_in_metric,
        case
            when plain_event_type not like 'customer^_%' escape '^' then {{ channel_in_name('plain_event_type') }}
        end as channel_in_event_type
    from plain_names

),

final as (

    select
        object_type,
        metric,
        event_type,
        line_count,
        first_event_at,
        last_event_at
    from named
    where
        channel != {{ channel_of('channel_in_metric') }}
        or channel != {{ channel_of('channel_in_event_type') }}

)

select * from final
