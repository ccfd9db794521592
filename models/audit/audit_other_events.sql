with

events as (

    select * from {{ ref('int_distinct_events') }}

),

final as (

    select
        channel,
        metric,
        case when channel in ('webhook', 'customer') then channel else 'no_delivery_id' end as reason,
        count(*) as event_count,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at
    from events
    where not is_about_message
    group by channel, metric, case when channel in ('webhook', 'customer') then channel else 'no_delivery_id' end

)

select * from final
