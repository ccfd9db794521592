with

events as (

    select * from {{ ref('int_distinct_events') }}

),

-- servers quote the address that failed; without it, equal failures are one row and name nobody
failures as (

    select
        {{ reporting_date('event_at') }} as metric_date,
        channel,
        metric,
        {{ replace_matches('failure_message', '[^ <>(),:;]+@[^ <>(),:;]+', '[address]') }} as failure_message,
        delivery_id
    from events
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
