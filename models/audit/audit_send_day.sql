with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

events as (

    select * from {{ ref('fct_engagement_events') }}

),

sends as (

    select
        delivery_key,
        min(event_at) as first_sent_at
    from events
    where
        counts
        and counts_as = 'sent'
        and delivery_key is not null
    group by delivery_key

),

sent_deliveries as (

    select
        deliveries.delivery_date,
        {{ reporting_date('sends.first_sent_at') }} != deliveries.delivery_date as is_sent_other_day,
        deliveries.last_called_at > sends.first_sent_at as is_called_after_send
    from deliveries
    inner join sends
        on deliveries.delivery_key = sends.delivery_key

),

final as (

    select
        delivery_date,
        count(*) as sent_count,
        count(case when is_sent_other_day then 1 end) as sent_other_day_count,
        count(case when is_called_after_send then 1 end) as called_after_send_count,
        cast(count(case when is_sent_other_day then 1 end) as double) / count(*) as sent_other_day_share,
        cast(count(case when is_called_after_send then 1 end) as double) / count(*) as called_after_send_share
    from sent_deliveries
    group by delivery_date

)

select * from final
