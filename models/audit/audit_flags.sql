with

events as (

    select * from {{ ref('int_events') }}
    where not is_in_earlier_feed

),

-- Customer.io sends the flags on emails only
email_acts as (

    select
        {{ reporting_date('event_at') }} as metric_date,
        metric,
        case when metric = 'opened' then is_prefetched else is_machine_click end as machine_flag
    from events
    where
        is_about_message
        and channel = 'email'
        and metric in ('opened', 'clicked')

),

final as (

    select
        metric_date,
        metric,
        count(*) as event_count,
        count(*) - count(machine_flag) as unflagged_count,
        cast(count(*) - count(machine_flag) as double) / count(*) as unflagged_share
    from email_acts
    group by metric_date, metric

)

select * from final
