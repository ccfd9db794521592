with

landed as (

    select * from {{ source('customerio', 'customerio_events') }}
    where {{ dbt.position("'failure_message'", 'data') }} > 0

),

{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'events') }},

-- a push says of each device why it failed
failed as (

    select
        event_at,
        channel,
        metric,
        delivery_id,
        coalesce(failure_message, {{ json_each_member('recipients', 'failure_message') }}) as failure_message
    from events

),

-- servers quote the address or phone number that failed; without it, equal failures are one row and name nobody
failures as (

    select
        {{ reporting_date('event_at') }} as metric_date,
        channel,
        metric,
        {{ replace_matches(
            replace_matches('failure_message', '[^ <>(),:;]+@[^ <>(),:;]+', '[address]'),
            '[+]?[0-9][-0-9 ()]{6,}[0-9]',
            '[number]'
        ) }} as failure_message,
        delivery_id
    from failed
    where failure_message is not null

),

final as (

    select
        metric_date,
        channel,
        metric,
        failure_message,
        count(*) as event_count,
        count(distinct delivery_id) as message_count
    from failures
    group by metric_date, channel, metric, failure_message

)

select * from final
