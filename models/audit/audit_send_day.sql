with

events as (

    select * from {{ ref('fct_engagement_events') }}

),

sent_deliveries as (

    select
        delivery_date,
        metric_date != delivery_date as is_sent_other_day,
        last_called_at > event_at as is_called_after_send
    from events
    where
        is_first
        and counts_as = 'sent'
        and delivery_key is not null

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
