with

landed as (

    select * from {{ source('customerio', 'customerio_events') }}
    where {{ dbt.position("'failure_message'", 'data') }} > 0

),

{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'details') }},

counted as (

    select * from {{ ref('int_events') }}
    where not is_in_earlier_feed

),

metrics as (

    select * from {{ ref('stg_customerio__metrics') }}
    where failure_message is not null

),

-- a push says of each device why it failed
webhook_failures as (

    select
        details.event_at,
        details.channel,
        details.metric,
        details.delivery_id,
        coalesce(details.failure_message, {{ json_each_member('details.recipients', 'failure_message') }})
            as failure_message
    from details
    inner join counted
        on
            details.event_id = counted.event_id
            and cast(details.event_at as date) = counted.event_date

),

webhook_actions as (

    select distinct
        delivery_id,
        metric
    from webhook_failures
    where
        channel = 'webhook'
        and failure_message is not null

),

-- no feed comes first for the call of a webhook, which is about no message: both may count it
sync_failures as (

    select
        counted.event_at,
        counted.channel,
        counted.metric,
        counted.delivery_id,
        metrics.failure_message
    from metrics
    inner join counted
        on {{ sync_event_id('metrics.metric_id') }} = counted.event_id
    left join webhook_actions
        on
            counted.channel = 'webhook'
            and counted.delivery_id = webhook_actions.delivery_id
            and counted.metric = webhook_actions.metric
    where webhook_actions.delivery_id is null

),

failed as (

    select * from webhook_failures

    union all

    select * from sync_failures

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
